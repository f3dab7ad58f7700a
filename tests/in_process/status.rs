//! What responses say about the cache: `X-Cache`, `Cache-Status` with its reasons, and `Age`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;
use tower_response_cache::{CacheDirective, CacheLayer, CacheLayerBuilder, Evict, Policy, Routes};

use crate::support::{
    Answer, Bench, Gate, MINUTE, Origin, request, respond, seconds, sent, settle,
};

fn builder(policy: Policy) -> CacheLayerBuilder {
    CacheLayer::builder().routes(Routes::new().otherwise(policy))
}

/// Asserts what an answer says, without the name of the cache.
fn assert_says(answer: &Answer, x_cache: &str, cache_status: &str) {
    let expected = format!("tower-response-cache; {cache_status}");
    assert_eq!(answer.field("cache-status"), expected);
    assert_eq!(answer.x_cache(), x_cache);
    assert_eq!(answer.headers.get_all("x-cache").iter().count(), 1);
}

#[tokio::test]
async fn a_miss_says_that_it_is_stored_and_a_hit_how_long_it_lasts() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let miss = bench.get("/").await;
    assert_says(&miss, "MISS", "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(miss.field("age"), "(absent)");
    bench.clock.advance(seconds(20));
    let hit = bench.get("/").await;
    assert_says(&hit, "HIT", "hit; ttl=40");
    assert_eq!(hit.field("age"), "20");
    bench.clock.advance(seconds(40));
    let gone = bench.get("/").await;
    assert_says(&gone, "MISS", "fwd=stale; fwd-status=200; stored");
}

#[tokio::test]
async fn what_is_not_stored_says_why() {
    type Case = (u16, &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 17] = [
        (200, &[("cache-control", "no-store")], "no-store"),
        (200, &[("cache-control", "private")], "private"),
        (200, &[("cache-control", "private=\"a\"")], "private"),
        (200, &[("cache-control", "no-cache")], "no-cache"),
        (200, &[("cache-control", "max-age=0")], "no-freshness"),
        (200, &[("set-cookie", "a=b")], "set-cookie"),
        (200, &[("vary", "*")], "vary"),
        (200, &[("content-type", "text/event-stream")], "stream"),
        (200, &[("content-type", "application/grpc+proto")], "stream"),
        (200, &[("content-length", "1048577")], "too-large"),
        (404, &[], "no-freshness"),
        (302, &[], "no-freshness"),
        (206, &[("cache-control", "max-age=60")], "partial"),
        (500, &[], "no-freshness"),
        (500, &[("cache-control", "max-age=60")], "status"),
        (400, &[("cache-control", "public, max-age=60")], "status"),
        (
            299,
            &[("cache-control", "must-understand, max-age=60")],
            "must-understand",
        ),
    ];
    for (status, fields, reason) in cases {
        let origin = Origin::new(move |_, _| async move { respond(status, fields, "x") });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let answer = bench.get("/").await;
        let expected = format!("fwd=uri-miss; fwd-status={status}; detail={reason}");
        assert_says(&answer, "MISS", &expected);
    }
    let directed = Origin::new(|_, _| async {
        let mut response = respond(200, &[], "x");
        response.extensions_mut().insert(CacheDirective::no_store());
        response
    });
    let bench = Bench::new(Policy::ttl(MINUTE), directed);
    let expected = "fwd=uri-miss; fwd-status=200; detail=directive";
    assert_says(&bench.get("/").await, "MISS", expected);
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let answer = bench.get_with("/", &[("cache-control", "no-store")]).await;
    let expected = "fwd=uri-miss; fwd-status=200; detail=request-no-store";
    assert_says(&answer, "MISS", expected);
}

