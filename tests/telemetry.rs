//! What is counted and measured, and how it is told: statistics, health, Prometheus' text.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;

use support::{Bench, MINUTE, Origin, request, respond, seconds, settle};
use tower_response_cache::{
    CacheDirective, CacheLayer, CacheLayerBuilder, Evict, HealthStatus, Invalidation, MemoryStore,
    Pattern, Policy, RouteStats, Routes, StoreState,
};

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

fn of_route<'a>(routes: &'a [RouteStats], route: Option<&str>) -> &'a RouteStats {
    let is = |stats: &&RouteStats| stats.route.as_deref() == route;
    routes.iter().find(is).unwrap()
}

/// The samples of a text in Prometheus' format, by name and labels as they stand there. Fails where
/// the text is not one that Prometheus takes.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families: BTreeMap<String, &str> = BTreeMap::new();
    let (mut family, mut helped) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, said) = help.split_once(' ').unwrap();
            assert!(!said.is_empty());
            helped = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name, helped);
            assert!(families.insert(name.to_owned(), kind).is_none(), "{line}");
            family = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| name.strip_suffix(suffix) == Some(&family));
            match families[&family] {
                "histogram" => assert!(of_histogram, "{line}"),
                _ => assert_eq!(name, family),
            }
            let before = samples.insert(series.to_owned(), value.parse().unwrap());
            assert_eq!(before, None, "{line}");
        }
    }
    samples
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
    let requests = samples(&text)
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
async fn prometheus_is_given_the_counts_of_the_statistics() {
    let origin = Origin::new(|_, call| async move {
        let mut response = respond(200, &[], call.to_string());
        if call == 2 {
            response.extensions_mut().insert(CacheDirective::no_store());
        }
        response
    });
    let bench = Bench::with_builder(shop(), origin);
    for uri in ["/products/7", "/products/7", "/search", "/me"] {
        bench.get(uri).await;
    }
    bench.handle.invalidate_tag("a").await.unwrap();
    bench.handle.invalidate_uri("/b").await.unwrap();
    bench.handle.invalidate_all().await.unwrap();
    let soft = Invalidation::pattern(Pattern::parse("/b/*").unwrap()).soft();
    bench.handle.invalidate(soft).await.unwrap();
    bench.get("/products/7").await;
    bench.handle.set_bypass(true);
    bench.get("/products/7").await;

    let text = bench.handle.prometheus();
    let samples = samples(&text);
    let expected = [
        (
            "requests_total{http_route=\"/products/{id}\",cache_outcome=\"hit\"}",
            1.0,
        ),
        (
            "requests_total{http_route=\"/products/{id}\",cache_outcome=\"miss\",cache_reason=\"uri-miss\"}",
            1.0,
        ),
        (
            "requests_total{http_route=\"/products/{id}\",cache_outcome=\"miss\",cache_reason=\"invalidated\"}",
            1.0,
        ),
        (
            "requests_total{http_route=\"/me\",cache_outcome=\"bypass\",cache_reason=\"policy\"}",
            1.0,
        ),
        (
            "requests_total{http_route=\"/me\",cache_outcome=\"hit\"}",
            0.0,
        ),
        (
            "requests_total{cache_outcome=\"bypass\",cache_reason=\"disabled\"}",
            1.0,
        ),
        ("stored_total{http_route=\"/products/{id}\"}", 2.0),
        ("stored_total{http_route=\"/search\"}", 0.0),
        ("not_stored_total{cache_reason=\"directive\"}", 1.0),
        (
            "invalidations_total{cache_kind=\"tag\",cache_mode=\"hard\"}",
            1.0,
        ),
        (
            "invalidations_total{cache_kind=\"uri\",cache_mode=\"hard\"}",
            1.0,
        ),
        (
            "invalidations_total{cache_kind=\"everything\",cache_mode=\"hard\"}",
            1.0,
        ),
        (
            "invalidations_total{cache_kind=\"pattern\",cache_mode=\"soft\"}",
            1.0,
        ),
        (
            "invalidations_total{cache_kind=\"pattern\",cache_mode=\"hard\"}",
            0.0,
        ),
        ("invalidated_total{cache_found_by=\"lookup\"}", 1.0),
        ("entries", 1.0),
        ("capacity_bytes", f64::from(64 << 20)),
        ("bypassed", 1.0),
        ("store_state{cache_state=\"up\"}", 1.0),
        ("store_state{cache_state=\"down\"}", 0.0),
        ("store_errors_total{cache_operation=\"get\"}", 0.0),
    ];
    for (name, value) in expected {
        let found = samples.get(&format!("http_cache_{name}"));
        assert_eq!(found, Some(&value), "{name} in\n{text}");
    }
    assert!(samples["http_cache_size_bytes"] > 0.0);
}

