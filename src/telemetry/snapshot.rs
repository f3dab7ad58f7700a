//! The counts, as plain numbers.

use super::counters::{CounterSlot, Event, Row, outcomes};
use super::latency::Operation;
use super::stats::Stats;
use crate::invalidate::InvalidationKind;
use crate::status::Outcome;
use crate::store::Usage;

/// The counts of a cache since it was built, and the usage of its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Requests answered from a fresh stored response.
    pub hits: u64,
    /// Requests answered from a stale one: while it was refreshed, or because the handler failed.
    pub stale_hits: u64,
    /// Requests answered from a stored response that the handler confirmed.
    pub revalidated: u64,
    /// Requests answered by the handler, those that shared another request's call included.
    pub misses: u64,
    /// Requests for which the cache was not asked, writes included.
    pub bypassed: u64,
    /// Requests with `only-if-cached` for which nothing was stored.
    pub only_if_cached: u64,
    /// Times a request waited for another request's handler call.
    pub collapsed: u64,
    /// Responses stored.
    pub stored: u64,
    /// Refreshes begun in the background, behind a response that was served at once.
    pub refreshes: u64,
    /// Invalidations recorded, by writes and by hand.
    pub invalidations: u64,
    /// Times the store failed; no request fails with it.
    pub store_errors: u64,
    /// The usage of the store: entries, bytes, evictions.
    pub usage: Usage,
    /// The requests by outcome and reason; what never came about is left out.
    pub outcomes: Vec<OutcomeStats>,
    /// The same counts by route, in the order the routes were given; what was never counted is left
    /// out. At most 204, of which 200 are templates.
    pub routes: Vec<RouteStats>,
}

/// How many requests came to one outcome, for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutcomeStats {
    /// `hit`, `stale`, `revalidated`, `miss`, `unsatisfied` or `bypass`.
    pub outcome: &'static str,
    /// Why, in the words of `Cache-Status`; a hit has no reason.
    pub reason: Option<&'static str>,
    /// How many.
    pub requests: u64,
}

/// The counts of one route; see [`CacheStats`] for the words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// The template as it was given; `otherwise` for [`Routes::otherwise`](crate::Routes::otherwise),
    /// `layer` for all policies of [`CacheHandle::layer`](crate::CacheHandle::layer), `more` for all
    /// templates after the 200th; `None` for what has no route, writes among it.
    pub route: Option<String>,
    /// Requests answered from a fresh stored response.
    pub hits: u64,
    /// Requests answered from a stale one.
    pub stale_hits: u64,
    /// Requests answered from a stored response that the handler confirmed.
    pub revalidated: u64,
    /// Requests answered by the handler.
    pub misses: u64,
    /// Requests for which the cache was not asked.
    pub bypassed: u64,
    /// Requests with `only-if-cached` for which nothing was stored.
    pub only_if_cached: u64,
    /// Times a request waited for another request's handler call.
    pub collapsed: u64,
    /// Responses stored.
    pub stored: u64,
    /// Refreshes begun in the background.
    pub refreshes: u64,
}

impl CacheStats {
    /// Reads all counters. They go on while they are read, so that those of one request may be seen
    /// in part.
    pub(crate) fn of(stats: &Stats, usage: Usage) -> Self {
        let all = totals(|slot| stats.rows.sum(slot));
        let count = |outcome: Outcome| OutcomeStats {
            outcome: outcome.as_str(),
            reason: outcome.reason(),
            requests: stats.rows.sum(outcome),
        };
        let invalidations = InvalidationKind::ALL
            .iter()
            .flat_map(|kind| [false, true].map(|soft| stats.invalidations(*kind, soft)));
        Self {
            hits: all.hits,
            stale_hits: all.stale_hits,
            revalidated: all.revalidated,
            misses: all.misses,
            bypassed: all.bypassed,
            only_if_cached: all.only_if_cached,
            collapsed: all.collapsed,
            stored: all.stored,
            refreshes: all.refreshes,
            invalidations: invalidations.sum(),
            store_errors: Operation::ALL
                .iter()
                .map(|one| stats.store_errors(*one))
                .sum(),
            usage,
            outcomes: outcomes()
                .map(count)
                .filter(|one| one.requests > 0)
                .collect(),
            routes: stats
                .rows
                .iter()
                .filter(|row| row.is_in_use())
                .map(of_route)
                .collect(),
        }
    }

    /// Returns the share of reads the cache was asked for that it answered itself, from 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let answered = self.hits + self.stale_hits;
        ratio(
            answered,
            answered + self.revalidated + self.misses + self.only_if_cached,
        )
    }

    /// Returns how many requests were answered, in whatever way.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let asked = self.hits + self.stale_hits + self.revalidated + self.misses;
        asked + self.only_if_cached + self.bypassed
    }
}

impl RouteStats {
    /// Returns the share of reads the cache was asked for that it answered itself, from 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let answered = self.hits + self.stale_hits;
        ratio(
            answered,
            answered + self.revalidated + self.misses + self.only_if_cached,
        )
    }

    /// Returns how many requests were answered, in whatever way.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let asked = self.hits + self.stale_hits + self.revalidated + self.misses;
        asked + self.only_if_cached + self.bypassed
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

fn of_route(row: &Row) -> RouteStats {
    RouteStats {
        route: (!row.label.is_empty()).then(|| row.label.to_string()),
        ..totals(|slot| row.get(slot))
    }
}

fn totals(get: impl Fn(CounterSlot) -> u64) -> RouteStats {
    let mut totals = RouteStats {
        collapsed: get(Event::Collapsed.into()),
        stored: get(Event::Stored.into()),
        refreshes: get(Event::Refreshed.into()),
        ..RouteStats::default()
    };
    for outcome in outcomes() {
        let total = match outcome {
            Outcome::Hit => &mut totals.hits,
            Outcome::Stale(_) => &mut totals.stale_hits,
            Outcome::Revalidated { .. } => &mut totals.revalidated,
            Outcome::Miss { .. } => &mut totals.misses,
            Outcome::Unsatisfied => &mut totals.only_if_cached,
            Outcome::Bypass(_) => &mut totals.bypassed,
        };
        *total += get(outcome.into());
    }
    totals
}
