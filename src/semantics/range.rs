//! Range requests, answered from a stored 200
//! ([RFC 9110 §14](https://www.rfc-editor.org/rfc/rfc9110#section-14)).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::{SmallVec, smallvec};

/// More parts than this are sent as a whole: each costs about a hundred bytes of its own
/// ([RFC 9110 §17.15](https://www.rfc-editor.org/rfc/rfc9110#section-17.15)).
const MAX_PARTS: usize = 16;

/// The ranges that a request asks for, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RangeSet(SmallVec<[RangeSpec; 4]>);

/// One range, of a representation whose length the client need not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeSpec {
    /// `first-last` or `first-`, both counted from zero and included.
    From { first: u64, last: Option<u64> },
    /// `-length`: the end.
    Suffix(u64),
}

/// A set of ranges, resolved for a representation of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The whole representation is the better answer: 200.
    Whole,
    /// One part: 206 with `Content-Range`.
    Single(Range<u64>),
    /// Two to sixteen parts that neither overlap nor touch: 206 with `multipart/byteranges`.
    Several(Vec<Range<u64>>),
    /// Nothing of it exists: 416.
    Unsatisfiable,
}

impl RangeSet {
    /// Reads the `Range` of a request.
    ///
    /// `None` where there is none to act on, which is answered as if the field were not there: on
    /// other methods than GET, with other units than bytes, on several lines, or malformed
    /// ([RFC 9110 §14.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.2)). Numbers too large
    /// to hold are as good as the largest that can be held.
    pub(crate) fn of(method: &Method, request: &HeaderMap) -> Option<Self> {
        let mut lines = request.get_all(header::RANGE).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) if *method == Method::GET => Self::parse(line.as_bytes()),
            _ => None,
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let equals = value.iter().position(|byte| *byte == b'=')?;
        if !value[..equals].eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let members = value[equals + 1..].split(|byte| *byte == b',');
        let specs: Option<SmallVec<_>> = members
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
            .map(RangeSpec::parse)
            .collect();
        specs.filter(|specs| !specs.is_empty()).map(Self)
    }

    /// Returns the only range of the set, if it has one only.
    pub(crate) fn single(&self) -> Option<RangeSpec> {
        match self.0[..] {
            [spec] => Some(spec),
            _ => None,
        }
    }

    /// Finds the parts of a representation of `complete_length` bytes.
    ///
    /// Parts that overlap or touch become one, in the place of the first that was asked for
    /// ([RFC 9110 §15.3.7.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.2)).
    pub(crate) fn resolve(&self, complete_length: u64) -> Resolved {
        let mut parts: SmallVec<[(Range<u64>, usize); 4]> = SmallVec::new();
        for (index, spec) in self.0.iter().enumerate() {
            match spec.resolve(complete_length) {
                // The suffix of nothing: satisfiable, but no Content-Range can say so.
                Some(part) if part.is_empty() => return Resolved::Whole,
                Some(part) => parts.push((part, index)),
                None => {}
            }
        }
        parts.sort_unstable_by_key(|(part, _)| part.start);
        parts.dedup_by(|(next, next_index), (part, index)| {
            let joined = next.start <= part.end;
            if joined {
                part.end = part.end.max(next.end);
                *index = (*index).min(*next_index);
            }
            joined
        });
        if parts.len() > MAX_PARTS {
            return Resolved::Whole;
        }
        parts.sort_unstable_by_key(|(_, index)| *index);
        let mut parts = parts.into_iter().map(|(part, _)| part);
        match (parts.next(), parts.len()) {
            (None, _) => Resolved::Unsatisfiable,
            (Some(part), 0) => Resolved::Single(part),
            (Some(first), _) => Resolved::Several(std::iter::once(first).chain(parts).collect()),
        }
    }
}

impl RangeSpec {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        if first.is_empty() {
            return Some(Self::Suffix(number(last)?));
        }
        let first = number(first)?;
        let last = match last {
            [] => None,
            digits => Some(number(digits)?),
        };
        // A range that ends before it begins makes the whole set invalid (§14.1.1).
        (last.is_none_or(|last| last >= first)).then_some(Self::From { first, last })
    }

    /// Returns the bytes meant, end excluded; `None` where there are none
    /// ([RFC 9110 §14.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2)).
    pub(crate) fn resolve(self, complete_length: u64) -> Option<Range<u64>> {
        match self {
            Self::From { first, .. } if first >= complete_length => None,
            Self::From { first, last } => {
                let end = last.map_or(u64::MAX, |last| last.saturating_add(1));
                Some(first..end.min(complete_length))
            }
            Self::Suffix(0) => None,
            Self::Suffix(length) => Some(complete_length.saturating_sub(length)..complete_length),
        }
    }
}