#[tokio::test]
async fn what_is_removed_from_the_store_is_counted_by_its_cause() {
    let builder = shop().store(MemoryStore::new(64 << 10));
    let bench = Bench::with_builder(builder, Origin::counting());
    for n in 0..2_000 {
        bench.get(&format!("/products/{n}")).await;
    }
    let evicted = bench.handle.stats().usage.evictions;
    let kept = bench.handle.stats().usage.entries;
    assert!(evicted > 0 && kept > 0);
    tokio::time::pause();
    bench
        .handle
        .invalidate_pattern("/products/*")
        .await
        .unwrap();
    while bench.handle.stats().usage.entries > 0 {
        tokio::time::advance(seconds(1)).await;
        settle().await;
    }
    let text = bench.handle.prometheus();
    let samples = samples(&text);
    for (name, value) in [
        ("evictions_total{cache_cause=\"capacity\"}", evicted),
        ("evictions_total{cache_cause=\"invalidated\"}", kept),
        ("evictions_total{cache_cause=\"expired\"}", 0),
        ("invalidated_total{cache_found_by=\"sweep\"}", kept),
    ] {
        assert_eq!(
            samples[&format!("http_cache_{name}")],
            value as f64,
            "{name}"
        );
    }
}

#[tokio::test]
async fn durations_are_measured_only_when_asked_for() {
    for on in [false, true] {
        let bench = Bench::with_builder(shop().measure_latency(on), Origin::counting());
        measured(&bench, if on { 1.0 } else { 0.0 }).await;
        bench.handle.measure_latency(!on);
        measured(&bench, 1.0).await;
    }
}

/// Sends a miss and a hit, after which each is expected to have been measured so often.
async fn measured(bench: &Bench, expected: f64) {
    bench.handle.invalidate_all().await.unwrap();
    bench.get("/products/7").await;
    bench.get("/products/7").await;
    let text = bench.handle.prometheus();
    let samples = samples(&text);
    for name in [
        "request_duration_seconds_count{cache_outcome=\"hit\"}",
        "request_duration_seconds_count{cache_outcome=\"miss\"}",
        "lookup_duration_seconds_count{cache_result=\"hit\"}",
        "lookup_duration_seconds_count{cache_result=\"miss\"}",
        "origin_duration_seconds_count",
        "fill_duration_seconds_count",
    ] {
        let found = samples.get(&format!("http_cache_{name}"));
        assert_eq!(found.copied().unwrap_or_default(), expected, "{name}");
    }
}

#[tokio::test]
async fn durations_are_those_of_the_clock() {
    let gate = support::Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |_, _| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                respond(200, &[], "x")
            }
        })
    };
    let bench = Bench::with_builder(shop().measure_latency(true), origin);
    let miss = bench.spawn(request("GET", "/products/7", &[]));
    settle().await;
    bench.clock.advance(seconds(2));
    gate.open();
    miss.await.unwrap();
    bench.get("/products/7").await;
    let text = bench.handle.prometheus();
    let samples = samples(&text);
    for (name, value) in [
        ("request_duration_seconds_sum{cache_outcome=\"miss\"}", 2.0),
        (
            "request_duration_seconds_bucket{cache_outcome=\"miss\",le=\"1\"}",
            0.0,
        ),
        (
            "request_duration_seconds_bucket{cache_outcome=\"miss\",le=\"2.5\"}",
            1.0,
        ),
        (
            "request_duration_seconds_bucket{cache_outcome=\"miss\",le=\"+Inf\"}",
            1.0,
        ),
        (
            "request_duration_seconds_bucket{cache_outcome=\"hit\",le=\"0.000001\"}",
            1.0,
        ),
        ("request_duration_seconds_sum{cache_outcome=\"hit\"}", 0.0),
        ("origin_duration_seconds_sum", 2.0),
        ("fill_duration_seconds_sum", 2.0),
        ("lookup_duration_seconds_sum{cache_result=\"miss\"}", 0.0),
    ] {
        assert_eq!(samples[&format!("http_cache_{name}")], value, "{name}");
    }
}

#[tokio::test]
async fn those_who_wait_are_counted_while_they_wait() {
    let gate = support::Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |_, _| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                respond(200, &[], "x")
            }
        })
    };
    let bench = Bench::with_builder(shop(), origin);
    let waiting = |bench: &Bench| samples(&bench.handle.prometheus())["http_cache_waiting"];
    let all: Vec<_> = (0..5)
        .map(|_| bench.spawn(request("GET", "/products/7", &[])))
        .collect();
    settle().await;
    assert_eq!(waiting(&bench), 4.0);
    all[4].abort();
    settle().await;
    assert_eq!(waiting(&bench), 3.0);
    gate.open();
    for one in all.into_iter().take(4) {
        one.await.unwrap();
    }
    assert_eq!(waiting(&bench), 0.0);
    assert_eq!(bench.handle.stats().collapsed, 4);
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
