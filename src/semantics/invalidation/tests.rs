use proptest::prelude::*;

use super::*;

fn located(uri: &str, authority: Option<&str>, location: &str) -> Option<String> {
    let location = HeaderValue::from_bytes(location.as_bytes()).expect("a value");
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    let uri: Uri = uri.parse().expect("a uri");
    targets(&uri, authority, &headers).pop()
}

#[test]
fn references_are_resolved_against_the_target_uri() {
    let cases = [
        // RFC 3986 §5.4.1, with its base of http://a/b/c/d;p?q
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("//a/g", "/g"),
        ("//a", "/"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d;p?q"),
        ("g#s", "/b/c/g"),
        ("g?y#s", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("g;x", "/b/c/g;x"),
        ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../g", "/g"),
        // RFC 3986 §5.4.2
        ("../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        (".g", "/b/c/.g"),
        ("..g", "/b/c/..g"),
        ("./g/.", "/b/c/g/"),
        ("g/./h", "/b/c/g/h"),
        ("g/../h", "/b/c/h"),
        ("g;x=1/../y", "/b/c/y"),
        ("g?y/../x", "/b/c/g?y/../x"),
        // Not a scheme: no letter first.
        ("1:2", "/b/c/1:2"),
        ("/x//y", "/x//y"),
        ("/%2e%2E/x", "/%2e%2E/x"),
    ];
    for (location, expected) in cases {
        let target = located("http://a/b/c/d;p?q", None, location);
        assert_eq!(target.as_deref(), Some(expected), "{location}");
        let target = located("/b/c/d;p?q", Some("a"), location);
        assert_eq!(target.as_deref(), Some(expected), "{location}");
    }
}

#[test]
fn only_the_same_origin_counts() {
    let uri = "https://example.com/a";
    let cases = [
        // RFC 9110 §4.3.1: scheme, host and port.
        (uri, None, "https://example.com/x", true),
        (uri, None, "HTTPS://EXAMPLE.com:443/x", true),
        (uri, None, "https://example.com:/x", true),
        (uri, None, "//example.com/x", true),
        (uri, None, "http://example.com/x", false),
        (uri, None, "https://example.com:80/x", false),
        (uri, None, "https://example.org/x", false),
        (uri, None, "//example.org/x", false),
        (uri, None, "https://example.com.evil/x", false),
        (uri, None, "https://user@example.com/x", false),
        (uri, None, "///x", false),
        // The authority by which the client knows us wins over the one in the URI.
        (
            uri,
            Some("public.example"),
            "https://public.example/x",
            true,
        ),
        (uri, Some("public.example"), "https://example.com/x", false),
        // In origin form the scheme is not known.
        ("/a", Some("example.com"), "http://example.com:80/x", true),
        ("/a", Some("example.com:80"), "http://example.com/x", true),
        ("/a", Some("example.com"), "https://example.com/x", true),
        ("/a", Some("example.com:443"), "http://example.com/x", false),
        ("/a", Some("[::1]:8080"), "http://[::1]:8080/x", true),
        ("/a", Some("[::1]"), "http://[::1]/x", true),
        // Without an authority only relative references can be ours.
        ("/a", None, "http://example.com/x", false),
        ("/a", None, "/x", true),
        ("/a", Some(""), "http:///x", false),
    ];
    for (uri, authority, location, expected) in cases {
        let target = located(uri, authority, location);
        assert_eq!(target.is_some(), expected, "{uri} {authority:?} {location}");
        assert!(target.is_none_or(|target| target == "/x"), "{location}");
    }
}

#[test]
fn nonsense_is_ignored() {
    for location in [
        "mailto:a@b",
        "javascript:alert(1)",
        "http:x",
        "http:/x",
        "https:",
        "/a b",
        "/a\\b c",
        "http://[::1/x",
        "/a\tb",
    ] {
        assert_eq!(located("http://a/", None, location), None, "{location}");
    }
    assert_eq!(located("*", None, "x"), Some("/x".into()));
}

#[test]
fn both_fields_count_once_each() {
    let headers: HeaderMap = [
        (CONTENT_LOCATION, HeaderValue::from_static("/x")),
        (LOCATION, HeaderValue::from_static("/y")),
        (LOCATION, HeaderValue::from_static("x")),
    ]
    .into_iter()
    .collect();
    let targets = targets(&Uri::from_static("/a"), None, &headers);
    assert_eq!(targets.as_slice(), ["/y", "/x"]);
}

#[test]
fn no_more_lines_are_looked_at_than_a_response_could_mean() {
    let headers: HeaderMap = (0..=MAX_LOCATIONS)
        .map(|n| {
            (
                LOCATION,
                HeaderValue::try_from(format!("/{n}")).expect("a value"),
            )
        })
        .collect();
    let targets = targets(&Uri::from_static("/a"), None, &headers);
    assert_eq!(targets.len(), MAX_LOCATIONS);
    assert_eq!(targets.first().map(String::as_str), Some("/0"));
}

#[test]
fn a_method_is_safe_only_if_it_is_registered_as_safe() {
    for method in [
        "GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "SEARCH", "REPORT",
    ] {
        assert!(is_safe(&method.parse().expect("a method")), "{method}");
    }
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get", "PURGE", "FOO", "CONNECT",
    ] {
        assert!(!is_safe(&method.parse().expect("a method")), "{method}");
    }
}

#[test]
fn only_success_and_redirection_invalidate() {
    for status in 100..=999 {
        let expected = (200..400).contains(&status);
        // RFC 9111 §4.4: a non-error status code is 2xx or 3xx.
        assert_eq!(
            invalidates(StatusCode::from_u16(status).expect("a status")),
            expected
        );
    }
}

fn names(names: &[&str]) -> Names {
    Names {
        names: names.iter().map(ToString::to_string).collect(),
        overflow: false,
    }
}

fn with(fields: &[(HeaderName, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (name.clone(), value)
        })
        .collect()
}

#[test]
fn groups_are_a_list_of_strings() {
    let headers = with(&[
        // RFC 9875 §2, §3
        (CACHE_GROUPS, "\"scripts\", \"a, b\";x=1"),
        (CACHE_GROUPS, "\"scripts\", \"Scripts\", \"\""),
        (
            CACHE_GROUP_INVALIDATION,
            "\"eurovision-results\", \"kylie-minogue\"",
        ),
    ]);
    assert_eq!(groups(&headers), names(&["Scripts", "a, b", "scripts"]));
    assert_eq!(
        group_invalidations(&headers),
        names(&["eurovision-results", "kylie-minogue"])
    );
    assert_eq!(
        groups(&with(&[(CACHE_GROUPS, "scripts")])),
        Names::default()
    );
    assert_eq!(groups(&HeaderMap::new()), Names::default());
}

#[test]
fn tags_are_separated_as_their_field_has_it() {
    let headers = with(&[
        (SURROGATE_KEY, "a  b,c\ta"),
        (SURROGATE_KEY, "d"),
        (CACHE_TAG, "e f, g,,a ,"),
        (CACHE_TAG, ""),
    ]);
    assert_eq!(tags(&headers), names(&["a", "b,c", "d", "e f", "g"]));
}

#[test]
fn too_many_or_too_long_names_are_reported() {
    let tag = |count| {
        (0..count)
            .map(|n| format!("t{n:03}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let within = tags(&with(&[(CACHE_TAG, &tag(MAX_NAMES))]));
    assert_eq!((within.names.len(), within.overflow), (MAX_NAMES, false));
    let again = format!("{},t000", tag(MAX_NAMES));
    assert!(!tags(&with(&[(CACHE_TAG, &again)])).overflow);
    let beyond = tags(&with(&[(CACHE_TAG, &tag(MAX_NAMES + 1))]));
    assert_eq!((beyond.names.len(), beyond.overflow), (MAX_NAMES, true));

    let long = "x".repeat(MAX_NAME_LENGTH);
    assert_eq!(tags(&with(&[(SURROGATE_KEY, &long)])), names(&[&long]));
    let longer = tags(&with(&[(SURROGATE_KEY, &format!("{long}x a"))]));
    assert_eq!(
        (longer.names, longer.overflow),
        (vec!["a".to_owned()], true)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in [LOCATION, CACHE_GROUPS, SURROGATE_KEY, CACHE_TAG] {
                let headers = HeaderMap::from_iter([(name, value.clone())]);
                targets(&Uri::from_static("http://a/b/"), None, &headers);
                groups(&headers);
                tags(&headers);
            }
        }
    }

    #[test]
    fn a_target_is_a_path_without_dot_segments(
        location in r"(https?:)?(//a)?[/.a-c]{0,12}(\?[/.a]{0,4})?",
    ) {
        if let Some(target) = located("http://a/b/c", None, &location) {
            let path = target.split('?').next().unwrap_or_default();
            prop_assert!(path.starts_with('/'));
            prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{target}");
            prop_assert_eq!(located("http://a/", None, &format!("//a{path}")), Some(path.to_owned()));
        }
    }
}
