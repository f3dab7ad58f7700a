use http::HeaderValue;

use super::Precondition::{Failed, NotModified, Proceed};
use super::{evaluate as evaluate_at, if_range as if_range_at, *};

const EARLY: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
const LATE: &str = "Wed, 01 Jan 2020 00:00:59 GMT";
const LATER: &str = "Wed, 01 Jan 2020 00:01:00 GMT";

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(name, value);
    }
    headers
}

fn evaluate(request: &HeaderMap, stored: &StoredValidators<'_>) -> Precondition {
    evaluate_at(request, stored, SystemTime::now())
}

fn if_range(request: &HeaderMap, stored: &StoredValidators<'_>) -> RangeVerdict {
    if_range_at(request, stored, SystemTime::now())
}

fn stored(
    etag: &'static str,
    last_modified: &'static str,
    date: &str,
) -> StoredValidators<'static> {
    let some = |value: &'static str| (!value.is_empty()).then_some(value.as_bytes());
    StoredValidators {
        etag: some(etag),
        last_modified: some(last_modified),
        date: parse_date(date.as_bytes(), SystemTime::now()),
    }
}

#[test]
fn if_none_match_compares_weakly_with_every_member() {
    // RFC 9110 §13.1.2, RFC 9111 §4.3.2.
    for (etag, field, expected) in [
        ("\"a\"", "\"a\"", NotModified),
        ("\"a\"", "W/\"a\"", NotModified),
        ("W/\"a\"", "\"a\"", NotModified),
        ("W/\"a\"", "W/\"a\"", NotModified),
        ("\"a\"", "\"b\"", Proceed),
        ("\"a\"", "\"a\", \"b\", \"c\"", NotModified),
        ("\"a\"", "\"b\", \"a\", \"c\"", NotModified),
        ("\"a\"", "\"b\", \"c\", \"a\"", NotModified),
        ("\"a,b\"", "\"a,b\"", NotModified),
        ("\"a\u{fc}\"", "\"a\u{fc}\"", NotModified),
        ("\"a\"", "a", Proceed),
        ("a", "a", NotModified),
        ("a", "\"a\"", Proceed),
        ("w/\"a\"", "w/\"a\"", NotModified),
        ("W\\\"a\"", "W\\\"a\"", NotModified),
        ("W\"a\"", "W\"a\"", NotModified),
        ("\"a\"", "*", NotModified),
        ("", "*", NotModified),
        ("", "\"a\"", Proceed),
        ("", "", Proceed),
        ("\"a\"", "", Proceed),
        ("\"a\"", "\"*\"", Proceed),
    ] {
        let request = headers(&[(header::IF_NONE_MATCH, field)]);
        let found = evaluate(&request, &stored(etag, "", ""));
        assert_eq!(found, expected, "{etag} {field}");
    }
}

#[test]
fn if_none_match_is_read_from_all_lines_and_from_long_lists() {
    let request = headers(&[
        (header::IF_NONE_MATCH, "\"a\""),
        (header::IF_NONE_MATCH, "\"b\""),
    ]);
    assert_eq!(evaluate(&request, &stored("\"b\"", "", "")), NotModified);
    let many: Vec<_> = (0..1000).map(|tag| format!("\"{tag}\"")).collect();
    let request = headers(&[(header::IF_NONE_MATCH, &many.join(", "))]);
    assert_eq!(
        evaluate(&request, &stored("W/\"999\"", "", "")),
        NotModified
    );
    assert_eq!(evaluate(&request, &stored("\"1000\"", "", "")), Proceed);
}

