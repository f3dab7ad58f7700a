use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        headers.append(*name, value);
    }
    headers
}

fn vary(lines: &[&str]) -> Vary {
    Vary::of(&headers(
        &lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>(),
    ))
}

fn normal(name: &'static str, lines: &[&str]) -> String {
    let request = headers(&lines.iter().map(|line| (name, *line)).collect::<Vec<_>>());
    let value = selecting_value(&HeaderName::from_static(name), &request).expect("the field");
    String::from_utf8_lossy(&value).into_owned()
}

fn names(names: &[&'static str]) -> Vary {
    Vary::Fields(
        names
            .iter()
            .map(|name| HeaderName::from_static(name))
            .collect(),
    )
}

#[test]
fn vary_is_read_from_all_lines_without_order_case_or_repetition() {
    // RFC 9110 §12.5.5 and, for empty members, §5.6.1.
    assert_eq!(vary(&[]), Vary::Absent);
    assert_eq!(vary(&["", " , "]), Vary::Absent);
    assert_eq!(vary(&["Foo"]), names(&["foo"]));
    assert_eq!(
        vary(&["Foo, Bar ,,foo", "BAZ"]),
        names(&["bar", "baz", "foo"])
    );
    assert_eq!(
        vary(&["Accept-Encoding", "accept-encoding"]),
        names(&["accept-encoding"])
    );
}

#[test]
fn a_star_anywhere_and_anything_unreadable_match_nothing() {
    // RFC 9111 §4.1: a member of `*` always fails to match.
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, Foo"],
        &["Foo, *"],
        &["Foo", "Bar, *"],
        &["Foo Bar"],
        &["\"Foo\""],
        &["f\u{fc}"],
    ] {
        assert_eq!(vary(lines), Vary::Any, "{lines:?}");
    }
}

#[test]
fn more_than_sixteen_fields_are_too_many() {
    let list = |count: usize| {
        let names: Vec<_> = (0..count).map(|name| format!("f{name}")).collect();
        vary(&[&names.join(","), &names.join(", ")])
    };
    assert!(matches!(list(16), Vary::Fields(names) if names.len() == 16));
    assert_eq!(list(17), Vary::TooMany);
    assert_eq!(vary(&[&"same, ".repeat(10_000)]), names(&["same"]));
}

#[test]
fn an_absent_field_differs_from_an_empty_one() {
    // RFC 9111 §4.1: absent matches only absent.
    let name = HeaderName::from_static("foo");
    assert_eq!(selecting_value(&name, &HeaderMap::new()), None);
    assert_eq!(normal("foo", &[""]), "");
    assert_eq!(normal("accept-encoding", &[""]), "");
}

#[test]
fn lists_are_combined_and_lose_the_whitespace_round_their_commas() {
    for lines in [&["1,2"][..], &[" 1, 2 "], &["1", "2"], &["1\t,\t2"]] {
        assert_eq!(normal("via", lines), "1,2", "{lines:?}");
    }
    assert_eq!(normal("via", &["2,1"]), "2,1");
    assert_eq!(normal("via", &["1  2"]), "1  2");
    assert_eq!(normal("via", &["1,,2"]), "1,,2");
}

#[test]
fn a_field_of_unknown_grammar_is_compared_byte_for_byte() {
    for name in [
        "foo",
        "user-agent",
        "origin",
        "x-api-key",
        "x-forwarded-for",
    ] {
        assert_eq!(normal(name, &["1", "2"]), normal(name, &["1, 2"]));
        let values: [&[&str]; 8] = [
            &["1,2"],
            &["1, 2"],
            &["1 ,2"],
            &["1\t,2"],
            &["2", "1"],
            &["1, 2", ""],
            &["a"],
            &["A"],
        ];
        for (at, one) in values.iter().enumerate() {
            for other in &values[at + 1..] {
                assert_ne!(normal(name, one), normal(name, other), "{name}");
            }
        }
    }
}

#[test]
fn quoted_strings_and_fields_that_are_no_lists_keep_their_whitespace() {
    assert_eq!(normal("via", &["\"a , b\" , c"]), "\"a , b\",c");
    assert_eq!(normal("via", &["\"a , b"]), "\"a , b");
    let agent = "Mozilla/5.0 (KHTML, like Gecko)";
    assert_eq!(normal("user-agent", &[agent]), agent);
}

