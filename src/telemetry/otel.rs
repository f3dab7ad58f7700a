//! The metrics through OpenTelemetry.
//!
//! Counts that are made anyway are read when somebody collects, and costs a request nothing. Durations are
//! recorded as they come, if anybody listens.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use opentelemetry::{InstrumentationScope, KeyValue, global};

use super::durations::Series;
use super::latency::{BOUNDS, SERIES};
use super::metrics::{Attributes, Instrument, METRICS, Metric, Source};
use super::stats::{Listener, Stats};

/// Where metrics go: to the meter that was given, or to one of the global provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlet(Option<Meter>);

impl From<Meter> for Outlet {
    fn from(meter: Meter) -> Self {
        Self(Some(meter))
    }
}

impl Outlet {
    /// Makes the instruments, which read from `source` whenever they are collected.
    pub(crate) fn attach(&self, cache: &str, stats: &Stats, source: impl Source) {
        let global = || {
            let scope = InstrumentationScope::builder("tower-response-cache")
                .with_version(env!("CARGO_PKG_VERSION"))
                .with_attributes([KeyValue::new("cache.name", cache.to_owned())])
                .build();
            global::meter_with_scope(scope)
        };
        let meter = self.0.clone().unwrap_or_else(global);
        let source: Arc<dyn Source> = Arc::new(source);
        for metric in &METRICS {
            observe(&meter, metric, &source);
        }
        // Without a reader nobody keeps what is to be called when one collects.
        if Arc::strong_count(&source) > 1 {
            stats.durations.attach(histograms(&meter));
            stats.listen(Listener::OpenTelemetry, true);
        }
    }
}

/// Makes the instrument of a metric that is read when it is collected.
fn observe(meter: &Meter, metric: &'static Metric, source: &Arc<dyn Source>) {
    let source = source.clone();
    match &metric.instrument {
        Instrument::Counter(values) => {
            meter
                .u64_observable_counter(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_callback(move |counter| {
                    source.read(&mut |report| {
                        values(report, &mut |attributes, count| {
                            counter.observe(count, &key_values(attributes));
                        });
                    });
                })
                .build();
        }
        Instrument::Gauge(values) => {
            meter
                .f64_observable_gauge(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_callback(move |gauge| {
                    source.read(&mut |report| {
                        values(report, &mut |attributes, value| {
                            gauge.observe(value, &key_values(attributes));
                        });
                    });
                })
                .build();
        }
        Instrument::Histogram(_) => {}
    }
}

fn key_values(attributes: &Attributes<'_>) -> Vec<KeyValue> {
    let key_value = |(key, value): &(&'static str, &str)| KeyValue::new(*key, (*value).to_owned());
    attributes.iter().map(key_value).collect()
}

fn histograms(meter: &Meter) -> Vec<Series> {
    let mut all = Vec::new();
    for metric in &METRICS {
        let Instrument::Histogram(series) = &metric.instrument else {
            continue;
        };
        let histogram = meter
            .f64_histogram(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.help)
            .with_boundaries(BOUNDS.to_vec())
            .build();
        let attributes = SERIES[series.clone()].iter();
        all.extend(attributes.map(|attribute| {
            let attribute = attribute.map(|(key, value)| KeyValue::new(key, value));
            (histogram.clone(), attribute.into_iter().collect())
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    use super::*;
    use crate::telemetry::{Report, Rows};

    struct Nothing;

    impl Source for Nothing {
        fn read(&self, _: &mut dyn FnMut(&Report<'_>)) {}
    }

    fn is_timed(provider: &SdkMeterProvider) -> bool {
        let stats = Stats::new(Rows::default());
        let outlet = Outlet::from(provider.meter("test"));
        outlet.attach("cache", &stats, Nothing);
        stats.is_timed()
    }

    #[test]
    fn nothing_is_timed_where_nobody_reads() {
        assert!(!is_timed(&SdkMeterProvider::builder().build()));
        let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        assert!(is_timed(&provider));
    }
}
