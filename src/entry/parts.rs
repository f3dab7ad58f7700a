//! Stored responses taken apart, and put together again in another process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::packed::{Layout, Packed};
use super::{AtomicU64, Prepared, Rare, Reuse, StoredResponse, Times};
use crate::clock;
use crate::invalidate::Position;

/// The parts of a stored response from elsewhere, which may be anything.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) status: StatusCode,
    pub(crate) reuse: Reuse,
    pub(crate) lifetime: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) tags: Box<[Box<str>]>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) layout: Layout,
    /// The text, and the body behind it.
    pub(crate) bytes: Bytes,
    /// How many more bytes are kept in memory for those.
    pub(crate) around: usize,
}

/// A response that has no place yet in our own log, and no age on our own clock.
#[derive(Debug)]
pub(crate) struct Unplaced(StoredResponse);

impl Parts {
    /// Puts the parts together, without a copy of text or body. `None` where they are no response
    /// that could have been stored.
    pub(crate) fn join(self) -> Option<Unplaced> {
        let text = self.layout.text().filter(|end| *end <= self.bytes.len())?;
        let is_long = self.bytes.len() - text > StoredResponse::SHORT_BODY;
        let body = is_long.then(|| self.bytes.slice(text..));
        let packed = match is_long {
            true => self.bytes.slice(..text),
            false => self.bytes,
        };
        let rare = Rare {
            body,
            trailers: self.trailers.map(Box::new),
            tags: self.tags,
            fill: None,
        };
        let times = Times {
            received: clock::origin(),
            initial_age: Duration::ZERO,
            lifetime: self.lifetime,
            stale_while_revalidate: self.stale_while_revalidate,
            stale_if_error: self.stale_if_error,
        };
        let position = Position::default();
        let response = StoredResponse {
            status: self.status,
            reuse: self.reuse,
            packed: Packed::checked(packed, self.layout, self.around)?,
            times: times.into(),
            rare: (!rare.is_empty()).then(|| Box::new(rare)),
            position,
            checked: AtomicU64::new(position.into()),
            prepared: Prepared::default(),
        };
        response.can_be_sent().then_some(Unplaced(response))
    }
}

impl Unplaced {
    /// Gives the response its place in our log, and the age that it has `now`.
    pub(crate) fn place(self, position: Position, now: Instant, age: Duration) -> StoredResponse {
        let Self(response) = self;
        let times = Times {
            received: now,
            initial_age: age,
            lifetime: response.lifetime(),
            stale_while_revalidate: response.stale_while_revalidate(),
            stale_if_error: response.stale_if_error(),
        };
        StoredResponse {
            times: times.into(),
            position,
            checked: AtomicU64::new(position.into()),
            ..response
        }
    }
}

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

    /// Whether this is a final response, of just the length that it states. Another would take the
    /// next response on its connection for its own body, or the other way round.
    fn can_be_sent(&self) -> bool {
        let length = self.body_len();
        let states_length = |(name, value): (&[u8], &[u8])| {
            name != header::CONTENT_LENGTH.as_str().as_bytes() || is_decimal(value, length)
        };
        !self.status.is_informational() && self.head().iter().all(states_length)
    }
}

fn is_decimal(text: &[u8], number: usize) -> bool {
    itoa::Buffer::new().format(number).as_bytes() == text
}
