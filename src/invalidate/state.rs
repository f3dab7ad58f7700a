//! The predicate, and the state that it looks at.

use std::time::Instant;

use smallvec::SmallVec;

use super::index::Index;
use super::keys::{Keys, Placement};
use super::open::Open;
use super::position::Position;
use super::table::Merge;
use crate::target::SubjectRef;

/// The log's verdict on a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// Nothing that matches was recorded behind its position.
    Valid,
    /// Something marked it as stale. It may be used as far as a stale response may.
    Soft,
    /// It must not be used, however stale a response may be.
    Invalid,
}

#[derive(Debug)]
pub(super) struct LogState {
    recorded: Index<Latest>,
    pub(super) open: Open,
    /// Made when it is first needed.
    held: Option<Index<Held>>,
    capacity: usize,
}

/// The latest positions of an invalidation, of its hard and its soft form.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latest {
    pub(super) hard: Position,
    pub(super) soft: Position,
}

/// Since when, and until when, responses are not stored.
#[derive(Clone, Copy, Debug, Default)]
struct Held(Option<(Instant, Instant)>);

/// Invalidations on their way into the index, hashed before the lock is taken.
pub(super) type Placed = SmallVec<[(Placement, bool); 4]>;

impl LogState {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            recorded: Index::new(capacity),
            open: Open::default(),
            held: None,
            capacity,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns how many invalidations are distinguished.
    pub(super) fn len(&self) -> usize {
        self.recorded.len()
    }

    /// Returns whether a write is under way.
    pub(super) fn is_writing(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn record(&mut self, placed: Placed, position: Position) {
        for (place, soft) in placed {
            self.recorded.record(place, Latest::at(position, soft));
        }
    }

    pub(super) fn hold(&mut self, placed: Placed, since: Instant, until: Instant) {
        let capacity = self.capacity;
        let held = self.held.get_or_insert_with(|| Index::new(capacity));
        for (place, _) in placed {
            held.record(place, Held(Some((since, until))));
        }
    }

    /// The one predicate. The index counts what it has forgotten as recorded for everything.
    pub(super) fn judge(
        &self,
        position: Position,
        head: Position,
        keys: &Keys,
        subject: SubjectRef<'_>,
    ) -> Verdict {
        let open = || self.open.matches(keys, subject);
        if position > head || open() {
            return Verdict::Invalid;
        }
        let matters = |stamp: Latest| stamp.hard.max(stamp.soft) > position;
        let latest = self.recorded.latest(keys, subject, matters);
        if latest.hard > position {
            Verdict::Invalid
        } else if latest.soft > position {
            Verdict::Soft
        } else {
            Verdict::Valid
        }
    }

    /// Returns whether any responses ever were.
    pub(super) fn holds_back(&self) -> bool {
        self.held.is_some()
    }

    /// Returns since when and until when responses are held back.
    pub(super) fn held(&self, keys: &Keys, subject: SubjectRef<'_>) -> Option<(Instant, Instant)> {
        self.held.as_ref()?.latest(keys, subject, |_| true).0
    }
}

impl Latest {
    pub(super) fn at(position: Position, soft: bool) -> Self {
        let none = Position::default();
        match soft {
            true => Self {
                hard: none,
                soft: position,
            },
            false => Self {
                hard: position,
                soft: none,
            },
        }
    }
}

impl Merge for Latest {
    fn absorb(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }

    fn is_later_than(self, other: Self) -> bool {
        self.hard.max(self.soft) > other.hard.max(other.soft)
    }
}

impl Merge for Held {
    /// Holds that overlap are one; of others the later counts.
    fn absorb(&mut self, other: Self) {
        self.0 = match (self.0, other.0) {
            (Some(one), Some(other)) => {
                let (earlier, later) = if one <= other {
                    (one, other)
                } else {
                    (other, one)
                };
                let since = if later.0 < earlier.1 {
                    earlier.0
                } else {
                    later.0
                };
                Some((since, later.1.max(earlier.1)))
            }
            (one, other) => one.or(other),
        };
    }

    fn is_later_than(self, other: Self) -> bool {
        self.0 > other.0
    }
}