#[tokio::test]
async fn a_bypass_says_why() {
    let routes = || {
        Routes::new()
            .route("/cached", Policy::ttl(MINUTE))
            .route("/never", Policy::bypass())
            .route("/items/{id}", Policy::ttl(MINUTE))
            .route("/items/new", Policy::bypass())
            .route("/not-now", Policy::ttl(MINUTE).when(|_| false))
            .route("/declined", Policy::ttl_with(|_| None))
            .route("/tenants", Policy::ttl(MINUTE).partition_by(|_| None))
    };
    let bench = Bench::with_routes(routes(), Origin::counting());
    for (method, uri, fields, expected) in [
        ("GET", "/unknown", &[][..], "fwd=bypass; detail=no-route"),
        ("GET", "/never", &[], "fwd=bypass; detail=policy"),
        ("GET", "/not-now", &[], "fwd=bypass; detail=policy"),
        ("GET", "/declined", &[], "fwd=bypass; detail=policy"),
        ("GET", "/tenants", &[], "fwd=bypass; detail=partition"),
        (
            "GET",
            "/cached",
            &[("upgrade", "websocket")],
            "fwd=bypass; detail=upgrade",
        ),
        (
            "GET",
            "/cached",
            &[("x-original-url", "/")],
            "fwd=bypass; detail=header",
        ),
        (
            "GET",
            "/cached",
            &[("content-length", "1")],
            "fwd=bypass; detail=content",
        ),
        (
            "GET",
            "/cached",
            &[("host", "a"), ("host", "b")],
            "fwd=bypass; detail=host",
        ),
        ("GET", "/items/%6eew", &[], "fwd=bypass; detail=path"),
        ("OPTIONS", "/cached", &[], "fwd=method"),
        ("TRACE", "/cached", &[], "fwd=method"),
        ("POST", "/cached", &[], "fwd=method"),
        ("PUT", "/cached", &[], "fwd=method"),
        ("DELETE", "/unknown", &[], "fwd=method"),
        ("BREW", "/cached", &[], "fwd=method"),
    ] {
        let answer = bench.ask(request(method, uri, fields)).await;
        assert_says(&answer, "BYPASS", expected);
    }
    for name in ["authorization", "cookie"] {
        let answer = bench.get_with("/cached", &[(name, "x")]).await;
        let expected = format!("fwd=bypass; fwd-status=200; detail={name}");
        assert_says(&answer, "BYPASS", &expected);
    }
    bench.handle.set_bypass(true);
    let off = bench.get("/cached").await;
    assert_says(&off, "BYPASS", "fwd=bypass; detail=disabled");
}

#[tokio::test]
async fn a_vary_miss_and_an_invalidated_entry_say_so() {
    let origin = Origin::with_fields(&[("vary", "x-a")]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    let other = bench.get_with("/", &[("x-a", "1")]).await;
    assert_says(&other, "MISS", "fwd=vary-miss; fwd-status=200; stored");
    bench.ask(request("DELETE", "/", &[])).await;
    let evicted = bench.get("/").await;
    let expected = "fwd=stale; fwd-status=200; stored; detail=invalidated";
    assert_says(&evicted, "MISS", expected);
}

#[tokio::test]
async fn stale_answers_say_which_kind_they_are() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(MINUTE),
        Origin::counting(),
    );
    bench.get("/").await;
    bench.clock.advance(seconds(70));
    let stale = bench.get("/").await;
    assert_says(
        &stale,
        "STALE",
        "hit; ttl=-10; detail=stale-while-revalidate",
    );

    let origin =
        Origin::new(|_, call| async move { respond(if call == 1 { 200 } else { 503 }, &[], "x") });
    let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(seconds(70));
    let stale = bench.get("/").await;
    let expected = "fwd=stale; fwd-status=503; ttl=-10; detail=stale-if-error";
    assert_says(&stale, "STALE", expected);

    let policy = Policy::ttl(MINUTE).honour_request_directives();
    let bench = Bench::new(policy, Origin::counting());
    bench.get("/").await;
    bench.clock.advance(seconds(70));
    let stale = bench.get_with("/", &[("cache-control", "max-stale")]).await;
    assert_says(&stale, "STALE", "hit; ttl=-10; detail=max-stale");
}

