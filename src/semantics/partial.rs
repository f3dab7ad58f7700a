//! Stored parts of representations: what they can answer, and how they become whole
//! ([RFC 9111 §3.3](https://www.rfc-editor.org/rfc/rfc9111#section-3.3) and
//! [§3.4](https://www.rfc-editor.org/rfc/rfc9111#section-3.4)).

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};

use super::entity_tag::EntityTag;
use super::range::{self, RangeSet, RangeSpec, number};

/// The part of a representation that a 206 says it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    /// The positions, end excluded; never empty.
    pub(crate) part: Range<u64>,
    /// `None` where the sender did not know it.
    pub(crate) complete_length: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-4/10`.
    ///
    /// `None` for what is not a part in bytes or is invalid: a last position before the first, or
    /// a complete length that does not reach the last
    /// ([RFC 9110 §14.4](https://www.rfc-editor.org/rfc/rfc9110#section-14.4)).
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (unit, value) = value.trim_ascii().split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let (positions, complete_length) = split_once(value, b'/')?;
        let (first, last) = split_once(positions, b'-')?;
        // The largest number may stand for one that was larger still.
        let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
        let complete_length = match complete_length {
            b"*" => None,
            digits => Some(number(digits).filter(|length| *length < u64::MAX)?),
        };
        let valid = first < end && complete_length.is_none_or(|length| end <= length);
        valid.then_some(Self {
            part: first..end,
            complete_length,
        })
    }
}

/// A stored part of a representation.
///
/// Some origins send fewer bytes than their `Content-Range` announces, and do not say at which end.
/// Such a body is taken to begin where announced when a range is counted from the start, and to end
/// there when it is counted from the end; it answers requests, but is never combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    range: ContentRange,
    body: Bytes,
}

/// A part that was asked for and is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldPart {
    pub(crate) range: Range<u64>,
    pub(crate) complete_length: Option<u64>,
    pub(crate) body: Bytes,
}

impl Partial {
    /// Takes the body of a 206 and its `Content-Range`.
    ///
    /// `None` where it cannot be used again: no single valid range (`multipart/byteranges` has
    /// none), no body, or more of it than announced
    /// ([RFC 9110 §15.3.7](https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7)).
    pub(crate) fn new(content_range: Option<&[u8]>, body: Bytes) -> Option<Self> {
        let range = ContentRange::parse(content_range?)?;
        let announced = range.part.end - range.part.start;
        let usable = !body.is_empty() && body.len() as u64 <= announced;
        usable.then_some(Self { range, body })
    }

    /// Returns the part a request asks for, if all of it lies within this one.
    ///
    /// "A cache MUST NOT use an incomplete response to answer requests unless […] the request is
    /// partial and specifies a range wholly within the incomplete response"
    /// ([RFC 9111 §3.3](https://www.rfc-editor.org/rfc/rfc9111#section-3.3)). Sets of several
    /// ranges are left to the origin.
    pub(crate) fn answer(&self, requested: &RangeSet) -> Option<HeldPart> {
        let spec = requested.single()?;
        let wanted = match (spec, self.range.complete_length) {
            (spec, Some(length)) => spec.resolve(length)?,
            (RangeSpec::From { first, last }, None) => first..last?.checked_add(1)?,
            (RangeSpec::Suffix(_), None) => return None,
        };
        let announced = &self.range.part;
        if wanted.start < announced.start || announced.end < wanted.end {
            return None;
        }
        let held = match spec {
            RangeSpec::From { .. } => self.held(),
            RangeSpec::Suffix(_) => announced.end - self.body.len() as u64..announced.end,
        };
        let range = wanted.start.max(held.start)..wanted.end.min(held.end);
        if range.is_empty() {
            return None;
        }
        let within = range.start - held.start..range.end - held.start;
        Some(HeldPart {
            body: range::slice(&self.body, &within),
            complete_length: self.range.complete_length,
            range,
        })
    }

    /// Returns the body, if it is the whole representation, which is then stored as such
    /// ([RFC 9111 §3.4](https://www.rfc-editor.org/rfc/rfc9111#section-3.4)).
    pub(crate) fn whole(&self) -> Option<&Bytes> {
        let whole = 0..self.range.complete_length?;
        (self.held() == whole).then_some(&self.body)
    }

    /// Asks, in a request for the whole, for the rest alone; returns whether it could.
    ///
    /// `If-Range` goes with it when the stored response has a strong entity tag, so that a changed
    /// representation is sent whole. Without one the rest could not be used
    /// ([RFC 9111 §3.4](https://www.rfc-editor.org/rfc/rfc9111#section-3.4)), but an origin that
    /// cannot distinguish versions mostly answers with the whole anyway. Nothing is asked if the
    /// rest is not in one piece.
    pub(crate) fn ask_for_rest(&self, request: &mut HeaderMap, etag: Option<&[u8]>) -> bool {
        let held = self.held();
        let rest = if held.start > 0 {
            let last = held.start - 1;
            let reaches_the_end = Some(held.end) == self.range.complete_length;
            reaches_the_end.then(|| format!("bytes=0-{last}"))
        } else {
            let ends = Some(held.end) == self.range.complete_length;
            (!ends).then(|| format!("bytes={}-", held.end))
        };
        let Some(rest) = rest.and_then(|rest| HeaderValue::try_from(rest).ok()) else {
            return false;
        };
        request.remove(header::IF_RANGE);
        let etag = etag.filter(|etag| EntityTag::parse(etag).is_strong());
        if let Some(Ok(etag)) = etag.map(HeaderValue::from_bytes) {
            // Fails, like the next line, only beside more than 32,768 other fields.
            let _ = request.try_insert(header::IF_RANGE, etag);
        }
        request.try_insert(header::RANGE, rest).is_ok()
    }

    /// Joins two parts that overlap or touch; where they overlap, `newer` counts
    /// ([RFC 9110 §15.3.7.3](https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7.3)).
    ///
    /// Only for parts of one representation: see [`same_representation`].
    pub(crate) fn combine(&self, newer: &Self) -> Option<Self> {
        let lengths = (self.range.complete_length, newer.range.complete_length);
        let complete_length = match lengths {
            (Some(length), Some(other)) if length != other => return None,
            (length, other) => length.or(other),
        };
        let (ours, theirs) = (&self.range.part, &newer.range.part);
        let part = ours.start.min(theirs.start)..ours.end.max(theirs.end);
        let exact = |partial: &Self| partial.held() == partial.range.part;
        let touching = ours.start <= theirs.end && theirs.start <= ours.end;
        let fits = complete_length.is_none_or(|length| part.end <= length);
        if !(touching && fits && exact(self) && exact(newer)) {
            return None;
        }
        let before = range::slice(&self.body, &(0..theirs.start.saturating_sub(ours.start)));
        let after = theirs.end.saturating_sub(ours.start)..u64::MAX;
        let after = range::slice(&self.body, &after);
        Some(Self {
            body: [before, newer.body.clone(), after].concat().into(),
            range: ContentRange {
                part,
                complete_length,
            },
        })
    }

    /// Returns the `Content-Range` and the body to store.
    pub(crate) fn into_parts(self) -> (HeaderValue, Bytes) {
        let ContentRange {
            part,
            complete_length,
        } = self.range;
        (range::content_range(&part, complete_length), self.body)
    }

    /// The positions held, counted from the start.
    fn held(&self) -> Range<u64> {
        let start = self.range.part.start;
        start..start + self.body.len() as u64
    }
}

/// Returns whether two responses are parts of the same bytes: they have the same strong entity tag
/// ([RFC 9111 §3.4](https://www.rfc-editor.org/rfc/rfc9111#section-3.4)).
pub(crate) fn same_representation(stored: Option<&[u8]>, received: Option<&[u8]>) -> bool {
    match (stored, received) {
        (Some(a), Some(b)) => EntityTag::parse(a).matches_strongly(EntityTag::parse(b)),
        _ => false,
    }
}

/// Turns the headers of a 206 into those of a 200 with the whole body, once that is held.
pub(crate) fn set_whole(headers: &mut HeaderMap, length: u64) {
    headers.remove(header::CONTENT_RANGE);
    range::set_content(headers, length);
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests;
