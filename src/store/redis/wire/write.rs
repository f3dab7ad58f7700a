//! Writing values.
//!
//! A response is, behind the key:
//!
//! | bytes | content |
//! |---|---|
//! | 3 × 8 | lifetime, stale-while-revalidate, stale-if-error, in nanoseconds; all ones for forever |
//! | 1 | the conditions of its reuse: a bit each |
//! | 2 | the status |
//! | | the number of tags, and each behind its length |
//! | | the number of trailer fields plus one, or 0 where there are no trailers; and each |
//! | | the number of header fields; the lengths of the headers, of the path, and of the query plus one or 0 |
//! | | the headers, the path, the query, the body |
//!
//! A field is the lengths of its name and its value, and then both. A list of variants is the number
//! of names and each behind its length, then the number of variants and for each its key, its key
//! apart from the language, its entity tag and its language, of which the latter three may be absent.
//!
//! A handler's own value is its lifetime, its tags as those of a response, and its bytes. Its namespace,
//! which can be invalidated too, is in its key.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::form::{MAGIC, RESPONSE, SUM, VALUE, VARIANTS, VERSION};
use super::stamp::EntryStamp;
use crate::entry::{Reuse, StoredResponse, StoredValue, Variants, length_size, push_length};
use crate::key::{Key, KeyRef};
use crate::store::Stored;

/// Writes what is stored under a key, into one buffer of just its size.
///
/// A response with more header fields, trailer fields or tags than [`decode`](super::decode) takes is
/// written too, and refused when it is read. No server lets as many through.
pub(crate) fn encode(key: KeyRef<'_>, stored: &Stored, stamp: &EntryStamp) -> Bytes {
    let mut size = Size(SUM);
    write(&mut size, key, stored, stamp, 0);
    let mut blob = Vec::with_capacity(size.0);
    write(&mut blob, key, stored, stamp, size.0);
    blob.number(crc32fast::hash(&blob).to_le_bytes());
    debug_assert_eq!(blob.len(), size.0);
    blob.into()
}

/// The destination of a value. Each is written twice: the first time only finds its size.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    /// Writes a length that the reader cannot know.
    fn length(&mut self, length: usize);

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes(&bytes);
    }

    fn optional_length(&mut self, length: Option<usize>) {
        self.length(length.map_or(0, |length| length + 1));
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.bytes(text);
    }

    fn optional_text(&mut self, text: Option<&[u8]>) {
        self.optional_length(text.map(<[u8]>::len));
        self.bytes(text.unwrap_or_default());
    }
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        push_length(self, length);
    }
}

struct Size(usize);

impl Sink for Size {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    fn length(&mut self, length: usize) {
        self.0 += length_size(length);
    }
}

fn write(sink: &mut impl Sink, key: KeyRef<'_>, stored: &Stored, stamp: &EntryStamp, size: usize) {
    let kind = match stored {
        Stored::Response(_) => RESPONSE,
        Stored::Variants(_) => VARIANTS,
        Stored::Value(_) => VALUE,
    };
    sink.number(MAGIC);
    sink.number([VERSION, kind]);
    sink.number(stamp.epoch);
    sink.number(stamp.position.to_le_bytes());
    sink.number(stamp.made.to_le_bytes());
    sink.number((size as u64).to_le_bytes());
    sink.text(key.as_bytes());
    match stored {
        Stored::Response(response) => write_response(sink, response),
        Stored::Variants(variants) => write_variants(sink, variants),
        Stored::Value(value) => write_value(sink, value),
    }
}

fn write_response(sink: &mut impl Sink, response: &StoredResponse) {
    sink.number(nanoseconds(response.lifetime()));
    sink.number(nanoseconds(response.stale_while_revalidate()));
    sink.number(nanoseconds(response.stale_if_error()));
    sink.number([flags(response.reuse)]);
    sink.number(response.status.as_u16().to_le_bytes());
    write_tags(sink, response.subject().tags());
    write_trailers(sink, response.trailers());
    let layout = response.layout();
    sink.length(layout.fields);
    sink.length(layout.head);
    sink.length(layout.path);
    sink.optional_length(layout.query);
    let (text, long_body) = response.bytes();
    sink.bytes(text);
    sink.bytes(long_body);
}

fn write_value(sink: &mut impl Sink, value: &StoredValue) {
    sink.number(nanoseconds(value.lifetime()));
    write_tags(sink, value.subject().tags());
    sink.bytes(&value.bytes());
}

fn write_tags(sink: &mut impl Sink, tags: &[Box<str>]) {
    sink.length(tags.len());
    for tag in tags {
        sink.text(tag.as_bytes());
    }
}

/// All times of a stored response are whole nanoseconds, and forever is all ones there too.
fn nanoseconds(duration: Duration) -> [u8; 8] {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX)
        .to_le_bytes()
}

fn flags(reuse: Reuse) -> u8 {
    let Reuse {
        always_validate,
        never_stale,
        with_authorization,
        with_cookie,
        lifetime_by_handler,
    } = reuse;
    let flags = [
        always_validate,
        never_stale,
        with_authorization,
        with_cookie,
        lifetime_by_handler,
    ];
    (0..)
        .zip(flags)
        .map(|(bit, flag)| u8::from(flag) << bit)
        .sum()
}

fn write_trailers(sink: &mut impl Sink, trailers: Option<&HeaderMap>) {
    sink.optional_length(trailers.map(HeaderMap::len));
    for (name, value) in trailers.into_iter().flatten() {
        sink.length(name.as_str().len());
        sink.length(value.len());
        sink.bytes(name.as_str().as_bytes());
        sink.bytes(value.as_bytes());
    }
}

fn write_variants(sink: &mut impl Sink, variants: &Variants) {
    sink.length(variants.names.len());
    for name in &variants.names {
        sink.text(name.as_str().as_bytes());
    }
    sink.length(variants.known.len());
    for variant in &variants.known {
        sink.text(variant.key.as_bytes());
        sink.optional_text(variant.any_language.as_ref().map(Key::as_bytes));
        sink.optional_text(variant.etag.as_ref().map(HeaderValue::as_bytes));
        sink.optional_text(variant.content_language.as_ref().map(HeaderValue::as_bytes));
    }
}
