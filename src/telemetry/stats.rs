//! All that one cache counts and measures.

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

/// All that one cache counts and measures.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(super) rows: Rows,
    pub(super) refusals: Reasons,
    /// Hard and soft ones of each kind.
    invalidations: [[AtomicU64; 2]; InvalidationKind::ALL.len()],
    store_errors: [AtomicU64; Operation::ALL.len()],
    waiting: AtomicU64,
    pub(super) latencies: Latencies,
    pub(super) durations: Durations,
    hot_keys: OnceLock<HotKeys>,
    /// Who wants to know more than can be counted in passing: a set of [`Listener`]s.
    listeners: AtomicU8,
}

/// Someone who wants more than counts.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Listener {
    /// Our own histograms.
    Latencies = 1,
    /// Those of OpenTelemetry, where a reader takes them.
    #[cfg(feature = "otel")]
    OpenTelemetry = 2,
    /// The keys that are asked for most.
    HotKeys = 4,
}

/// Those who want to know how long things take.
const TIMED: u8 = 1 | 2;

/// The facts of a request that is answered, beside its route and its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestRecord<'a> {
    /// When its lookup began.
    pub(crate) began: Option<Instant>,
    /// The store answered it, without the handler.
    pub(crate) by_store: bool,
    /// The subject that was asked for, where no stored response has it.
    pub(crate) subject: Option<&'a Subject>,
    /// The stored response it was answered from.
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

    /// Counts a request that is answered, and returns whether anybody wants to know more of it.
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
        // Relaxed: who begins to listen may miss what is under way.
        self.listeners.load(Ordering::Relaxed) != 0 || trace::is_on()
    }

    /// Reports a request that is answered to those who want to know more of it.
    pub(crate) fn notify_listeners(
        &self,
        clock: &Clock,
        row: &Row,
        outcome: Outcome,
        account: &RequestRecord<'_>,
    ) {
        if let Some(began) = account.began
            && self.is_timed()
        {
            let timed = match account.by_store {
                true => Timed::Hit,
                false => Timed::Miss(outcome),
            };
            self.took(timed, clock.instant().saturating_duration_since(began));
        }
        if let Some(keys) = self.hot_keys.get() {
            let stored = || account.stored.map(StoredResponse::subject);
            let subject = || account.subject.map(Subject::borrow).or_else(stored);
            keys.note(subject, account.by_store);
        }
        if trace::is_on() {
            let filled_by = account.stored.and_then(StoredResponse::fill);
            trace::answered(row, outcome, filled_by);
        }
    }

    /// Begins to watch for the keys that are asked for most, to tell of so many; once.
    pub(crate) fn watch_keys(&self, most: usize) {
        self.hot_keys.get_or_init(|| HotKeys::new(most));
        self.listen(Listener::HotKeys, true);
    }

    pub(crate) fn hot_keys(&self) -> Vec<HotKey> {
        self.hot_keys.get().map(HotKeys::top).unwrap_or_default()
    }

    /// Returns whether anybody wants to know how long things take.
    pub(crate) fn is_timed(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) & TIMED != 0
    }

    /// Records how long something took.
    pub(crate) fn took(&self, timed: Timed, took: Duration) {
        if self.listeners.load(Ordering::Relaxed) & Listener::Latencies as u8 != 0 {
            self.latencies.record(timed, took);
        }
        self.durations.record(timed, took);
    }

    /// Returns how often requests took how long, by outcome: a count for each of the bounds, and one
    /// for what is over the last.
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

    /// Notes that a request waits, until the guard is dropped.
    pub(crate) fn wait(&self) -> WaitingRequest<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingRequest(&self.waiting)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A request that waits for another one's handler call.
#[derive(Debug)]
pub(crate) struct WaitingRequest<'a>(&'a AtomicU64);

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
