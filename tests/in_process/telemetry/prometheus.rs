//! What Prometheus is given.

use std::collections::BTreeMap;

use tower_response_cache::{CacheDirective, Invalidation, MemoryStore, Pattern};

use super::{gated, shop};
use crate::support::{Bench, Gate, Origin, request, respond, seconds, settle};

/// The samples of a text in Prometheus' format, by name and labels as they stand there. Fails where
/// the text is not one that Prometheus takes.
pub(crate) fn samples(text: &str) -> BTreeMap<String, f64> {
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
        "hit_duration_seconds_count",
        "miss_duration_seconds_count{cache_outcome=\"miss\"}",
        "lookup_duration_seconds_count",
        "origin_duration_seconds_count",
        "fill_duration_seconds_count",
    ] {
        let found = samples.get(&format!("http_cache_{name}"));
        assert_eq!(found.copied().unwrap_or_default(), expected, "{name}");
    }
}

#[tokio::test]
async fn durations_are_those_of_the_clock() {
    let gate = Gate::shut();
    let bench = Bench::with_builder(shop().measure_latency(true), gated(&gate));
    let miss = bench.spawn(request("GET", "/products/7", &[]));
    settle().await;
    bench.clock.advance(seconds(2));
    gate.open();
    miss.await.unwrap();
    bench.get("/products/7").await;
    let text = bench.handle.prometheus();
    let samples = samples(&text);
    for (name, value) in [
        ("miss_duration_seconds_sum{cache_outcome=\"miss\"}", 2.0),
        (
            "miss_duration_seconds_bucket{cache_outcome=\"miss\",le=\"1\"}",
            0.0,
        ),
        (
            "miss_duration_seconds_bucket{cache_outcome=\"miss\",le=\"2.5\"}",
            1.0,
        ),
        (
            "miss_duration_seconds_bucket{cache_outcome=\"miss\",le=\"+Inf\"}",
            1.0,
        ),
        ("hit_duration_seconds_bucket{le=\"0.000001\"}", 1.0),
        ("hit_duration_seconds_sum", 0.0),
        ("origin_duration_seconds_sum", 2.0),
        ("fill_duration_seconds_sum", 2.0),
        ("lookup_duration_seconds_sum", 0.0),
    ] {
        assert_eq!(samples[&format!("http_cache_{name}")], value, "{name}");
    }
}

#[tokio::test]
async fn those_who_wait_are_counted_while_they_wait() {
    let gate = Gate::shut();
    let bench = Bench::with_builder(shop(), gated(&gate));
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
