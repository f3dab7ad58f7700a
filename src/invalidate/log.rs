//! The log of invalidations.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::intent::Intent;
use super::invalidation::Invalidation;
use super::position::Position;
use super::shared::SharedState;
use super::state::Verdict;
use crate::target::SubjectRef;

/// How many invalidations a log distinguishes by default: at 100 different ones a second,
/// those of the last five minutes.
const DEFAULT_CAPACITY: usize = 32 * 1024;

/// Above this a log would take more than a gigabyte.
const MAX_CAPACITY: usize = 8 * 1024 * 1024;

/// The reason why a response is not to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotToStore {
    /// An invalidation came after its handler was called.
    Overtaken,
    /// Its handler may have read from a replica that lags behind a write.
    Held,
}

/// The invalidations of one cache, or this node's copy of those that several nodes share.
///
/// It holds the latest position of every different invalidation, up to a number; then it forgets
/// the oldest, and takes everything stored before that for invalidated. It takes less than 200
/// bytes for each, whatever their length, and room for all of them is set aside when it is made.
///
/// A log can be used from many threads at once. Recording takes a lock for a moment that does not
/// grow with what is stored or recorded.
pub struct Log {
    shared: Arc<SharedState>,
}

impl Log {
    /// Makes a log that distinguishes `capacity` invalidations. The default is 32,768.
    ///
    /// When more than that are recorded within the lifetime of a stored response, it is taken for
    /// invalidated before its time; never the other way round. Size it for the different
    /// invalidations a second times the longest lifetime. At most 8,388,608.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            shared: Arc::new(SharedState::new(capacity.min(MAX_CAPACITY))),
        }
    }

    /// Returns the position of the latest invalidation.
    ///
    /// A fill takes it before it calls the handler: what the handler then reads is at least as new
    /// as what every invalidation up to here was recorded for.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.head().position
    }

    /// Records invalidations, and returns their position. Once it has returned, nothing they match
    /// is used whose handler was called before.
    ///
    /// Several recorded at once take effect together. None at all leave the log as it is.
    pub fn append(&self, invalidations: &[Invalidation]) -> Position {
        if invalidations.is_empty() {
            return self.position();
        }
        let placed = self.shared.place(invalidations);
        self.shared.record(&mut self.shared.write(), placed)
    }

    /// Returns how many invalidations are distinguished now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.read().len()
    }

    /// Returns whether there are no invalidations to distinguish.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns another handle to the same log.
    #[cfg(feature = "redis")]
    pub(crate) fn share(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }

    #[cfg(feature = "redis")]
    pub(super) fn shared(&self) -> &SharedState {
        &self.shared
    }

    /// Judges what was made at `position`, or found valid then.
    pub(crate) fn verdict(&self, position: Position, subject: SubjectRef<'_>) -> Verdict {
        self.verdict_at(position, subject).0
    }

    /// Returns whether nothing can be held against what was made at `position`, whatever it is: then
    /// a verdict need not be asked for.
    pub(crate) fn is_quiet_at(&self, position: Position) -> bool {
        self.shared.head().is_quiet_at(position)
    }

    /// Does what [`verdict`](Self::verdict) does, and returns the position the verdict holds for:
    /// what is valid can be judged as if it were made there the next time.
    pub(crate) fn verdict_at(
        &self,
        position: Position,
        subject: SubjectRef<'_>,
    ) -> (Verdict, Position) {
        if self.shared.head().is_quiet_at(position) {
            return (Verdict::Valid, position);
        }
        let keys = self.shared.keys(subject);
        let state = self.shared.read();
        // Read under the lock, so that the index holds just what was recorded up to there.
        let head = self.position();
        (state.judge(position, head, &keys, subject), head)
    }

    /// Announces a write that has not been made yet. Until the intent is closed nothing that the
    /// invalidations match is used, whatever its position; nor what soft ones match.
    pub(crate) fn begin_write(&self, invalidations: &[Invalidation]) -> Intent {
        Intent::open(self.shared.clone(), invalidations.into())
    }

    /// Refuses, from `since` until `until`, to store what the invalidations match: the handler may
    /// read from a replica that has not caught up with the write.
    pub(crate) fn hold(&self, invalidations: &[Invalidation], since: Instant, until: Instant) {
        let placed = self.shared.place(invalidations);
        self.shared.write().hold(placed, since, until);
    }

    /// Returns whether what a fill made may be stored: the fill took `position`, and called the
    /// handler at `began`.
    pub(crate) fn may_store(
        &self,
        position: Position,
        subject: SubjectRef<'_>,
        began: Instant,
    ) -> bool {
        self.refusal(position, subject, began).is_none()
    }

    /// Returns why what a fill made may not be stored.
    pub(crate) fn refusal(
        &self,
        position: Position,
        subject: SubjectRef<'_>,
        began: Instant,
    ) -> Option<NotToStore> {
        if self.shared.head().is_quiet_at(position) && !self.shared.read().holds_back() {
            return None;
        }
        let keys = self.shared.keys(subject);
        let state = self.shared.read();
        if state.judge(position, self.position(), &keys, subject) == Verdict::Invalid {
            return Some(NotToStore::Overtaken);
        }
        let held = state.held(&keys, subject);
        held.filter(|(_, until)| began < *until)
            .map(|_| NotToStore::Held)
    }

    /// Returns whether a request that began at `asked` outlasts a hold which a handler's answer falls
    /// under that was called at `began`. The answer may be too old for that request.
    ///
    /// Only the latest hold is known. A handler called before that may have been under an earlier one,
    /// which the request outlasts although it began under the latest itself.
    pub(crate) fn outlasts_hold(
        &self,
        subject: SubjectRef<'_>,
        began: Instant,
        asked: Instant,
    ) -> bool {
        let keys = self.shared.keys(subject);
        let held = self.shared.read().held(&keys, subject);
        held.is_some_and(|(since, until)| {
            began < since || began < until && (asked >= until || asked <= since)
        })
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("position", &self.position())
            .field("len", &self.len())
            .field("capacity", &self.shared.read().capacity())
            .finish()
    }
}

#[cfg(test)]
mod tests;
