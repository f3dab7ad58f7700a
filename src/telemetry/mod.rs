//! Turns outcomes into numbers. Other modules report an [`Event`]; only this one counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Outcome;

/// Something worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Event {
    Hit,
    Stale,
    Revalidated,
    Miss,
    Bypass,
    Unsatisfied,
    Collapsed,
    Stored,
    Invalidation,
    StoreError,
}

const EVENTS: usize = Event::StoreError as usize + 1;

/// The counters of one cache.
#[derive(Debug, Default)]
pub(crate) struct Stats([AtomicU64; EVENTS]);

impl From<Outcome> for Event {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Hit => Self::Hit,
            Outcome::Stale(_) => Self::Stale,
            Outcome::Revalidated { .. } => Self::Revalidated,
            Outcome::Miss { .. } => Self::Miss,
            Outcome::Unsatisfied => Self::Unsatisfied,
            Outcome::Bypass(_) => Self::Bypass,
        }
    }
}

impl Stats {
    pub(crate) fn count(&self, event: impl Into<Event>) {
        let event = event.into();
        // Relaxed: a count, which orders nothing.
        self.0[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self, event: Event) -> u64 {
        self.0[event as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot(&self) -> CacheStats {
        CacheStats {
            hits: self.get(Event::Hit),
            stale_hits: self.get(Event::Stale),
            revalidated: self.get(Event::Revalidated),
            misses: self.get(Event::Miss),
            bypassed: self.get(Event::Bypass),
            only_if_cached: self.get(Event::Unsatisfied),
            collapsed: self.get(Event::Collapsed),
            stored: self.get(Event::Stored),
            invalidations: self.get(Event::Invalidation),
            store_errors: self.get(Event::StoreError),
            usage: crate::store::Usage::default(),
        }
    }
}

/// What a cache has done since it was built, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Invalidations recorded, by writes and by hand.
    pub invalidations: u64,
    /// Times the store failed; no request fails with it.
    pub store_errors: u64,
    /// What the store holds.
    pub usage: crate::store::Usage,
}

impl CacheStats {
    /// Returns the share of reads the cache was asked for that it answered itself, from 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let answered = self.hits + self.stale_hits;
        let asked = answered + self.revalidated + self.misses + self.only_if_cached;
        match asked {
            0 => 0.0,
            asked => answered as f64 / asked as f64,
        }
    }
}
