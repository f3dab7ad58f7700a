//! What the usual layers of tower-http do inside the cache and outside of it. The table in
//! `src/docs/layer_order.md` says no more than is shown here.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use http::{HeaderName, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheLayer, Evict, Policy, Routes};

use crate::support::{Answer, MINUTE, seconds, settle};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Long enough to be worth compressing.
const PAGE: &str = "0123456789 and so on, 0123456789 and so on, 0123456789 and so on";

fn cache() -> CacheLayer {
    cache_with(Policy::ttl(MINUTE))
}

fn cache_with(policy: Policy) -> CacheLayer {
    let routes = Routes::new().otherwise(policy);
    CacheLayer::builder().routes(routes).build().unwrap()
}

fn at_root(handler: MethodRouter) -> Router {
    Router::new().route("/", handler)
}

/// Answers with the page and a strong tag.
fn page() -> Router {
    at_root(get(|| async { ([("etag", "\"v1\"")], PAGE) }))
}

/// Answers with the number of the call.
fn counting() -> (Arc<AtomicUsize>, Router) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let handler =
        get(move || async move { (counted.fetch_add(1, Ordering::SeqCst) + 1).to_string() });
    (calls, at_root(handler))
}

async fn ask(app: &Router, method: &str, fields: Fields<'_>) -> Answer {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await
}

async fn fetch(app: &Router, fields: Fields<'_>) -> Answer {
    ask(app, "GET", fields).await
}

// Compression

fn is_gzip(answer: &Answer) -> bool {
    answer.field("content-encoding") == "gzip" && answer.body.starts_with(&[0x1f, 0x8b])
}

#[tokio::test]
async fn compression_inside_stores_each_coding_and_outside_compresses_each_answer() {
    let inside = page().layer(CompressionLayer::new()).layer(cache());
    let outside = page().layer(cache()).layer(CompressionLayer::new());
    for (app, second) in [(inside, "MISS"), (outside, "HIT")] {
        let zipped = fetch(&app, &[("accept-encoding", "gzip")]).await;
        assert!(is_gzip(&zipped));
        assert_eq!(zipped.field("vary"), "accept-encoding");
        // No client is given a coding that it did not ask for.
        let plain = fetch(&app, &[]).await;
        assert_eq!((plain.text(), plain.x_cache()), (PAGE, second));
        assert_eq!(plain.field("content-encoding"), "(absent)");
        assert_eq!(
            fetch(&app, &[("accept-encoding", "gzip")]).await.x_cache(),
            "HIT"
        );
        for accepts in ["gzip, br", "br;q=0.5, gzip;q=0.1", "*"] {
            let again = fetch(&app, &[("accept-encoding", accepts)]).await;
            assert!(is_gzip(&again), "{accepts}");
        }
        for accepts in ["identity", "br", "gzip;q=0"] {
            let again = fetch(&app, &[("accept-encoding", accepts)]).await;
            assert_eq!(again.text(), PAGE, "{accepts}");
        }
        // The layer leaves a strong tag strong, on both codings: either is 304 by it.
        for fields in [
            &[("if-none-match", "\"v1\"")][..],
            &[("if-none-match", "\"v1\""), ("accept-encoding", "gzip")],
        ] {
            assert_eq!(fetch(&app, fields).await.status, 304);
        }
    }
}

#[tokio::test]
async fn ranges_are_of_the_stored_coding_inside_and_of_the_plain_text_outside() {
    let inside = page().layer(CompressionLayer::new()).layer(cache());
    let whole = fetch(&inside, &[("accept-encoding", "gzip")]).await;
    let range = [("accept-encoding", "gzip"), ("range", "bytes=0-3")];
    let part = fetch(&inside, &range).await;
    assert_eq!(
        (part.status.as_u16(), &part.body[..]),
        (206, &whole.body[..4])
    );
    assert_eq!(part.field("content-encoding"), "gzip");
    let length = whole.body.len();
    assert_eq!(part.field("content-range"), format!("bytes 0-3/{length}"));

    let outside = page().layer(cache()).layer(CompressionLayer::new());
    fetch(&outside, &[("accept-encoding", "gzip")]).await;
    let part = fetch(&outside, &range).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "0123"));
    assert_eq!(part.field("content-encoding"), "(absent)");
}

