//! All counts and measurements of one cache.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::counters::{Reasons, RouteId, Row, Rows};
use super::durations::Durations;
use super::hot::{HotKey, HotKeys};
use super::latency::{Latencies, Operation, Timed};
use super::trace;
use crate::clock::Clock;
use crate::entry::StoredResponse;
use crate::invalidate::InvalidationKind;
use crate::status::Outcome;
use crate::target::Subject;

/// All counts and measurements of one cache.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(super) rows: Rows,
    pub(super) refusals: Reasons,
    /// Hard and soft invalidations of each kind.
    invalidations: [[AtomicU64; 2]; InvalidationKind::ALL.len()],
    store_errors: [AtomicU64; Operation::ALL.len()],
    waiting: AtomicU64,
    pub(super) latencies: Latencies,
    pub(super) durations: Durations,
    hot_keys: OnceLock<HotKeys>,
    /// A set of [`Listener`]s that want more than counts.
    listeners: AtomicU8,
}

/// A listener that wants more than counts.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Listener {
    /// Our own histograms.
    Latencies = 1,
    /// OpenTelemetry's histograms, if a reader collects them.
    #[cfg(feature = "otel")]
    OpenTelemetry = 2,
    /// The watch for the most requested keys.
    HotKeys = 4,
}

/// The listeners that want durations.
const TIMED: u8 = 1 | 2;

/// The facts known about a request when it is answered, beside its route and its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestRecord<'a> {
    /// The start of its lookup.
    pub(crate) began: Option<Instant>,
    /// True if the store answered it, without the inner service.
    pub(crate) by_store: bool,
    /// The subject of the request, if no stored response has it.
    pub(crate) subject: Option<&'a Subject>,
    /// The stored response that answered it.
    pub(crate) stored: Option<&'a StoredResponse>,
}

impl Stats {
    pub(crate) fn new(rows: Rows) -> Self {
        Self {
            rows,
            refusals: Reasons::default(),
            invalidations: Default::default(),
            store_errors: Default::default(),
            waiting: AtomicU64::new(0),
            latencies: Latencies::default(),
            durations: Durations::default(),
            hot_keys: OnceLock::new(),
            listeners: AtomicU8::new(0),
        }
    }

    pub(crate) fn row(&self, route: RouteId) -> &Arc<Row> {
        self.rows.row(route)
    }

    /// Counts an answered request, and returns whether any listener wants more than that.
    #[inline]
    pub(crate) fn answered(&self, row: &Row, outcome: Outcome) -> bool {
        row.count(outcome);
        if let Outcome::Miss {
            detail: Some(reason),
            ..
        } = outcome
        {
            self.refusals.count(reason);
        }
        // Relaxed: a new listener may miss requests that are under way.
        self.listeners.load(Ordering::Relaxed) != 0 || trace::is_on()
    }

    /// Reports an answered request to the listeners.
    pub(crate) fn notify_listeners(
        &self,
        clock: &Clock,
        row: &Row,
        outcome: Outcome,
        record: &RequestRecord<'_>,
    ) {
        if let Some(began) = record.began
            && self.is_timed()
        {
            let timed = match record.by_store {
                true => Timed::Hit,
                false => Timed::Miss(outcome),
            };
            self.took(timed, clock.instant().saturating_duration_since(began));
        }
        if let Some(keys) = self.hot_keys.get() {
            let stored = || record.stored.map(StoredResponse::subject);
            let subject = || record.subject.map(Subject::borrow).or_else(stored);
            keys.note(subject, record.by_store);
        }
        if trace::is_on() {
            let filled_by = record.stored.and_then(StoredResponse::fill);
            trace::answered(row, outcome, filled_by);
        }
    }

    /// Starts watching for the most requested keys, up to `most` of them; only the first call has an
    /// effect.
    pub(crate) fn watch_keys(&self, most: usize) {
        self.hot_keys.get_or_init(|| HotKeys::new(most));
        self.listen(Listener::HotKeys, true);
    }

    pub(crate) fn hot_keys(&self) -> Vec<HotKey> {
        self.hot_keys.get().map(HotKeys::top).unwrap_or_default()
    }

    /// Returns whether any listener wants durations.
    pub(crate) fn is_timed(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) & TIMED != 0
    }

    /// Records a duration.
    pub(crate) fn took(&self, timed: Timed, took: Duration) {
        if self.listeners.load(Ordering::Relaxed) & Listener::Latencies as u8 != 0 {
            self.latencies.record(timed, took);
        }
        self.durations.record(timed, took);
    }

    /// Returns the histogram of request durations for each outcome: a count for each bound, and one
    /// for durations above the last.
    #[cfg(feature = "admin")]
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, Vec<u64>)> {
        let hit = Timed::Hit.series();
        let all = super::latency::SERIES.iter().enumerate();
        all.filter_map(move |(series, attribute)| {
            let outcome = match attribute {
                _ if series == hit => "hit",
                Some(("cache.outcome", outcome)) => outcome,
                _ => return None,
            };
            Some((outcome, self.latencies.of(series).buckets().to_vec()))
        })
    }

    pub(crate) fn listen(&self, listener: Listener, on: bool) {
        match on {
            true => self.listeners.fetch_or(listener as u8, Ordering::Relaxed),
            false => self
                .listeners
                .fetch_and(!(listener as u8), Ordering::Relaxed),
        };
    }

    pub(crate) fn invalidated(&self, kind: InvalidationKind, soft: bool) {
        self.invalidations[kind as usize][usize::from(soft)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn invalidations(&self, kind: InvalidationKind, soft: bool) -> u64 {
        self.invalidations[kind as usize][usize::from(soft)].load(Ordering::Relaxed)
    }

    pub(crate) fn store_failed(&self, operation: Operation) {
        self.store_errors[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn store_errors(&self, operation: Operation) -> u64 {
        self.store_errors[operation as usize].load(Ordering::Relaxed)
    }

    /// Counts a request as waiting until the guard is dropped.
    pub(crate) fn wait(&self) -> WaitingRequest<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingRequest(&self.waiting)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A guard for a request that waits for another request's call of the inner service.
#[derive(Debug)]
pub(crate) struct WaitingRequest<'a>(&'a AtomicU64);

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
