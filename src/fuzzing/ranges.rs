use std::ops::Range;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue, RANGE};

use super::Lines;
use crate::semantics::partial::{ContentRange, Partial};
use crate::semantics::range::{self, RangeSet, Resolved};

/// Reads a `Range`, a complete length, and two stored parts, each a `Content-Range` and the length
/// of a body.
///
/// - Parts lie within the representation, and neither overlap nor touch.
/// - A part written as `Content-Range` and read again is the same.
/// - A multipart body is as long as it says, and holds the parts.
/// - What a stored part answers lies within it, within what was asked for, and is the right bytes.
/// - Combined parts hold the right bytes; what is asked for to complete a part is the rest of it.
pub fn ranges(input: &[u8]) {
    let mut lines = Lines::of(input);
    let mut request = HeaderMap::new();
    request.insert(RANGE, lines.value());
    let complete_length = lines.number();
    let requested = RangeSet::of(&Method::GET, &request);
    if let Some(requested) = &requested {
        assert_parts(&requested.resolve(complete_length), complete_length);
        assert_multipart(requested, complete_length % 512);
    }
    let mut part = || StoredPart::new(lines.text(), lines.number() % 512);
    let (first, second) = (part(), part());
    for stored in [&first, &second].into_iter().flatten() {
        stored.assert_round_trip();
        stored.assert_asks_for_rest();
        if let Some(requested) = &requested {
            stored.assert_answers(requested);
        }
    }
    if let (Some(first), Some(second)) = (first, second) {
        first.assert_combines(&second);
        second.assert_combines(&first);
    }
}

fn assert_parts(resolved: &Resolved, complete_length: u64) {
    let parts = match resolved {
        Resolved::Whole | Resolved::Unsatisfiable => return,
        Resolved::Single(part) => std::slice::from_ref(part),
        Resolved::Several(parts) => {
            assert!((2..=16).contains(&parts.len()));
            parts
        }
    };
    for part in parts {
        assert!(part.start < part.end && part.end <= complete_length);
        let text = range::content_range(part, Some(complete_length));
        let read = ContentRange::parse(text.as_bytes());
        if complete_length < u64::MAX {
            let read = read.expect("what is written is read");
            assert_eq!(
                (&read.part, read.complete_length),
                (part, Some(complete_length))
            );
        }
    }
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|part| part.start);
    assert!(sorted.windows(2).all(|pair| pair[0].end < pair[1].start));
}

fn assert_multipart(requested: &RangeSet, length: u64) {
    let Resolved::Several(parts) = requested.resolve(length) else {
        return;
    };
    let body = bytes_of(&(0..length));
    let multipart = range::multipart(&body, Some(&HeaderValue::from_static("a/b")), &parts);
    assert_eq!(multipart.length, multipart.chunks.concat().len() as u64);
    let bodies = multipart.chunks.iter().skip(1).step_by(2);
    assert!(bodies.eq(parts.iter().map(bytes_of).collect::<Vec<_>>().iter()));
}

/// Bytes that show where they stand.
fn bytes_of(part: &Range<u64>) -> Bytes {
    part.clone().map(|at| (at % 251) as u8).collect()
}

/// A stored part, and what its `Content-Range` says.
struct StoredPart {
    partial: Partial,
    range: ContentRange,
    length: u64,
}

impl StoredPart {
    fn new(content_range: &[u8], length: u64) -> Option<Self> {
        let range = ContentRange::parse(content_range)?;
        assert!(range.part.start < range.part.end);
        assert!(
            range
                .complete_length
                .is_none_or(|length| range.part.end <= length)
        );
        let held = range.part.start..range.part.start.saturating_add(length);
        let partial = Partial::new(Some(content_range), bytes_of(&held))?;
        assert!(held.end <= range.part.end);
        Some(Self {
            partial,
            range,
            length,
        })
    }

    fn is_exact(&self) -> bool {
        self.range.part.end - self.range.part.start == self.length
    }

    fn assert_round_trip(&self) {
        let (text, body) = self.partial.clone().into_parts();
        let again = Partial::new(Some(text.as_bytes()), body);
        assert_eq!(again.as_ref(), Some(&self.partial));
        if let Some(whole) = self.partial.whole() {
            assert_eq!(Some(whole.len() as u64), self.range.complete_length);
        }
    }

    fn assert_answers(&self, requested: &RangeSet) {
        let Some(part) = self.partial.answer(requested) else {
            return;
        };
        assert_eq!(part.body.len() as u64, part.range.end - part.range.start);
        assert!(self.range.part.start <= part.range.start && part.range.end <= self.range.part.end);
        if let Some(length) = part.complete_length {
            let Resolved::Single(wanted) = requested.resolve(length) else {
                panic!("answered more than one range");
            };
            assert!(wanted.start <= part.range.start && part.range.end <= wanted.end);
            assert!(!self.is_exact() || part.range == wanted);
        }
        if self.is_exact() {
            assert_eq!(part.body, bytes_of(&part.range));
        }
    }

    fn assert_combines(&self, newer: &Self) {
        let Some(combined) = self.partial.combine(&newer.partial) else {
            return;
        };
        let (text, body) = combined.into_parts();
        let range = ContentRange::parse(text.as_bytes()).expect("what is written is read");
        let (ours, theirs) = (&self.range.part, &newer.range.part);
        assert_eq!(range.part.start, ours.start.min(theirs.start));
        assert_eq!(range.part.end, ours.end.max(theirs.end));
        assert_eq!(body, bytes_of(&range.part));
    }

    fn assert_asks_for_rest(&self) {
        let mut request = HeaderMap::new();
        if !self.partial.ask_for_rest(&mut request, Some(b"\"a\"")) {
            return;
        }
        let asked = RangeSet::of(&Method::GET, &request).expect("what is asked for is a range");
        let held = self.range.part.start..self.range.part.start + self.length;
        let Some(length) = self.range.complete_length else {
            return;
        };
        let Resolved::Single(rest) = asked.resolve(length) else {
            panic!("asked for {asked:?} beside {held:?} of {length}");
        };
        let before = rest.start == 0 && rest.end == held.start && held.end == length;
        let behind = held.start == 0 && rest.start == held.end && rest.end == length;
        assert!(
            before || behind,
            "asked for {rest:?} beside {held:?} of {length}"
        );
    }
}
