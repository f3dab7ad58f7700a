//! What is stored: a response as plain data.

use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};

use crate::invalidate::{Log, Position, Subject, Verdict};
use crate::key::Key;
use crate::mutant::{self, Mutant};
use crate::sync::AtomicU64;

mod prepared;

pub(crate) use prepared::{Moment, Prepared, PreparedList};

/// A response that was stored, with what is needed to judge whether it may be used again.
///
/// Nothing in it refers to the connection it came over: header fields are copied into one exact
/// buffer, so a stored response never pins a read buffer.
#[derive(Debug)]
pub struct StoredResponse {
    pub(crate) status: StatusCode,
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<Box<HeaderMap>>,
    pub(crate) times: Times,
    pub(crate) reuse: Reuse,
    pub(crate) subject: Subject,
    /// The log's position that was known before the handler was called.
    pub(crate) position: Position,
    /// The latest position at which the log was found to hold nothing against this response.
    checked: AtomicU64,
    pub(crate) prepared: Prepared,
}

/// When a response was made, and for how long it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the response's head arrived, on our own monotonic clock.
    pub(crate) received: Instant,
    /// The corrected initial age (RFC 9111 §4.2.3).
    pub(crate) initial_age: Duration,
    /// The freshness lifetime (RFC 9111 §4.2.1), after the policy had its say.
    pub(crate) lifetime: Duration,
    /// For how long after that it may be served while it is refreshed (RFC 5861 §3).
    pub(crate) stale_while_revalidate: Duration,
    /// For how long after that it may be served in place of an error (RFC 5861 §4).
    pub(crate) stale_if_error: Duration,
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
}

impl StoredResponse {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of what is stored, and there is one caller"
    )]
    pub(crate) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        trailers: Option<HeaderMap>,
        times: Times,
        reuse: Reuse,
        subject: Subject,
        position: Position,
    ) -> Self {
        Self {
            status,
            head: Head::new(headers),
            body,
            trailers: trailers.map(Box::new),
            times,
            reuse,
            subject,
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
        Self {
            status: self.status,
            head: Head::new(headers),
            body: self.body.clone(),
            trailers: self.trailers.clone(),
            times,
            reuse: self.reuse,
            subject: self.subject.clone(),
            position: self.position,
            checked: AtomicU64::new(self.position.into()),
            prepared: Prepared::default(),
        }
    }

    /// Returns about how many bytes this takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let trailers = self.trailers.as_ref().map_or(0, |trailers| {
            mem::size_of::<HeaderMap>() + trailers.len() * 128
        });
        mem::size_of::<Self>() + self.head.size() + self.body.len() + self.subject.size() + trailers
    }

    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the current age (RFC 9111 §4.2.3).
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.times
            .initial_age
            .saturating_add(now.saturating_duration_since(self.times.received))
    }

    /// Returns by how much the age exceeds the lifetime; `None` while the response is fresh.
    ///
    /// A response whose age equals its lifetime is stale (RFC 9111 §4.2: fresh means
    /// *freshness_lifetime > current_age*).
    pub(crate) fn stale_by(&self, now: Instant) -> Option<Duration> {
        self.age(now).checked_sub(self.times.lifetime)
    }

    /// Asks the log whether anything that matches this response was invalidated after its handler
    /// was called, and remembers up to where nothing was.
    pub(crate) fn verdict(&self, log: &Log) -> Verdict {
        // Relaxed: whatever is read is a position at which the check had succeeded.
        let checked = self.checked.load(Ordering::Relaxed);
        if checked > self.position.into() && mutant::is(Mutant::VerdictCachedForEver) {
            return Verdict::Valid;
        }
        let (verdict, position) = log.verdict_at(checked.into(), self.subject.borrow());
        let position = position.into();
        if verdict == Verdict::Valid && position > checked {
            self.checked.fetch_max(position, Ordering::Relaxed);
        }
        verdict
    }
}

/// The header section of a stored response: all fields in one exact buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Names and values, one behind the other.
    blob: Bytes,
    /// The lengths of each name and value, in the order of the blob.
    fields: Box<[(u16, u32)]>,
}