#[tokio::test]
async fn tags_that_the_cache_makes_tell_codings_apart_if_compression_is_inside() {
    let app = at_root(get(|| async { PAGE }))
        .layer(CompressionLayer::new())
        .layer(cache_with(Policy::ttl(MINUTE).generate_etag()));
    let gzip = ("accept-encoding", "gzip");
    fetch(&app, &[gzip]).await;
    fetch(&app, &[]).await;
    let zipped = fetch(&app, &[gzip]).await.field("etag").to_owned();
    let plain = fetch(&app, &[]).await.field("etag").to_owned();
    assert_ne!(zipped, plain);
    // A part of one coding is never continued with bytes of the other.
    let range = ("range", "bytes=4-");
    let mixed = fetch(&app, &[gzip, range, ("if-range", &plain)]).await;
    assert_eq!(mixed.status, 200);
    let same = fetch(&app, &[gzip, range, ("if-range", &zipped)]).await;
    assert_eq!(same.status, 206);
}

// CORS

fn mirroring() -> CorsLayer {
    CorsLayer::new().allow_origin(AllowOrigin::mirror_request())
}

async fn allowed(app: &Router, origin: &str) -> (String, String) {
    let answer = fetch(app, &[("origin", origin)]).await;
    let allowed = answer.field("access-control-allow-origin").to_owned();
    (allowed, answer.x_cache().to_owned())
}

#[tokio::test]
async fn an_origin_that_is_mirrored_is_given_to_no_other_inside_or_outside() {
    let (a, b) = ("https://a.example", "https://b.example");
    let (_, handler) = counting();
    let outside = handler.layer(cache()).layer(mirroring());
    let (_, handler) = counting();
    let inside = handler.layer(mirroring()).layer(cache());
    for (app, first, second) in [(outside, "MISS", "HIT"), (inside, "MISS", "MISS")] {
        assert_eq!(allowed(&app, a).await, (a.into(), first.into()));
        assert_eq!(allowed(&app, b).await, (b.into(), second.into()));
        assert_eq!(allowed(&app, a).await, (a.into(), "HIT".into()));
        assert_eq!(allowed(&app, b).await, (b.into(), "HIT".into()));
    }
    // The same without Vary: browsers would refuse an answer that names another origin.
    let (_, handler) = counting();
    let faulty = handler.layer(mirroring().vary([])).layer(cache());
    assert_eq!(allowed(&faulty, a).await.0, a);
    assert_eq!(allowed(&faulty, b).await, (b.into(), "MISS".into()));
    assert_eq!(allowed(&faulty, a).await, (a.into(), "HIT".into()));
    assert_eq!(allowed(&faulty, b).await, (b.into(), "HIT".into()));
    let (_, handler) = counting();
    let outside = handler.layer(cache()).layer(mirroring().vary([]));
    assert_eq!(allowed(&outside, a).await.0, a);
    assert_eq!(allowed(&outside, b).await.0, b);
    // What is the same for all origins can stand anywhere.
    let (_, handler) = counting();
    let any = handler
        .layer(CorsLayer::new().allow_origin(Any))
        .layer(cache());
    assert_eq!(allowed(&any, a).await.0, "*");
    assert_eq!(allowed(&any, b).await, ("*".into(), "HIT".into()));
}