#[test]
fn if_modified_since_compares_with_last_modified_or_else_with_date() {
    // RFC 9110 §13.1.3, RFC 9111 §4.3.2.
    for (last_modified, date, since, expected) in [
        (EARLY, LATER, EARLY, NotModified),
        (EARLY, LATER, LATE, NotModified),
        (LATE, LATER, EARLY, Proceed),
        ("", LATE, LATE, NotModified),
        ("", LATE, EARLY, Proceed),
        ("nonsense", LATE, LATE, NotModified),
        ("", "", LATE, Proceed),
        (
            EARLY,
            LATER,
            "Wednesday, 01-Jan-20 00:00:00 GMT",
            NotModified,
        ),
        (EARLY, LATER, "Wed Jan  1 00:00:00 2020", NotModified),
        (EARLY, LATER, "wed, 01 jan 2020 00:00:00 gmt", NotModified),
        (EARLY, LATER, "2020-01-01", Proceed),
        (EARLY, LATER, "", Proceed),
        (EARLY, LATER, "\u{fc}", Proceed),
    ] {
        let request = headers(&[(header::IF_MODIFIED_SINCE, since)]);
        let found = evaluate(&request, &stored("", last_modified, date));
        assert_eq!(found, expected, "{last_modified} {date} {since}");
    }
    let twice = headers(&[
        (header::IF_MODIFIED_SINCE, LATE),
        (header::IF_MODIFIED_SINCE, LATE),
    ]);
    assert_eq!(evaluate(&twice, &stored("", EARLY, LATER)), Proceed);
}

#[test]
fn the_present_settles_the_century_of_a_condition() {
    // RFC 9110 §5.6.7: what appears to be more than 50 years ahead is in the past.
    let now = parse_date(EARLY.as_bytes(), SystemTime::UNIX_EPOCH).expect("a date");
    for (since, expected) in [
        ("Wednesday, 01-Jan-70 00:00:00 GMT", NotModified),
        ("Friday, 01-Jan-71 00:00:00 GMT", Proceed),
    ] {
        let request = headers(&[(header::IF_MODIFIED_SINCE, since)]);
        let found = evaluate_at(&request, &stored("", EARLY, LATER), now);
        assert_eq!(found, expected, "{since}");
    }
}

#[test]
fn if_none_match_takes_precedence_over_if_modified_since() {
    // RFC 9110 §13.2.2, steps 3 and 4.
    for (tag, since, expected) in [("\"a\"", EARLY, NotModified), ("\"b\"", LATER, Proceed)] {
        let request = headers(&[
            (header::IF_NONE_MATCH, tag),
            (header::IF_MODIFIED_SINCE, since),
        ]);
        assert_eq!(evaluate(&request, &stored("\"a\"", LATE, LATER)), expected);
    }
}

#[test]
fn if_match_compares_strongly_and_comes_first() {
    // RFC 9110 §13.1.1 and §13.2.2, steps 1 and 2.
    for (etag, field, expected) in [
        ("\"a\"", "\"a\"", Proceed),
        ("\"a\"", "\"b\", \"a\"", Proceed),
        ("\"a\"", "*", Proceed),
        ("", "*", Proceed),
        ("\"a\"", "\"b\"", Failed),
        ("\"a\"", "W/\"a\"", Failed),
        ("W/\"a\"", "W/\"a\"", Failed),
        ("a", "a", Failed),
        ("", "\"a\"", Failed),
    ] {
        let request = headers(&[
            (header::IF_MATCH, field),
            (header::IF_UNMODIFIED_SINCE, EARLY),
        ]);
        let found = evaluate(&request, &stored(etag, LATE, LATER));
        assert_eq!(found, expected, "{etag} {field}");
    }
    let both = headers(&[
        (header::IF_MATCH, "\"a\""),
        (header::IF_NONE_MATCH, "\"a\""),
    ]);
    assert_eq!(evaluate(&both, &stored("\"a\"", "", "")), NotModified);
    assert_eq!(evaluate(&both, &stored("\"b\"", "", "")), Failed);
}

#[test]
fn if_unmodified_since_needs_a_date_on_either_side() {
    // RFC 9110 §13.1.4.
    for (last_modified, since, expected) in [
        (EARLY, EARLY, Proceed),
        (EARLY, LATE, Proceed),
        (LATE, EARLY, Failed),
        ("", EARLY, Proceed),
        (LATE, "yesterday", Proceed),
    ] {
        let request = headers(&[(header::IF_UNMODIFIED_SINCE, since)]);
        let found = evaluate(&request, &stored("", last_modified, LATER));
        assert_eq!(found, expected, "{last_modified} {since}");
    }
}

