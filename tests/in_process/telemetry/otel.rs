//! What OpenTelemetry is given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tower_response_cache::{CacheDirective, CacheLayer, Policy, Routes};

use super::shop;
use super::store::Slow;
use crate::support::{Bench, MINUTE, Origin, request, respond, seconds, settle};

/// A provider whose metrics are collected when the test wants them.
struct Collector {
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

/// One metric as it was exported.
#[derive(Debug, Default, PartialEq)]
struct Exported {
    instrument: &'static str,
    unit: String,
    /// Values, or for histograms counts, by attributes.
    points: BTreeMap<String, f64>,
    keys: BTreeSet<String>,
}

impl Collector {
    fn new() -> Self {
        let exporter = InMemoryMetricExporter::default();
        let reader = PeriodicReader::builder(exporter.clone())
            .with_interval(MINUTE * 60)
            .build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        Self { provider, exporter }
    }

    /// Returns what is exported now, by the name in the scope and that of the metric.
    fn collect(&self) -> BTreeMap<(String, String), Exported> {
        self.exporter.reset();
        self.provider.force_flush().unwrap();
        let mut all = BTreeMap::new();
        for resource in self.exporter.get_finished_metrics().unwrap() {
            for scope in resource.scope_metrics() {
                let own = |attribute: &&KeyValue| attribute.key.as_str() == "cache.name";
                let name = scope.scope().attributes().find(own);
                let name = name.map_or(String::new(), |name| name.value.to_string());
                for metric in scope.metrics() {
                    let key = (name.clone(), metric.name().to_owned());
                    let exported = Exported {
                        unit: metric.unit().to_owned(),
                        ..Exported::of(metric.data())
                    };
                    all.insert(key, exported);
                }
            }
        }
        all
    }
}

impl Exported {
    fn of(data: &AggregatedMetrics) -> Self {
        let mut exported = Self::default();
        match data {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                assert!(sum.is_monotonic());
                exported.instrument = "counter";
                for point in sum.data_points() {
                    exported.add(point.attributes(), point.value() as f64);
                }
            }
            AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                exported.instrument = "gauge";
                for point in gauge.data_points() {
                    exported.add(point.attributes(), point.value());
                }
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                exported.instrument = "histogram";
                for point in histogram.data_points() {
                    exported.add(point.attributes(), point.count() as f64);
                }
            }
            other => panic!("{other:?}"),
        }
        exported
    }

    fn add<'a>(&mut self, attributes: impl Iterator<Item = &'a KeyValue>, value: f64) {
        let shown: BTreeMap<_, _> = attributes
            .map(|attribute| (attribute.key.to_string(), attribute.value.to_string()))
            .collect();
        self.keys.extend(shown.keys().cloned());
        let shown: Vec<_> = shown
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        self.points.insert(shown.join(","), value);
    }
}

/// The rows of the table in the documentation: instrument, unit, and attributes, by name.
fn documented() -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let words = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let page = include_str!("../../../src/docs/metrics.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `http.cache."));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, instrument, unit, attributes, moment] = cells[..] else {
            panic!("{row}");
        };
        assert!(!moment.is_empty(), "{row}");
        let unit = words(unit).pop().unwrap_or_default();
        let attributes = words(attributes).into_iter().collect();
        (
            words(name).remove(0),
            (instrument.to_owned(), unit, attributes),
        )
    })
    .collect()
}

/// A cache that everything has happened to which there is a metric of.
async fn eventful(collector: &Collector) -> Bench {
    let origin = Origin::new(|request, call| async move {
        let mut response = respond(200, &[("etag", "\"a\"")], call.to_string());
        match request.uri().path() {
            "/search" => drop(response.extensions_mut().insert(CacheDirective::no_store())),
            _ if request.headers().contains_key("if-none-match") => {
                response = respond(304, &[("etag", "\"a\"")], "");
            }
            _ => {}
        }
        response
    });
    let (slow, controls) = Slow::new();
    let builder = shop().store(slow).meter(collector.provider.meter("test"));
    let bench = Bench::with_builder(builder, origin);
    for uri in ["/products/7", "/products/7", "/search", "/me"] {
        bench.get(uri).await;
    }
    let together = (0..2).map(|_| bench.spawn(request("GET", "/products/8", &[])));
    for answer in together.collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    bench.clock.advance(seconds(70));
    bench.get("/products/7").await;
    settle().await;
    bench.handle.invalidate_all().await.unwrap();
    bench.get("/products/7").await;
    controls.fails.store(true, Ordering::SeqCst);
    bench.get("/products/7").await;
    controls.fails.store(false, Ordering::SeqCst);
    bench
}