#[tokio::test]
async fn a_validation_says_whether_time_or_the_client_asked_for_it() {
    let validating = || {
        Origin::new(|request, _| async move {
            let etag = ("etag", "\"v\"");
            match sent(&request, "if-none-match").as_str() {
                "\"v\"" => respond(304, &[etag], ""),
                _ => respond(200, &[etag], "x"),
            }
        })
    };
    let policy = Policy::ttl(MINUTE).honour_request_directives();
    let bench = Bench::new(policy, validating());
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    let expected = "fwd=stale; fwd-status=304; ttl=60; stored";
    assert_says(&confirmed, "REVALIDATED", expected);
    assert_eq!(confirmed.field("age"), "0");
    let confirmed = bench.get_with("/", &[("cache-control", "no-cache")]).await;
    let expected = "fwd=request; fwd-status=304; ttl=60; stored";
    assert_says(&confirmed, "REVALIDATED", expected);
}

/// An origin with a tag for everything, whose reads of `/slow` wait.
fn tagged(gate: Gate) -> Origin {
    Origin::new(move |request, _| {
        let gate = gate.clone();
        async move {
            if request.uri().path() == "/slow" {
                gate.wait().await;
            }
            let confirms = sent(&request, "if-none-match") == "\"v\"";
            respond(if confirms { 304 } else { 200 }, &[("etag", "\"v\"")], "")
        }
    })
}

#[tokio::test]
async fn what_a_write_keeps_out_of_the_store_is_not_said_to_be_stored() {
    let gate = Gate::shut();
    let evict = Evict::pattern("/list").soft().hold_after(seconds(5));
    let routes = Routes::new()
        .otherwise(Policy::ttl(MINUTE))
        .on_write("/{id}", evict);
    let bench = Bench::with_routes(routes, tagged(gate.clone()));
    bench.get("/list").await;
    bench.ask(request("PUT", "/1", &[])).await;
    let held = bench.get("/1").await;
    assert_says(&held, "MISS", "fwd=uri-miss; fwd-status=200; detail=held");
    let held = bench.get("/list").await;
    let expected = "fwd=stale; fwd-status=304; ttl=60; detail=held";
    assert_says(&held, "REVALIDATED", expected);
    bench.clock.advance(seconds(5));
    let stored = bench.get("/list").await;
    let expected = "fwd=stale; fwd-status=304; ttl=60; stored";
    assert_says(&stored, "REVALIDATED", expected);

    let overtaken = bench.spawn(request("GET", "/slow", &[]));
    settle().await;
    bench.handle.invalidate_uri("/slow").await.unwrap();
    gate.open();
    let expected = "fwd=uri-miss; fwd-status=200; detail=overtaken";
    assert_says(&overtaken.await.unwrap(), "MISS", expected);
}

#[tokio::test]
async fn a_304_that_stores_nothing_does_not_say_so() {
    let forbidding = [("etag", "\"v\""), ("cache-control", "no-store")];
    let answers = [
        respond(200, &forbidding[..1], "x"),
        respond(304, &forbidding, ""),
    ];
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::script(answers));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let expected = "fwd=stale; fwd-status=304; ttl=0; detail=no-store";
    assert_says(&bench.get("/").await, "REVALIDATED", expected);
}

#[tokio::test]
async fn only_if_cached_says_that_it_was_not_cached() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let answer = bench
        .get_with("/", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_says(&answer, "MISS", "detail=only-if-cached");
}

