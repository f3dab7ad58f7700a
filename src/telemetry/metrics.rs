//! The metrics: what each is called, and where its values come from. What OpenTelemetry is given and
//! what Prometheus scrapes are made of this one list.

use std::ops::Range;

use smallvec::SmallVec;

use super::counters::{Event, Row, outcomes};
use super::latency::Operation;
use super::stats::Stats;
use crate::invalidate::InvalidationKind;
use crate::status::{Miss, Outcome};
use crate::store::{StoreHealth, StoreState, Usage};

/// The state that the values are read from.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) stats: &'a Stats,
    pub(crate) usage: Usage,
    pub(crate) health: StoreHealth,
    pub(crate) bypassed: bool,
}

/// A source of metrics: a cache, for as long as it exists.
pub(crate) trait Source: Send + Sync + 'static {
    /// Shows how things stand.
    #[cfg_attr(
        not(feature = "otel"),
        expect(dead_code, reason = "nobody collects what nobody exports")
    )]
    fn read(&self, see: &mut dyn FnMut(&Report<'_>));
}

/// One metric.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// As in UCUM, annotations in braces.
    pub(crate) unit: &'static str,
    pub(crate) help: &'static str,
    pub(crate) instrument: Instrument,
}

pub(crate) enum Instrument {
    Counter(fn(&Report<'_>, See<'_, u64>)),
    Gauge(fn(&Report<'_>, See<'_, f64>)),
    /// The places of its histograms among all.
    Histogram(Range<usize>),
}

/// The attributes of one value.
pub(crate) type Attributes<'a> = [(&'static str, &'a str)];

/// Is shown each value of a metric.
pub(crate) type See<'a, T> = &'a mut dyn FnMut(&Attributes<'_>, T);

const fn metric(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    instrument: Instrument,
) -> Metric {
    Metric {
        name,
        unit,
        help,
        instrument,
    }
}

use Instrument::{Counter, Gauge, Histogram};

pub(crate) static METRICS: [Metric; 25] = [
    metric(
        "http.cache.requests",
        "{request}",
        "Requests, by what became of them.",
        Counter(requests),
    ),
    metric(
        "http.cache.hit.duration",
        "s",
        "Time to answer a read from the store.",
        Histogram(0..1),
    ),
    metric(
        "http.cache.miss.duration",
        "s",
        "Time to answer a read for which the store was not enough.",
        Histogram(1..6),
    ),
    metric(
        "http.cache.lookup.duration",
        "s",
        "Time to find that the store has no answer.",
        Histogram(6..7),
    ),
    metric(
        "http.cache.origin.duration",
        "s",
        "Time a handler takes to the head of its response.",
        Histogram(7..8),
    ),
    metric(
        "http.cache.fill.duration",
        "s",
        "Time from a handler's call to the end of a body that is stored.",
        Histogram(8..9),
    ),
    metric(
        "http.cache.collapsed",
        "{request}",
        "Times a request waited for another one's handler call.",
        Counter(|report, see| events(report, Event::Collapsed, see)),
    ),
    metric(
        "http.cache.waiting",
        "{request}",
        "Requests that wait for another one's handler call now.",
        Gauge(|report, see| see(&[], report.stats.waiting() as f64)),
    ),
    metric(
        "http.cache.stored",
        "{response}",
        "Responses stored.",
        Counter(|report, see| events(report, Event::Stored, see)),
    ),
    metric(
        "http.cache.not_stored",
        "{response}",
        "Responses to reads that were not stored, by the reason.",
        Counter(|report, see| {
            for (reason, count) in report.stats.refusals.iter() {
                see(&[("cache.reason", reason)], count);
            }
        }),
    ),
    metric(
        "http.cache.refreshes",
        "{refresh}",
        "Refreshes begun behind a response that was served at once.",
        Counter(|report, see| events(report, Event::Refreshed, see)),
    ),
    metric(
        "http.cache.invalidations",
        "{invalidation}",
        "Invalidations recorded.",
        Counter(invalidations),
    ),
    metric(
        "http.cache.invalidated",
        "{entry}",
        "Times a stored response was found to be invalidated.",
        Counter(|report, see| {
            see(&[("cache.found_by", "lookup")], found_invalidated(report));
            see(
                &[("cache.found_by", "sweep")],
                report.usage.swept_invalidated,
            );
        }),
    ),
    metric(
        "http.cache.evictions",
        "{entry}",
        "Entries evicted by the store.",
        Counter(|report, see| {
            let usage = &report.usage;
            see(&[("cache.cause", "capacity")], usage.evictions);
            see(&[("cache.cause", "invalidated")], usage.swept_invalidated);
            see(&[("cache.cause", "expired")], usage.swept_expired);
        }),
    ),
    metric(
        "http.cache.entries",
        "{entry}",
        "Entries stored now.",
        Gauge(|report, see| see(&[], report.usage.entries as f64)),
    ),
    metric(
        "http.cache.size",
        "By",
        "Bytes they take, keys and overhead included.",
        Gauge(|report, see| see(&[], report.usage.bytes as f64)),
    ),
    metric(
        "http.cache.capacity",
        "By",
        "The most bytes the store will take; 0 where it has no such bound of its own.",
        Gauge(|report, see| see(&[], report.usage.capacity as f64)),
    ),
    metric(
        "http.cache.bypassed",
        "",
        "1 while the cache is switched off by hand, else 0.",
        Gauge(|report, see| see(&[], flag(report.bypassed))),
    ),
    metric(
        "http.cache.store.errors",
        "{error}",
        "Times the store failed or did not answer in time.",
        Counter(|report, see| {
            for operation in Operation::ALL {
                let count = report.stats.store_errors(operation);
                see(&[("cache.operation", operation.as_str())], count);
            }
        }),
    ),
    metric(
        "http.cache.store.duration",
        "s",
        "Time the store took for an answer that had to be waited for.",
        Histogram(9..12),
    ),
    metric(
        "http.cache.store.state",
        "",
        "1 for the state the store is in, 0 for the others.",
        Gauge(|report, see| {
            for state in StoreState::ALL {
                let is = flag(report.health.state == state);
                see(&[("cache.state", state.as_str())], is);
            }
        }),
    ),
    metric(
        "http.cache.store.breaker_open",
        "",
        "1 while the store is left alone because it failed too often, else 0.",
        Gauge(|report, see| see(&[], flag(report.health.breaker_open))),
    ),
    metric(
        "http.cache.store.epoch_changes",
        "{change}",
        "Times the store's log of invalidations was found to be another one, and all before it became unusable.",
        Counter(|report, see| see(&[], report.health.epoch_changes)),
    ),
    metric(
        "http.cache.store.staleness_bound",
        "s",
        "For how long after an acknowledged write an older response may be served now.",
        Gauge(|report, see| see(&[], report.health.staleness_bound.as_secs_f64())),
    ),
    metric(
        "http.cache.store.pending_invalidations",
        "{invalidation}",
        "Invalidations that the store has not acknowledged yet.",
        Gauge(|report, see| see(&[], report.health.pending_invalidations as f64)),
    ),
];

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

type List<'a> = SmallVec<[(&'static str, &'a str); 3]>;

fn route(row: &Row) -> List<'_> {
    let named = (!row.label.is_empty()).then_some(("http.route", &*row.label));
    named.into_iter().collect()
}