#[tokio::test]
async fn preflights_are_answered_by_the_cors_layer_wherever_it_stands() {
    let cors = || mirroring().allow_methods(Any);
    let preflight = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
    ];
    let (calls, handler) = counting();
    let outside = handler.layer(cache()).layer(cors());
    let answer = ask(&outside, "OPTIONS", &preflight).await;
    assert_eq!(
        (answer.status.as_u16(), answer.x_cache()),
        (200, "(absent)")
    );
    let inside = at_root(get(|| async { "" })).layer(cors()).layer(cache());
    let answer = ask(&inside, "OPTIONS", &preflight).await;
    assert_eq!((answer.status.as_u16(), answer.x_cache()), (200, "BYPASS"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

// Tracing

#[tokio::test]
async fn traces_outside_are_of_requests_and_inside_of_handler_calls() {
    for (outside, expected) in [(true, 5), (false, 1)] {
        let traced = Arc::new(AtomicUsize::new(0));
        let counted = traced.clone();
        let trace =
            TraceLayer::new_for_http().on_request(move |_: &Request<_>, _: &tracing::Span| {
                counted.fetch_add(1, Ordering::SeqCst);
            });
        let (calls, app) = counting();
        let app = match outside {
            true => app.layer(cache()).layer(trace),
            false => app.layer(trace).layer(cache()),
        };
        for _ in 0..5 {
            assert_eq!(fetch(&app, &[]).await.text(), "1");
        }
        assert_eq!(traced.load(Ordering::SeqCst), expected);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

// Request identifiers

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[tokio::test]
async fn a_request_id_is_the_requests_own_only_where_it_is_propagated_outside() {
    let set = || SetRequestIdLayer::x_request_id(MakeRequestUuid);
    let propagate = PropagateRequestIdLayer::x_request_id;
    let outside = page().layer(cache()).layer(propagate()).layer(set());
    let split = page().layer(propagate()).layer(cache()).layer(set());
    let inside = page().layer(propagate()).layer(set()).layer(cache());
    let set_inside = page().layer(set()).layer(cache()).layer(propagate());
    for (app, is_own) in [(outside, true), (split, false), (inside, false)] {
        let first = fetch(&app, &[]).await;
        let second = fetch(&app, &[]).await;
        assert_eq!(second.x_cache(), "HIT");
        let (first, second) = (first.field("x-request-id"), second.field("x-request-id"));
        assert_ne!((first, second), ("(absent)", "(absent)"));
        assert_eq!(
            first != second,
            is_own,
            "a hit replays the id of the request that filled it"
        );
    }
    // Set inside, the id never comes out, and does no harm.
    assert_eq!(
        fetch(&set_inside, &[]).await.field(REQUEST_ID.as_str()),
        "(absent)"
    );
    // One that the client sends is given back to that client alone.
    let outside = page().layer(cache()).layer(propagate()).layer(set());
    for id in ["one", "two"] {
        let answer = fetch(&outside, &[("x-request-id", id)]).await;
        assert_eq!(answer.field("x-request-id"), id);
    }
}

// Timeouts

fn timeout(status: StatusCode) -> TimeoutLayer {
    TimeoutLayer::with_status_code(status, Duration::from_secs(2))
}

/// Answers the first call at once, and the others after a minute.
fn slow_after_one() -> Router {
    let calls = Arc::new(AtomicUsize::new(0));
    at_root(get(move || async move {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call > 1 {
            tokio::time::sleep(seconds(30)).await;
        }
        call.to_string()
    }))
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_bounds_the_wait_and_inside_ends_the_call() {
    let policy = || Policy::ttl(MINUTE).stale_if_error(MINUTE);
    let clock = ManualClock::new();
    let cache = || {
        let routes = Routes::new().otherwise(policy());
        let builder = CacheLayer::builder().routes(routes).clock(clock.clock());
        builder.build().unwrap()
    };
    let outside = slow_after_one()
        .layer(cache())
        .layer(timeout(StatusCode::GATEWAY_TIMEOUT));
    let inside = slow_after_one()
        .layer(timeout(StatusCode::GATEWAY_TIMEOUT))
        .layer(cache());
    let inside_408 = slow_after_one()
        .layer(timeout(StatusCode::REQUEST_TIMEOUT))
        .layer(cache());
    for app in [&outside, &inside, &inside_408] {
        assert_eq!(fetch(app, &[]).await.text(), "1");
    }
    clock.advance(MINUTE);
    // Outside: the client is sent away, and the call goes on and fills the cache.
    assert_eq!(fetch(&outside, &[]).await.status, 504);
    tokio::time::sleep(seconds(40)).await;
    let later = fetch(&outside, &[]).await;
    assert_eq!((later.text(), later.x_cache()), ("2", "HIT"));
    // Inside: the call ends, and 504 is an error for which something stale may stand in.
    let answer = fetch(&inside, &[]).await;
    assert_eq!((answer.text(), answer.x_cache()), ("1", "STALE"));
    // 408 is none of those, and is passed on; it is not stored either.
    for _ in 0..2 {
        let answer = fetch(&inside_408, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (408, "MISS"));
    }
}

/// Answers GET, and writes in a way that is cut short after it took effect.
async fn cut_short(rule: Evict, outermost: &str) -> String {
    let routes = Routes::new()
        .otherwise(Policy::ttl(MINUTE))
        .on_write("/", rule);
    let cache = CacheLayer::builder().routes(routes).build().unwrap();
    let value = Arc::new(AtomicUsize::new(0));
    let (read, written) = (value.clone(), value);
    let handler = get(move || async move { read.load(Ordering::SeqCst).to_string() });
    let app = at_root(handler.put({
        let panics = outermost.contains("panic");
        move || async move {
            written.fetch_add(1, Ordering::SeqCst);
            assert!(!panics, "after it wrote");
            pending::<()>().await;
        }
    }));
    let timeout = timeout(StatusCode::SERVICE_UNAVAILABLE);
    let app = match outermost {
        "timeout, cache" => app.layer(cache).layer(timeout),
        "cache, timeout" => app.layer(timeout).layer(cache),
        "panic, cache" => app.layer(cache).layer(CatchPanicLayer::new()),
        _ => app.layer(CatchPanicLayer::new()).layer(cache),
    };
    assert_eq!(fetch(&app, &[]).await.text(), "0");
    let answer = ask(&app, "PUT", &[]).await;
    assert!(answer.status.is_server_error());
    settle().await;
    fetch(&app, &[]).await.text().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_cut_short_evicts_unless_a_layer_inside_makes_an_answer_of_it() {
    for (outermost, seen, seen_with_even_if_failed) in [
        // The cache sees that the write was dropped or panicked: it may have been made.
        ("timeout, cache", "1", "1"),
        ("panic, cache", "1", "1"),
        // The cache sees an answer of 5xx, which says that nothing was written.
        ("cache, timeout", "0", "1"),
        ("cache, panic", "0", "1"),
    ] {
        assert_eq!(
            cut_short(Evict::nothing(), outermost).await,
            seen,
            "{outermost}"
        );
        let rule = Evict::nothing().even_if_failed();
        assert_eq!(
            cut_short(rule, outermost).await,
            seen_with_even_if_failed,
            "{outermost}"
        );
    }
}

// Panics

#[tokio::test]
async fn a_panic_inside_is_an_error_to_stand_in_for_and_outside_ends_the_request() {
    let panicking = || {
        let calls = Arc::new(AtomicUsize::new(0));
        at_root(get(move || async move {
            assert!(calls.fetch_add(1, Ordering::SeqCst) != 1, "the second call");
            "page".into_response()
        }))
    };
    for inside in [true, false] {
        let clock = ManualClock::new();
        let policy = Policy::ttl(MINUTE).stale_if_error(MINUTE);
        let routes = Routes::new().otherwise(policy);
        let builder = CacheLayer::builder().routes(routes).clock(clock.clock());
        let cache = builder.build().unwrap();
        let app = match inside {
            true => panicking().layer(CatchPanicLayer::new()).layer(cache),
            false => panicking().layer(cache).layer(CatchPanicLayer::new()),
        };
        fetch(&app, &[]).await;
        clock.advance(MINUTE);
        let answer = fetch(&app, &[]).await;
        let expected = if inside {
            (200, "STALE")
        } else {
            (500, "(absent)")
        };
        assert_eq!((answer.status.as_u16(), answer.x_cache()), expected);
        // Either way nothing of it is stored, and the next one is answered.
        let answer = fetch(&app, &[]).await;
        assert_eq!((answer.text(), answer.x_cache()), ("page", "MISS"));
    }
}

// The whole stack

#[tokio::test]
async fn the_recommended_stack_answers_each_client_its_own() {
    let stack = tower::ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CatchPanicLayer::new())
        .layer(timeout(StatusCode::GATEWAY_TIMEOUT))
        .layer(mirroring())
        .layer(cache())
        .layer(CompressionLayer::new());
    let app = page().layer(stack);
    let mut ids = std::collections::HashSet::new();
    for origin in ["https://a.example", "https://b.example"] {
        for accepts in ["gzip", "identity"] {
            let fields = [("origin", origin), ("accept-encoding", accepts)];
            let answer = fetch(&app, &fields).await;
            assert_eq!(answer.field("access-control-allow-origin"), origin);
            assert_eq!(is_gzip(&answer), accepts == "gzip");
            assert!(ids.insert(answer.field("x-request-id").to_owned()));
            let expected = if origin.contains("//a") {
                "MISS"
            } else {
                "HIT"
            };
            assert_eq!(answer.x_cache(), expected);
        }
    }
}
