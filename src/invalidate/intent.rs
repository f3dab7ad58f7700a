//! Writes under way: what they will invalidate is not used until they have ended.

use std::fmt;
use std::sync::Arc;

use super::invalidation::Invalidation;
use super::open::OpenPlacements;
use super::position::Position;
use super::shared::SharedState;

/// A write under way. Dropped, it counts as done: nobody knows how far it came.
#[must_use]
pub(crate) struct Intent {
    shared: Arc<SharedState>,
    invalidations: Box<[Invalidation]>,
    open: OpenPlacements,
}

impl Intent {
    pub(super) fn open(shared: Arc<SharedState>, invalidations: Box<[Invalidation]>) -> Self {
        let placed = shared.place(&invalidations);
        let mut state = shared.write();
        let open = state.open.begin(placed.into_iter().map(|(place, _)| place));
        shared.publish(shared.head().position, &state);
        drop(state);
        Self {
            shared,
            invalidations,
            open,
        }
    }

    /// Records the invalidations of a write that was made, and returns their position.
    #[cfg(test)]
    pub(crate) fn commit(mut self) -> Position {
        self.close(true)
    }

    /// Forgets about a write that was not made: what it would have invalidated is good again.
    pub(crate) fn abandon(mut self) {
        self.close(false);
    }

    /// Closes the intent, the first time it is called. Opening ends and the record begins under
    /// one lock, so there is no moment between the two.
    fn close(&mut self, made: bool) -> Position {
        let invalidations = std::mem::take(&mut self.invalidations);
        if invalidations.is_empty() {
            return self.shared.head().position;
        }
        let placed = self.shared.place(&invalidations);
        let mut state = self.shared.write();
        state.open.end(&self.open);
        if made {
            return self.shared.record(&mut state, placed);
        }
        let head = self.shared.head().position;
        self.shared.publish(head, &state);
        head
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        self.close(true);
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intent").field(&self.invalidations).finish()
    }
}
