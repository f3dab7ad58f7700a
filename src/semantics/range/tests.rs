use proptest::prelude::*;

use super::*;

fn requested(value: &str) -> HeaderMap {
    let mut request = HeaderMap::new();
    let value = HeaderValue::from_str(value).expect("a header value");
    request.insert(header::RANGE, value);
    request
}

fn resolved(value: &str, length: u64) -> Resolved {
    RangeSet::of(&Method::GET, &requested(value)).map_or(Resolved::Whole, |set| set.resolve(length))
}

#[test]
fn a_single_range_is_cut_to_what_exists() {
    // RFC 9110 §14.1.2, with its examples of 10,000 bytes.
    for (value, expected) in [
        ("bytes=0-499", 0..500),
        ("bytes=500-999", 500..1000),
        ("bytes=-500", 9500..10_000),
        ("bytes=9500-", 9500..10_000),
        ("bytes=0-", 0..10_000),
        ("bytes=9999-9999", 9999..10_000),
        ("bytes=9999-99999", 9999..10_000),
        ("bytes=-10001", 0..10_000),
        ("BYTES=0-0", 0..1),
        ("bytes= 0-0 ,, ", 0..1),
        ("bytes=0-99999999999999999999999", 0..10_000),
        ("bytes=-99999999999999999999999", 0..10_000),
        ("bytes=0-18446744073709551615", 0..10_000),
    ] {
        let expected = Resolved::Single(expected);
        assert_eq!(resolved(value, 10_000), expected, "{value}");
    }
}

#[test]
fn ranges_that_exist_nowhere_are_unsatisfiable() {
    for (value, length) in [
        ("bytes=10000-", 10_000),
        ("bytes=10000-10001", 10_000),
        ("bytes=-0", 10_000),
        ("bytes=99999999999999999999999-", 10_000),
        (
            "bytes=99999999999999999999999-99999999999999999999999",
            10_000,
        ),
        ("bytes=18446744073709551615-", u64::MAX),
        ("bytes=20000-,-0", 10_000),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
    ] {
        assert_eq!(resolved(value, length), Resolved::Unsatisfiable, "{value}");
    }
}

#[test]
fn what_is_no_valid_set_of_byte_ranges_is_ignored() {
    // RFC 9110 §14.1.1 and §14.2.
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=9-1",
        "bytes=0-1,9-1",
        "bytes=1",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=0x1-2",
        "bytes=1 -2",
        "bytes =1-2",
        "bytes:1-2",
        "lines=1-2",
    ] {
        assert_eq!(resolved(value, 10), Resolved::Whole, "{value}");
    }
    // The suffix of an empty representation is satisfiable, but cannot be a 206.
    assert_eq!(resolved("bytes=-1", 0), Resolved::Whole);
}

#[test]
fn only_the_one_range_field_of_a_get_counts() {
    let mut request = requested("bytes=0-1");
    assert!(RangeSet::of(&Method::GET, &request).is_some());
    assert_eq!(RangeSet::of(&Method::HEAD, &request), None);
    assert_eq!(RangeSet::of(&Method::POST, &request), None);
    request.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(RangeSet::of(&Method::GET, &request), None);
}

#[test]
fn several_ranges_keep_their_order_and_are_joined_where_they_meet() {
    // RFC 9110 §15.3.7.2.
    for (value, expected) in [
        ("bytes=0-0,-1", vec![0..1, 99..100]),
        ("bytes=-1,0-0", vec![99..100, 0..1]),
        ("bytes=50-59,0-9,200-", vec![50..60, 0..10]),
        ("bytes=50-59,0-9,55-64,5-6", vec![50..65, 0..10]),
        ("bytes=0-9,20-29,10-12", vec![0..13, 20..30]),
    ] {
        let expected = Resolved::Several(expected);
        assert_eq!(resolved(value, 100), expected, "{value}");
    }
    assert_eq!(resolved("bytes=5-9,0-4", 100), Resolved::Single(0..10));
    assert_eq!(resolved("bytes=0-4,200-", 100), Resolved::Single(0..5));
}

