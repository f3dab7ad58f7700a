//! What a handle tells about its cache.

use super::CacheHandle;
use crate::store::{StoreHealth, StoreState};
use crate::telemetry::{self, CacheStats, Listener, Report};

/// How a cache is; from [`CacheHandle::health`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it does all it is there for.
    pub status: HealthStatus,
    /// Whether it is switched off by hand.
    pub bypassed: bool,
    /// How its store is.
    pub store: StoreHealth,
}

/// Whether a cache does all it is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthStatus {
    /// It does.
    Ok,
    /// Its store does not, or it is switched off: requests are answered, more of them by the handlers.
    Degraded,
}

impl HealthStatus {
    /// Returns the status in a word: `ok` or `degraded`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
        }
    }
}

impl Health {
    /// Returns whether, for all that the cache knows, requests may be sent to this node: always.
    ///
    /// No request fails because of the cache, so a cache that is degraded is no reason to take the
    /// node out of service. Taking out all nodes that share a Redis, the moment it fails, would make
    /// an outage of what is only slow. Whether the handlers can do without the cache is for the
    /// service to know; [`status`](Self::status) tells it when they have to.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        true
    }
}

impl CacheHandle {
    /// Returns what the cache has done and what it holds.
    ///
    /// It looks at every counter of every route, which takes some microseconds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.core.stats.snapshot(self.core.store.usage())
    }

    /// Returns how the cache is, at once: from what is known already.
    #[must_use]
    pub fn health(&self) -> Health {
        let store = self.core.store.health();
        let bypassed = self.is_bypassed();
        let status = match (store.state, bypassed) {
            (StoreState::Up, false) => HealthStatus::Ok,
            _ => HealthStatus::Degraded,
        };
        Health {
            status,
            bypassed,
            store,
        }
    }

    /// Returns all [metrics](crate::metrics) as text, in the format that Prometheus scrapes
    /// (`text/plain; version=0.0.4`).
    ///
    /// Durations are in it while they are [measured](Self::measure_latency).
    #[must_use]
    pub fn prometheus(&self) -> String {
        telemetry::render(&Report {
            stats: &self.core.stats,
            usage: self.core.store.usage(),
            health: self.core.store.health(),
            bypassed: self.is_bypassed(),
        })
    }

    /// Begins to measure durations, or stops; see
    /// [`CacheLayerBuilder::measure_latency`](crate::CacheLayerBuilder::measure_latency).
    pub fn measure_latency(&self, on: bool) {
        self.core.stats.listen(Listener::Latencies, on);
    }
}