impl Head {
    /// Copies a header section. Names too long to be told (over 64 KiB) do not get through `http`.
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let bytes = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        let mut blob = Vec::with_capacity(bytes.sum());
        let mut fields = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            blob.extend_from_slice(name.as_str().as_bytes());
            blob.extend_from_slice(value.as_bytes());
            fields.push((name.as_str().len() as u16, value.len() as u32));
        }
        Self {
            blob: blob.into(),
            fields: fields.into(),
        }
    }

    /// Returns the bytes this takes on the heap.
    pub(crate) fn size(&self) -> usize {
        self.blob.len() + mem::size_of_val(&*self.fields)
    }

    /// Returns the first value of a field.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.iter()
            .find(|(field, _)| *field == name.as_str().as_bytes())
            .map(|(_, value)| value)
    }

    /// Returns names and values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans()
            .map(|(name, value)| (&self.blob[name], &self.blob[value]))
    }

    /// Makes a header map, with room for `extra` more fields. Values share the stored buffer.
    pub(crate) fn to_map(&self, extra: usize) -> HeaderMap {
        self.some_to_map(extra, |_| true)
    }

    /// Makes a header map of the fields with certain names.
    pub(crate) fn some_to_map(&self, extra: usize, wanted: impl Fn(&[u8]) -> bool) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.fields.len() + extra);
        for (name, value) in self.spans() {
            if !wanted(&self.blob[name.clone()]) {
                continue;
            }
            // Both were a name and a value before they were stored.
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(&self.blob[name]),
                HeaderValue::from_maybe_shared(self.blob.slice(value)),
            ) {
                map.append(name, value);
            }
        }
        map
    }

    fn spans(&self) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> {
        self.fields.iter().scan(0, |at, (name, value)| {
            let name = *at..*at + usize::from(*name);
            let value = name.end..name.end + *value as usize;
            *at = value.end;
            Some((name, value))
        })
    }

    /// Returns the stored entity tag.
    pub(crate) fn etag(&self) -> Option<&[u8]> {
        self.get(&header::ETAG)
    }

    /// Returns the stored `Last-Modified`.
    pub(crate) fn last_modified(&self) -> Option<&[u8]> {
        self.get(&header::LAST_MODIFIED)
    }
}

/// The fields that select among the responses stored for one key, and the responses known.
///
/// The names are the union of all `Vary` fields seen for the key, so that a response stored when
/// less was nominated never answers a request it was not selected for.
#[derive(Clone, Debug, Default)]
pub struct Variants {
    pub(crate) names: Vec<HeaderName>,
    /// The oldest first; bounded by the policy.
    pub(crate) known: Vec<Variant>,
}

/// More names than this for one key come from an origin that makes them up: each costs work in every
/// lookup.
const MOST_NAMES: usize = 32;

/// One of the responses stored for a key.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) key: Key,
    /// The key of what was selected apart from the language, where the language selects.
    pub(crate) any_language: Option<Key>,
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) content_language: Option<HeaderValue>,
}

impl Variants {
    /// Adds names to those that select. If any is new, what was stored without it is given up and
    /// returned. Where the names get too many, it starts over with the new ones.
    pub(crate) fn nominate(&mut self, names: &[HeaderName]) -> Vec<Variant> {
        let before = self.names.len();
        for name in names {
            if !self.names.contains(name) {
                self.names.push(name.clone());
            }
        }
        let added = self.names.len() > before;
        if self.names.len() > MOST_NAMES {
            self.names = names.to_vec();
        }
        self.names
            .sort_by(|one, other| one.as_str().cmp(other.as_str()));
        match added {
            false => Vec::new(),
            true => mem::take(&mut self.known),
        }
    }

    /// Adds a response to those known, and returns the one that has to go for it.
    pub(crate) fn add(&mut self, variant: Variant, most: usize) -> Option<Variant> {
        self.known.retain(|known| known.key != variant.key);
        self.known.push(variant);
        (self.known.len() > most).then(|| self.known.remove(0))
    }

    /// Returns about how many bytes this takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let value = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let known: usize = self
            .known
            .iter()
            .map(|variant| {
                mem::size_of::<Variant>()
                    + variant.key.as_bytes().len()
                    + value(&variant.etag)
                    + value(&variant.content_language)
            })
            .sum();
        mem::size_of::<Self>() + known + self.names.len() * (mem::size_of::<HeaderName>() + 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_section_comes_back_as_it_went_in() {
        let mut map = HeaderMap::new();
        map.append("x-a", HeaderValue::from_static("1"));
        map.append("x-a", HeaderValue::from_static("2"));
        map.append(
            "content-type",
            HeaderValue::from_bytes(b"text/\xff").expect("obs-text"),
        );
        map.append("x-empty", HeaderValue::from_static(""));
        let head = Head::new(&map);
        assert_eq!(head.to_map(3), map);
        assert_eq!(
            head.get(&HeaderName::from_static("x-empty")),
            Some(&b""[..])
        );
        assert_eq!(head.get(&header::ETAG), None);
    }
}
