//! What is stored: a response, or a handler's own value, as plain data.

use std::mem;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::invalidate::{Log, Position, Subject, SubjectRef, Verdict};
use crate::mutant::{self, Mutant};
use crate::sync::AtomicU64;

mod packed;
#[cfg(feature = "redis")]
mod parts;
mod prepared;
mod times;
mod value;
mod variant_hints;
mod variants;

use packed::Packed;
use times::PackedTimes;

pub(crate) use packed::{FieldWriter, Head, PackedFields};
#[cfg(feature = "redis")]
pub(crate) use packed::{Layout, field_name, length_size, push_length, take_field, take_length};
#[cfg(feature = "redis")]
pub(crate) use parts::{Parts, Unplaced};
pub(crate) use prepared::{Kept, Prepared, PreparedList, ReplayStamp};
pub(crate) use times::Times;
pub use value::StoredValue;
pub(crate) use variant_hints::VariantHints;
#[cfg(feature = "redis")]
pub(crate) use variants::MOST_NAMES;
pub(crate) use variants::Variant;
pub use variants::Variants;

/// A response that was stored, with what is needed to judge whether it may be used again.
///
/// Nothing in it refers to the connection it came over: header fields are copied into one exact
/// buffer, so a stored response never pins a read buffer.
#[derive(Debug)]
pub struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) reuse: Reuse,
    packed: Packed,
    times: PackedTimes,
    rare: Option<Box<Rare>>,
    /// The log's position that was known before the handler was called.
    pub(crate) position: Position,
    /// The latest position at which the log was found to hold nothing against this response.
    checked: AtomicU64,
    pub(crate) prepared: Prepared,
}

/// What most stored responses do without.
#[derive(Clone, Debug, Default)]
struct Rare {
    /// A body too long to be copied to the rest.
    body: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
    tags: Box<[Box<str>]>,
    /// The number of the fill that made it, where somebody traces that.
    fill: Option<NonZeroU64>,
}

/// Who may be given a stored response, and on what condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reuse {
    /// `no-cache`: never without a successful validation (RFC 9111 §5.2.2.4).
    pub(crate) always_validate: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: never stale (RFC 9111 §4.2.4).
    pub(crate) never_stale: bool,
    /// May answer a request that carries `Authorization` (RFC 9111 §3.5).
    pub(crate) with_authorization: bool,
    /// May answer a request that carries `Cookie`.
    pub(crate) with_cookie: bool,
    /// The handler set the lifetime beside its header fields, and need not do so again in a 304.
    pub(crate) lifetime_by_handler: bool,
}