#[test]
fn if_range_needs_a_strong_validator() {
    // RFC 9110 §13.1.5 and §8.8.2.2.
    for (etag, last_modified, date, field, verdict) in [
        ("\"a\"", "", "", "\"a\"", RangeVerdict::Use),
        ("\"a\"", "", "", "\"b\"", RangeVerdict::Ignore),
        ("\"a\"", "", "", "W/\"a\"", RangeVerdict::Ignore),
        ("W/\"a\"", "", "", "W/\"a\"", RangeVerdict::Ignore),
        ("a", "", "", "a", RangeVerdict::Ignore),
        ("", "", "", "\"a\"", RangeVerdict::Ignore),
        ("\"a\"", "", "", "\"a\", \"b\"", RangeVerdict::Ignore),
        ("", EARLY, LATER, EARLY, RangeVerdict::Use),
        ("", EARLY, LATE, EARLY, RangeVerdict::Ignore),
        ("", EARLY, "", EARLY, RangeVerdict::Ignore),
        ("", EARLY, LATER, LATE, RangeVerdict::Ignore),
        ("", LATE, EARLY, LATE, RangeVerdict::Ignore),
        ("\"a\"", EARLY, LATER, "", RangeVerdict::Ignore),
    ] {
        let request = headers(&[(header::IF_RANGE, field)]);
        let found = if_range(&request, &stored(etag, last_modified, date));
        assert_eq!(found, verdict, "{etag} {last_modified} {date} {field}");
    }
    let none = if_range(&HeaderMap::new(), &stored("", "", ""));
    assert_eq!(none, RangeVerdict::Use);
    let twice = headers(&[(header::IF_RANGE, "\"a\""), (header::IF_RANGE, "\"a\"")]);
    assert_eq!(
        if_range(&twice, &stored("\"a\"", "", "")),
        RangeVerdict::Ignore
    );
}

#[test]
fn a_miss_is_filled_without_the_conditions_a_cache_answers() {
    let mut request = headers(&[
        (header::IF_NONE_MATCH, "\"a\""),
        (header::IF_NONE_MATCH, "\"b\""),
        (header::IF_MODIFIED_SINCE, EARLY),
        (header::IF_MATCH, "\"a\""),
        (header::ACCEPT, "*/*"),
    ]);
    assert!(is_conditional(&request));
    strip(&mut request);
    assert!(!is_conditional(&request));
    assert!(request.contains_key(header::IF_MATCH));
    assert_eq!(request.len(), 2);
}

#[test]
fn a_304_keeps_what_it_must_and_drops_what_describes_the_body() {
    // RFC 9110 §15.4.5.
    let mut kept = headers(&[
        (header::CONTENT_LOCATION, "/a"),
        (header::DATE, LATER),
        (header::ETAG, "\"a\""),
        (header::VARY, "foo"),
        (header::CACHE_CONTROL, "max-age=1"),
        (header::EXPIRES, LATER),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ]);
    let wanted = kept.clone();
    for (name, value) in &headers(&[
        (header::LAST_MODIFIED, EARLY),
        (header::CONTENT_LENGTH, "5"),
        (header::CONTENT_TYPE, "text/plain"),
        (header::CONTENT_ENCODING, "gzip"),
    ]) {
        kept.insert(name, value.clone());
    }
    trim_to_not_modified(&mut kept);
    assert_eq!(kept, wanted);

    let mut only_date = headers(&[(header::LAST_MODIFIED, EARLY)]);
    trim_to_not_modified(&mut only_date);
    assert!(only_date.contains_key(header::LAST_MODIFIED));

    for name in &LEFT_OUT {
        assert!(
            !is_in_not_modified(name.as_str().as_bytes(), false),
            "{name}"
        );
    }
    for (name, has_etag, stays) in [
        ("last-modified", true, false),
        ("last-modified", false, true),
        ("etag", true, true),
        ("x-content-type", true, true),
    ] {
        assert_eq!(
            is_in_not_modified(name.as_bytes(), has_etag),
            stays,
            "{name}"
        );
    }
}