#[test]
fn more_than_sixteen_parts_are_sent_as_a_whole() {
    let ranges = |count: u64, step: u64| {
        let ranges: Vec<_> = (0..count)
            .map(|index| format!("{0}-{0}", index * step))
            .collect();
        resolved(&format!("bytes={}", ranges.join(",")), 10_000)
    };
    assert!(matches!(ranges(16, 2), Resolved::Several(parts) if parts.len() == 16));
    assert_eq!(ranges(17, 2), Resolved::Whole);
    assert_eq!(ranges(1000, 2), Resolved::Whole);
    assert_eq!(ranges(1000, 1), Resolved::Single(0..1000));
}

#[test]
fn a_multipart_body_is_laid_out_as_in_rfc_9110_14_6() {
    let body = Bytes::from_static(b"0123456789");
    let kind = HeaderValue::from_static("text/plain");
    let multipart = multipart_with("B", &body, Some(&kind), &[0..2, 9..10]);
    assert_eq!(
        multipart.chunks.concat(),
        b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
          \r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-9/10\r\n\r\n9\
          \r\n--B--\r\n"
    );
    assert_eq!(multipart.content_type, "multipart/byteranges; boundary=B");
    assert_eq!(multipart.chunks[1].as_ptr(), body.as_ptr());
}

#[test]
fn boundaries_are_new_each_time() {
    let body = Bytes::from_static(b"0123456789");
    let boundary = || multipart(&body, None, &[0..1, 2..3]).content_type;
    assert_ne!(boundary(), boundary());
}

#[test]
fn the_header_section_of_a_part_describes_the_part() {
    let mut headers = HeaderMap::new();
    headers.insert("x-kept", HeaderValue::from_static("1"));
    headers.insert(header::CONTENT_LENGTH, 10.into());
    headers.insert("content-md5", HeaderValue::from_static("abc"));
    set_single(&mut headers, &(4..10), Some(10));
    assert_eq!(headers[header::CONTENT_RANGE], "bytes 4-9/10");
    assert_eq!(headers[header::CONTENT_LENGTH], "6");
    assert_eq!(headers.len(), 3);
    assert_eq!(content_range(&(4..10), None), "bytes 4-9/*");
    assert_eq!(unsatisfied_range(10), "bytes */10");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed(bytes in prop::collection::vec(prop_oneof![
        Just(b'-'), Just(b','), Just(b' '), b'0'..=b'9', any::<u8>(),
    ], 0..24), length in any::<u64>()) {
        let value = [b"bytes=", &bytes[..]].concat();
        if let Some(set) = RangeSet::parse(&value) {
            set.resolve(length);
        }
        RangeSet::parse(&bytes);
    }

    #[test]
    fn parts_are_the_bytes_that_were_asked_for(
        specs in prop::collection::vec((0_u64..40, prop::option::of(0_u64..40), any::<bool>()), 1..8),
        length in 1_u64..30,
    ) {
        let mut wanted = vec![false; length as usize];
        let mut texts = Vec::new();
        let mut valid = true;
        for (first, last, suffix) in specs {
            let last_text = last.map(|last| last.to_string()).unwrap_or_default();
            texts.push(if suffix { format!("-{first}") } else { format!("{first}-{last_text}") });
            valid &= suffix || last.is_none_or(|last| first <= last);
            for at in 0..length {
                let inside = if suffix {
                    at + first >= length
                } else {
                    at >= first && last.is_none_or(|last| at <= last)
                };
                wanted[at as usize] |= inside;
            }
        }
        let parts = match resolved(&format!("bytes={}", texts.join(",")), length) {
            Resolved::Whole => {
                prop_assert!(!valid);
                return Ok(());
            }
            Resolved::Single(part) => vec![part],
            Resolved::Several(parts) => parts,
            Resolved::Unsatisfiable => vec![],
        };
        prop_assert!(valid);
        let mut found = vec![0; length as usize];
        for part in parts {
            part.for_each(|at| found[at as usize] += 1);
        }
        let expected: Vec<_> = wanted.into_iter().map(i32::from).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_multipart_body_is_as_long_as_it_says(
        length in 0_usize..100,
        parts in prop::collection::vec((0_u64..120, 0_u64..120), 0..6),
    ) {
        let body = Bytes::from(vec![b'x'; length]);
        let parts: Vec<_> = parts.into_iter().map(|(start, end)| start..end).collect();
        let multipart = multipart(&body, None, &parts);
        prop_assert_eq!(multipart.length, multipart.chunks.concat().len() as u64);
    }
}
