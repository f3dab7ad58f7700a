//! Each row of the table of defaults, and each option of `Policy` and `CacheLayerBuilder`, shown to
//! do what it says. What takes more than a few lines to show has a file of its own: `keys`,
//! `credentials`, `freshness`, `vary` and `status`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::HeaderName;
use http::{Method, StatusCode};
use support::{
    Bench, MINUTE, Origin, TestBody, chunk, request, respond, respond_with, scripted, seconds,
    sent, settle,
};
use tokio::sync::Semaphore;
use tower_response_cache::{
    Answer as StoreAnswer, CacheDirective, CacheLayer, CacheLayerBuilder, Error, ErrorKind, Evict,
    Invalidate, Invalidation, Key, KeyRef, Log, MemoryStore, NoStore, Policy, Routes, Store,
    Stored, Usage,
};

fn builder(policy: Policy) -> CacheLayerBuilder {
    CacheLayer::builder().routes(Routes::new().otherwise(policy))
}

/// Whether a second request is answered from the store.
async fn is_stored(bench: &Bench) -> bool {
    bench.get("/").await;
    settle().await;
    bench.get("/").await.x_cache() == "HIT"
}

// Methods

#[tokio::test]
async fn only_get_is_stored() {
    for method in [
        "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
    ] {
        let fields = &[("cache-control", "public, max-age=60")];
        let bench = Bench::new(Policy::origin_decides(), Origin::with_fields(fields));
        bench.ask(request(method, "/", &[])).await;
        settle().await;
        assert_eq!(bench.get("/").await.x_cache(), "MISS", "{method}");
        // Nor answered from what is stored, but for HEAD.
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        let answer = bench.ask(request(method, "/", &[])).await;
        let expected = if method == "HEAD" { "HIT" } else { "BYPASS" };
        assert_eq!(answer.x_cache(), expected, "{method}");
    }
}

#[tokio::test]
async fn unsafe_and_unknown_methods_evict_where_they_succeed_and_safe_ones_do_not() {
    for (method, status, evicts) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("PATCH", 302, true),
        ("DELETE", 202, true),
        ("BREW", 200, true),
        ("POST", 400, false),
        ("PUT", 404, false),
        ("DELETE", 500, false),
        ("OPTIONS", 200, false),
        ("TRACE", 200, false),
        ("HEAD", 200, false),
    ] {
        let origin = Origin::new(move |request, call| async move {
            let status = if request.method() == Method::GET {
                200
            } else {
                status
            };
            respond(status, &[], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        bench.ask(request(method, "/", &[])).await;
        let expected = if evicts { "MISS" } else { "HIT" };
        assert_eq!(
            bench.get("/").await.x_cache(),
            expected,
            "{method} {status}"
        );
    }
}

#[tokio::test]
async fn a_post_repeated_twice_runs_twice() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    for call in ["1", "2", "3"] {
        assert_eq!(bench.ask(request("POST", "/", &[])).await.text(), call);
    }
}

// Statuses

#[tokio::test]
async fn a_route_ttl_applies_to_200_203_and_204_and_to_no_other_status() {
    for status in 200..600 {
        let origin = Origin::new(move |_, _| async move { respond(status, &[], "") });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let expected = matches!(status, 200 | 203 | 204);
        assert_eq!(is_stored(&bench).await, expected, "{status}");
    }
}

#[tokio::test]
async fn other_statuses_are_stored_by_name() {
    for status in [
        301, 302, 400, 403, 404, 405, 410, 413, 414, 431, 451, 500, 503,
    ] {
        let name = StatusCode::from_u16(status).unwrap();
        for (policy, expected) in [
            (Policy::ttl(MINUTE).ttl_for(name, MINUTE), true),
            (
                Policy::ttl(MINUTE).ttl_for(StatusCode::IM_A_TEAPOT, MINUTE),
                false,
            ),
            (
                Policy::ttl(MINUTE).negative_ttl(MINUTE),
                matches!(status, 404 | 410),
            ),
        ] {
            let origin = Origin::new(move |_, _| async move { respond(status, &[], "") });
            let bench = Bench::new(policy, origin);
            assert_eq!(is_stored(&bench).await, expected, "{status}");
        }
    }
}

// Directives

#[tokio::test]
async fn the_handlers_cache_control_wins_unless_the_ttl_overrides_it() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), false),
        (Policy::ttl(MINUTE).ttl_overrides(), true),
        (Policy::ttl(MINUTE).ttl_overrides().ttl_as_default(), false),
    ] {
        let bench = Bench::new(
            policy,
            Origin::with_fields(&[("cache-control", "max-age=0")]),
        );
        assert_eq!(is_stored(&bench).await, expected);
    }
    for control in ["no-store", "private", "no-cache"] {
        let origin =
            Origin::new(move |_, _| async move { respond(200, &[("cache-control", control)], "") });
        let bench = Bench::new(Policy::ttl(MINUTE).ttl_overrides(), origin);
        assert!(!is_stored(&bench).await, "{control}");
    }
}

