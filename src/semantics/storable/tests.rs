use http::HeaderValue;

use super::*;
use crate::semantics::targeted;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn judge_with(
    status: u16,
    fields: &[(&'static str, &'static str)],
    request: RequestFacts,
    grants: Grants,
) -> Result<Storable, Unstorable> {
    let headers = headers(fields);
    let directives =
        targeted::directives(&headers, &[HeaderName::from_static("cdn-cache-control")]);
    let status = StatusCode::from_u16(status).expect("a status");
    judge(status, &headers, &directives, &request, &grants)
}

fn verdict(status: u16, fields: &[(&'static str, &'static str)]) -> Result<Storable, Unstorable> {
    judge_with(status, fields, RequestFacts::default(), Grants::default())
}

fn cache_control(value: &'static str) -> Result<Storable, Unstorable> {
    verdict(200, &[("cache-control", value)])
}

const PLAIN: Storable = Storable {
    always_validate: false,
    never_stale: false,
    with_authorization: false,
    stated: false,
};

const STATED: Storable = Storable {
    stated: true,
    ..PLAIN
};

#[test]
fn directives_decide_about_storing() {
    let cases = [
        // RFC 9111 §3
        ("max-age=60", Ok(STATED)),
        ("max-age=0", Ok(STATED)),
        ("foo", Ok(PLAIN)),
        // RFC 9111 §5.2.2.5
        ("no-store", Err(Unstorable::NoStore)),
        ("No-StOrE, max-age=60", Err(Unstorable::NoStore)),
        ("public, no-store", Err(Unstorable::NoStore)),
        // RFC 9111 §5.2.2.7
        ("private", Err(Unstorable::Private)),
        ("private, max-age=60, public", Err(Unstorable::Private)),
        ("private=\"X-User\", max-age=60", Err(Unstorable::Private)),
        // RFC 9111 §5.2.2.4
        ("no-cache, max-age=60", Err(Unstorable::NoCache)),
        ("no-cache=\"a\", max-age=60", Ok(STATED)),
        // RFC 9111 §4.2.4
        (
            "max-age=60, must-revalidate",
            Ok(Storable {
                never_stale: true,
                with_authorization: true,
                ..STATED
            }),
        ),
        (
            "max-age=60, proxy-revalidate",
            Ok(Storable {
                never_stale: true,
                ..STATED
            }),
        ),
        (
            "s-maxage=60",
            Ok(Storable {
                never_stale: true,
                with_authorization: true,
                ..STATED
            }),
        ),
        // RFC 9111 §3.5
        (
            "public",
            Ok(Storable {
                with_authorization: true,
                ..STATED
            }),
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(cache_control(value), expected, "{value}");
    }
}

#[test]
fn no_cache_is_stored_with_a_validator_and_validated_on_each_use() {
    let expected = Ok(Storable {
        always_validate: true,
        never_stale: true,
        ..PLAIN
    });
    // RFC 9111 §5.2.2.4
    assert_eq!(
        verdict(200, &[("cache-control", "no-cache"), ("etag", "\"a\"")]),
        expected
    );
    let last_modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(
        verdict(200, &[("cache-control", "no-cache"), last_modified]),
        expected
    );
}

#[test]
fn a_final_status_with_stated_freshness_is_stored_whatever_its_number() {
    for status in 200..=999 {
        let expected = match status {
            206 => Err(Unstorable::Partial),
            304 => Err(Unstorable::Status),
            _ => Ok(STATED),
        };
        // RFC 9111 §3
        assert_eq!(
            verdict(status, &[("cache-control", "max-age=60")]),
            expected,
            "{status}"
        );
    }
    for status in 100..=199 {
        let expected = Err(Unstorable::Status);
        assert_eq!(
            verdict(status, &[("cache-control", "max-age=60")]),
            expected,
            "{status}"
        );
    }
    let partial = Grants {
        partial: true,
        ..Grants::default()
    };
    assert_eq!(
        judge_with(206, &[], RequestFacts::default(), partial),
        Ok(PLAIN)
    );
}

#[test]
fn without_stated_freshness_the_status_must_be_heuristically_cacheable_or_named_by_the_policy() {
    // RFC 9111 §3, RFC 9110 §15.1
    assert_eq!(verdict(404, &[]), Ok(PLAIN));
    for status in [201, 302, 400, 403, 500, 503, 599] {
        assert_eq!(
            verdict(status, &[]),
            Err(Unstorable::NoFreshness),
            "{status}"
        );
        let named = Grants {
            lifetime: true,
            ..Grants::default()
        };
        assert_eq!(
            judge_with(status, &[], RequestFacts::default(), named),
            Ok(PLAIN),
            "{status}"
        );
        assert!(verdict(status, &[("expires", "0")]).is_ok(), "{status}");
        assert!(
            verdict(status, &[("cache-control", "public")]).is_ok(),
            "{status}"
        );
    }
}

#[test]
fn must_understand_overrides_no_store_for_known_statuses_only() {
    // RFC 9111 §5.2.2.3
    let both = [("cache-control", "max-age=60, no-store, must-understand")];
    let alone = [("cache-control", "max-age=60, must-understand")];
    for status in [200, 204, 301, 404, 451, 503] {
        assert_eq!(verdict(status, &both), Ok(STATED), "{status}");
        assert_eq!(verdict(status, &alone), Ok(STATED), "{status}");
    }
    for status in [299, 306, 418, 499, 599, 999] {
        assert_eq!(
            verdict(status, &both),
            Err(Unstorable::MustUnderstand),
            "{status}"
        );
        assert_eq!(
            verdict(status, &alone),
            Err(Unstorable::MustUnderstand),
            "{status}"
        );
    }
    let private = [("cache-control", "private, no-store, must-understand")];
    assert_eq!(verdict(200, &private), Err(Unstorable::Private));
}

#[test]
fn a_request_can_forbid_storing() {
    let no_store = RequestFacts {
        no_store: true,
        ..RequestFacts::default()
    };
    // RFC 9111 §5.2.1.5
    for value in [
        "max-age=60, public",
        "max-age=60, must-understand, no-store",
    ] {
        let verdict = judge_with(
            200,
            &[("cache-control", value)],
            no_store,
            Grants::default(),
        );
        assert_eq!(verdict, Err(Unstorable::NoStoreRequest), "{value}");
    }
}

#[test]
fn an_authorized_response_is_shared_only_if_it_says_so() {
    let authorized = RequestFacts {
        authorization: true,
        ..RequestFacts::default()
    };
    let stored = |field| judge_with(200, &[field], authorized, Grants::default());
    // RFC 9111 §3.5
    for value in [
        "max-age=60, public",
        "max-age=60, must-revalidate",
        "s-maxage=60",
        "public",
    ] {
        let storable = stored(("cache-control", value)).expect(value);
        assert!(storable.with_authorization, "{value}");
    }
    for value in [
        "max-age=60",
        "max-age=60, proxy-revalidate",
        "immutable, max-age=60",
    ] {
        assert_eq!(
            stored(("cache-control", value)),
            Err(Unstorable::Authorization),
            "{value}"
        );
    }
    let expires = ("expires", "Thu, 18 Aug 2050 02:01:18 GMT");
    assert_eq!(stored(expires), Err(Unstorable::Authorization));
    // RFC 9213 §2.2: a targeted field decides here as well.
    assert!(stored(("cdn-cache-control", "max-age=60, public")).is_ok());
}

#[test]
fn a_response_to_cookies_is_shared_only_if_its_origin_states_how() {
    let cookie = RequestFacts {
        cookie: true,
        ..RequestFacts::default()
    };
    let stored = |field| judge_with(200, &[field], cookie, Grants::default());
    assert_eq!(stored(("cache-control", "max-age=60")), Ok(STATED));
    assert_eq!(stored(("cache-control", "foo")), Err(Unstorable::Cookie));
    assert_eq!(stored(("etag", "\"a\"")), Err(Unstorable::Cookie));
}

#[test]
fn a_targeted_field_sets_no_store_aside_and_brings_its_own() {
    let aside = [
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=60"),
    ];
    let own = [
        ("cache-control", "max-age=60"),
        ("cdn-cache-control", "no-store"),
    ];
    // RFC 9213 §2.2
    assert_eq!(verdict(200, &aside), Ok(STATED));
    assert_eq!(verdict(200, &own), Err(Unstorable::NoStore));
    let expires = [("expires", "0"), ("cdn-cache-control", "none")];
    assert_eq!(verdict(200, &expires), Ok(PLAIN));
}

#[test]
fn connection_cannot_take_a_directive_away() {
    // RFC 9110 §7.6.1: Cache-Control is never appropriate as a connection option.
    let fields = [
        ("connection", "cache-control"),
        ("cache-control", "no-store"),
    ];
    assert_eq!(verdict(200, &fields), Err(Unstorable::NoStore));
}

#[test]
fn fields_of_the_connection_are_not_stored() {
    let stored = stored_headers(
        &headers(&[
            // RFC 9111 §3.1, RFC 9110 §7.6.1
            ("connection", "close, X-Secret"),
            ("connection", ",a\t, \"b\", b c"),
            ("x-secret", "1"),
            ("x-secret", "2"),
            ("a", "1"),
            ("b", "kept: no connection option has that name"),
            ("age", "10"),
            ("content-length", "5"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "junk"),
            ("upgrade", "websocket"),
            ("content-type", "text/plain"),
            ("vary", "a"),
            ("vary", "b"),
            ("set-cookie", "x=1"),
            ("set-cookie", "y=2"),
            ("content-range", "x"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]),
        &Scope::Absent,
    );
    let expected = headers(&[
        ("b", "kept: no connection option has that name"),
        ("content-type", "text/plain"),
        ("vary", "a"),
        ("vary", "b"),
        ("set-cookie", "x=1"),
        ("set-cookie", "y=2"),
        ("content-range", "x"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    assert_eq!(stored, expected);
}

#[test]
fn fields_that_no_cache_names_are_not_stored() {
    // RFC 9111 §5.2.2.4
    let headers = headers(&[
        ("cache-control", "no-cache=\"a, Set-Cookie\", max-age=60"),
        ("a", "1"),
        ("set-cookie", "x=1"),
        ("c", "3"),
    ]);
    let directives = targeted::directives(&headers, &[]);
    let stored = stored_headers(&headers, &directives.cache_control.no_cache);
    assert!(!stored.contains_key("a") && !stored.contains_key("set-cookie"));
    assert!(stored.contains_key("c") && stored.contains_key("cache-control"));
}

#[test]
fn every_reason_is_a_word_that_can_stand_in_a_header_field() {
    for reason in [
        Unstorable::NoStoreRequest,
        Unstorable::NoStore,
        Unstorable::Private,
        Unstorable::NoCache,
        Unstorable::Status,
        Unstorable::MustUnderstand,
        Unstorable::Partial,
        Unstorable::NoFreshness,
        Unstorable::Authorization,
        Unstorable::Cookie,
    ] {
        let word = reason.to_string();
        assert!(
            word.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{word}"
        );
    }
}
