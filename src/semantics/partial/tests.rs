use http::Method;
use proptest::prelude::*;

use super::*;

fn partial(content_range: &str, body: &'static str) -> Option<Partial> {
    Partial::new(
        Some(content_range.as_bytes()),
        Bytes::from_static(body.as_bytes()),
    )
}

fn requested(value: &str) -> RangeSet {
    let mut request = HeaderMap::new();
    let value = HeaderValue::from_str(value).expect("a header value");
    request.insert(header::RANGE, value);
    RangeSet::of(&Method::GET, &request).expect("a valid range")
}

/// The answer as it is sent: `Content-Range` and body.
fn answer(partial: &Partial, value: &str) -> Option<(String, String)> {
    let part = partial.answer(&requested(value))?;
    let range = range::content_range(&part.range, part.complete_length);
    let range = range.to_str().expect("printable").to_owned();
    let body = String::from_utf8(part.body.into()).expect("text");
    Some((range, body))
}

fn sent(range: &str, body: &str) -> Option<(String, String)> {
    Some((range.to_owned(), body.to_owned()))
}

#[test]
fn content_range_is_read_by_its_grammar() {
    // RFC 9110 §14.4.
    for (value, expected) in [
        ("bytes 0-4/10", Some((0..5, Some(10)))),
        ("Bytes 4-9/10", Some((4..10, Some(10)))),
        ("bytes 0-0/*", Some((0..1, None))),
        ("bytes 42-1233/1234", Some((42..1234, Some(1234)))),
        ("bytes */10", None),
        ("bytes 4-3/10", None),
        ("bytes 0-9/9", None),
        ("bytes 0-9/", None),
        ("bytes 0-9", None),
        ("bytes 0-/10", None),
        ("bytes -5/10", None),
        ("bytes +0-4/10", None),
        ("bytes  0-4/10", None),
        ("bytes=0-4/10", None),
        ("lines 0-4/10", None),
        ("bytes 0-18446744073709551615/*", None),
        ("bytes 0-4/18446744073709551616", None),
        ("bytes", None),
        ("", None),
    ] {
        let found = ContentRange::parse(value.as_bytes());
        let found = found.map(|range| (range.part, range.complete_length));
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn a_part_that_is_empty_too_long_or_nowhere_is_not_stored() {
    assert!(partial("bytes 0-4/10", "01234").is_some());
    assert!(partial("bytes 0-4/10", "0123").is_some());
    assert!(partial("bytes 0-4/10", "012345").is_none());
    assert!(partial("bytes 0-4/10", "").is_none());
    assert!(partial("bytes */10", "01234").is_none());
    assert_eq!(Partial::new(None, Bytes::from_static(b"01234")), None);
}

#[test]
fn a_part_answers_what_lies_wholly_within_it() {
    // RFC 9111 §3.3.
    let middle = partial("bytes 2-6/10", "23456").expect("a part");
    for (value, expected) in [
        ("bytes=2-6", sent("bytes 2-6/10", "23456")),
        ("bytes=3-4", sent("bytes 3-4/10", "34")),
        ("bytes=6-6", sent("bytes 6-6/10", "6")),
        ("bytes=1-3", None),
        ("bytes=6-7", None),
        ("bytes=3-", None),
        ("bytes=-5", None),
        ("bytes=20-", None),
        ("bytes=2-3,5-6", None),
    ] {
        assert_eq!(answer(&middle, value), expected, "{value}");
    }
    let end = partial("bytes 5-9/10", "56789").expect("a part");
    for (value, expected) in [
        ("bytes=6-", sent("bytes 6-9/10", "6789")),
        ("bytes=6-99", sent("bytes 6-9/10", "6789")),
        ("bytes=-2", sent("bytes 8-9/10", "89")),
        ("bytes=-5", sent("bytes 5-9/10", "56789")),
        ("bytes=-6", None),
        ("bytes=-99", None),
    ] {
        assert_eq!(answer(&end, value), expected, "{value}");
    }
}

#[test]
fn without_a_complete_length_only_closed_ranges_can_be_answered() {
    let part = partial("bytes 0-4/*", "01234").expect("a part");
    assert_eq!(answer(&part, "bytes=1-2"), sent("bytes 1-2/*", "12"));
    for value in ["bytes=1-", "bytes=-1", "bytes=1-5"] {
        assert_eq!(answer(&part, value), None, "{value}");
    }
}

#[test]
fn a_body_shorter_than_announced_is_counted_from_the_end_the_request_names() {
    let short = partial("bytes 4-9/10", "01234").expect("a part");
    for (value, expected) in [
        ("bytes=-5", sent("bytes 5-9/10", "01234")),
        ("bytes=-1", sent("bytes 9-9/10", "4")),
        ("bytes=6-8", sent("bytes 6-8/10", "234")),
        ("bytes=6-", sent("bytes 6-8/10", "234")),
        ("bytes=4-", sent("bytes 4-8/10", "01234")),
        ("bytes=9-9", None),
        ("bytes=3-4", None),
    ] {
        assert_eq!(answer(&short, value), expected, "{value}");
    }
    let first = partial("bytes 0-3/10", "0123").expect("a part");
    assert_eq!(first.combine(&short), None);
    assert_eq!(short.combine(&first), None);
}

#[test]
fn the_rest_is_asked_for_if_it_is_in_one_piece() {
    // RFC 9111 §3.3 and §3.4.
    for (content_range, body, etag, rest) in [
        ("bytes 0-4/10", "01234", None, Some("bytes=5-")),
        ("bytes 0-4/*", "01234", None, Some("bytes=5-")),
        ("bytes 0-4/10", "0123", None, Some("bytes=4-")),
        ("bytes 5-9/10", "56789", Some("\"a\""), Some("bytes=0-4")),
        ("bytes 0-4/10", "01234", Some("\"a\""), Some("bytes=5-")),
        ("bytes 0-4/10", "01234", Some("W/\"a\""), Some("bytes=5-")),
        ("bytes 2-6/10", "23456", None, None),
        ("bytes 5-9/10", "5678", None, None),
        ("bytes 5-9/*", "56789", None, None),
        ("bytes 0-4/5", "01234", None, None),
    ] {
        let mut request = HeaderMap::new();
        let part = partial(content_range, body).expect("a part");
        let asked = part.ask_for_rest(&mut request, etag.map(str::as_bytes));
        assert_eq!(asked, rest.is_some());
        let field = |name| request.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(field(header::RANGE), rest, "{content_range}");
        let if_range = etag.filter(|etag| !etag.starts_with('W'));
        assert_eq!(field(header::IF_RANGE), if_range, "{content_range}");
    }
}

#[test]
fn only_an_equal_strong_tag_makes_parts_of_one_representation() {
    for (stored, received, same) in [
        (Some("\"a\""), Some("\"a\""), true),
        (Some("\"a\""), Some("\"b\""), false),
        (Some("W/\"a\""), Some("W/\"a\""), false),
        (Some("\"a\""), None, false),
        (None, None, false),
    ] {
        let found = same_representation(stored.map(str::as_bytes), received.map(str::as_bytes));
        assert_eq!(found, same, "{stored:?} {received:?}");
    }
}

#[test]
fn two_parts_make_a_whole() {
    let first = partial("bytes 0-4/10", "01234").expect("a part");
    let last = partial("bytes 5-9/*", "56789").expect("a part");
    assert_eq!(first.whole(), None);
    let whole = first.combine(&last).expect("a whole");
    assert_eq!(whole.whole(), Some(&Bytes::from_static(b"0123456789")));
    assert_eq!(last.combine(&first), Some(whole.clone()));
    assert_eq!(whole.into_parts().0, "bytes 0-9/10");

    let other_length = partial("bytes 5-9/11", "56789").expect("a part");
    assert_eq!(first.combine(&other_length), None);
    let beyond = partial("bytes 5-10/*", "56789a").expect("a part");
    assert_eq!(first.combine(&beyond), None);

    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_RANGE,
        HeaderValue::from_static("bytes 0-4/10"),
    );
    set_whole(&mut headers, 10);
    assert_eq!(headers[header::CONTENT_LENGTH], "10");
    assert!(!headers.contains_key(header::CONTENT_RANGE));
}

/// A part of a representation in which each byte is its own position, `shift` added.
fn part_of(range: &Range<u64>, length: Option<u64>, shift: u8) -> Partial {
    Partial {
        range: ContentRange {
            part: range.clone(),
            complete_length: length,
        },
        body: range.clone().map(|at| at as u8 + shift).collect(),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(bytes in prop::collection::vec(prop_oneof![
        Just(b'-'), Just(b'/'), Just(b'*'), b'0'..=b'9', any::<u8>(),
    ], 0..24), body in 1_usize..9) {
        let value = [b"bytes ", &bytes[..]].concat();
        if let Some(part) = Partial::new(Some(&value), vec![0; body].into()) {
            part.ask_for_rest(&mut HeaderMap::new(), None);
            for value in ["bytes=0-", "bytes=-1", "bytes=18446744073709551614-"] {
                part.answer(&requested(value));
            }
            let combined = part.combine(&part);
            prop_assert!(combined.is_none_or(|combined| combined == part));
        }
        ContentRange::parse(&bytes);
    }

    #[test]
    fn combined_parts_hold_what_either_held_and_the_newer_wins(
        (a, b) in (0_u64..20, 1_u64..10, 0_u64..20, 1_u64..10)
            .prop_map(|(a, a_length, b, b_length)| (a..a + a_length, b..b + b_length)),
        lengths in any::<(bool, bool)>(),
    ) {
        let length = |known: bool| known.then_some(30);
        let combined = part_of(&a, length(lengths.0), 0)
            .combine(&part_of(&b, length(lengths.1), 100));
        let held: Vec<u64> = (0..30).filter(|at| a.contains(at) || b.contains(at)).collect();
        let in_one_piece = held.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        prop_assert_eq!(combined.is_some(), in_one_piece);
        if let Some(combined) = combined {
            let expected: Vec<u8> = held
                .iter()
                .map(|at| *at as u8 + if b.contains(at) { 100 } else { 0 })
                .collect();
            prop_assert_eq!(&combined.body[..], &expected[..]);
            prop_assert_eq!(combined.range.part, held[0]..held[held.len() - 1] + 1);
            prop_assert_eq!(combined.range.complete_length, length(lengths.0 || lengths.1));
        }
    }

    #[test]
    fn answers_are_those_of_the_whole_or_none(
        held in (0_u64..20, 1_u64..11).prop_map(|(start, length)| start..start + length),
        value in prop_oneof![
            (0_u64..32).prop_map(|first| format!("bytes={first}-")),
            (0_u64..32).prop_map(|length| format!("bytes=-{length}")),
            (0_u64..32, 0_u64..8).prop_map(|(first, more)| format!("bytes={first}-{}", first + more)),
        ],
    ) {
        let wanted = match requested(&value).resolve(30) {
            range::Resolved::Single(wanted) => Some(wanted),
            _ => None,
        };
        let covered = wanted.filter(|wanted| wanted.clone().all(|at| held.contains(&at)));
        let found = part_of(&held, Some(30), 0).answer(&requested(&value));
        let expected = covered.map(|range| HeldPart {
            body: range.clone().map(|at| at as u8).collect(),
            complete_length: Some(30),
            range,
        });
        prop_assert_eq!(found, expected);
    }
}
