//! What is not served from anywhere but the handler, what no request can ask for, and settings that
//! are refused.

use tower_response_cache::{CacheLayer, ErrorKind, Evict, Policy, Routes};

use super::is_stored;
use crate::support::{Bench, MINUTE, Origin, request, respond, sent};

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

#[tokio::test]
async fn a_request_that_another_host_forwards_has_its_own_response() {
    let origin = Origin::showing(&[], |request| sent(request, "x-forwarded-host"));
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let evil = [("x-forwarded-host", "evil.example")];
    assert_eq!(bench.get_with("/", &evil).await.text(), "evil.example");
    assert_eq!(bench.get("/").await.text(), "-");
}
