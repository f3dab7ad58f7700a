//! The bound on what all running fills hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound on the bytes that all running fills hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    most: usize,
}

/// One fill's share of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct BudgetShare {
    budget: Arc<Budget>,
    taken: usize,
}

impl Budget {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            most,
        })
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl BudgetShare {
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: budget.clone(),
            taken: 0,
        }
    }

    /// Takes some bytes more, if there is room for them.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let most = self.budget.most;
        let with_these = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        // Relaxed: a count, which orders nothing.
        let fits = self
            .budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_these)
            .is_ok();
        if fits {
            self.taken += bytes;
        }
        fits
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.taken, Ordering::Relaxed);
    }
}
