//! A store that takes its time, fails on demand, and reports its health.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tower_response_cache::{
    Error, HealthStatus, Invalidation, Key, KeyRef, Log, MaybeReady, MemoryStore, SharedLog, Store,
    StoreHealth, StoreState, Stored, Usage,
};

use super::shop;
use crate::support::{Bench, Origin, seconds};

/// What a test keeps of the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controls {
    pub(crate) fails: Arc<AtomicBool>,
    pub(crate) health: Arc<Mutex<StoreHealth>>,
}

#[derive(Debug, Default)]
pub(crate) struct Slow {
    store: MemoryStore,
    controls: Controls,
}

impl Slow {
    pub(crate) fn new() -> (Self, Controls) {
        let slow = Self::default();
        let controls = slow.controls.clone();
        (slow, controls)
    }

    fn later<T: Send + 'static>(
        &self,
        answer: MaybeReady<Result<T, Error>>,
    ) -> MaybeReady<Result<T, Error>> {
        let fails = self.controls.fails.load(Ordering::SeqCst);
        MaybeReady::Later(Box::pin(async move {
            tokio::task::yield_now().await;
            match fails {
                true => Err(Error::store("told to fail")),
                false => answer.get().await,
            }
        }))
    }
}

impl Store for Slow {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.later(self.store.get(key))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.later(self.store.put(key, stored))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.later(self.store.remove(key))
    }

    fn log(&self) -> &Log {
        self.store.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }

    fn health(&self) -> StoreHealth {
        self.controls.health.lock().unwrap().clone()
    }
}

impl SharedLog for Slow {
    fn invalidate(&self, what: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        self.later(self.store.log().invalidate(what))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}

#[tokio::test]
async fn a_store_that_is_not_well_is_told_and_takes_no_node_out_of_service() {
    let (slow, controls) = Slow::new();
    let bench = Bench::with_builder(shop().store(slow), Origin::counting());
    assert_eq!(bench.handle.health().status, HealthStatus::Ok);
    for state in [StoreState::Degraded, StoreState::Down] {
        {
            let mut health = controls.health.lock().unwrap();
            health.state = state;
            health.detail = Some("no answer since noon".to_owned());
            health.breaker_open = true;
            health.epoch_changes = 2;
            health.staleness_bound = seconds(3);
            health.pending_invalidations = 4;
        }
        let health = bench.handle.health();
        assert_eq!(health.status, HealthStatus::Degraded);
        assert_eq!(health.store.state, state);
        assert!(health.is_ready());
        let samples = super::prometheus::samples(&bench.handle.prometheus());
        for (name, value) in [
            (
                &*format!("state{{cache_state=\"{}\"}}", state.as_str()),
                1.0,
            ),
            ("state{cache_state=\"up\"}", 0.0),
            ("breaker_open", 1.0),
            ("epoch_changes_total", 2.0),
            ("staleness_bound_seconds", 3.0),
            ("pending_invalidations", 4.0),
        ] {
            assert_eq!(
                samples[&format!("http_cache_store_{name}")],
                value,
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn failures_of_the_store_are_counted_by_what_it_was_asked() {
    let (slow, controls) = Slow::new();
    let builder = shop().store(slow).measure_latency(true);
    let bench = Bench::with_builder(builder, Origin::counting());
    bench.get("/products/7").await;
    bench.get("/products/7").await;
    bench.handle.invalidate_tag("a").await.unwrap();
    controls.fails.store(true, Ordering::SeqCst);
    bench.get("/products/7").await;
    bench.handle.invalidate_tag("a").await.unwrap_err();
    let stats = bench.handle.stats();
    assert_eq!(
        (stats.hits, stats.store_errors, stats.invalidations),
        (1, 2, 1)
    );
    let samples = super::prometheus::samples(&bench.handle.prometheus());
    for (name, value) in [
        ("errors_total{cache_operation=\"get\"}", 1.0),
        ("errors_total{cache_operation=\"change\"}", 0.0),
        ("errors_total{cache_operation=\"invalidate\"}", 1.0),
        ("duration_seconds_count{cache_operation=\"get\"}", 3.0),
        ("duration_seconds_count{cache_operation=\"change\"}", 1.0),
        (
            "duration_seconds_count{cache_operation=\"invalidate\"}",
            2.0,
        ),
    ] {
        assert_eq!(
            samples[&format!("http_cache_store_{name}")],
            value,
            "{name}"
        );
    }
}
