//! Reading values, whatever they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{EntryStamp, FIXED, MAGIC, RESPONSE, SUM, Unfit, VALUE, VARIANTS, VERSION};
use crate::entry::{
    ForeignParts, Layout, MOST_NAMES, Reuse, StoredValue, Unplaced, Variant, Variants, field_name,
    take_field, take_length,
};
use crate::invalidate::Position;
use crate::key::{Key, KeyRef};
use crate::store::Stored;
use crate::target::Subject;

/// A header map takes a hundred times the room of the shortest fields; more than these in a trailer
/// section no server lets through.
const MOST_TRAILERS: usize = 1024;

/// Handlers may name as many tags as they like; this is a hundred times what fields can carry.
const MOST_TAGS: usize = 16 * 1024;

/// What was received, and found to be whole, of this version, and of the key that was asked for.
#[derive(Debug)]
pub(crate) struct DecodedEntry {
    stamp: EntryStamp,
    content: DecodedContent,
}

#[derive(Debug)]
enum DecodedContent {
    Response(Box<Unplaced>),
    Variants(Variants),
    Value(DecodedValue),
}

/// A handler's own value.
#[derive(Debug)]
struct DecodedValue {
    subject: Subject,
    lifetime: Duration,
    /// A slice of the blob, until it has a place in our log.
    bytes: Bytes,
}

impl DecodedEntry {
    /// Returns what it was made under.
    pub(crate) fn stamp(&self) -> &EntryStamp {
        &self.stamp
    }

    /// Makes what is stored of it: at `position` in our own log, and of the age that it has `now`,
    /// when the clock that the nodes share shows `now_ms`.
    pub(crate) fn into_stored(self, position: Position, now: Instant, now_ms: i64) -> Stored {
        let age = self.stamp.age(now_ms);
        match self.content {
            DecodedContent::Response(response) => {
                Stored::Response(Arc::new(response.place(position, now, age)))
            }
            DecodedContent::Variants(variants) => Stored::Variants(Arc::new(variants)),
            DecodedContent::Value(value) => {
                Stored::Value(Arc::new(value.place(position, now, age)))
            }
        }
    }
}

impl DecodedValue {
    fn place(&self, position: Position, now: Instant, age: Duration) -> StoredValue {
        let Self {
            subject,
            lifetime,
            bytes,
        } = self;
        StoredValue::new(bytes, subject, now, age, *lifetime, position)
    }
}

/// Reads what was written for a key.
///
/// Head and body of a response remain slices of `blob`, and keep all of it in memory, with whatever
/// buffer it is a part of. Trailers, tags and variants are copied; where they are made up of the
/// shortest there can be, they take some fifty times their length. A checksum that was made to be
/// right, as anybody can, is no reason to believe the rest.
///
/// # Errors
///
/// [`Unfit`], which says why: the caller counts it, and has missed.
pub(crate) fn decode(blob: Bytes, key: KeyRef<'_>) -> Result<DecodedEntry, Unfit> {
    let sealed = unseal(&blob)?;
    let mut reader = WireReader(&sealed[MAGIC.len() + 1..]);
    let header = reader.header().ok_or(Unfit::Malformed)?;
    let found = reader.text().ok_or(Unfit::Malformed)?;
    if found != key.as_bytes() {
        return Err(Unfit::Key);
    }
    let content = match header.kind {
        RESPONSE => reader
            .response(&blob)
            .map(Box::new)
            .map(DecodedContent::Response),
        VARIANTS => reader.variants(key).map(DecodedContent::Variants),
        VALUE => reader.value(key, &blob).map(DecodedContent::Value),
        _ => None,
    };
    Ok(DecodedEntry {
        stamp: header.stamp,
        content: content.ok_or(Unfit::Malformed)?,
    })
}

/// Returns all that the checksum is of.
fn unseal(blob: &[u8]) -> Result<&[u8], Unfit> {
    let behind = blob.strip_prefix(&MAGIC).ok_or(Unfit::NotOurs)?;
    if behind.first() != Some(&VERSION) {
        return Err(Unfit::Version);
    }
    let (sealed, sum) = blob.split_last_chunk::<SUM>().ok_or(Unfit::Checksum)?;
    let length = sealed.get(..FIXED).and_then(<[u8]>::last_chunk);
    // A checksum alone would let one damaged blob in four thousand million pass.
    let is_whole = length.is_some_and(|length| u64::from_le_bytes(*length) == blob.len() as u64);
    match is_whole && crc32fast::hash(sealed) == u32::from_le_bytes(*sum) {
        true => Ok(sealed),
        false => Err(Unfit::Checksum),
    }
}

struct WireHeader {
    kind: u8,
    stamp: EntryStamp,
}

/// What is left to read. `None` from any of its methods: this is nothing that was written.
struct WireReader<'a>(&'a [u8]);

