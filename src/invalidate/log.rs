//! The log of invalidations, and the predicate that judges by it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use smallvec::SmallVec;

use super::index::Index;
use super::intent::{Open, OpenPlaces};
use super::invalidation::Invalidation;
use super::keys::{Keys, Place, Seed};
use super::position::Position;
use super::subject::SubjectRef;
use super::table::Stamp;

/// How many invalidations a log tells apart unless told otherwise: at 100 different ones a second,
/// those of the last five minutes.
const DEFAULT_CAPACITY: usize = 32 * 1024;

/// Above this a log would take more than a gigabyte.
const MAX_CAPACITY: usize = 8 * 1024 * 1024;

/// The invalidations of one cache, or this node's copy of those that several nodes share.
///
/// It holds the latest position of every different invalidation, up to a number; then it forgets
/// the oldest, and takes everything stored before that for invalidated. It takes about 100 bytes
/// for each, whatever their length, and room for all of them is set aside when it is made.
///
/// A log can be used from many threads at once. Recording takes a lock for a moment that does not
/// grow with what is stored or recorded.
pub struct Log {
    shared: Arc<Shared>,
}

/// What the log has to say about a stored response.
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

struct Shared {
    /// The head of the log, and whether writes are under way. Changed under the write lock only.
    head: Padded,
    state: RwLock<State>,
    seed: Seed,
    capacity: usize,
}

/// Keeps the head off the lock's cache line: each hit reads it, and readers write to the lock.
#[repr(align(128))]
struct Padded(AtomicU64);

#[derive(Debug)]
struct State {
    recorded: Index<Latest>,
    open: Open,
    /// Made when it is first needed.
    held: Option<Index<Until>>,
}

/// The latest positions of an invalidation, of its hard and its soft form.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    hard: Position,
    soft: Position,
}

/// Until when responses are not stored.
#[derive(Clone, Copy, Debug, Default)]
struct Until(Option<Instant>);

/// Invalidations on their way into the index, hashed before the lock is taken.
type Placed = SmallVec<[(Place, bool); 4]>;

impl Log {
    /// Makes a log that tells `capacity` invalidations apart. The default is 32,768.
    ///
    /// When more than that are recorded within the lifetime of a stored response, it is taken for
    /// invalidated before its time; never the other way round. Size it for the different
    /// invalidations a second times the longest lifetime. At most 8,388,608.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.min(MAX_CAPACITY);
        let state = State {
            recorded: Index::new(capacity),
            open: Open::default(),
            held: None,
        };
        Self {
            shared: Arc::new(Shared {
                head: Padded(AtomicU64::new(0)),
                state: RwLock::new(state),
                seed: Seed::default(),
                capacity,
            }),
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

    /// Returns how many invalidations are told apart now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.read().recorded.len()
    }

    /// Returns whether there is nothing to tell apart.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Judges what was made at `position`, or found valid then.
    pub(crate) fn verdict(&self, position: Position, subject: SubjectRef<'_>) -> Verdict {
        self.verdict_at(position, subject).0
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
        let keys = self.shared.seed.keys(subject);
        let state = self.shared.read();
        // Read under the lock, so that the index holds just what was recorded up to there.
        let head = self.position();
        (state.judge(position, head, &keys, subject), head)
    }

    /// Announces a write that has not been made yet. Until the intent is closed nothing that the
    /// invalidations match is used, whatever its position.
    pub(crate) fn begin_write(&self, invalidations: &[Invalidation]) -> Intent {
        let placed = self.shared.place(invalidations);
        let mut state = self.shared.write();
        let open = state.open.begin(placed.into_iter().map(|(place, _)| place));
        self.shared.publish(self.position(), &state);
        drop(state);
        Intent {
            shared: self.shared.clone(),
            invalidations: invalidations.into(),
            open,
        }
    }

