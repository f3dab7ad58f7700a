//! Stored responses.

use std::fmt;
use std::mem;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode, response};

#[cfg(feature = "redis")]
use super::packed::Layout;
use super::packed::{Packed, PackedFields, StoredHead};
use super::prepared::Prepared;
use super::times::{PackedTimes, Times};
use super::verdict::verdict;
use crate::invalidate::{Log, Position, Verdict};
use crate::semantics::cache_control::Scope;
use crate::semantics::partial::{self, Partial};
use crate::semantics::storable;
use crate::semantics::validation::{Validators, freshen};
use crate::sync::AtomicU64;
use crate::target::{Subject, SubjectRef};

/// A response that was stored, with what is needed to judge whether it may be used again.
///
/// Nothing in it refers to the connection it came over: header fields are copied into one exact
/// buffer, so a stored response never pins a read buffer.
#[derive(Debug)]
pub struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) reuse: Reuse,
    pub(super) packed: Packed,
    pub(super) times: PackedTimes,
    pub(super) rare: Option<Box<Rare>>,
    /// The log's position that was known before the handler was called.
    pub(crate) position: Position,
    /// The latest position at which the log was found to hold nothing against this response.
    pub(super) checked: AtomicU64,
    pub(crate) prepared: Prepared,
}

/// The fields that most stored responses do without.
#[derive(Clone, Default)]
pub(super) struct Rare {
    /// A body too long to be copied to the rest.
    pub(super) body: Option<Bytes>,
    pub(super) trailers: Option<Box<HeaderMap>>,
    pub(super) tags: Box<[Box<str>]>,
    /// The number of the fill that made it, where somebody traces that.
    pub(super) fill: Option<NonZeroU64>,
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

    /// Makes a response to be replayed once, and never stored: confirmed by the handler, which
    /// forbade to keep it at the same time.
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

    /// Returns the headers.
    pub(crate) fn head(&self) -> StoredHead<'_> {
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

    pub(crate) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.head().etag(),
            last_modified: self.head().last_modified(),
        }
    }

    /// Returns the part that a stored 206 holds.
    pub(crate) fn part(&self) -> Option<Partial> {
        if self.status != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        Partial::new(self.head().get(&header::CONTENT_RANGE), self.body())
    }

    /// Joins the rest of a representation to this part: the head and the body of the whole
    /// (RFC 9111 §3.4). `None` where they do not go together.
    pub(crate) fn completed_by(
        &self,
        rest: &response::Parts,
        body: Bytes,
    ) -> Option<(response::Parts, Bytes)> {
        let etag = rest.headers.get(header::ETAG).map(|etag| etag.as_bytes());
        if storable::has_too_many_fields(&rest.headers)
            || !partial::same_representation(self.head().etag(), etag)
        {
            return None;
        }
        let range = rest.headers.get(header::CONTENT_RANGE);
        let rest_part = Partial::new(range.map(|range| range.as_bytes()), body)?;
        let whole = self.part()?.combine(&rest_part)?.whole()?.clone();
        let update = storable::stored_headers(&rest.headers, &Scope::Absent);
        let mut head = Response::new(()).into_parts().0;
        head.headers = freshen(&self.head().to_map(0), &update);
        partial::set_whole(&mut head.headers, whole.len() as u64);
        head.extensions = rest.extensions.clone();
        Some((head, whole))
    }

    /// Asks the log whether anything that matches this response was invalidated after its handler
    /// was called, and remembers up to where nothing was.
    pub(crate) fn verdict(&self, log: &Log) -> Verdict {
        verdict(&self.checked, log, || self.subject())
    }
}

/// How a response travels between processes.
#[cfg(feature = "redis")]
impl StoredResponse {
    /// Returns how [`bytes`](Self::bytes) are laid out.
    pub(crate) fn layout(&self) -> Layout {
        self.packed.layout()
    }

    /// Returns the text and the body, in two pieces of which the second may be empty.
    pub(crate) fn bytes(&self) -> (&[u8], &[u8]) {
        let long = self.long_body().map_or(&[][..], |body| body);
        (self.packed.bytes(), long)
    }

    /// Returns whether this is a final response, of just the length that it states. Another would take the
    /// next response on its connection for its own body, or the other way round.
    pub(super) fn can_be_sent(&self) -> bool {
        let length = self.body_len();
        let states_length = |(name, value): (&[u8], &[u8])| {
            name != header::CONTENT_LENGTH.as_str().as_bytes() || is_decimal(value, length)
        };
        !self.status.is_informational() && self.head().iter().all(states_length)
    }
}

impl Rare {
    pub(super) fn is_empty(&self) -> bool {
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

#[cfg(feature = "redis")]
fn is_decimal(text: &[u8], number: usize) -> bool {
    itoa::Buffer::new().format(number).as_bytes() == text
}

impl fmt::Debug for Rare {
    /// Shows nothing of the response: its fields may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rare(..)")
    }
}
