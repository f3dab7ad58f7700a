//! Durations, in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::status::Outcome;

/// The upper bounds of the buckets, in nanoseconds: those that the semantic conventions give to the
/// duration of an HTTP request, and as many below them, for a hit takes microseconds.
const NANOSECONDS: [u64; 22] = {
    const US: u64 = 1_000;
    const MS: u64 = 1_000 * US;
    [
        US,
        2_500,
        5 * US,
        10 * US,
        25 * US,
        50 * US,
        100 * US,
        250 * US,
        500 * US,
        MS,
        2_500 * US,
        5 * MS,
        10 * MS,
        25 * MS,
        50 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        1_000 * MS,
        2_500 * MS,
        5_000 * MS,
        10_000 * MS,
    ]
};

/// The same in seconds.
pub(crate) const BOUNDS: [f64; NANOSECONDS.len()] = {
    let mut seconds = [0.0; NANOSECONDS.len()];
    let mut index = 0;
    while index < seconds.len() {
        seconds[index] = NANOSECONDS[index] as f64 / 1e9;
        index += 1;
    }
    seconds
};

/// The thing that a duration measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    /// A read that the store answered: from the lookup's beginning to the response's head.
    Hit,
    /// The same of a read that took more than the store, by what became of it.
    Miss(Outcome),
    /// A lookup that found nothing to answer with.
    Lookup,
    /// A handler's call, to its response's head.
    Origin,
    /// The same to the end of a body that is stored.
    Fill,
    /// A store's answer that had to be waited for.
    Store(Operation),
}

/// The operations of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Change,
    Invalidate,
}

impl Operation {
    pub(crate) const ALL: [Self; 3] = [Self::Get, Self::Change, Self::Invalidate];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Change => "change",
            Self::Invalidate => "invalidate",
        }
    }
}

/// One value of an attribute that tells durations of a kind apart.
pub(crate) type Attribute = Option<(&'static str, &'static str)>;

/// The places of the histograms, and what tells them apart from others of their kind.
///
/// Hits have one of their own, without any attribute: to look attributes up takes OpenTelemetry
/// several times as long as to record a value.
pub(crate) const SERIES: [Attribute; 12] = [
    None,
    Some(("cache.outcome", "stale")),
    Some(("cache.outcome", "revalidated")),
    Some(("cache.outcome", "miss")),
    Some(("cache.outcome", "unsatisfied")),
    Some(("cache.outcome", "bypass")),
    None,
    None,
    None,
    Some(("cache.operation", "get")),
    Some(("cache.operation", "change")),
    Some(("cache.operation", "invalidate")),
];

impl Timed {
    /// Returns the place of this in [`SERIES`].
    pub(crate) fn series(self) -> usize {
        match self {
            // Of those that others share, one may be given what was stored meanwhile.
            Self::Hit | Self::Miss(Outcome::Hit) => 0,
            Self::Miss(Outcome::Stale(_)) => 1,
            Self::Miss(Outcome::Revalidated { .. }) => 2,
            Self::Miss(Outcome::Miss { .. }) => 3,
            Self::Miss(Outcome::Unsatisfied) => 4,
            Self::Miss(Outcome::Bypass(_)) => 5,
            Self::Lookup => 6,
            Self::Origin => 7,
            Self::Fill => 8,
            Self::Store(operation) => 9 + operation as usize,
        }
    }
}

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One more than bounds, for what is over the last.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = NANOSECONDS.partition_point(|bound| *bound < took);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// Returns the count of each bucket.
    pub(crate) fn buckets(&self) -> [u64; BOUNDS.len() + 1] {
        self.buckets
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// Returns the sum, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9
    }
}

/// A histogram for each of [`SERIES`].
#[derive(Debug, Default)]
pub(crate) struct Latencies([Histogram; SERIES.len()]);

impl Latencies {
    pub(crate) fn record(&self, timed: Timed, took: Duration) {
        self.0[timed.series()].record(took);
    }

    pub(crate) fn of(&self, series: usize) -> &Histogram {
        &self.0[series]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_the_same_in_seconds() {
        assert_eq!(BOUNDS[..3], [0.000_001, 0.000_002_5, 0.000_005]);
        assert_eq!(BOUNDS[BOUNDS.len() - 4..], [1.0, 2.5, 5.0, 10.0]);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_duration_equal_to_a_bound_is_in_its_bucket() {
        let histogram = Histogram::default();
        for (nanoseconds, bucket) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_500, 1),
            (5_000_000, 11),
            (5_000_001, 12),
            (10_000_000_000, 21),
            (10_000_000_001, 22),
        ] {
            let before = histogram.buckets()[bucket];
            histogram.record(Duration::from_nanos(nanoseconds));
            assert_eq!(histogram.buckets()[bucket], before + 1, "{nanoseconds}");
        }
        assert!((histogram.sum() - 20.010_004_503).abs() < 1e-9);
    }

    #[test]
    fn every_kind_of_duration_has_a_series_of_its_own() {
        let found = |timed: Timed| SERIES[timed.series()];
        for known in super::super::counters::outcomes() {
            let expected = match known {
                Outcome::Hit => None,
                _ => Some(("cache.outcome", known.as_str())),
            };
            assert_eq!(found(Timed::Miss(known)), expected);
        }
        for operation in Operation::ALL {
            let expected = Some(("cache.operation", operation.as_str()));
            assert_eq!(found(Timed::Store(operation)), expected);
        }
    }
}
