//! All text of a stored response in one buffer.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::target::SubjectRef;

#[cfg(feature = "redis")]
mod layout;

#[cfg(feature = "redis")]
pub(crate) use layout::{Layout, field_name, take_field, take_length};

/// Headers, the path and query that invalidations are matched against, and a short body, in one
/// buffer of exactly their size. For a small response each allocation of its own, and each pointer
/// to one, would be a good part of what it takes.
#[derive(Clone, PartialEq, Eq)]
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
    pub(super) fn new(fields: &PackedFields, subject: SubjectRef<'_>, body: &[u8]) -> Self {
        let (path, query) = (subject.path(), subject.query());
        let text = path.len() + query.map_or(0, str::len);
        let mut bytes = Vec::with_capacity(fields.bytes.len() + text + body.len());
        bytes.extend_from_slice(&fields.bytes);
        let head_end = position(bytes.len());
        bytes.extend_from_slice(path.as_bytes());
        let path_end = position(bytes.len());
        bytes.extend_from_slice(query.unwrap_or_default().as_bytes());
        let query_end = query.map_or(NONE, |_| position(bytes.len()));
        bytes.extend_from_slice(body);
        Self {
            bytes: bytes.into(),
            fields: fields.fields,
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

    pub(super) fn head(&self) -> StoredHead<'_> {
        StoredHead {
            bytes: &self.bytes,
            fields: self.fields,
        }
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

#[cfg(feature = "redis")]
impl Packed {
    /// Takes text that was laid out by another process, with or without a body behind it. `around`
    /// is what else is kept in memory for it. Copies nothing.
    ///
    /// `None` if it is not what [`Packed::new`] makes: of field names in lower case and values that
    /// can be sent, a path and a query in canonical form, and lengths in their shortest form.
    pub(super) fn checked(bytes: Bytes, layout: Layout, around: usize) -> Option<Self> {
        let text_end = layout.text().filter(|end| *end <= bytes.len())?;
        let position = |at: usize| u32::try_from(at).ok().filter(|at| *at != NONE);
        if layout.fields > layout::MOST_FIELDS
            || !layout::is_head(bytes.get(..layout.head)?, layout.fields)
        {
            return None;
        }
        let packed = Self {
            fields: u16::try_from(layout.fields).ok()?,
            around: u16::try_from(around).unwrap_or(u16::MAX),
            head_end: position(layout.head)?,
            path_end: position(layout.head + layout.path)?,
            query_end: match layout.query {
                Some(_) => position(text_end)?,
                None => NONE,
            },
            bytes,
        };
        packed.has_canonical_text(layout).then_some(packed)
    }

    /// Returns how this is laid out.
    pub(super) fn layout(&self) -> Layout {
        let path_end = self.path_end as usize;
        Layout {
            fields: self.fields.into(),
            head: self.head_end as usize,
            path: path_end - self.head_end as usize,
            query: (self.query_end != NONE).then(|| self.query_end as usize - path_end),
        }
    }

    /// Returns all of it, as it is laid out.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn has_canonical_text(&self, layout: Layout) -> bool {
        let (path, query) = self.bytes[layout.head..].split_at(layout.path);
        let query = layout.query.map(|length| &query[..length]);
        let path = str::from_utf8(path).ok();
        let query = query.map(str::from_utf8).transpose().ok();
        path.zip(query)
            .is_some_and(|(path, query)| SubjectRef::new(path, query, &[]).is_canonical())
    }
}

/// Headers on their way into a [`Packed`], in the form they have there: a header map of the same
/// would cost most of what storing a response does. Clones share their bytes.
#[derive(Clone, Default)]
pub(crate) struct PackedFields {
    bytes: Bytes,
    fields: u16,
}

/// Writes [`PackedFields`].
pub(crate) struct FieldWriter {
    bytes: Vec<u8>,
    fields: u16,
}

impl PackedFields {
    /// Returns how many bytes the fields take.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn head(&self) -> StoredHead<'_> {
        StoredHead {
            bytes: &self.bytes,
            fields: self.fields,
        }
    }
}

