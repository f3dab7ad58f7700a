//! Stands in for the durations of OpenTelemetry where that is left out.

use std::time::Duration;

use super::latency::Timed;

#[derive(Debug, Default)]
pub(super) struct Durations {}

impl Durations {
    #[inline]
    pub(super) fn record(&self, _timed: Timed, _took: Duration) {}
}