#[tokio::test]
async fn targeted_fields_are_the_operators_choice() {
    let origin = || {
        Origin::with_fields(&[
            ("cdn-cache-control", "max-age=10"),
            ("edge-control", "max-age=20"),
            ("shop-control", "max-age=30"),
        ])
    };
    let named = |name| HeaderName::from_static(name);
    for (names, expected) in [
        (None, "ttl=10"),
        (Some(vec![]), "ttl=60"),
        (Some(vec![named("edge-control")]), "ttl=20"),
        (
            Some(vec![named("x-absent"), named("shop-control")]),
            "ttl=30",
        ),
    ] {
        let builder = builder(Policy::ttl(MINUTE));
        let builder = match names {
            Some(names) => builder.targeted_fields(names),
            None => builder,
        };
        let bench = Bench::with_builder(builder, origin());
        bench.get("/").await;
        let hit = bench.get("/").await;
        assert!(hit.field("cache-status").contains(expected), "{expected}");
    }
}

#[tokio::test]
async fn request_directives_are_ignored_but_for_no_store_and_only_if_cached() {
    for (control, ignoring, honouring) in [
        ("no-cache", "HIT", "MISS"),
        ("max-age=0", "HIT", "MISS"),
        ("min-fresh=100", "HIT", "MISS"),
        ("only-if-cached", "HIT", "HIT"),
        ("no-store", "HIT", "HIT"),
    ] {
        let policy = || Policy::ttl(MINUTE);
        for (policy, expected) in [
            (policy(), ignoring),
            (policy().honour_request_directives(), honouring),
        ] {
            let bench = Bench::new(policy, Origin::counting());
            bench.get("/").await;
            bench.clock.advance(seconds(1));
            let answer = bench.get_with("/", &[("cache-control", control)]).await;
            assert_eq!(answer.x_cache(), expected, "{control}");
        }
    }
}

// Routes and conditions

#[tokio::test]
async fn nothing_is_cached_that_no_route_matches() {
    let bench = Bench::with_builder(CacheLayer::builder(), Origin::counting());
    assert!(!is_stored(&bench).await);
    let routes = Routes::new().route("/a/{id}", Policy::ttl(MINUTE));
    let bench = Bench::with_routes(routes, Origin::counting());
    for (uri, expected) in [
        ("/a/1", "HIT"),
        ("/a/1?q", "HIT"),
        ("/a/", "BYPASS"),
        ("/a", "BYPASS"),
        ("/a/1/2", "BYPASS"),
        ("/", "BYPASS"),
    ] {
        bench.get(uri).await;
        assert_eq!(bench.get(uri).await.x_cache(), expected, "{uri}");
    }
}

#[tokio::test]
async fn a_condition_decides_by_request() {
    let policy = Policy::ttl(MINUTE).when(|parts| !parts.headers.contains_key("x-preview"));
    let bench = Bench::new(policy, Origin::counting());
    bench.get("/").await;
    for call in ["2", "3"] {
        let preview = bench.get_with("/", &[("x-preview", "1")]).await;
        assert_eq!((preview.x_cache(), preview.text()), ("BYPASS", call));
    }
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
}

