//! Routes, conditions and tags, and the switch that turns the cache off.

use http::StatusCode;
use tower_response_cache::{
    CacheDirective, CacheLayer, Evict, Invalidate, Invalidation, Policy, Routes,
};

use super::is_stored;
use crate::support::{Bench, MINUTE, Origin, request, respond};

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
