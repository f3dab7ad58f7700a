//! What is counted and measured, and how it is reported: statistics, health, Prometheus' text.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hot_keys;
#[cfg(feature = "otel")]
mod otel;
mod prometheus;
mod store;
mod traces;
mod warm_up;

use tower_response_cache::{
    CacheLayer, CacheLayerBuilder, Evict, HealthStatus, Policy, RouteStats, Routes, StoreState,
};

use crate::support::{Bench, Gate, MINUTE, Origin, request, respond, seconds, settle};

fn shop() -> CacheLayerBuilder {
    let policy = || Policy::ttl(MINUTE).stale_while_revalidate(MINUTE);
    let routes = Routes::new()
        .route("/products/{id}", policy())
        .route("/search", policy())
        .route("/me", Policy::bypass())
        .on_write("/products/{id}", Evict::pattern("/products/**"));
    CacheLayer::builder().routes(routes)
}

fn bench() -> Bench {
    Bench::with_builder(shop(), Origin::counting())
}

/// An origin whose answers wait for a gate.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::new(move |_, call| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            respond(200, &[], call.to_string())
        }
    })
}

fn of_route<'a>(routes: &'a [RouteStats], route: Option<&str>) -> &'a RouteStats {
    let is = |stats: &&RouteStats| stats.route.as_deref() == route;
    routes.iter().find(is).unwrap()
}

#[tokio::test]
async fn requests_are_counted_by_outcome_and_route() {
    let bench = bench();
    for uri in ["/products/7", "/products/7", "/products/8", "/search?q=a"] {
        bench.get(uri).await;
    }
    bench.clock.advance(seconds(61));
    bench.get("/products/7").await;
    settle().await;
    bench.get("/me").await;
    bench.get("/unknown").await;
    bench.get_with("/search", &[("x-original-url", "/")]).await;
    bench.ask(request("PUT", "/products/7", &[])).await;
    let wanted = [("cache-control", "only-if-cached")];
    bench.get_with("/products/7", &wanted).await;

    let stats = bench.handle.stats();
    let products = of_route(&stats.routes, Some("/products/{id}"));
    let counted = (products.hits, products.misses, products.stale_hits);
    assert_eq!(counted, (1, 2, 1));
    assert_eq!((products.refreshes, products.stored), (1, 3));
    assert_eq!((products.only_if_cached, products.requests()), (1, 5));
    assert!((products.hit_ratio() - 0.4).abs() < 1e-9);
    let search = of_route(&stats.routes, Some("/search"));
    assert_eq!((search.misses, search.bypassed), (1, 1));
    assert_eq!(of_route(&stats.routes, Some("/me")).bypassed, 1);
    assert_eq!(of_route(&stats.routes, None).bypassed, 2);
    assert_eq!(stats.routes.len(), 4);
    assert_eq!(stats.requests(), 10);
    assert_eq!((stats.refreshes, stats.invalidations), (1, 2));
    assert_eq!(stats.usage.entries, 3);

    let reasons: Vec<_> = stats
        .outcomes
        .iter()
        .map(|one| (one.outcome, one.reason, one.requests))
        .collect();
    let expected = [
        ("hit", None, 1),
        ("unsatisfied", Some("only-if-cached"), 1),
        ("stale", Some("stale-while-revalidate"), 1),
        ("miss", Some("uri-miss"), 3),
        ("bypass", Some("method"), 1),
        ("bypass", Some("no-route"), 1),
        ("bypass", Some("policy"), 1),
        ("bypass", Some("header"), 1),
    ];
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn routes_over_the_bound_are_counted_together() {
    let routes = (0..250).fold(Routes::new(), |routes, n| {
        routes.route(format!("/{n}"), Policy::ttl(MINUTE))
    });
    let bench = Bench::with_routes(routes.otherwise(Policy::ttl(MINUTE)), Origin::counting());
    for n in 0..300 {
        bench.get(&format!("/{n}")).await;
    }
    let stats = bench.handle.stats();
    let misses = |route| of_route(&stats.routes, Some(route)).misses;
    assert_eq!(stats.routes.len(), 202);
    assert_eq!(
        (misses("/199"), misses("more"), misses("otherwise")),
        (1, 50, 50)
    );
    let text = bench.handle.prometheus();
    let requests = prometheus::samples(&text)
        .keys()
        .filter(|name| name.starts_with("http_cache_requests_total"))
        .count();
    // A hit and a miss for each template, and the two that have none.
    assert_eq!(requests, 402);
}

#[tokio::test]
async fn a_policy_of_its_own_is_counted_as_a_layer() {
    use tower::{Layer, ServiceExt};
    let bench = bench();
    let layer = bench.handle.layer(Policy::ttl(MINUTE)).unwrap();
    for _ in 0..2 {
        let service = layer.layer(Origin::counting());
        service.oneshot(request("GET", "/x", &[])).await.unwrap();
    }
    let stats = bench.handle.stats();
    assert_eq!(of_route(&stats.routes, Some("layer")).misses, 2);
}

#[tokio::test]
async fn a_cache_that_is_switched_off_is_degraded_and_ready() {
    let bench = bench();
    let health = bench.handle.health();
    assert_eq!((health.status, health.bypassed), (HealthStatus::Ok, false));
    assert_eq!(health.store.state, StoreState::Up);
    bench.handle.set_bypass(true);
    let health = bench.handle.health();
    assert_eq!(
        (health.status, health.bypassed),
        (HealthStatus::Degraded, true)
    );
    assert!(health.is_ready());
}
