//! The metrics: their names, and where their values come from. Both OpenTelemetry and Prometheus are
//! served from this one list.

use std::ops::Range;

use smallvec::SmallVec;

use super::counters::{Event, Row, outcomes};
use super::latency::Operation;
use super::stats::Stats;
use crate::background::Background;
use crate::invalidate::InvalidationKind;
use crate::status::{Miss, Outcome};
use crate::store::{StoreHealth, StoreState, Usage};

/// A reading of a cache, from which the values of all metrics are taken.
#[derive(Debug)]
pub(crate) struct MetricsReading<'a> {
    pub(crate) stats: &'a Stats,
    pub(crate) usage: Usage,
    pub(crate) health: StoreHealth,
    pub(crate) bypassed: bool,
    pub(crate) background: &'a Background,
}

/// A source of readings: a cache, while it exists.
pub(crate) trait MetricsSource: Send + Sync + 'static {
    /// Passes a reading to `see`.
    #[cfg_attr(
        not(feature = "otel"),
        expect(dead_code, reason = "nobody collects what nobody exports")
    )]
    fn read(&self, see: &mut dyn FnMut(&MetricsReading<'_>));
}

/// One metric.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// The unit as in UCUM, with annotations in braces.
    pub(crate) unit: &'static str,
    pub(crate) help: &'static str,
    pub(crate) instrument: Instrument,
}

pub(crate) enum Instrument {
    Counter(fn(&MetricsReading<'_>, See<'_, u64>)),
    Gauge(fn(&MetricsReading<'_>, See<'_, f64>)),
    /// The indices of its histograms in [`SERIES`](super::latency::SERIES).
    Histogram(Range<usize>),
}

/// The attributes of one value.
pub(crate) type Attributes<'a> = [(&'static str, &'a str)];

/// A callback that receives each value of a metric.
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