    /// Refuses, until `until`, to store what the invalidations match: the handler may read from a
    /// replica that has not caught up with the write.
    pub(crate) fn hold(&self, invalidations: &[Invalidation], until: Instant) {
        let placed = self.shared.place(invalidations);
        let mut state = self.shared.write();
        let held = state
            .held
            .get_or_insert_with(|| Index::new(self.shared.capacity));
        for (place, _) in placed {
            held.record(place, Until(Some(until)));
        }
    }

    /// Returns whether what a fill made may be stored: the fill took `position`, and called the
    /// handler at `began`.
    pub(crate) fn may_store(
        &self,
        position: Position,
        subject: SubjectRef<'_>,
        began: Instant,
    ) -> bool {
        let keys = self.shared.seed.keys(subject);
        let state = self.shared.read();
        state.judge(position, self.position(), &keys, subject) != Verdict::Invalid
            && !state.is_held(&keys, subject, began)
    }

    /// Invalidates everything up to here: what was stored in another life of a shared log.
    pub(crate) fn reset(&self) -> Position {
        self.append(&[Invalidation::everything()])
    }
}

/// A write under way. Dropped, it counts as done: nobody can tell how far it came.
#[must_use]
pub(crate) struct Intent {
    shared: Arc<Shared>,
    invalidations: Box<[Invalidation]>,
    open: OpenPlaces,
}

impl Intent {
    /// Records the invalidations of a write that was made, and returns their position.
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

impl Shared {
    /// Returns the head with an acquiring load: who sees a position sees all that was written
    /// before it was recorded.
    fn head(&self) -> Head {
        let word = self.head.0.load(Ordering::Acquire);
        Head {
            position: Position::from(word >> 1),
            writing: word & 1 == 1,
        }
    }

    fn place(&self, invalidations: &[Invalidation]) -> Placed {
        let place =
            |invalidation: &Invalidation| (self.seed.place(invalidation), invalidation.soft);
        invalidations.iter().map(place).collect()
    }

    /// Records invalidations at the next position and publishes it, last of all: who sees the
    /// position finds what was recorded there.
    fn record(&self, state: &mut State, placed: Placed) -> Position {
        let position = self.head().position.next();
        for (place, soft) in placed {
            state.recorded.record(place, Latest::at(position, soft));
        }
        self.publish(position, state);
        position
    }

    fn publish(&self, position: Position, state: &State) {
        let writing = u64::from(!state.open.is_empty());
        self.head
            .0
            .store(u64::from(position) << 1 | writing, Ordering::Release);
    }

    // A panic under the lock can only be a failed allocation. What it leaves behind is missing at
    // the most an invalidation whose caller saw the panic.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one load of the head says.
#[derive(Clone, Copy)]
struct Head {
    position: Position,
    writing: bool,
}

impl Head {
    /// Returns whether nothing was recorded behind `position` and nothing is under way.
    fn is_quiet_at(self, position: Position) -> bool {
        self.position == position && !self.writing
    }
}

impl State {
    /// The one predicate. The index counts what it has forgotten as recorded for everything.
    fn judge(
        &self,
        position: Position,
        head: Position,
        keys: &Keys,
        subject: SubjectRef<'_>,
    ) -> Verdict {
        if position > head || self.open.matches(keys, subject) {
            return Verdict::Invalid;
        }
        let latest = self.recorded.latest(keys, subject);
        if latest.hard > position {
            Verdict::Invalid
        } else if latest.soft > position {
            Verdict::Soft
        } else {
            Verdict::Valid
        }
    }

    fn is_held(&self, keys: &Keys, subject: SubjectRef<'_>, began: Instant) -> bool {
        let until = self
            .held
            .as_ref()
            .and_then(|held| held.latest(keys, subject).0);
        until.is_some_and(|until| began < until)
    }
}

impl Latest {
    fn at(position: Position, soft: bool) -> Self {
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

impl Stamp for Latest {
    fn absorb(&mut self, other: Self) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }
}

impl Stamp for Until {
    fn absorb(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
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
            .field("capacity", &self.shared.capacity)
            .finish()
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intent").field(&self.invalidations).finish()
    }
}

#[cfg(test)]
mod tests;
