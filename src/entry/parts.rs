//! Stored responses taken apart, and put together again in another process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::packed::{Layout, Packed};
use super::prepared::Prepared;
use super::response::{Rare, Reuse, StoredResponse};
use super::times::Times;
use crate::clock;
use crate::invalidate::Position;
use crate::sync::AtomicU64;

/// The parts of a stored response from elsewhere, which may be anything.
#[derive(Debug)]
pub(crate) struct ForeignParts {
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

impl ForeignParts {
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