#[tokio::test]
async fn tags_of_policy_and_handler_are_evicted_together() {
    let origin = Origin::new(|request, call| async move {
        let mut response = respond(200, &[], call.to_string());
        let tag = request.uri().path().replace('/', "own-");
        let directive = CacheDirective::new().tag(tag);
        response.extensions_mut().insert(directive);
        response
    });
    let routes = Routes::new()
        .route("/{id}", Policy::ttl(MINUTE).tag("all").tag("item:{id}"))
        .on_write("/{id}/sale", Evict::tag("item:{id}"));
    let bench = Bench::with_routes(routes, origin);
    let ask = async || {
        let mut found = Vec::new();
        for uri in ["/1", "/2", "/3"] {
            found.push(bench.get(uri).await.x_cache() == "HIT");
        }
        found
    };
    ask().await;
    assert_eq!(ask().await, [true, true, true]);
    bench.handle.invalidate_tag("item:2").await.unwrap();
    assert_eq!(ask().await, [true, false, true]);
    bench.handle.invalidate_tag("own-3").await.unwrap();
    assert_eq!(ask().await, [true, true, false]);
    bench.ask(request("POST", "/1/sale", &[])).await;
    assert_eq!(ask().await, [false, true, true]);
    bench.handle.invalidate_tag("all").await.unwrap();
    assert_eq!(ask().await, [false, false, false]);
}

#[tokio::test]
async fn a_handler_evicts_by_an_extension_whatever_the_method() {
    for (method, status, evicts) in [
        ("GET", 200, true),
        ("OPTIONS", 200, true),
        ("POST", 200, true),
        ("POST", 500, false),
    ] {
        let origin = Origin::new(move |request, call| async move {
            let mut response = respond(status, &[], call.to_string());
            match request.uri().path() {
                "/act" => {
                    let what = Invalidation::tag("catalogue");
                    response.extensions_mut().insert(Invalidate::new([what]));
                }
                _ => *response.status_mut() = StatusCode::OK,
            }
            response
        });
        let routes = Routes::new().route("/", Policy::ttl(MINUTE).tag("catalogue"));
        let bench = Bench::with_routes(routes, origin);
        bench.get("/").await;
        bench.ask(request(method, "/act", &[])).await;
        let expected = if evicts { "MISS" } else { "HIT" };
        assert_eq!(
            bench.get("/").await.x_cache(),
            expected,
            "{method} {status}"
        );
    }
}

#[tokio::test]
async fn the_switch_turns_the_cache_off_and_keeps_it_up_to_date() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    bench.get("/a").await;
    bench.get("/b").await;
    assert!(!bench.handle.is_bypassed());
    bench.handle.set_bypass(true);
    assert!(bench.handle.is_bypassed());
    assert_eq!(bench.get("/a").await.x_cache(), "BYPASS");
    bench.ask(request("PUT", "/b", &[])).await;
    bench.handle.set_bypass(false);
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    assert_eq!(bench.get("/b").await.x_cache(), "MISS");
}

// Bodies

