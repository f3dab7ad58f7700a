//! Room for work in the background: so much of it at once, and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The fetches that go on where no client waits for them.
#[derive(Debug)]
pub(crate) struct Background {
    most: usize,
    running: AtomicUsize,
    refused: AtomicU64,
}

/// The place of one fetch in the background, until it is dropped.
#[derive(Debug)]
pub(crate) struct BackgroundPlace(Arc<Background>);

impl Background {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            running: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Takes a place, if one is left, and counts if none is.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<BackgroundPlace> {
        // Relaxed, here and below: counts, which order nothing.
        let entered = self
            .running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running < self.most).then_some(running + 1)
            });
        if entered.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        entered.ok().map(|_| BackgroundPlace(self.clone()))
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Returns how many fetches found no place.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for BackgroundPlace {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