fn requests(report: &Report<'_>, see: See<'_, u64>) {
    for row in report.stats.rows.iter() {
        for outcome in outcomes() {
            let count = row.get(outcome);
            if count == 0 && !(row.is_of_template() && is_shown_from_the_start(outcome)) {
                continue;
            }
            let mut attributes = route(row);
            attributes.push(("cache.outcome", outcome.as_str()));
            attributes.extend(outcome.reason().map(|reason| ("cache.reason", reason)));
            see(&attributes, count);
        }
    }
}

/// Returns whether an outcome is shown before it has come about: the rate of a series that did not
/// exist a moment ago is none.
fn is_shown_from_the_start(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Hit | Outcome::Miss { why: Miss::Uri, .. })
}

fn events(report: &Report<'_>, event: Event, see: See<'_, u64>) {
    for row in report.stats.rows.iter() {
        let count = row.get(event);
        if count > 0 || row.is_of_template() {
            see(&route(row), count);
        }
    }
}

fn invalidations(report: &Report<'_>, see: See<'_, u64>) {
    for kind in InvalidationKind::ALL {
        for (soft, mode) in [(false, "hard"), (true, "soft")] {
            let count = report.stats.invalidations(kind, soft);
            see(
                &[("cache.kind", kind.as_str()), ("cache.mode", mode)],
                count,
            );
        }
    }
}

/// Returns how often a lookup found what was invalidated, whatever became of the request.
fn found_invalidated(report: &Report<'_>) -> u64 {
    let invalidated = |outcome: &Outcome| outcome.reason() == Some("invalidated");
    outcomes()
        .filter(invalidated)
        .map(|outcome| report.stats.rows.sum(outcome))
        .sum()
}