/// An origin that answers with a body of this many bytes, its length announced or not.
fn sized(length: usize, announced: bool) -> Origin {
    Origin::new(move |_, _| async move {
        let body = vec![b'x'; length];
        if announced {
            return respond(200, &[], body);
        }
        let (send, unknown) = scripted();
        for part in body.chunks(1 << 16) {
            send.send(chunk(part.to_vec())).unwrap();
        }
        respond_with(200, &[], unknown)
    })
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_stored_and_a_byte_more_is_not() {
    const MEBIBYTE: usize = 1 << 20;
    for announced in [true, false] {
        for (policy, length, expected) in [
            (Policy::ttl(MINUTE), MEBIBYTE, true),
            (Policy::ttl(MINUTE), MEBIBYTE + 1, false),
            (Policy::ttl(MINUTE).max_body(10), 10, true),
            (Policy::ttl(MINUTE).max_body(10), 11, false),
            (
                Policy::ttl(MINUTE).max_body(2 * MEBIBYTE),
                2 * MEBIBYTE,
                true,
            ),
            (Policy::ttl(MINUTE).max_body(0), 0, true),
        ] {
            let bench = Bench::new(policy, sized(length, announced));
            for expected in ["MISS", if expected { "HIT" } else { "MISS" }] {
                let answer = bench.get("/").await;
                assert_eq!(answer.body.len(), length);
                assert_eq!(answer.x_cache(), expected, "{length} {announced}");
                assert_eq!(answer.error, None);
            }
        }
    }
}

#[tokio::test]
async fn a_body_takes_an_eighth_of_the_store_at_most() {
    for (length, expected) in [(7_000, true), (8_193, false)] {
        for announced in [true, false] {
            let store = MemoryStore::new(64 << 10);
            let bench = Bench::with_builder(
                builder(Policy::ttl(MINUTE)).store(store),
                sized(length, announced),
            );
            assert_eq!(is_stored(&bench).await, expected, "{length} {announced}");
        }
    }
}

#[tokio::test]
async fn fills_over_the_budget_are_passed_on_and_not_stored() {
    for (budget, expected) in [(100, true), (9, false)] {
        let bench = Bench::with_builder(
            builder(Policy::ttl(MINUTE)).fill_budget(budget),
            sized(10, true),
        );
        assert_eq!(bench.get("/").await.body.len(), 10);
        assert_eq!(is_stored(&bench).await, expected, "{budget}");
    }
}

#[tokio::test]
async fn an_abandoned_body_is_read_to_its_end_unless_the_policy_says_otherwise() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), "HIT"),
        (Policy::ttl(MINUTE).stop_when_abandoned(), "MISS"),
    ] {
        let (send, body) = scripted();
        let body: Arc<std::sync::Mutex<Option<TestBody>>> =
            Arc::new(std::sync::Mutex::new(Some(body)));
        let origin = Origin::new(move |_, _| {
            let body = body.lock().unwrap().take();
            async move { respond_with(200, &[], body.unwrap_or_else(|| support::whole("again"))) }
        });
        let bench = Bench::new(policy, origin);
        drop(bench.send(request("GET", "/", &[])).await);
        settle().await;
        let _ = send.send(chunk("whole"));
        drop(send);
        settle().await;
        assert_eq!(bench.get("/").await.x_cache(), expected);
    }
}

#[tokio::test]
async fn an_abandoned_call_is_finished_unless_the_policy_says_otherwise() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), "HIT"),
        (Policy::ttl(MINUTE).stop_when_abandoned(), "MISS"),
    ] {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        let origin = Origin::new(move |_, _| {
            let gate = held.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                respond(200, &[], "x")
            }
        });
        let bench = Arc::new(Bench::new(policy, origin));
        let client = bench.clone();
        let client = tokio::spawn(async move { client.get("/").await });
        settle().await;
        client.abort();
        settle().await;
        gate.add_permits(10);
        settle().await;
        assert_eq!(bench.get("/").await.x_cache(), expected);
    }
}

#[tokio::test]
async fn a_stored_response_gets_an_entity_tag_only_where_the_policy_says_so() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    bench.get("/").await;
    assert_eq!(bench.get("/").await.field("etag"), "(absent)");

    let bench = Bench::new(Policy::ttl(MINUTE).generate_etag(), Origin::counting());
    bench.get("/").await;
    let hit = bench.get("/").await;
    let tag = hit.field("etag");
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    let has = bench.get_with("/", &[("if-none-match", tag)]).await;
    assert_eq!(has.status, StatusCode::NOT_MODIFIED);
    // Another body, another tag; the handler's own tag stays.
    bench.ask(request("PUT", "/", &[])).await;
    bench.get("/").await;
    assert_ne!(bench.get("/").await.field("etag"), tag);
    let own = Origin::with_fields(&[("etag", "\"own\"")]);
    let bench = Bench::new(Policy::ttl(MINUTE).generate_etag(), own);
    bench.get("/").await;
    assert_eq!(bench.get("/").await.field("etag"), "\"own\"");
}