/// Sends three requests at once to an origin that holds them all, and goes by `answer` once one was
/// stored and has gone stale.
async fn three(policy: Policy, stored: bool, answer: u16) -> Vec<Answer> {
    let gate = Arc::new(Semaphore::new(usize::from(stored)));
    let held = gate.clone();
    let origin = Origin::new(move |_, call| {
        let gate = held.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            let status = if call == 1 { 200 } else { answer };
            respond(status, &[("etag", "\"v\"")], "x")
        }
    });
    let bench = Arc::new(Bench::new(policy, origin));
    if stored {
        bench.get("/").await;
        bench.clock.advance(seconds(70));
    }
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let bench = bench.clone();
        tasks.push(tokio::spawn(async move { bench.get("/").await }));
        settle().await;
    }
    gate.add_permits(100);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(bench.origin.calls(), 1 + usize::from(stored));
    answers
}

#[tokio::test]
async fn those_who_shared_a_call_say_so() {
    let answers = three(Policy::ttl(MINUTE), false, 200).await;
    assert_says(&answers[0], "MISS", "fwd=uri-miss; fwd-status=200; stored");
    for answer in &answers[1..] {
        assert_says(answer, "MISS", "fwd=uri-miss; collapsed");
    }
    let answers = three(Policy::ttl(MINUTE), true, 304).await;
    let expected = "fwd=stale; fwd-status=304; ttl=60; stored";
    assert_says(&answers[0], "REVALIDATED", expected);
    for answer in &answers[1..] {
        let expected = "fwd=stale; fwd-status=304; ttl=60; stored; collapsed";
        assert_says(answer, "REVALIDATED", expected);
    }
}

#[tokio::test]
async fn those_who_shared_an_error_are_told_that_what_they_get_is_stale() {
    let policy = Policy::ttl(MINUTE).stale_if_error(MINUTE);
    for answer in three(policy, true, 503).await {
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (200, "STALE"));
        assert!(answer.field("cache-status").contains("stale-if-error"));
    }
}

/// Takes a bench through every outcome.
async fn all_outcomes(bench: &Bench) -> Vec<Answer> {
    let mut answers = vec![bench.get("/").await, bench.get("/").await];
    bench.clock.advance(seconds(70));
    answers.push(bench.get("/").await);
    settle().await;
    answers.push(bench.ask(request("HEAD", "/", &[])).await);
    answers.push(bench.ask(request("POST", "/", &[])).await);
    answers.push(bench.get_with("/", &[("upgrade", "h2c")]).await);
    answers.push(
        bench
            .get_with("/", &[("cache-control", "only-if-cached")])
            .await,
    );
    answers.push(bench.get_with("/", &[("cookie", "a=b")]).await);
    answers
}

#[tokio::test]
async fn each_field_can_be_switched_off() {
    let policy = || Policy::ttl(MINUTE).stale_while_revalidate(MINUTE);
    for (builder, field) in [
        (builder(policy()).x_cache(false), "x-cache"),
        (builder(policy()).cache_status(false), "cache-status"),
        (builder(policy()).age(false), "age"),
    ] {
        let bench = Bench::with_builder(builder, Origin::counting());
        for answer in all_outcomes(&bench).await {
            assert_eq!(answer.field(field), "(absent)");
            for other in ["x-cache", "cache-status"] {
                assert_eq!(answer.headers.contains_key(other), other != field);
            }
        }
    }
    let bench = Bench::with_builder(builder(policy()), Origin::counting());
    for answer in all_outcomes(&bench).await {
        assert!(answer.headers.contains_key("x-cache"), "{answer:?}");
        assert!(answer.headers.contains_key("cache-status"), "{answer:?}");
    }
}

#[tokio::test]
async fn the_name_in_cache_status_is_the_operators() {
    let bench = Bench::with_builder(
        builder(Policy::ttl(MINUTE).stale_while_revalidate(MINUTE)).name("shop.example/1"),
        Origin::counting(),
    );
    for answer in all_outcomes(&bench).await {
        let status = answer.field("cache-status");
        assert!(status.starts_with("shop.example/1; "), "{status}");
    }
    for name in ["", "two words", "caf\u{e9}", "a;b", "1st", "a\r\nb"] {
        let error = CacheLayer::builder().name(name).build().unwrap_err();
        assert!(error.to_string().contains("Cache-Status"), "{error}");
    }
}

