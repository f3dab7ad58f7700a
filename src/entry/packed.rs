//! All text of a stored response in one buffer.

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::invalidate::SubjectRef;

#[cfg(feature = "redis")]
mod layout;

#[cfg(feature = "redis")]
pub(crate) use layout::{Layout, field_name, take_field, take_length};

/// A header section, the path and query an invalidation is matched against, and a short body, in one
/// buffer of exactly their size. For a small response each allocation of its own, and each pointer
/// to one, would be a good part of what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// For each field the lengths of its name and its value, and then both; behind them the path,
    /// the query and the body.
    bytes: Bytes,
    fields: u16,
    /// How many more bytes are kept in memory for these, where they are part of what another process
    /// sent.
    around: u16,
    head_end: u32,
    path_end: u32,
    /// [`NONE`] where there is no query, which differs from an empty one.
    query_end: u32,
}

const NONE: u32 = u32::MAX;

impl Packed {
    pub(super) fn new(headers: &HeaderMap, subject: SubjectRef<'_>, body: &[u8]) -> Self {
        let (path, query) = (subject.path(), subject.query());
        let text = path.len() + query.map_or(0, str::len);
        let mut bytes = Vec::with_capacity(head_size(headers) + text + body.len());
        for (name, value) in headers {
            push_length(&mut bytes, name.as_str().len());
            push_length(&mut bytes, value.len());
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        let head_end = position(bytes.len());
        bytes.extend_from_slice(path.as_bytes());
        let path_end = position(bytes.len());
        bytes.extend_from_slice(query.unwrap_or_default().as_bytes());
        let query_end = query.map_or(NONE, |_| position(bytes.len()));
        bytes.extend_from_slice(body);
        Self {
            bytes: bytes.into(),
            // A header map has no more than 32,768.
            fields: u16::try_from(headers.len()).unwrap_or(u16::MAX),
            around: 0,
            head_end,
            path_end,
            query_end,
        }
    }

    /// Returns the bytes this takes on the heap.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + usize::from(self.around)
    }

    pub(super) fn head(&self) -> Head<'_> {
        Head(self)
    }

    pub(super) fn path(&self) -> &str {
        self.text(self.head_end as usize..self.path_end as usize)
    }

    pub(super) fn query(&self) -> Option<&str> {
        (self.query_end != NONE).then(|| self.text(self.path_end as usize..self.query_end as usize))
    }

    /// Returns the body, which shares the buffer.
    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(self.body_start()..)
    }

    pub(super) fn body_len(&self) -> usize {
        self.bytes.len() - self.body_start()
    }

    fn body_start(&self) -> usize {
        match self.query_end {
            NONE => self.path_end as usize,
            end => end as usize,
        }
    }

    fn text(&self, at: Range<usize>) -> &str {
        // It was text when it was put there.
        str::from_utf8(&self.bytes[at]).unwrap_or_default()
    }
}

/// Returns how many bytes a header section takes here.
fn head_size(headers: &HeaderMap) -> usize {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        let (name, value) = (name.as_str().len(), value.len());
        length_size(name) + length_size(value) + name + value
    };
    headers.iter().map(field).sum()
}

/// A head and a path of 4 GiB do not get through a server.
fn position(bytes: usize) -> u32 {
    bytes as u32
}

/// Appends a length: seven bits a byte, the lowest first, the last byte without its highest bit.
pub(crate) fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// Returns how many bytes a length takes.
pub(crate) fn length_size(length: usize) -> usize {
    (length.max(1).ilog2() / 7) as usize + 1
}

/// Reads a length and moves on behind it.
fn read_length(bytes: &[u8], at: &mut usize) -> usize {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return length;
        }
    }
}

/// The header section of a stored response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a>(&'a Packed);

impl<'a> Head<'a> {
    /// Returns the first value of a field.
    pub(crate) fn get(self, name: &HeaderName) -> Option<&'a [u8]> {
        let wanted = name.as_str().as_bytes();
        self.iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }

    /// Returns names and values, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let bytes = &self.0.bytes;
        self.spans()
            .map(|(name, value)| (&bytes[name], &bytes[value]))
    }

    /// Makes a header map, with room for `extra` more fields. Values share the stored buffer.
    pub(crate) fn to_map(self, extra: usize) -> HeaderMap {
        self.some_to_map(extra, |_| true)
    }

    /// Makes a header map of the fields with certain names.
    pub(crate) fn some_to_map(self, extra: usize, wanted: impl Fn(&[u8]) -> bool) -> HeaderMap {
        let bytes = &self.0.bytes;
        let mut map = HeaderMap::with_capacity(usize::from(self.0.fields) + extra);
        for (name, value) in self.spans() {
            let name = &bytes[name];
            if !wanted(name) {
                continue;
            }
            // Both were a name and a value before they were stored.
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name),
                HeaderValue::from_maybe_shared(bytes.slice(value)),
            ) {
                map.append(name, value);
            }
        }
        map
    }

    /// Returns the stored entity tag.
    pub(crate) fn etag(self) -> Option<&'a [u8]> {
        self.get(&header::ETAG)
    }

    /// Returns the stored `Last-Modified`.
    pub(crate) fn last_modified(self) -> Option<&'a [u8]> {
        self.get(&header::LAST_MODIFIED)
    }

    fn spans(self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + 'a {
        let bytes = &self.0.bytes;
        (0..self.0.fields).scan(0, |at, _| {
            let name = read_length(bytes, at);
            let value = read_length(bytes, at);
            let name = *at..*at + name;
            let value = name.end..name.end + value;
            *at = value.end;
            Some((name, value))
        })
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Head<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidate::Subject;

    fn headers() -> HeaderMap {
        let mut map = HeaderMap::new();
        map.append("x-a", HeaderValue::from_static("1"));
        map.append("x-a", HeaderValue::from_static("2"));
        let opaque = HeaderValue::from_bytes(b"text/\xff").unwrap();
        map.append("content-type", opaque);
        map.append("x-empty", HeaderValue::from_static(""));
        for length in [127, 128, 16_383, 16_384] {
            map.append("x-long", "v".repeat(length).parse().unwrap());
        }
        map
    }

    #[test]
    fn everything_comes_back_as_it_went_in() {
        let map = headers();
        for query in [None, Some(""), Some("q=1")] {
            let subject = Subject::new("/a/b", query, []);
            let packed = Packed::new(&map, subject.borrow(), b"body");
            assert_eq!(packed.head().to_map(3), map);
            assert_eq!(packed.path(), "/a/b");
            assert_eq!(packed.query(), query);
            assert_eq!((packed.body(), packed.body_len()), ("body".into(), 4));
        }
    }

    #[test]
    fn the_buffer_has_its_exact_size() {
        let subject = Subject::new("/a", Some("b"), []);
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut bytes = Vec::new();
            push_length(&mut bytes, length);
            assert_eq!(bytes.len(), length_size(length), "{length}");
            assert_eq!(read_length(&bytes, &mut 0), length);
        }
        let packed = Packed::new(&headers(), subject.borrow(), b"body");
        assert_eq!(packed.size(), head_size(&headers()) + 3 + 4);
    }

    #[test]
    fn the_first_value_of_a_field_is_found() {
        let subject = Subject::new("/", None, []);
        let packed = Packed::new(&headers(), subject.borrow(), b"");
        let get = |name| packed.head().get(&HeaderName::from_static(name));
        assert_eq!(get("x-a"), Some(&b"1"[..]));
        assert_eq!(get("x-empty"), Some(&b""[..]));
        assert_eq!(get("etag"), None);
        assert!(packed.body().is_empty());
    }
}