// Collapsing

/// Sends five requests at once and returns how often the handler was called.
async fn calls_for_five(policy: Policy, store: impl Store) -> usize {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |_, _| {
        let gate = held.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            respond(200, &[], "x")
        }
    });
    let bench = Arc::new(Bench::with_builder(builder(policy).store(store), origin));
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let bench = bench.clone();
        tasks.push(tokio::spawn(async move { bench.get("/").await }));
        settle().await;
    }
    gate.add_permits(100);
    for task in tasks {
        assert_eq!(task.await.unwrap().text(), "x");
    }
    bench.origin.calls()
}

#[tokio::test]
async fn misses_share_a_call_unless_the_policy_says_otherwise() {
    let memory = MemoryStore::default;
    assert_eq!(calls_for_five(Policy::ttl(MINUTE), memory()).await, 1);
    assert_eq!(calls_for_five(Policy::ttl(MINUTE), NoStore::new()).await, 1);
    let policy = Policy::ttl(MINUTE).without_collapsing();
    assert_eq!(calls_for_five(policy, memory()).await, 5);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_make_their_own_call_in_the_end() {
    for (policy, wait) in [
        (Policy::ttl(MINUTE), seconds(10)),
        (Policy::ttl(MINUTE).max_wait(seconds(3)), seconds(3)),
    ] {
        let origin = Origin::new(|_, call| async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            respond(200, &[], call.to_string())
        });
        let bench = Arc::new(Bench::new(policy, origin));
        let leader = bench.clone();
        let leader = tokio::spawn(async move { leader.get("/").await });
        settle().await;
        let began = tokio::time::Instant::now();
        assert_eq!(bench.get("/").await.text(), "2");
        let waited = began.elapsed();
        assert!(waited >= wait && waited < wait + seconds(1), "{waited:?}");
        leader.abort();
    }
}

// Refreshing and timeouts

#[tokio::test]
async fn what_is_asked_for_near_its_end_is_refreshed_ahead_of_it() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), "MISS"),
        (Policy::ttl(MINUTE).refresh_ahead(seconds(10)), "HIT"),
    ] {
        let bench = Bench::new(policy, Origin::counting());
        bench.get("/").await;
        bench.clock.advance(seconds(49));
        bench.get("/").await;
        settle().await;
        assert_eq!(bench.origin.calls(), 1, "not that near");
        bench.clock.advance(seconds(5));
        let hit = bench.get("/").await;
        assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
        settle().await;
        bench.clock.advance(seconds(10));
        let later = bench.get("/").await;
        assert_eq!((later.x_cache(), later.text()), (expected, "2"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_answers_stale_and_a_hard_one_gives_up() {
    let slow = || {
        Origin::new(|_, call| async move {
            if call > 1 {
                tokio::time::sleep(seconds(30)).await;
            }
            respond(200, &[], call.to_string())
        })
    };
    let policy = || Policy::ttl(MINUTE).stale_if_error(MINUTE);
    for (policy, waited, status, text) in [
        (policy(), 30, 200, "2"),
        (policy().soft_timeout(seconds(2)), 2, 200, "1"),
        (Policy::ttl(MINUTE).soft_timeout(seconds(2)), 30, 200, "2"),
        (policy().hard_timeout(seconds(3)), 3, 200, "1"),
        (Policy::ttl(MINUTE).hard_timeout(seconds(3)), 3, 504, ""),
    ] {
        let bench = Bench::new(policy, slow());
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        let began = tokio::time::Instant::now();
        let answer = bench.get("/").await;
        assert_eq!(began.elapsed().as_secs(), waited);
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text));
    }
}

// Stores

#[tokio::test]
async fn a_store_may_be_shared_or_keep_nothing() {
    let bench = Bench::with_builder(
        builder(Policy::ttl(MINUTE)).store(NoStore::new()),
        Origin::counting(),
    );
    assert!(!is_stored(&bench).await);

    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let shared = || {
        let builder = builder(Policy::ttl(MINUTE)).shared_store(store.clone());
        Bench::with_builder(builder, Origin::counting())
    };
    let (one, other) = (shared(), shared());
    one.get("/").await;
    assert_eq!(other.get("/").await.x_cache(), "HIT");
    other.ask(request("PUT", "/", &[])).await;
    assert_eq!(one.get("/").await.x_cache(), "MISS");
}

/// A store that can be made to fail or to hang.
#[derive(Debug, Default)]
struct Troubled {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    /// Says that a write may take so long to be acknowledged.
    acknowledges_after: Duration,
}

impl Troubled {
    fn trouble<T: Send + 'static>(
        &self,
        answer: impl FnOnce() -> StoreAnswer<Result<T, Error>>,
    ) -> StoreAnswer<Result<T, Error>> {
        if self.hangs.load(Ordering::SeqCst) {
            return StoreAnswer::Later(Box::pin(std::future::pending()));
        }
        if self.fails.load(Ordering::SeqCst) {
            return StoreAnswer::Now(Err(Error::store("out of order")));
        }
        answer()
    }
}

