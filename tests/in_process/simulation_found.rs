//! What random schedules found, each by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tower_response_cache::{
    CacheDirective, CacheLayer, Error, Evict, Invalidation, Key, KeyRef, Log, MaybeReady,
    MemoryStore, Policy, Routes, SharedLog, Store, Stored, Usage,
};

use crate::support::{Bench, Gate, MINUTE, Origin, request, respond, seconds, sent, settle};

/// The promise of `hold_after` was broken by collapsing: a request that began after the hold was
/// given what a handler had read from the replica during it.
#[tokio::test]
async fn a_request_after_a_hold_does_not_join_a_call_from_before_its_end() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |request, call| {
            let gate = gate.clone();
            async move {
                if request.method() == "GET" && call == 2 {
                    gate.wait().await;
                }
                respond(200, &[], call.to_string())
            }
        })
    };
    let routes = Routes::new()
        .route("/a", Policy::ttl(MINUTE))
        .on_write("/a", Evict::nothing().hold_after(seconds(3)));
    let bench = Bench::with_routes(routes, origin);
    bench.ask(request("PUT", "/a", &[])).await;
    let under_hold = bench.spawn(request("GET", "/a", &[]));
    settle().await;
    bench.clock.advance(seconds(1));
    let beside = bench.spawn(request("GET", "/a", &[]));
    settle().await;
    bench.clock.advance(seconds(2));
    let after = bench.get("/a").await;
    assert_eq!(after.text(), "3", "read from the replica after the hold");
    gate.open();
    assert_eq!(under_hold.await.unwrap().text(), "2");
    assert_eq!(beside.await.unwrap().text(), "2", "shared under the hold");
    assert_eq!(bench.get("/a").await.text(), "3");
}

/// The answer to a POST was stored although an invalidation by its handler's own tag had overtaken
/// it: only the tags of the policy were looked at.
#[tokio::test]
async fn an_answer_to_a_post_that_an_invalidation_of_its_tag_overtook_is_not_stored() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |request, call| {
            let gate = gate.clone();
            async move {
                if request.method() == "POST" {
                    gate.wait().await;
                }
                let fields = [("content-location", "/a"), ("cache-control", "max-age=60")];
                let mut response = respond(200, &fields, call.to_string());
                let tagged = CacheDirective::new().tag("t");
                response.extensions_mut().insert(tagged);
                response
            }
        })
    };
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let post = bench.spawn(request("POST", "/a", &[]));
    settle().await;
    bench.handle.invalidate_tag("t").await.unwrap();
    gate.open();
    assert_eq!(post.await.unwrap().text(), "1");
    assert_eq!(bench.get("/a").await.text(), "2");
    // Undisturbed, it is.
    bench.ask(request("POST", "/a", &[])).await;
    assert_eq!(bench.get("/a").await.text(), "3");
}

/// A 304 that did not repeat the tags took them from the stored response, and invalidations by them
/// passed it by.
#[tokio::test]
async fn a_response_keeps_its_tags_when_it_is_validated() {
    let version = Arc::new(AtomicUsize::new(1));
    let origin = {
        let version = version.clone();
        Origin::new(move |request, _| {
            let etag = format!("\"{}\"", version.load(Ordering::SeqCst));
            async move {
                if sent(&request, "if-none-match") == etag {
                    return respond(304, &[("etag", &etag)], "");
                }
                let mut response = respond(200, &[("etag", &etag)], etag.clone());
                let tagged = CacheDirective::new().tag("t");
                response.extensions_mut().insert(tagged);
                response
            }
        })
    };
    let bench = Bench::new(Policy::ttl(seconds(10)), origin);
    assert_eq!(bench.get("/a").await.text(), "\"1\"");
    for _ in 0..2 {
        bench.clock.advance(seconds(10));
        assert_eq!(bench.get("/a").await.x_cache(), "REVALIDATED");
        assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    }
    version.store(2, Ordering::SeqCst);
    bench.handle.invalidate_tag("t").await.unwrap();
    assert_eq!(bench.get("/a").await.text(), "\"2\"");
}

/// A store that cannot record anything once it is stuck.
#[derive(Debug)]
struct Forgetful {
    store: MemoryStore,
    stuck: Arc<AtomicBool>,
}

impl Forgetful {
    fn new(stuck: bool) -> Self {
        Self {
            store: MemoryStore::new(1 << 20),
            stuck: Arc::new(AtomicBool::new(stuck)),
        }
    }
}

impl Store for Forgetful {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.store.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.store.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.store.remove(key)
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
}

impl SharedLog for Forgetful {
    fn invalidate(&self, what: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        match self.stuck.load(Ordering::SeqCst) {
            true => MaybeReady::Later(Box::pin(std::future::pending())),
            false => self.store.log().invalidate(what),
        }
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}

/// A second hold hid that a call had begun under the first: a request that began under the second
/// was given what the first was meant to keep from it.
#[tokio::test(start_paused = true)]
async fn a_request_under_a_second_hold_does_not_join_a_call_from_under_the_first() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |_, call| {
            let gate = gate.clone();
            async move {
                if call == 2 {
                    gate.wait().await;
                }
                respond(200, &[], call.to_string())
            }
        })
    };
    let routes = Routes::new()
        .route("/a", Policy::ttl(MINUTE))
        .on_write("/a", Evict::nothing().hold_after(seconds(3)));
    let store = Forgetful::new(false);
    let stuck = store.stuck.clone();
    let layer = CacheLayer::builder().routes(routes).store(store);
    let bench = Bench::with_builder(layer, origin);
    bench.ask(request("PUT", "/a", &[])).await;
    let under_first = bench.spawn(request("GET", "/a", &[]));
    settle().await;
    bench.clock.advance(seconds(4));
    stuck.store(true, Ordering::SeqCst);
    let recording = bench.spawn(request("PUT", "/a", &[]));
    settle().await;
    bench.clock.advance(seconds(1));
    assert_eq!(bench.get("/a").await.text(), "4");
    assert!(!recording.is_finished());
    gate.open();
    assert_eq!(under_first.await.unwrap().text(), "2");
}

/// What a two-phase write had announced was good again when the store could not record the write.
#[tokio::test(start_paused = true)]
async fn what_a_two_phase_write_announced_stays_out_of_use_if_the_store_fails() {
    let routes = Routes::new()
        .route("/a", Policy::ttl(MINUTE))
        .on_write("/a", Evict::nothing().two_phase());
    let layer = CacheLayer::builder()
        .routes(routes)
        .store(Forgetful::new(true))
        .store_deadline(Duration::from_millis(50));
    let bench = Bench::with_builder(layer, Origin::counting());
    assert_eq!(bench.get("/a").await.text(), "1");
    let written = bench.ask(request("PUT", "/a", &[])).await;
    assert!(
        written
            .field("cache-status")
            .ends_with("detail=invalidation-pending")
    );
    assert_eq!(bench.get("/a").await.text(), "3");
}
