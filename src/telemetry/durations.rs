//! The durations recorded through OpenTelemetry.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;

use super::latency::Timed;

/// One of [`SERIES`](super::latency::SERIES): its instrument, and its distinguishing attributes.
pub(super) type Series = (Histogram<f64>, Vec<KeyValue>);

/// The instruments of durations; none until somebody listens.
#[derive(Debug, Default)]
pub(super) struct Durations(OnceLock<Vec<Series>>);

impl Durations {
    /// Takes the instruments of a cache, in the order of [`SERIES`](super::latency::SERIES).
    pub(super) fn attach(&self, all: Vec<Series>) {
        // It is empty: a cache is attached once, when it is built.
        let _ = self.0.set(all);
    }

    pub(super) fn record(&self, timed: Timed, took: Duration) {
        let series = self.0.get().and_then(|all| all.get(timed.series()));
        if let Some((histogram, attributes)) = series {
            histogram.record(took.as_secs_f64(), attributes);
        }
    }
}