impl Store for Troubled {
    fn get(&self, key: KeyRef<'_>) -> StoreAnswer<Result<Option<Stored>, Error>> {
        self.trouble(|| self.store.get(key))
    }

    fn put(&self, key: Key, stored: Stored) -> StoreAnswer<Result<(), Error>> {
        self.trouble(|| self.store.put(key, stored))
    }

    fn remove(&self, key: KeyRef<'_>) -> StoreAnswer<Result<(), Error>> {
        self.trouble(|| self.store.remove(key))
    }

    fn acknowledges_after(&self) -> Duration {
        self.acknowledges_after
    }

    fn log(&self) -> &Log {
        self.store.log()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

#[tokio::test]
async fn a_store_that_fails_is_passed_by_and_counted() {
    let store = Troubled::default();
    let fails = store.fails.clone();
    let bench = Bench::with_builder(
        builder(Policy::ttl(MINUTE)).store(store),
        Origin::counting(),
    );
    bench.get("/").await;
    fails.store(true, Ordering::SeqCst);
    for call in ["2", "3"] {
        let answer = bench.get("/").await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", call));
        assert!(answer.field("cache-status").contains("detail=store"));
    }
    assert_eq!(bench.handle.stats().store_errors, 2);
    fails.store(false, Ordering::SeqCst);
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_no_longer_than_its_deadline() {
    for (deadline, expected) in [(None, 50), (Some(7), 7)] {
        let store = Troubled::default();
        let hangs = store.hangs.clone();
        let builder = builder(Policy::ttl(MINUTE)).store(store);
        let builder = match deadline {
            Some(deadline) => builder.store_deadline(Duration::from_millis(deadline)),
            None => builder,
        };
        let bench = Bench::with_builder(builder, Origin::counting());
        hangs.store(true, Ordering::SeqCst);
        let began = tokio::time::Instant::now();
        let answer = bench.get("/").await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", "1"));
        let waited = began.elapsed().as_millis();
        assert!((expected..expected + 5).contains(&waited), "{waited}");
    }
}

#[tokio::test]
async fn no_patience_is_too_long() {
    let store = Troubled {
        acknowledges_after: Duration::MAX,
        ..Troubled::default()
    };
    let builder = builder(Policy::ttl(Duration::MAX)).store(store);
    let builder = builder.store_deadline(Duration::MAX);
    let bench = Bench::with_builder(builder, Origin::counting());
    for expected in ["MISS", "HIT"] {
        assert_eq!(bench.get("/").await.x_cache(), expected);
    }
    let written = bench.ask(request("POST", "/", &[])).await;
    assert_eq!((written.status.as_u16(), written.text()), (200, "2"));
    assert_eq!(bench.get("/").await.text(), "3");
}

// What is not served from anywhere but the handler

#[tokio::test]
async fn streams_and_upgrades_are_not_touched() {
    for kind in [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "application/grpc",
        "application/grpc+proto",
    ] {
        let origin = Origin::new(move |_, _| async move {
            let fields = [("content-type", kind), ("cache-control", "max-age=60")];
            respond(200, &fields, "x")
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        assert!(!is_stored(&bench).await, "{kind}");
    }
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    for _ in 0..2 {
        let answer = bench.get_with("/", &[("upgrade", "websocket")]).await;
        assert_eq!(answer.x_cache(), "BYPASS");
    }
    // A tunnel is neither read nor write.
    for expected in ["MISS", "HIT"] {
        assert_eq!(bench.get("/").await.x_cache(), expected);
        let tunnel = bench.ask(request("CONNECT", "/", &[])).await;
        assert_eq!(tunnel.x_cache(), "BYPASS");
    }
    let switching = Origin::new(|_, _| async { respond(101, &[("upgrade", "x")], "") });
    let bench = Bench::new(Policy::ttl(MINUTE), switching);
    assert!(!is_stored(&bench).await);
}

#[tokio::test]
async fn fields_that_name_tags_stay_inside() {
    let origin = Origin::with_fields(&[("surrogate-key", "a b"), ("cache-tag", "c")]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for tag in ["a", "b", "c"] {
        for expected in ["MISS", "HIT"] {
            let answer = bench.get("/").await;
            assert_eq!(answer.x_cache(), expected, "{tag}");
            assert_eq!(answer.field("surrogate-key"), "(absent)");
            assert_eq!(answer.field("cache-tag"), "(absent)");
        }
        bench.handle.invalidate_tag(tag).await.unwrap();
    }
}

#[tokio::test]
async fn no_request_field_purges_bypasses_for_others_or_chooses_tags() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    bench.get("/").await;
    for fields in [
        [("surrogate-key", "evil")],
        [("cache-tag", "evil")],
        [("cache-groups", "\"evil\"")],
        [("cache-group-invalidation", "\"catalogue\"")],
        [("x-purge", "1")],
        [("cache-control", "no-cache, no-store, max-age=0")],
        [("pragma", "no-cache")],
    ] {
        assert_eq!(bench.get_with("/", &fields).await.x_cache(), "HIT");
    }
    let purge = bench
        .ask(request("OPTIONS", "/", &[("x-purge", "1")]))
        .await;
    assert_eq!(purge.x_cache(), "BYPASS");
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
    bench.handle.invalidate_tag("evil").await.unwrap();
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

// Mistakes

#[test]
fn settings_that_cannot_work_are_errors_that_say_what_to_change() {
    let policy = || Policy::ttl(MINUTE);
    for (routes, hint) in [
        (Routes::new().route("a", policy()), "starts with `/`"),
        (Routes::new().route("/a?b", policy()), "path alone"),
        (Routes::new().route("/:id", policy()), "{id}"),
        (Routes::new().route("/a b", policy()), "percent-encoded"),
        (
            Routes::new().route("/a", policy()).route("/a", policy()),
            "given twice",
        ),
        (
            Routes::new().route("/{id}", policy().tag("x:{other}")),
            "other",
        ),
        (
            Routes::new().on_write("/{id}", Evict::pattern("/items/{other}")),
            "other",
        ),
        (
            Routes::new().on_write("/{id}", Evict::pattern("items")),
            "/",
        ),
    ] {
        let error = CacheLayer::builder().routes(routes).build();
        let error = error.expect_err(hint);
        assert!(error.to_string().contains(hint), "{error}");
    }
    let error = CacheLayer::builder().name("two words").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

// Forwarding fields, and a body type of the user's own

#[tokio::test]
async fn a_request_that_another_host_forwards_has_its_own_response() {
    let origin = Origin::showing(&[], |request| sent(request, "x-forwarded-host"));
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let evil = [("x-forwarded-host", "evil.example")];
    assert_eq!(bench.get_with("/", &evil).await.text(), "evil.example");
    assert_eq!(bench.get("/").await.text(), "-");
}
