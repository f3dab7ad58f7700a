//! A store that takes its time to record what a write evicts.

use std::sync::Arc;
use std::time::Duration;

use tower_response_cache::{
    CacheLayer, Error, Invalidate, Invalidation, Key, KeyRef, Log, MaybeReady, MemoryStore, Policy,
    Routes, SharedLog, Store, Stored, Usage,
};

use super::{Data, get, policy, put, warm};
use crate::support::{Bench, Gate, MINUTE, Origin, TestRequest, request, settle};

/// A memory store whose invalidations wait for a gate.
#[derive(Debug)]
struct Slow {
    memory: Arc<MemoryStore>,
    gate: Gate,
}

impl Store for Slow {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.memory.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.memory.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.memory.remove(key)
    }

    fn log(&self) -> &Log {
        self.memory.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }
}

impl SharedLog for Slow {
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        let (memory, gate) = (self.memory.clone(), self.gate.clone());
        let invalidations = invalidations.to_vec();
        MaybeReady::Later(Box::pin(async move {
            gate.wait().await;
            memory.log().invalidate(&invalidations).get().await
        }))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}

fn slow_bench(data: &Data, deadline: Duration) -> (Gate, Bench) {
    let routes = Routes::new().otherwise(policy());
    slow_bench_with(routes, data.origin(), deadline)
}

fn slow_bench_with(routes: Routes, origin: Origin, deadline: Duration) -> (Gate, Bench) {
    let gate = Gate::shut();
    let store = Slow {
        memory: Arc::default(),
        gate: gate.clone(),
    };
    let builder = CacheLayer::builder().store(store).store_deadline(deadline);
    (gate, Bench::with_builder(builder.routes(routes), origin))
}

#[tokio::test(start_paused = true)]
async fn a_write_is_acknowledged_only_when_its_invalidation_is_recorded() {
    let data = Data::default();
    let (gate, bench) = slow_bench(&data, MINUTE);
    warm(&bench, &["/a"]).await;
    let written = bench.spawn(put("/a"));
    settle().await;
    assert_eq!(data.version("/a"), 1);
    assert!(
        !written.is_finished(),
        "its head left before the invalidation was recorded"
    );
    gate.open();
    let written = written.await.unwrap();
    assert_eq!(written.text(), "1");
    assert!(
        !written
            .field("cache-status")
            .contains("invalidation-pending")
    );
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_late_records_all_the_same() {
    let data = Data::default();
    let (gate, bench) = slow_bench(&data, Duration::from_millis(50));
    warm(&bench, &["/a"]).await;
    let written = bench.ask(put("/a")).await;
    assert!(
        written
            .field("cache-status")
            .contains("invalidation-pending")
    );
    gate.open();
    settle().await;
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_handler_evicts_tells_when_that_is_not_recorded() {
    let data = Data::default();
    let origin = Origin::new(move |request: TestRequest, _| {
        let answer = data.clone().answer(request);
        async move {
            let mut response = answer.await;
            let what = Invalidation::uri("/elsewhere");
            response.extensions_mut().insert(Invalidate::new([what]));
            response
        }
    });
    let routes = Routes::new()
        .route("/stored", policy())
        .route("/not", policy())
        .route("/bypassed", Policy::bypass());
    let (gate, bench) = slow_bench_with(routes, origin, Duration::from_millis(50));
    let no_store = [("x-field", "cache-control: no-store")];
    for read in [
        get("/stored"),
        request("GET", "/not", &no_store),
        get("/bypassed"),
    ] {
        let uri = read.uri().clone();
        let answer = bench.ask(read).await;
        let status = answer.field("cache-status");
        assert!(
            status.ends_with("; detail=invalidation-pending"),
            "{uri}: {status}"
        );
    }
    gate.open();
    settle().await;
    let answer = bench.get("/bypassed").await;
    let status = answer.field("cache-status");
    assert!(!status.contains("pending"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_store_records_still_evicts() {
    let data = Data::default();
    let (gate, bench) = slow_bench(&data, MINUTE);
    warm(&bench, &["/a"]).await;
    let written = bench.spawn(put("/a"));
    settle().await;
    written.abort();
    settle().await;
    gate.open();
    settle().await;
    assert_eq!(bench.get("/a").await.text(), "1");
}