pub(crate) static METRICS: [Metric; 27] = [
    metric(
        "http.cache.requests",
        "{request}",
        "Requests, by outcome.",
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
        "Time to answer a read that the store could not answer alone.",
        Histogram(1..6),
    ),
    metric(
        "http.cache.lookup.duration",
        "s",
        "Time of a lookup that found nothing to answer with.",
        Histogram(6..7),
    ),
    metric(
        "http.cache.origin.duration",
        "s",
        "Time from a handler's call to the head of its response.",
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
        "Times a request waited for another request's handler call.",
        Counter(|reading, see| events(reading, Event::Collapsed, see)),
    ),
    metric(
        "http.cache.waiting",
        "{request}",
        "Requests currently waiting for another request's handler call.",
        Gauge(|reading, see| see(&[], reading.stats.waiting() as f64)),
    ),
    metric(
        "http.cache.stored",
        "{response}",
        "Responses stored.",
        Counter(|reading, see| events(reading, Event::Stored, see)),
    ),
    metric(
        "http.cache.not_stored",
        "{response}",
        "Responses to reads that were not stored, by reason.",
        Counter(|reading, see| {
            for (reason, count) in reading.stats.refusals.iter() {
                see(&[("cache.reason", reason)], count);
            }
        }),
    ),
    metric(
        "http.cache.refreshes",
        "{refresh}",
        "Background refreshes begun after a response was served at once.",
        Counter(|reading, see| events(reading, Event::Refreshed, see)),
    ),
    metric(
        "http.cache.background",
        "{fetch}",
        "Fetches currently running in the background, which no client waits for.",
        Gauge(|reading, see| see(&[], reading.background.running() as f64)),
    ),
    metric(
        "http.cache.background.refused",
        "{fetch}",
        "Fetches dropped because too many ran in the background.",
        Counter(|reading, see| see(&[], reading.background.refused())),
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
        "Times a stored response was found invalidated.",
        Counter(|reading, see| {
            see(&[("cache.found_by", "lookup")], found_invalidated(reading));
            see(
                &[("cache.found_by", "sweep")],
                reading.usage.swept_invalidated,
            );
        }),
    ),
    metric(
        "http.cache.evictions",
        "{entry}",
        "Entries that the store evicted or dropped.",
        Counter(|reading, see| {
            let usage = &reading.usage;
            see(&[("cache.cause", "capacity")], usage.evictions);
            see(&[("cache.cause", "invalidated")], usage.swept_invalidated);
            see(&[("cache.cause", "expired")], usage.swept_expired);
        }),
    ),
    metric(
        "http.cache.entries",
        "{entry}",
        "Entries currently stored.",
        Gauge(|reading, see| see(&[], reading.usage.entries as f64)),
    ),
    metric(
        "http.cache.size",
        "By",
        "Bytes that the entries take, keys and overhead included.",
        Gauge(|reading, see| see(&[], reading.usage.bytes as f64)),
    ),
    metric(
        "http.cache.capacity",
        "By",
        "The most bytes that the entries may take; 0 if the store has no bound of its own.",
        Gauge(|reading, see| see(&[], reading.usage.capacity as f64)),
    ),
    metric(
        "http.cache.bypassed",
        "",
        "1 while the cache is switched off by hand, else 0.",
        Gauge(|reading, see| see(&[], flag(reading.bypassed))),
    ),
    metric(
        "http.cache.store.errors",
        "{error}",
        "Times the store failed or did not answer in time.",
        Counter(|reading, see| {
            for operation in Operation::ALL {
                let count = reading.stats.store_errors(operation);
                see(&[("cache.operation", operation.as_str())], count);
            }
        }),
    ),
    metric(
        "http.cache.store.duration",
        "s",
        "Time of store operations that had to be waited for.",
        Histogram(9..12),
    ),
    metric(
        "http.cache.store.state",
        "",
        "1 for the state the store is in, 0 for the others.",
        Gauge(|reading, see| {
            for state in StoreState::ALL {
                let is = flag(reading.health.state == state);
                see(&[("cache.state", state.as_str())], is);
            }
        }),
    ),
    metric(
        "http.cache.store.breaker_open",
        "",
        "1 while the store is not used because it failed too often, else 0.",
        Gauge(|reading, see| see(&[], flag(reading.health.breaker_open))),
    ),
    metric(
        "http.cache.store.epoch_changes",
        "{change}",
        "Times the store's log of invalidations was found replaced, which invalidated everything stored before.",
        Counter(|reading, see| see(&[], reading.health.epoch_changes)),
    ),
    metric(
        "http.cache.store.staleness_bound",
        "s",
        "Seconds after an acknowledged write during which an older response may currently be served.",
        Gauge(|reading, see| see(&[], reading.health.staleness_bound.as_secs_f64())),
    ),
    metric(
        "http.cache.store.pending_invalidations",
        "{invalidation}",
        "Invalidations that the store has not acknowledged yet.",
        Gauge(|reading, see| see(&[], reading.health.pending_invalidations as f64)),
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

fn requests(reading: &MetricsReading<'_>, see: See<'_, u64>) {
    for row in reading.stats.rows.iter() {
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

/// Returns whether an outcome is shown before it has first occurred: a series that has just appeared
/// has no rate yet.
fn is_shown_from_the_start(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Hit | Outcome::Miss { why: Miss::Uri, .. })
}

fn events(reading: &MetricsReading<'_>, event: Event, see: See<'_, u64>) {
    for row in reading.stats.rows.iter() {
        let count = row.get(event);
        if count > 0 || row.is_of_template() {
            see(&route(row), count);
        }
    }
}

fn invalidations(reading: &MetricsReading<'_>, see: See<'_, u64>) {
    for kind in InvalidationKind::ALL {
        for (soft, mode) in [(false, "hard"), (true, "soft")] {
            let count = reading.stats.invalidations(kind, soft);
            see(
                &[("cache.kind", kind.as_str()), ("cache.mode", mode)],
                count,
            );
        }
    }
}

/// Returns how often a lookup found an invalidated response, whatever the outcome of the request.
fn found_invalidated(reading: &MetricsReading<'_>) -> u64 {
    let invalidated = |outcome: &Outcome| outcome.reason() == Some("invalidated");
    outcomes()
        .filter(invalidated)
        .map(|outcome| reading.stats.rows.sum(outcome))
        .sum()
}