#[test]
fn the_crumbs_of_a_cookie_make_one_cookie() {
    // RFC 9113 §8.2.3.
    assert_eq!(normal("cookie", &["a=1", "b=2"]), "a=1; b=2");
}

#[test]
fn accept_encoding_is_reduced_to_the_set_it_accepts() {
    for (value, expected) in [
        ("gzip, deflate, br, zstd", "br,deflate,gzip,zstd"),
        ("br, GZIP;q=0.5 , deflate,zstd", "br,deflate,gzip,zstd"),
        ("x-gzip", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0.001", "gzip"),
        ("identity", ""),
        ("identity;q=0, gzip", "gzip,identity;q=0"),
        ("gzip, *;q=0", "gzip,identity;q=0"),
        ("*;q=0", "identity;q=0"),
        ("identity;q=0.5, *;q=0", ""),
        ("*", "*"),
        ("gzip, *", "*,gzip"),
        ("gzip;q=0, *", "*,gzip;q=0"),
        ("dcz, gzip", "dcz,gzip"),
        // Malformed or contradictory: only what is spelt the same is the same.
        ("gzip;q=0, gzip", "gzip;q=0,gzip"),
        ("gzip;q=9", "gzip;q=9"),
        ("br gzip", "br gzip"),
    ] {
        assert_eq!(normal("accept-encoding", &[value]), expected, "{value}");
    }
}

#[test]
fn accept_language_ignores_case_space_and_the_order_of_equals() {
    for (value, expected) in [
        ("en, de", "de,en"),
        ("eN, De", "de,en"),
        (" en ,   de", "de,en"),
        ("en;q=1.0, de", "de,en"),
        (
            "de-CH, de;q=0.90, en;q=0.8, *;q=0.5",
            "de-ch,de;q=0.9,en;q=0.8,*;q=0.5",
        ),
        ("fr;q=0", "fr;q=0"),
        ("en;level=1", "en;level=1"),
    ] {
        assert_eq!(normal("accept-language", &[value]), expected, "{value}");
    }
    assert_eq!(normal("accept-language", &["en", "de"]), "de,en");
}

#[test]
fn accept_ignores_the_order_of_equals_but_not_parameters() {
    let html = normal("accept", &["text/html,application/xml;q=0.9,*/*;q=0.8"]);
    assert_eq!(html, "text/html,application/xml;q=0.9,*/*;q=0.8");
    assert_eq!(
        normal("accept", &["*/*;q=0.8, Application/XML ; Q=0.9, text/HTML"]),
        html
    );
    assert_eq!(
        normal("accept", &["text/html;Level=A, text/html"]),
        "text/html,text/html;level=A"
    );
    assert_eq!(
        normal("accept", &["a/b;p=\"x,y\", c/d"]),
        "a/b;p=\"x,y\",c/d"
    );
    assert_eq!(
        normal("accept", &["text/html;q=1;ext, a/b"]),
        "text/html;q=1;ext,a/b"
    );
}

#[test]
fn the_single_language_a_request_likes_best_is_preferred() {
    // RFC 4647 §3.3.1.
    for (accept, content, preferred) in [
        ("fr;q=0.5, de;q=1.0", "de", true),
        ("fr;q=0.5, de;q=1.0", "DE", true),
        ("fr;q=0.5, de", "de-AT", true),
        ("fr;q=0.5, de", "den", false),
        ("fr;q=0.5, de-AT", "de", false),
        ("fr;q=0.5, de", "fr", false),
        ("fr, de", "de", false),
        ("fr;q=0.5, de, DE", "de", true),
        ("de, de;q=0", "de", false),
        ("de;q=0, de", "de", false),
        ("de", "de, fr", false),
        ("de", "", false),
        ("de;q=0", "de", false),
        ("*", "de", false),
        ("de, de-AT;q=0", "de-AT", false),
        ("de;q=0.5, de-AT", "de-AT", true),
        ("de;q=x", "de", false),
        ("", "de", false),
    ] {
        let request = headers(&[("accept-language", accept)]);
        assert_eq!(
            prefers_language(&request, content.as_bytes()),
            preferred,
            "{accept} / {content}"
        );
    }
    assert!(!prefers_language(&HeaderMap::new(), b"de"));
}

#[test]
fn a_coded_body_is_for_those_who_accept_its_coding() {
    // RFC 9110 §12.5.3.
    for (accept, coding, accepted) in [
        (Some("gzip"), Some("gzip"), true),
        (Some("gzip"), Some("x-GZIP"), true),
        (Some("br"), Some("gzip"), false),
        (Some("br, gzip;q=0"), Some("gzip"), false),
        (Some("*"), Some("gzip"), true),
        (Some("*, gzip;q=0"), Some("gzip"), false),
        (Some("gzip"), Some("gzip, br"), false),
        (Some("gzip"), None, true),
        (Some("gzip, identity;q=0"), None, false),
        (Some("gzip, *;q=0"), None, false),
        (Some(""), None, true),
        (Some("gzip;q=9"), Some("gzip"), false),
        (None, None, true),
        (None, Some("gzip"), false),
    ] {
        let request = accept.map(|accept| headers(&[("accept-encoding", accept)]));
        let request = request.unwrap_or_default();
        let found = accepts_coding(&request, coding.map(str::as_bytes));
        assert_eq!(found, accepted, "{accept:?} / {coding:?}");
    }
}

#[test]
fn keys_hold_no_credentials_and_tell_every_value_apart() {
    let key = |lines: &[(&'static str, &str)]| {
        let mut builder = KeyBuilder::default();
        let names = [header::AUTHORIZATION, HeaderName::from_static("foo")];
        append_selecting(&mut builder, &names, &headers(lines));
        builder.key().to_owned()
    };
    let secret = key(&[("authorization", "Bearer s3cret"), ("foo", "1")]);
    assert!(!secret.as_bytes().windows(6).any(|bytes| bytes == b"s3cret"));
    assert_eq!(
        secret,
        key(&[("authorization", "Bearer s3cret"), ("foo", "1")])
    );
    assert_ne!(
        secret,
        key(&[("authorization", "Bearer other"), ("foo", "1")])
    );
    assert_ne!(key(&[("foo", "")]), key(&[]));
    assert_ne!(key(&[("authorization", "1")]), key(&[("foo", "1")]));
}

/// Values made of the pieces that matter, so that whole grammars are hit by chance.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(",".to_owned()),
        Just(" ".to_owned()),
        Just(";q=0".to_owned()),
        Just(";q=0.5".to_owned()),
        Just("*".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("gzip".to_owned()),
        Just("identity".to_owned()),
        Just("a/b".to_owned()),
        "[a-zA-Z]{1,2}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn normal_forms_are_their_own_normal_form(value in value()) {
        for name in ["accept", "accept-encoding", "accept-language", "foo", "user-agent", "via"] {
            let once = normal(name, &[&value]);
            prop_assert_eq!(normal(name, &[&once]), once);
        }
    }

    #[test]
    fn a_list_of_equal_normal_form_has_the_same_members(a in value(), b in value()) {
        let members = |value: &str| {
            let members = weighted::split_unquoted(value.as_bytes(), b',')?;
            Some(members.map(|member| member.trim_ascii().to_vec()).collect::<Vec<_>>())
        };
        let same = members(&a) == members(&b) && (members(&a).is_some() || a.trim() == b.trim());
        prop_assert_eq!(normal("via", &[&a]) == normal("via", &[&b]), same);
        prop_assert_eq!(normal("foo", &[&a]) == normal("foo", &[&b]), a == b);
    }

    #[test]
    fn requests_of_one_selecting_value_accept_the_same_codings(a in value(), b in value()) {
        let request = |value: &str| headers(&[("accept-encoding", value)]);
        if normal("accept-encoding", &[&a]) == normal("accept-encoding", &[&b]) {
            for coding in [None, Some(&b"gzip"[..]), Some(b"aa"), Some(b"a")] {
                prop_assert_eq!(
                    accepts_coding(&request(&a), coding),
                    accepts_coding(&request(&b), coding)
                );
            }
        }
    }
}

#[test]
fn what_most_clients_accept_is_known_without_working_it_out() {
    let common = [
        "gzip, deflate, br, zstd",
        "gzip, deflate, br",
        "gzip,deflate,br",
        "gzip, deflate",
        "gzip,deflate",
        "br, gzip, deflate",
        "gzip, br",
        "br, gzip",
        "gzip",
        "br",
        "zstd",
        "deflate",
        "identity",
        "",
    ];
    for value in common {
        let known = common_codings(value.as_bytes());
        let worked_out = acceptable_codings(value.as_bytes());
        assert!(known.is_some(), "{value}");
        assert_eq!(known, worked_out.as_deref(), "{value}");
    }
    assert_eq!(common_codings(b"gzip, deflate, br;q=0"), None);
}
