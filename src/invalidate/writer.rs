//! Recording at positions of the caller's choosing.

use super::invalidation::Invalidation;
use super::position::Position;
use super::shared::SharedState;
use super::state::{LogState, Placed};
use crate::sync::RwLockWriteGuard;

/// A log under its lock, for a caller that keeps it in step with another log.
pub(crate) struct LogWriter<'a> {
    shared: &'a SharedState,
    state: RwLockWriteGuard<'a, LogState>,
}

/// Invalidations on their way into a log, hashed before the lock is taken.
pub(crate) struct PlacedInvalidations(Placed);

impl<'a> LogWriter<'a> {
    pub(super) fn new(shared: &'a SharedState) -> Self {
        Self {
            shared,
            state: shared.write(),
        }
    }

    /// Returns the position of the latest invalidation.
    pub(crate) fn position(&self) -> Position {
        self.shared.head().position
    }

    /// Records invalidations at a position, which may lie behind the head. They take effect with the
    /// lock's release.
    pub(crate) fn record(&mut self, placed: PlacedInvalidations, position: Position) {
        self.state.record(placed.0, position);
    }

    /// Makes a position the head of the log, and releases the lock.
    pub(crate) fn publish(self, head: Position) {
        self.shared.publish(head, &self.state);
    }
}

impl PlacedInvalidations {
    pub(super) fn new(shared: &SharedState, invalidations: &[Invalidation]) -> Self {
        Self(shared.place(invalidations))
    }
}
