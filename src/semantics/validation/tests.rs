use super::*;

const DATE: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
const LATER: &str = "Wed, 01 Jan 2020 00:01:00 GMT";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(*name, value);
    }
    headers
}

fn validators(etag: &'static str, last_modified: &'static str) -> Validators<'static> {
    let some = |value: &'static str| (!value.is_empty()).then_some(value.as_bytes());
    Validators {
        etag: some(etag),
        last_modified: some(last_modified),
    }
}

#[test]
fn validators_are_sent_byte_for_byte_in_place_of_the_clients() {
    // RFC 9111 §4.3.1.
    for (etag, last_modified) in [
        ("\"a\"", ""),
        ("W/\"a\"", DATE),
        ("abc", ""),
        ("\"\u{fc}\"", DATE),
        ("", DATE),
    ] {
        let mut request = headers(&[
            ("if-none-match", "\"mine\""),
            ("if-modified-since", LATER),
            ("accept", "*/*"),
        ]);
        let offered = [validators(etag, last_modified)];
        assert_eq!(make_conditional(&mut request, &offered), 1);
        let expected: Vec<_> = [
            ("if-none-match", etag),
            ("if-modified-since", last_modified),
            ("accept", "*/*"),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
        assert_eq!(request, headers(&expected));
    }
}

#[test]
fn the_tags_of_all_variants_are_sent_once_each_and_without_a_date() {
    let mut request = HeaderMap::new();
    let offered = [
        validators("\"a\"", DATE),
        validators("\"b\"", DATE),
        validators("\"a\"", LATER),
    ];
    assert_eq!(make_conditional(&mut request, &offered), 3);
    assert_eq!(request, headers(&[("if-none-match", "\"a\", \"b\"")]));
}

#[test]
fn a_response_without_validators_leaves_the_request_unconditional() {
    let mut request = headers(&[("if-none-match", "\"mine\"")]);
    assert_eq!(make_conditional(&mut request, &[validators("", "")]), 0);
    assert_eq!(make_conditional(&mut request, &[]), 0);
    assert!(request.is_empty());
}

#[test]
fn a_selected_response_with_only_a_date_is_offered_alone() {
    let mut request = HeaderMap::new();
    let offered = [validators("", DATE), validators("\"b\"", "")];
    assert_eq!(make_conditional(&mut request, &offered), 1);
    assert_eq!(request, headers(&[("if-modified-since", DATE)]));
}

#[test]
fn another_variant_stands_in_only_if_its_bytes_are_vouched_for_and_acceptable() {
    let request = headers(&[("accept-encoding", "br")]);
    for (etag, coding, may) in [
        (Some("\"a\""), None, true),
        (Some("\"a\""), Some("br"), true),
        (Some("\"a\""), Some("gzip"), false),
        (Some("W/\"a\""), None, false),
        (Some("a"), None, false),
        (None, None, false),
    ] {
        let found = may_stand_in(&request, etag.map(str::as_bytes), coding.map(str::as_bytes));
        assert_eq!(found, may, "{etag:?} {coding:?}");
    }
}

#[test]
fn a_bounded_number_of_tags_is_sent() {
    let tags: Vec<_> = (0..100).map(|tag| format!("\"{tag}\"")).collect();
    let offered: Vec<_> = tags
        .iter()
        .map(|tag| Validators {
            etag: Some(tag.as_bytes()),
            last_modified: None,
        })
        .collect();
    let mut request = HeaderMap::new();
    assert_eq!(make_conditional(&mut request, &offered), MAX_TAGS);
    let sent = request[header::IF_NONE_MATCH].as_bytes();
    assert_eq!(sent.split(|byte| *byte == b',').count(), MAX_TAGS);
}

#[test]
fn a_304_selects_by_the_strongest_validator_it_has() {
    // RFC 9111 §4.3.4.
    let (etag, date) = ("etag", "last-modified");
    for (received, stored, selected) in [
        (vec![(etag, "\"a\"")], validators("\"a\"", DATE), true),
        (vec![(etag, "\"b\"")], validators("\"a\"", DATE), false),
        (vec![(etag, "\"a\"")], validators("W/\"a\"", ""), false),
        (vec![(etag, "\"a\"")], validators("", DATE), false),
        (
            vec![(etag, "\"a\""), (date, LATER)],
            validators("\"a\"", DATE),
            true,
        ),
        (
            vec![(etag, "\"b\""), (date, DATE)],
            validators("\"a\"", DATE),
            false,
        ),
        (vec![(etag, "W/\"a\"")], validators("W/\"a\"", ""), true),
        (vec![(etag, "W/\"a\"")], validators("\"a\"", ""), true),
        (vec![(etag, "W/\"b\"")], validators("W/\"a\"", ""), false),
        (vec![(etag, "abc")], validators("abc", ""), true),
        (vec![(date, DATE)], validators("", DATE), true),
        (vec![(date, DATE)], validators("\"a\"", DATE), true),
        (vec![(date, LATER)], validators("", DATE), false),
        (vec![(date, DATE)], validators("\"a\"", ""), false),
        (vec![], validators("\"a\"", DATE), true),
        (vec![], validators("", DATE), true),
    ] {
        let found = select(&headers(&received), &[stored]);
        assert_eq!(found, selected.then_some(0), "{received:?} {stored:?}");
    }
}

#[test]
fn a_304_tells_which_of_several_variants_it_is_about() {
    let offered = [
        validators("\"a\"", ""),
        validators("W/\"b\"", ""),
        validators("\"c\"", ""),
    ];
    let select = |tag: &str| select(&headers(&[("etag", tag)]), &offered);
    assert_eq!(select("\"c\""), Some(2));
    assert_eq!(select("W/\"b\""), Some(1));
    assert_eq!(select("\"b\""), None);
    assert_eq!(super::select(&HeaderMap::new(), &offered), None);
    assert_eq!(super::select(&HeaderMap::new(), &[]), None);
}

#[test]
fn a_304_updates_all_fields_but_those_tied_to_the_stored_bytes() {
    // RFC 9111 §3.2.
    let stored = headers(&[
        ("content-encoding", "gzip"),
        ("content-md5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("content-range", "bytes 0-4/5"),
        ("content-length", "5"),
        ("content-location", "/a"),
        ("cache-control", "max-age=1"),
        ("link", "</1>"),
        ("link", "</2>"),
        ("x-kept", "1"),
    ]);
    let update = headers(&[
        ("content-encoding", "br"),
        ("content-md5", "N7UdGUp1E+RbVvZSTy1R8g=="),
        ("content-range", "bytes 0-9/10"),
        (
            "content-digest",
            "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
        ),
        ("content-length", "10"),
        ("content-location", "/b"),
        ("content-type", "text/plain;charset=utf-8"),
        ("cache-control", "max-age=2"),
        ("etag", "\"b\""),
        ("link", "</3>"),
        ("vary", "a"),
        ("vary", "b"),
    ]);
    let fresh = headers(&[
        ("content-encoding", "gzip"),
        ("content-md5", "rL0Y20zC+Fzt72VPzMSk2A=="),
        ("content-range", "bytes 0-4/5"),
        ("content-length", "5"),
        ("content-location", "/b"),
        ("content-type", "text/plain;charset=utf-8"),
        ("cache-control", "max-age=2"),
        ("etag", "\"b\""),
        ("link", "</3>"),
        ("vary", "a"),
        ("vary", "b"),
        ("x-kept", "1"),
    ]);
    assert_eq!(freshen(&stored, &update), fresh);
    assert_eq!(freshen(&fresh, &update), fresh);
}

#[test]
fn a_head_response_freshens_only_what_it_proves_to_be_the_same() {
    // RFC 9111 §4.3.5.
    use HeadVerdict::{Freshen, Invalidate, Keep};
    let (etag, date, length) = ("etag", "last-modified", "content-length");
    let stored = validators("\"a\"", DATE);
    for (head, verdict) in [
        (vec![(etag, "\"a\"")], Freshen),
        (vec![(etag, "\"a\""), (date, DATE), (length, "5")], Freshen),
        (vec![(date, DATE)], Freshen),
        (vec![(etag, "\"b\"")], Invalidate),
        (vec![(etag, "W/\"a\"")], Invalidate),
        (vec![(etag, "\"a\""), (date, LATER)], Invalidate),
        (vec![(etag, "\"a\""), (length, "6")], Invalidate),
        (vec![(etag, "\"a\""), (length, "+5")], Invalidate),
        (vec![(length, "6")], Invalidate),
        (vec![(length, "5")], Keep),
        (vec![], Keep),
    ] {
        let head = headers(&head);
        let found = judge_head(StatusCode::OK, &head, &stored, 5);
        assert_eq!(found, verdict, "{head:?}");
        let gone = judge_head(StatusCode::GONE, &head, &stored, 5);
        assert_eq!(gone, Keep, "{head:?}");
    }
    let none = validators("", "");
    let tagged = headers(&[(etag, "\"a\"")]);
    assert_eq!(judge_head(StatusCode::OK, &tagged, &none, 5), Invalidate);
}