#[tokio::test]
async fn what_is_exported_is_what_is_documented() {
    let collector = Collector::new();
    let _bench = eventful(&collector).await;
    let exported = collector.collect();
    let exported: BTreeMap<_, _> = exported
        .iter()
        .map(|((_, name), one)| {
            let is = (
                one.instrument.to_owned(),
                one.unit.clone(),
                one.keys.clone(),
            );
            (name.clone(), is)
        })
        .collect();
    let documented = documented();
    assert_eq!(documented.len(), 27);
    for (name, expected) in &documented {
        assert_eq!(exported.get(name), Some(expected), "{name}");
    }
    assert_eq!(exported.len(), documented.len());
}

#[tokio::test]
async fn opentelemetry_is_given_what_prometheus_is_given() {
    let collector = Collector::new();
    let bench = eventful(&collector).await;
    let exported = collector.collect();
    let samples = super::prometheus::samples(&bench.handle.prometheus());
    let mut compared = 0;
    for ((_, name), one) in &exported {
        if one.instrument == "histogram" {
            continue;
        }
        let prefix = name.replace('.', "_");
        let of_it = |(series, _): &(&String, &f64)| {
            let bare = series.split('{').next().unwrap_or_default();
            let ends = ["", "_total", "_bytes", "_seconds"];
            ends.iter()
                .any(|end| bare.strip_suffix(end) == Some(&prefix))
        };
        let mut scraped: Vec<f64> = samples
            .iter()
            .filter(of_it)
            .map(|(_, value)| *value)
            .collect();
        let mut points: Vec<f64> = one.points.values().copied().collect();
        scraped.sort_by(f64::total_cmp);
        points.sort_by(f64::total_cmp);
        assert_eq!(points, scraped, "{name}");
        compared += points.len();
    }
    assert!(compared > 40, "{compared}");
    let requests = &exported[&(String::new(), "http.cache.requests".to_owned())].points;
    let hit = "cache.outcome=hit,http.route=/products/{id}";
    assert_eq!(requests[hit], 1.0, "{requests:?}");
}

#[tokio::test]
async fn hits_and_misses_are_timed_apart() {
    let collector = Collector::new();
    let builder = shop().meter(collector.provider.meter("test"));
    let bench = Bench::with_builder(builder, Origin::counting());
    for _ in 0..4 {
        bench.get("/products/7").await;
    }
    let exported = collector.collect();
    let points =
        |name: &str| &exported[&(String::new(), format!("http.cache.{name}.duration"))].points;
    let counts = |count| BTreeMap::from([(String::new(), count)]);
    assert_eq!(*points("hit"), counts(3.0));
    assert_eq!(points("miss")["cache.outcome=miss"], 1.0);
    for name in ["lookup", "origin", "fill"] {
        assert_eq!(*points(name), counts(1.0), "{name}");
    }
    // Memory's answers take no waiting.
    assert!(!exported.contains_key(&(String::new(), "http.cache.store.duration".to_owned())));
}

#[tokio::test]
async fn the_global_provider_is_used_and_tells_caches_apart_by_name() {
    let collector = Collector::new();
    global::set_meter_provider(collector.provider.clone());
    let named = |name: &str| {
        let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
        let builder = CacheLayer::builder().routes(routes).name(name);
        Bench::with_builder(builder, Origin::counting())
    };
    let (one, other) = (named("one"), named("other"));
    one.get("/").await;
    for uri in ["/a", "/b", "/a"] {
        other.get(uri).await;
    }
    let stored = |cache: &str| {
        let exported = collector.collect();
        let stored = exported.get(&(cache.to_owned(), "http.cache.stored".to_owned()));
        stored.map(|one| one.points["http.route=otherwise"])
    };
    assert_eq!((stored("one"), stored("other")), (Some(1.0), Some(2.0)));
    // What is gone is no longer reported.
    drop(one);
    assert_eq!((stored("one"), stored("other")), (None, Some(2.0)));
}

#[tokio::test]
async fn a_cache_without_a_reader_works_as_ever() {
    let provider = SdkMeterProvider::builder().build();
    let builder = shop().meter(provider.meter("test"));
    let bench = Bench::with_builder(builder, Origin::counting());
    assert_eq!(bench.get("/products/7").await.x_cache(), "MISS");
    assert_eq!(bench.get("/products/7").await.x_cache(), "HIT");
    drop(provider);
    assert_eq!(bench.get("/products/7").await.x_cache(), "HIT");
    assert_eq!(
        super::of_route(&bench.handle.stats().routes, Some("/products/{id}")).hits,
        2
    );
}
