//! Names for new epochs of the shared log.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use super::clocks::now;
use super::replica::Epoch;

/// Names for epochs, no two of them the same: a random number of this node's, counted on from there.
/// Each question takes one along, and few use it.
#[derive(Debug)]
pub(super) struct EpochNames {
    first: u128,
    taken: AtomicU64,
}

impl EpochNames {
    pub(super) fn new() -> Self {
        let mut first = Epoch::default();
        if getrandom::fill(&mut first).is_err() {
            // Without the system's random numbers: a hash seeded anew at every call.
            let (one, other) = first.split_at_mut(8);
            one.copy_from_slice(&RandomState::new().hash_one(now()).to_le_bytes());
            other.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
        }
        Self {
            first: u128::from_le_bytes(first),
            taken: AtomicU64::new(0),
        }
    }

    pub(super) fn next(&self) -> Epoch {
        // Relaxed: whatever the order, each call gets another name.
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        self.first.wrapping_add(u128::from(taken)).to_le_bytes()
    }
}