impl StoredResponse {
    /// Longer bodies are not copied.
    pub(crate) const SHORT_BODY: usize = 4 << 10;

    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of what is stored, and there is one caller"
    )]
    pub(crate) fn new(
        status: StatusCode,
        fields: impl Into<PackedFields>,
        body: Bytes,
        trailers: Option<HeaderMap>,
        times: Times,
        reuse: Reuse,
        subject: Subject,
        position: Position,
    ) -> Self {
        let rare = Rare {
            body: (body.len() > Self::SHORT_BODY).then(|| body.clone()),
            trailers: trailers.map(Box::new),
            tags: subject.tags().into(),
            fill: None,
        };
        let short = match rare.body {
            Some(_) => &[][..],
            None => &body,
        };
        Self {
            status,
            reuse,
            packed: Packed::new(&fields.into(), subject.borrow(), short),
            times: times.into(),
            rare: (!rare.is_empty()).then(|| Box::new(rare)),
            position,
            checked: AtomicU64::new(position.into()),
            prepared: Prepared::default(),
        }
    }

    /// Makes a response to be replayed once, and never stored: confirmed by the handler, which at
    /// the same time forbade to keep it.
    pub(crate) fn once(&self, headers: &HeaderMap, received: Instant) -> Self {
        let times = Times {
            received,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        };
        Self::new(
            self.status,
            headers,
            self.body(),
            self.trailers().cloned(),
            times,
            self.reuse,
            self.subject().to_owned(),
            self.position,
        )
    }

    /// Returns the same response, made by the fill of that number.
    pub(crate) fn filled_by(mut self, fill: Option<NonZeroU64>) -> Self {
        if fill.is_some() {
            self.rare.get_or_insert_default().fill = fill;
        }
        self
    }

    /// Returns the number of the fill that made it, where that was traced.
    pub(crate) fn fill(&self) -> Option<NonZeroU64> {
        self.rare.as_ref()?.fill
    }

    /// Returns about how many bytes this takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        mem::size_of::<Self>() + self.packed.size() + self.rare.as_deref().map_or(0, Rare::size)
    }

    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the header section.
    pub(crate) fn head(&self) -> Head<'_> {
        self.packed.head()
    }

    /// Returns the body, without copying it.
    pub(crate) fn body(&self) -> Bytes {
        match self.long_body() {
            Some(body) => body.clone(),
            None => self.packed.body(),
        }
    }

    /// Returns the body's length.
    pub(crate) fn body_len(&self) -> usize {
        self.long_body()
            .map_or_else(|| self.packed.body_len(), Bytes::len)
    }

    fn long_body(&self) -> Option<&Bytes> {
        self.rare.as_ref()?.body.as_ref()
    }

    /// Returns the trailer section.
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.rare.as_ref()?.trailers.as_deref()
    }

    /// Returns what invalidations are matched against.
    pub(crate) fn subject(&self) -> SubjectRef<'_> {
        let tags = self.rare.as_ref().map_or(&[][..], |rare| &rare.tags);
        SubjectRef::new(self.packed.path(), self.packed.query(), tags)
    }

    /// Returns the current age (RFC 9111 §4.2.3).
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.times.age(now)
    }

    /// Returns the freshness lifetime (RFC 9111 §4.2.1), after the policy had its say.
    pub(crate) fn lifetime(&self) -> Duration {
        self.times.lifetime()
    }

    /// Returns for how long after that it may be served while it is refreshed (RFC 5861 §3).
    pub(crate) fn stale_while_revalidate(&self) -> Duration {
        self.times.stale_while_revalidate()
    }

    /// Returns for how long after that it may be served in place of an error (RFC 5861 §4).
    pub(crate) fn stale_if_error(&self) -> Duration {
        self.times.stale_if_error()
    }

    /// Returns by how much the age exceeds the lifetime; `None` while the response is fresh.
    ///
    /// A response whose age equals its lifetime is stale (RFC 9111 §4.2: fresh means
    /// *freshness_lifetime > current_age*).
    pub(crate) fn stale_by(&self, now: Instant) -> Option<Duration> {
        self.stale_by_at(self.age(now))
    }

    /// Does what [`stale_by`](Self::stale_by) does, for an age that is known.
    pub(crate) fn stale_by_at(&self, age: Duration) -> Option<Duration> {
        age.checked_sub(self.lifetime())
    }

    /// Asks the log whether anything that matches this response was invalidated after its handler
    /// was called, and remembers up to where nothing was.
    pub(crate) fn verdict(&self, log: &Log) -> Verdict {
        verdict(self.position, &self.checked, log, || self.subject())
    }
}

/// Asks the log about what was made at `position`, and was last found valid when `checked` says.
fn verdict<'a>(
    position: Position,
    checked: &AtomicU64,
    log: &Log,
    subject: impl FnOnce() -> SubjectRef<'a>,
) -> Verdict {
    // Relaxed: whatever is read is a position at which the check had succeeded.
    let known = checked.load(Ordering::Relaxed);
    if known > position.into() && mutant::is(Mutant::VerdictCachedForEver) {
        return Verdict::Valid;
    }
    if log.is_quiet_at(known.into()) {
        return Verdict::Valid;
    }
    let (verdict, position) = log.verdict_at(known.into(), subject());
    let position = position.into();
    if verdict == Verdict::Valid && position > known {
        checked.fetch_max(position, Ordering::Relaxed);
    }
    verdict
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.body.is_none() && self.trailers.is_none() && self.tags.is_empty()
    }

    fn size(&self) -> usize {
        let body = self.body.as_ref().map_or(0, Bytes::len);
        let trailers = self.trailers.as_ref().map_or(0, |trailers| {
            mem::size_of::<HeaderMap>() + trailers.len() * 128
        });
        let tags: usize = self.tags.iter().map(|tag| tag.len()).sum();
        mem::size_of::<Self>() + body + trailers + tags + mem::size_of_val(&*self.tags)
    }
}
