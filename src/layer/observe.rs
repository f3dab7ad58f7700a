//! The reports of a handle about its cache.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::CacheHandle;
use crate::state::CacheState;
use crate::store::{StoreHealth, StoreState};
use crate::telemetry::{self, CacheStats, HotKey, Listener, MetricsReading, MetricsSource};

/// The health of a cache; from [`CacheHandle::health`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The health in one word.
    pub status: HealthStatus,
    /// True while the cache is switched off by hand.
    pub bypassed: bool,
    /// The health of its store.
    pub store: StoreHealth,
}

/// The health of a cache in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthStatus {
    /// The cache works as it should.
    Ok,
    /// The store does not work as it should, or the cache is switched off: requests are answered, but
    /// more of them by the inner service.
    Degraded,
}

impl HealthStatus {
    /// Returns the status as a word: `ok` or `degraded`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
        }
    }
}

impl Health {
    /// Returns true: as far as the cache is concerned, this node can always take requests.
    ///
    /// No request fails because of the cache, so a degraded cache is no reason to take the node out
    /// of service. If all nodes that share a Redis were taken out the moment it fails, a slowdown
    /// would become an outage. Only the service knows whether its handlers can do without the cache;
    /// [`status`](Self::status) says when they have to.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        true
    }
}

impl CacheHandle {
    /// Returns statistics: what the cache has done, and what it holds.
    ///
    /// It reads every counter of every route, which takes some microseconds.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        CacheStats::of(&self.cache.stats, self.cache.store.usage())
    }

    /// Returns the health of the cache, without waiting: it reports what is already known.
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
    /// It includes durations while they are [measured](Self::measure_latency).
    #[must_use]
    pub fn prometheus(&self) -> String {
        telemetry::render(&reading(&self.cache))
    }

    /// Starts or stops measuring durations; see
    /// [`CacheLayerBuilder::measure_latency`](crate::CacheLayerBuilder::measure_latency).
    pub fn measure_latency(&self, on: bool) {
        self.cache.stats.listen(Listener::Latencies, on);
    }

    /// Returns the keys requested most in recent times, the hottest first; none unless hot keys are
    /// [watched](crate::CacheLayerBuilder::hot_keys).
    #[must_use]
    pub fn hot_keys(&self) -> Vec<HotKey> {
        self.cache.stats.hot_keys()
    }

    /// Starts watching for the most requested keys; see
    /// [`CacheLayerBuilder::hot_keys`](crate::CacheLayerBuilder::hot_keys). Has no effect if they are
    /// watched already.
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
        background: &cache.background,
    }
}

/// A weak reference, because a meter provider may outlive the cache.
impl MetricsSource for Weak<CacheState> {
    fn read(&self, see: &mut dyn FnMut(&MetricsReading<'_>)) {
        if let Some(cache) = self.upgrade() {
            see(&reading(&cache));
        }
    }
}