impl<'a> WireReader<'a> {
    fn header(&mut self) -> Option<WireHeader> {
        let [kind] = self.number()?;
        let stamp = EntryStamp {
            epoch: self.number()?,
            position: u64::from_le_bytes(self.number()?),
            made: i64::from_le_bytes(self.number()?),
        };
        let [..] = self.number::<8>()?;
        Some(WireHeader { kind, stamp })
    }

    fn response(&mut self, blob: &Bytes) -> Option<Unplaced> {
        let lifetime = self.duration()?;
        let stale_while_revalidate = self.duration()?;
        let stale_if_error = self.duration()?;
        let reuse = reuse(self.number()?)?;
        let status = u16::from_le_bytes(self.number()?);
        let status = StatusCode::from_u16(status).ok()?;
        let tags = self.tags()?;
        let trailers = self.trailers()?;
        let layout = Layout {
            fields: self.length()?,
            head: self.length()?,
            path: self.length()?,
            query: self.optional_length()?,
        };
        let end = blob.len() - SUM;
        let bytes = blob.slice(end - self.0.len()..end);
        let parts = ForeignParts {
            status,
            reuse,
            lifetime,
            stale_while_revalidate,
            stale_if_error,
            tags,
            trailers,
            layout,
            around: blob.len() - bytes.len(),
            bytes,
        };
        parts.join()
    }

    fn value(&mut self, key: KeyRef<'_>, blob: &Bytes) -> Option<DecodedValue> {
        let lifetime = self.duration()?;
        let tags = self.tags()?;
        let end = blob.len() - SUM;
        Some(DecodedValue {
            subject: Subject::of_value_key(key, tags)?,
            lifetime,
            bytes: blob.slice(end - self.0.len()..end),
        })
    }

    fn tags(&mut self) -> Option<Box<[Box<str>]>> {
        // None is shorter than its length.
        let count = self.count(MOST_TAGS.min(self.0.len()))?;
        let tag = |_| Some(str::from_utf8(self.text()?).ok()?.into());
        (0..count).map(tag).collect()
    }

    fn trailers(&mut self) -> Option<Option<HeaderMap>> {
        let Some(count) = self.optional_length()? else {
            return Some(None);
        };
        let mut trailers = HeaderMap::new();
        if count > MOST_TRAILERS {
            return None;
        }
        for _ in 0..count {
            let (name, value) = take_field(&mut self.0)?;
            let name = field_name(name)?;
            trailers.try_append(name, value_of(value)?).ok()?;
        }
        Some(Some(trailers))
    }

    fn variants(&mut self, key: KeyRef<'_>) -> Option<Variants> {
        let mut variants = Variants::default();
        for _ in 0..self.count(MOST_NAMES)? {
            let name = field_name(self.text()?)?;
            variants.names.push(name);
        }
        for _ in 0..self.length()? {
            variants.known.push(self.variant(key)?);
        }
        self.0.is_empty().then_some(variants)
    }

    fn variant(&mut self, key: KeyRef<'_>) -> Option<Variant> {
        // Every key of a variant begins with the key that it is a variant of.
        let extends = |variant: &&[u8]| variant.starts_with(key.as_bytes());
        let variant = self.text().filter(extends)?;
        let any_language = match self.optional_text()? {
            Some(key) => Some(Some(key).filter(extends)?),
            None => None,
        };
        Some(Variant {
            key: Key::from_bytes(variant.into()),
            any_language: any_language.map(|key| Key::from_bytes(key.into())),
            etag: self.optional_value()?,
            content_language: self.optional_value()?,
        })
    }

    fn optional_value(&mut self) -> Option<Option<HeaderValue>> {
        match self.optional_text()? {
            Some(value) => value_of(value).map(Some),
            None => Some(None),
        }
    }

    fn duration(&mut self) -> Option<Duration> {
        Some(match u64::from_le_bytes(self.number()?) {
            u64::MAX => Duration::MAX,
            nanoseconds => Duration::from_nanos(nanoseconds),
        })
    }

    fn count(&mut self, most: usize) -> Option<usize> {
        self.length().filter(|count| *count <= most)
    }

    fn optional_text(&mut self) -> Option<Option<&'a [u8]>> {
        match self.optional_length()? {
            Some(length) => self.bytes(length).map(Some),
            None => Some(None),
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.bytes(length)
    }

    fn optional_length(&mut self) -> Option<Option<usize>> {
        self.length().map(|length| length.checked_sub(1))
    }

    fn length(&mut self) -> Option<usize> {
        take_length(&mut self.0)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }
}

fn value_of(bytes: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(bytes).ok()
}

fn reuse([flags]: [u8; 1]) -> Option<Reuse> {
    let flag = |bit: u8| flags & (1 << bit) != 0;
    (flags < 1 << 5).then(|| Reuse {
        always_validate: flag(0),
        never_stale: flag(1),
        with_authorization: flag(2),
        with_cookie: flag(3),
        lifetime_by_handler: flag(4),
    })
}
