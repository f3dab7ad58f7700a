//! Turns what happens into numbers. Other modules report; only this one counts, measures, and knows
//! who listens.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::invalidate::InvalidationKind;
use crate::status::Outcome;

mod counters;
mod latency;
mod metrics;
mod prometheus;
mod snapshot;

pub(crate) use counters::{Event, RouteId};
pub(crate) use latency::{Operation, Timed};
pub(crate) use metrics::Report;
pub(crate) use prometheus::render;
pub use snapshot::{CacheStats, OutcomeStats, RouteStats};

use counters::{Reasons, Rows, Slot};
#[cfg(feature = "admin")]
pub(crate) use latency::BOUNDS as DURATION_BOUNDS;
use latency::Latencies;

/// All that one cache counts and measures.
#[derive(Debug)]
pub(crate) struct Stats {
    rows: Rows,
    refusals: Reasons,
    /// Hard and soft ones of each kind.
    invalidations: [[AtomicU64; 2]; InvalidationKind::ALL.len()],
    store_errors: [AtomicU64; Operation::ALL.len()],
    waiting: AtomicU64,
    latencies: Latencies,
    /// Who wants to know more than can be counted in passing: a set of [`Listener`]s.
    listeners: AtomicU8,
}

/// Someone who wants more than counts.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Listener {
    /// Our own histograms.
    Latencies = 1,
}

/// What is known of a request when it is answered, beside its route and its outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// When its lookup began.
    pub(crate) began: Option<Instant>,
    /// Whether the store answered it, without the handler.
    pub(crate) by_store: bool,
}

impl Stats {
    /// Takes the templates of all routes, in the order of their [`RouteId`]s.
    pub(crate) fn new(templates: &[String]) -> Self {
        Self {
            rows: Rows::new(templates),
            refusals: Reasons::default(),
            invalidations: Default::default(),
            store_errors: Default::default(),
            waiting: AtomicU64::new(0),
            latencies: Latencies::default(),
            listeners: AtomicU8::new(0),
        }
    }

    #[inline]
    pub(crate) fn count(&self, route: RouteId, what: impl Into<Slot>) {
        self.rows.count(route, what);
    }

    /// Counts a request that is answered.
    #[inline]
    pub(crate) fn answered(
        &self,
        clock: &Clock,
        route: RouteId,
        outcome: Outcome,
        account: impl FnOnce() -> Account,
    ) {
        self.rows.count(route, outcome);
        if let Outcome::Miss {
            detail: Some(reason),
            ..
        } = outcome
        {
            self.refusals.count(reason);
        }
        // Relaxed: who begins to listen may miss what is under way.
        if self.listeners.load(Ordering::Relaxed) != 0 {
            self.tell_listeners(clock, outcome, &account());
        }
    }

    #[cold]
    fn tell_listeners(&self, clock: &Clock, outcome: Outcome, account: &Account) {
        if let Some(began) = account.began
            && self.is_timed()
        {
            let took = clock.instant().saturating_duration_since(began);
            self.took(Timed::Request(outcome), took);
            if account.by_store {
                self.took(Timed::Lookup { found: true }, took);
            }
        }
    }

    /// Whether anybody wants to know how long things take.
    pub(crate) fn is_timed(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) & Listener::Latencies as u8 != 0
    }

    pub(crate) fn took(&self, timed: Timed, took: Duration) {
        self.latencies.record(timed, took);
    }

    /// Returns how often requests took how long, by outcome: a count for each of the bounds, and one
    /// for what is over the last.
    #[cfg(feature = "admin")]
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, Vec<u64>)> {
        let requests = latency::SERIES.iter().enumerate();
        requests.filter_map(|(series, attribute)| match attribute {
            Some(("cache.outcome", outcome)) => {
                Some((*outcome, self.latencies.of(series).buckets().to_vec()))
            }
            _ => None,
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

    fn invalidations(&self, kind: InvalidationKind, soft: bool) -> u64 {
        self.invalidations[kind as usize][usize::from(soft)].load(Ordering::Relaxed)
    }

    pub(crate) fn store_failed(&self, operation: Operation) {
        self.store_errors[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn store_errors(&self, operation: Operation) -> u64 {
        self.store_errors[operation as usize].load(Ordering::Relaxed)
    }

    /// Notes that a request waits, until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A request that waits for another one's handler call.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