/// A body of type `multipart/byteranges`
/// ([RFC 9110 §14.6](https://www.rfc-editor.org/rfc/rfc9110#section-14.6)).
#[derive(Debug)]
pub(crate) struct Multipart {
    pub(crate) content_type: HeaderValue,
    /// The pieces to send, in order. The parts themselves share the stored body.
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) length: u64,
}

/// Puts the parts of a stored body together.
///
/// The boundary is made of 128 bits nobody can foresee, so no body can contain it on purpose.
pub(crate) fn multipart(
    body: &Bytes,
    content_type: Option<&HeaderValue>,
    parts: &[Range<u64>],
) -> Multipart {
    let random = || RandomState::new().build_hasher().finish();
    let boundary = format!("{:016x}{:016x}", random(), random());
    multipart_with(&boundary, body, content_type, parts)
}

fn multipart_with(
    boundary: &str,
    body: &Bytes,
    content_type: Option<&HeaderValue>,
    parts: &[Range<u64>],
) -> Multipart {
    let mut heads = Vec::with_capacity(parts.len() * 160);
    let mut ends: SmallVec<[usize; MAX_PARTS]> = smallvec![];
    for (index, part) in parts.iter().enumerate() {
        let line_break = if index == 0 { "--" } else { "\r\n--" };
        heads.extend_from_slice(line_break.as_bytes());
        heads.extend_from_slice(boundary.as_bytes());
        if let Some(content_type) = content_type {
            heads.extend_from_slice(b"\r\nContent-Type: ");
            heads.extend_from_slice(content_type.as_bytes());
        }
        heads.extend_from_slice(b"\r\nContent-Range: ");
        heads.extend_from_slice(content_range(part, Some(body.len() as u64)).as_bytes());
        heads.extend_from_slice(b"\r\n\r\n");
        ends.push(heads.len());
    }
    heads.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());

    let heads = Bytes::from(heads);
    let mut chunks = Vec::with_capacity(2 * parts.len() + 1);
    let mut start = 0;
    for (part, end) in parts.iter().zip(ends) {
        chunks.push(heads.slice(start..end));
        chunks.push(slice(body, part));
        start = end;
    }
    chunks.push(heads.slice(start..));
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    Multipart {
        content_type: value(&content_type),
        length: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        chunks,
    }
}

/// Turns the headers of a stored 200 into those of a 206 with one part, or those of one with
/// several, whose body is then a [`Multipart`]
/// ([RFC 9110 §15.3.7](https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7)).
///
/// All fields stay but those that described the content as it was stored.
pub(crate) fn set_single(headers: &mut HeaderMap, part: &Range<u64>, complete_length: Option<u64>) {
    set_content(headers, part.end.saturating_sub(part.start));
    set(
        headers,
        header::CONTENT_RANGE,
        content_range(part, complete_length),
    );
}

/// See [`set_single`].
pub(crate) fn set_multipart(headers: &mut HeaderMap, multipart: &Multipart) {
    set_content(headers, multipart.length);
    headers.remove(header::CONTENT_RANGE);
    set(
        headers,
        header::CONTENT_TYPE,
        multipart.content_type.clone(),
    );
}

/// Replaces what described the content as it was stored. Trailers do not go with a part.
pub(crate) fn set_content(headers: &mut HeaderMap, length: u64) {
    for name in ["content-digest", "content-md5", "trailer"] {
        headers.remove(name);
    }
    set(headers, header::CONTENT_LENGTH, length.into());
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    // Fails for a section of more than 32,768 fields, which no server would get sent.
    let _ = headers.try_insert(name, value);
}

/// Returns the `Content-Range` of one part: `bytes 0-4/10`, or `bytes 0-4/*` where the complete
/// length is unknown ([RFC 9110 §14.4](https://www.rfc-editor.org/rfc/rfc9110#section-14.4)).
pub(crate) fn content_range(part: &Range<u64>, complete_length: Option<u64>) -> HeaderValue {
    let (first, last) = (part.start, part.end.saturating_sub(1));
    value(&match complete_length {
        Some(complete_length) => format!("bytes {first}-{last}/{complete_length}"),
        None => format!("bytes {first}-{last}/*"),
    })
}

/// Returns the `Content-Range` of a 416: `bytes */10`
/// ([RFC 9110 §15.5.17](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.17)).
pub(crate) fn unsatisfied_range(complete_length: u64) -> HeaderValue {
    value(&format!("bytes */{complete_length}"))
}

/// Returns a part of a body without copying; less where the body ends before.
pub(crate) fn slice(body: &Bytes, part: &Range<u64>) -> Bytes {
    let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
    let (start, end) = (within(part.start), within(part.end));
    body.slice(start..end.max(start))
}

/// Reads digits and nothing else, up to the largest number there is.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// Text that is passed in is made here, of ASCII alone.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
