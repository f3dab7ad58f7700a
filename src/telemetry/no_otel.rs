//! Stands in for OpenTelemetry when the feature is off.

use super::metrics::MetricsSource;
use super::stats::Stats;

#[derive(Clone, Debug, Default)]
pub(crate) struct OtelMeter {}

impl OtelMeter {
    pub(crate) fn attach(&self, _cache: &str, _stats: &Stats, _source: impl MetricsSource) {}
}