impl FieldWriter {
    /// Begins with room for these headers, and some.
    pub(crate) fn with_room_for(headers: &HeaderMap) -> Self {
        // Guessed: a look at all of them takes longer than growing now and then does.
        const FIELD: usize = 56;
        Self {
            bytes: Vec::with_capacity((headers.len() + 2) * FIELD),
            fields: 0,
        }
    }

    pub(crate) fn push(&mut self, name: &HeaderName, value: &[u8]) {
        let name = name.as_str().as_bytes();
        push_length(&mut self.bytes, name.len());
        push_length(&mut self.bytes, value.len());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        // A header map has no more than 32,768.
        self.fields = self.fields.saturating_add(1);
    }

    pub(crate) fn finish(self) -> PackedFields {
        PackedFields {
            bytes: self.bytes.into(),
            fields: self.fields,
        }
    }
}

impl From<&HeaderMap> for PackedFields {
    fn from(headers: &HeaderMap) -> Self {
        let mut fields = FieldWriter::with_room_for(headers);
        for (name, value) in headers {
            fields.push(name, value.as_bytes());
        }
        fields.finish()
    }
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
#[cfg(any(feature = "redis", test))]
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

/// The headers of a stored response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredHead<'a> {
    bytes: &'a Bytes,
    fields: u16,
}

impl<'a> StoredHead<'a> {
    /// Returns the first value of a field.
    pub(crate) fn get(self, name: &HeaderName) -> Option<&'a [u8]> {
        let wanted = name.as_str().as_bytes();
        self.iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
    }

    /// Returns names and values, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let bytes = self.bytes;
        self.spans()
            .map(|(name, value)| (&bytes[name], &bytes[value]))
    }

    /// Makes a header map, with room for `extra` more fields. Values share the stored buffer.
    pub(crate) fn to_map(self, extra: usize) -> HeaderMap {
        self.some_to_map(extra, |_| true)
    }

    /// Makes a header map of the fields with certain names.
    pub(crate) fn some_to_map(self, extra: usize, wanted: impl Fn(&[u8]) -> bool) -> HeaderMap {
        let bytes = self.bytes;
        let mut map = HeaderMap::with_capacity(usize::from(self.fields) + extra);
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
        let bytes = self.bytes;
        (0..self.fields).scan(0, |at, _| {
            let name = read_length(bytes, at);
            let value = read_length(bytes, at);
            let name = *at..*at + name;
            let value = name.end..name.end + value;
            *at = value.end;
            Some((name, value))
        })
    }
}

impl PartialEq for StoredHead<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for StoredHead<'_> {}

impl fmt::Debug for Packed {
    /// Shows nothing of the response: its fields may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packed(..)")
    }
}

impl fmt::Debug for PackedFields {
    /// Shows nothing of the response: its fields may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackedFields(..)")
    }
}

impl fmt::Debug for FieldWriter {
    /// Shows nothing of the response: its fields may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldWriter(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Subject;

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
            let packed = Packed::new(&(&map).into(), subject.borrow(), b"body");
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
        let packed = Packed::new(&(&headers()).into(), subject.borrow(), b"body");
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            let (name, value) = (name.as_str().len(), value.len());
            length_size(name) + length_size(value) + name + value
        };
        let head: usize = headers().iter().map(field).sum();
        assert_eq!(packed.size(), head + 3 + 4);
    }

    #[test]
    fn the_first_value_of_a_field_is_found() {
        let subject = Subject::new("/", None, []);
        let packed = Packed::new(&(&headers()).into(), subject.borrow(), b"");
        let get = |name| packed.head().get(&HeaderName::from_static(name));
        assert_eq!(get("x-a"), Some(&b"1"[..]));
        assert_eq!(get("x-empty"), Some(&b""[..]));
        assert_eq!(get("etag"), None);
        assert!(packed.body().is_empty());
    }
}
