//! A handler's own value as plain data.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;

use super::packed::Packed;
use super::verdict;
use crate::invalidate::{Log, Position, Subject, SubjectRef, Verdict};
use crate::sync::AtomicU64;

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
    made: Instant,
    lifetime: Duration,
    /// The log's position that was known before the value was made.
    position: Position,
    /// The latest position at which the log was found to hold nothing against this value.
    checked: AtomicU64,
}

#[cfg_attr(
    not(feature = "values"),
    allow(dead_code, reason = "values are made by features only")
)]
impl StoredValue {
    /// Makes a value that counts from `made`, and from `position` in the log.
    pub(crate) fn new(
        bytes: &[u8],
        subject: &Subject,
        made: Instant,
        lifetime: Duration,
        position: Position,
    ) -> Self {
        Self {
            packed: Packed::new(&HeaderMap::new(), subject.borrow(), bytes),
            tags: subject.tags().into(),
            made,
            lifetime,
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
        self.lifetime
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
        now.saturating_duration_since(self.made)
    }

    /// Returns whether the value may be used: it is younger than its lifetime, and nothing that
    /// matches was invalidated since it was made.
    ///
    /// What an invalidation marked as stale is not used either: there is no handler's call that would
    /// refresh it meanwhile.
    pub(crate) fn is_usable(&self, log: &Log, now: Instant) -> bool {
        self.age(now) < self.lifetime
            && verdict(self.position, &self.checked, log, || self.subject()) == Verdict::Valid
    }
}