#[tokio::test]
async fn our_member_comes_behind_an_upstreams_on_misses_hits_and_bypasses() {
    let origin = Origin::with_fields(&[
        ("cache-status", "Upstream; hit"),
        ("x-cache", "Hit from upstream"),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for (answer, ours, x_cache) in [
        (
            bench.get("/").await,
            "fwd=uri-miss; fwd-status=200; stored",
            "MISS",
        ),
        (bench.get("/").await, "hit; ttl=60", "HIT"),
        (
            bench.ask(request("POST", "/", &[])).await,
            "fwd=method",
            "BYPASS",
        ),
    ] {
        let members: Vec<_> = answer.headers.get_all("cache-status").iter().collect();
        let ours = format!("tower-response-cache; {ours}");
        assert_eq!(members, ["Upstream; hit", ours.as_str()]);
        let x_caches: Vec<_> = answer.headers.get_all("x-cache").iter().collect();
        assert_eq!(x_caches, [x_cache]);
    }
}

#[tokio::test]
async fn whatever_is_kept_ready_for_hits_each_has_its_own_age_and_time_to_live() {
    const UPSTREAM: &[(&str, &str)] = &[("cache-status", "Upstream; hit"), ("age", "7")];
    for (fields, older) in [(&[][..], 0), (UPSTREAM, 7)] {
        let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(fields));
        bench.get("/").await;
        let mut passed = 0;
        // Hit once, again, and often in a second; and after seconds without.
        for (hits, pause) in [(3, 1), (1, 1), (1, 5), (2, 1), (4, 10), (1, 1), (5, 0)] {
            for hit in 0..hits {
                let answer = bench.get("/").await;
                let context = format!("hit {hit} after {passed} s: {answer:?}");
                assert_eq!(
                    answer.field("age"),
                    (passed + older).to_string(),
                    "{context}"
                );
                let ours = answer.headers.get_all("cache-status").iter().next_back();
                let left = 60 - passed - older;
                let expected = format!("tower-response-cache; hit; ttl={left}");
                assert_eq!(ours.unwrap(), &*expected, "{context}");
                assert_eq!(answer.x_cache(), "HIT", "{context}");
            }
            bench.clock.advance(seconds(pause));
            passed += pause;
        }
    }
}

#[tokio::test]
async fn nothing_in_a_request_writes_into_our_fields() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let hostile = [
        ("x-cache", "HIT"),
        ("cache-status", "evil; hit"),
        ("age", "1000"),
        ("x-cache-key", "1"),
        ("x-cache-debug", "1"),
        ("pragma", "x-cache-on"),
    ];
    let miss = bench.get_with("/", &hostile).await;
    assert_says(&miss, "MISS", "fwd=uri-miss; fwd-status=200; stored");
    let hit = bench.get_with("/", &hostile).await;
    assert_says(&hit, "HIT", "hit; ttl=60");
    assert_eq!(hit.field("age"), "0");
}

#[tokio::test]
async fn the_statistics_count_what_the_fields_say() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(MINUTE),
        Origin::counting(),
    );
    all_outcomes(&bench).await;
    let stats = bench.handle.stats();
    // MISS, HIT, STALE, HEAD from what the refresh stored; POST, upgrade and cookie; 504. The
    // refresh itself is no request.
    let counted = (
        stats.misses,
        stats.hits,
        stats.stale_hits,
        stats.only_if_cached,
    );
    assert_eq!(counted, (1, 2, 1, 1), "{stats:?}");
    assert_eq!((stats.requests(), stats.refreshes), (8, 1));
    assert_eq!((stats.bypassed, stats.revalidated), (3, 0));
    assert_eq!((stats.stored, stats.invalidations), (2, 1));
    assert!(stats.hit_ratio() > 0.0 && stats.hit_ratio() < 1.0);
}
