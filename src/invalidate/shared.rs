//! The head and the lock, which order everything.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::invalidation::Invalidation;
use super::keys::{Keys, Seed};
use super::position::Position;
use super::state::{LogState, Placed};
use crate::sync::{AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::target::SubjectRef;

/// The state that a log and its open intents share.
pub(super) struct SharedState {
    /// The head of the log, and whether writes are under way. Changed under the write lock only.
    head: Padded,
    state: RwLock<LogState>,
    seed: Seed,
}

/// Keeps the head off the lock's cache line: each hit reads it, and readers write to the lock.
#[repr(align(128))]
struct Padded(AtomicU64);

impl SharedState {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            head: Padded(AtomicU64::new(0)),
            state: RwLock::new(LogState::new(capacity)),
            seed: Seed::default(),
        }
    }

    /// Returns the head with an acquiring load: who sees a position sees all that was written
    /// before it was recorded.
    pub(super) fn head(&self) -> LogHead {
        let word = self.head.0.load(Ordering::Acquire);
        LogHead {
            position: Position::from(word >> 1),
            writing: word & 1 == 1,
        }
    }

    /// Hashes what a subject can be invalidated by. Needs no lock.
    pub(super) fn keys(&self, subject: SubjectRef<'_>) -> Keys {
        self.seed.keys(subject)
    }

    /// Hashes what invalidations match. Needs no lock.
    pub(super) fn place(&self, invalidations: &[Invalidation]) -> Placed {
        let place =
            |invalidation: &Invalidation| (self.seed.place(invalidation), invalidation.soft);
        invalidations.iter().map(place).collect()
    }

    /// Records invalidations at the next position and publishes it, last of all: who sees the
    /// position finds what was recorded there.
    pub(super) fn record(&self, state: &mut LogState, placed: Placed) -> Position {
        let position = self.head().position.next();
        state.record(placed, position);
        self.publish(position, state);
        position
    }

    pub(super) fn publish(&self, position: Position, state: &LogState) {
        let writing = u64::from(state.is_writing());
        self.head
            .0
            .store(u64::from(position) << 1 | writing, Ordering::Release);
    }

    // Nothing that is done under the lock panics; and a cache does not stop for a lock that says
    // otherwise.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, LogState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, LogState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The head of the log, in one load.
#[derive(Clone, Copy)]
pub(super) struct LogHead {
    pub(super) position: Position,
    writing: bool,
}

impl LogHead {
    /// Returns whether nothing was recorded behind `position` and nothing is under way.
    pub(super) fn is_quiet_at(self, position: Position) -> bool {
        self.position == position && !self.writing
    }
}
