//! A handler's own value as plain data.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::packed::{Packed, PackedFields};
use super::times::{PackedTimes, Times};
use super::verdict::verdict;
use crate::invalidate::{Log, Position, Verdict};
use crate::sync::AtomicU64;
use crate::target::{Subject, SubjectRef};

/// A value of a handler's own that was stored, with what is needed to judge whether it may be used
/// again.
///
/// It is judged as a [`StoredResponse`](super::StoredResponse) is: by the position it carries, and
/// by its age.
#[derive(Debug)]
pub struct StoredValue {
    /// The bytes, and behind them what they are invalidated by.
    packed: Packed,
    tags: Box<[Box<str>]>,
    times: PackedTimes,
    /// The log's position that was known before the value was made.
    position: Position,
    /// The latest position at which the log was found to hold nothing against this value.
    checked: AtomicU64,
}

#[cfg_attr(
    not(any(feature = "redis", feature = "values")),
    allow(dead_code, reason = "values are made by features only")
)]
impl StoredValue {
    /// Makes a value that has an age `now`, and counts from `position` in the log.
    pub(crate) fn new(
        bytes: &[u8],
        subject: &Subject,
        now: Instant,
        age: Duration,
        lifetime: Duration,
        position: Position,
    ) -> Self {
        let times = Times {
            received: now,
            initial_age: age,
            lifetime,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        };
        Self {
            packed: Packed::new(&PackedFields::default(), subject.borrow(), bytes),
            tags: subject.tags().into(),
            times: times.into(),
            position,
            checked: AtomicU64::new(position.into()),
        }
    }

    /// Returns the bytes that the value was encoded to, without copying them.
    pub(crate) fn bytes(&self) -> Bytes {
        self.packed.body()
    }

    /// Returns the log's position that was known before the value was made.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Returns for how long the value may be used.
    pub(crate) fn lifetime(&self) -> Duration {
        self.times.lifetime()
    }
}

impl StoredValue {
    /// Returns about how many bytes this takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len()).sum();
        mem::size_of::<Self>() + self.packed.size() + tags + mem::size_of_val(&*self.tags)
    }

    /// Returns what invalidations are matched against.
    pub(crate) fn subject(&self) -> SubjectRef<'_> {
        SubjectRef::new(self.packed.path(), self.packed.query(), &self.tags)
    }

    /// Returns how long ago the value was made.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.times.age(now)
    }

    /// Returns whether the value is younger than its lifetime.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.times.lifetime()
    }

    /// Asks the log whether anything that matches this value was invalidated since it was made.
    pub(crate) fn verdict(&self, log: &Log) -> Verdict {
        verdict(&self.checked, log, || self.subject())
    }

    /// Returns whether the value may be used: it is fresh, and nothing that matches was invalidated.
    ///
    /// A value that an invalidation marked as stale is not used either: no handler call would refresh it
    /// meanwhile.
    #[cfg(any(feature = "values", test))]
    pub(crate) fn is_usable(&self, log: &Log, now: Instant) -> bool {
        self.is_fresh(now) && self.verdict(log) == Verdict::Valid
    }
}
