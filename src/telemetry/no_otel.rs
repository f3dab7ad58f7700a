//! Stands in for OpenTelemetry where that is left out.

use super::metrics::Source;
use super::stats::Stats;

#[derive(Clone, Debug, Default)]
pub(crate) struct Outlet {}

impl Outlet {
    pub(crate) fn attach(&self, _cache: &str, _stats: &Stats, _source: impl Source) {}
}
