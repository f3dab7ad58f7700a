//! What a handle tells about its cache.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::CacheHandle;
use crate::state::CacheState;
use crate::store::{StoreHealth, StoreState};
use crate::telemetry::{self, CacheStats, HotKey, Listener, MetricsReading, MetricsSource};

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
        CacheStats::of(&self.cache.stats, self.cache.store.usage())
    }

    /// Returns how the cache is, at once: from what is known already.
    #[must_use]
    pub fn health(&self) -> Health {
        let store = self.cache.store.health();
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
        telemetry::render(&reading(&self.cache))
    }

    /// Begins to measure durations, or stops; see
    /// [`CacheLayerBuilder::measure_latency`](crate::CacheLayerBuilder::measure_latency).
    pub fn measure_latency(&self, on: bool) {
        self.cache.stats.listen(Listener::Latencies, on);
    }

    /// Returns the keys that were asked for most lately, the hottest first; none unless somebody
    /// [watches](crate::CacheLayerBuilder::hot_keys) for them.
    #[must_use]
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.cache.stats.hot_keys()
    }

    /// Begins to watch for the keys that are asked for most; see
    /// [`CacheLayerBuilder::hot_keys`](crate::CacheLayerBuilder::hot_keys). Without effect where that
    /// has been begun already.
    pub fn watch_hot_keys(&self, most: usize) {
        self.cache.stats.watch_keys(most);
    }
}

fn reading(cache: &CacheState) -> MetricsReading<'_> {
    MetricsReading {
        stats: &cache.stats,
        usage: cache.store.usage(),
        health: cache.store.health(),
        bypassed: cache.bypass.load(Ordering::Relaxed),
    }
}

/// Weak: a meter provider outlives many a cache.
impl MetricsSource for Weak<CacheState> {
    fn read(&self, see: &mut dyn FnMut(&MetricsReading<'_>)) {
        if let Some(cache) = self.upgrade() {
            see(&reading(&cache));
        }
    }
}
