//! The counts of each namespace of values.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that is counted.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum ValueEvent {
    Hit,
    Miss,
    Collapsed,
    Set,
    Unreadable,
    Refused,
    StoreError,
}

const EVENTS: usize = ValueEvent::StoreError as usize + 1;

/// The counts of one namespace.
#[derive(Debug, Default)]
pub(crate) struct ValueCounts([AtomicU64; EVENTS]);

impl ValueCounts {
    pub(crate) fn add(&self, event: ValueEvent, times: usize) {
        // Relaxed: a count, which orders nothing.
        self.0[event as usize].fetch_add(times as u64, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> ValueStats {
        let count = |event| self.0[event as usize].load(Ordering::Relaxed);
        ValueStats {
            hits: count(ValueEvent::Hit),
            misses: count(ValueEvent::Miss),
            collapsed: count(ValueEvent::Collapsed),
            sets: count(ValueEvent::Set),
            unreadable: count(ValueEvent::Unreadable),
            refused: count(ValueEvent::Refused),
            store_errors: count(ValueEvent::StoreError),
        }
    }
}

/// The counts of all namespaces of a cache, by name.
#[derive(Debug, Default)]
pub(crate) struct ValueRegistry(Mutex<BTreeMap<Box<str>, Arc<ValueCounts>>>);

/// More namespaces than this are not listed: names made up from requests must not pile up here.
const MOST_NAMESPACES: usize = 1_024;

impl ValueRegistry {
    pub(crate) fn counts(&self, namespace: &str) -> Arc<ValueCounts> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = known.get(namespace) {
            return counts.clone();
        }
        let counts = Arc::new(ValueCounts::default());
        if known.len() < MOST_NAMESPACES {
            known.insert(namespace.into(), counts.clone());
        }
        counts
    }

    pub(crate) fn snapshot(&self) -> Vec<(String, ValueStats)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = known.iter();
        stats
            .map(|(name, counts)| (name.to_string(), counts.snapshot()))
            .collect()
    }
}

/// The counts of one namespace of values since the cache was built, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueStats {
    /// Lookups that found a value.
    pub hits: u64,
    /// Lookups that did not, those that then shared another's call included.
    pub misses: u64,
    /// Times a caller waited for another's call of its closure.
    pub collapsed: u64,
    /// Values stored, by whatever call.
    pub sets: u64,
    /// Values found that could not be decoded, and were removed: another type, or another version of
    /// it, was stored under the same key.
    pub unreadable: u64,
    /// Values that could not be encoded, took too many bytes or carried too many tags, and were not
    /// stored.
    pub refused: u64,
    /// Times the store failed, or did not answer in time.
    pub store_errors: u64,
}

impl ValueStats {
    /// Returns the share of lookups that found a value, from 0 to 1.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hit_ratio_of_nothing_is_zero() {
        assert_eq!(ValueStats::default().hit_ratio(), 0.0);
    }

    #[test]
    fn namespaces_beyond_the_bound_are_counted_but_not_listed() {
        let registry = ValueRegistry::default();
        for at in 0..MOST_NAMESPACES + 10 {
            registry.counts(&at.to_string()).add(ValueEvent::Hit, 1);
        }
        assert_eq!(registry.snapshot().len(), MOST_NAMESPACES);
        let unlisted = registry.counts("one more");
        unlisted.add(ValueEvent::Miss, 2);
        assert_eq!(unlisted.snapshot().misses, 2);
    }
}
