//! The headers that show outcomes.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use sfv::{BareItem, ListEntry, Parser};

use super::cache_status::*;
use super::headers::*;
use super::outcome::*;

fn writer() -> CacheStatusWriter {
    CacheStatusWriter::new("ExampleCache").expect("a token")
}

fn shown(status: &CacheStatus<'_>) -> String {
    let value = writer().value(status);
    value.to_str().expect("printable").to_owned()
}

fn miss(why: Miss) -> Outcome {
    Outcome::Miss {
        why,
        stored: false,
        collapsed: false,
        detail: None,
    }
}

#[test]
fn outcomes_are_shown_as_in_the_examples_of_rfc_9211_3() {
    for (outcome, x_cache, expected) in [
        (Outcome::Hit, "HIT", "hit"),
        (
            Outcome::Stale(StaleReason::WhileRevalidating),
            "STALE",
            "hit; detail=stale-while-revalidate",
        ),
        (
            Outcome::Stale(StaleReason::IfError),
            "STALE",
            "fwd=stale; detail=stale-if-error",
        ),
        (
            Outcome::Revalidated {
                why: Miss::Stale,
                stored: true,
                collapsed: false,
            },
            "REVALIDATED",
            "fwd=stale; fwd-status=304; stored",
        ),
        (
            Outcome::Revalidated {
                why: Miss::Request,
                stored: true,
                collapsed: true,
            },
            "REVALIDATED",
            "fwd=request; fwd-status=304; stored; collapsed",
        ),
        (
            Outcome::Stale(StaleReason::Accepted),
            "STALE",
            "hit; detail=max-stale",
        ),
        (miss(Miss::Uri), "MISS", "fwd=uri-miss"),
        (miss(Miss::Vary), "MISS", "fwd=vary-miss"),
        (miss(Miss::Stale), "MISS", "fwd=stale"),
        (miss(Miss::Request), "MISS", "fwd=request"),
        (miss(Miss::Partial), "MISS", "fwd=partial"),
        (
            miss(Miss::Invalidated),
            "MISS",
            "fwd=stale; detail=invalidated",
        ),
        (
            Outcome::Miss {
                why: Miss::Uri,
                stored: true,
                collapsed: true,
                detail: None,
            },
            "MISS",
            "fwd=uri-miss; stored; collapsed",
        ),
        (
            Outcome::Miss {
                why: Miss::Uri,
                stored: false,
                collapsed: false,
                detail: Some("set-cookie"),
            },
            "MISS",
            "fwd=uri-miss; detail=set-cookie",
        ),
        (Outcome::Unsatisfied, "MISS", "detail=only-if-cached"),
        (
            Outcome::Bypass(BypassReason::Method),
            "BYPASS",
            "fwd=method",
        ),
        (
            Outcome::Bypass(BypassReason::Store),
            "BYPASS",
            "fwd=bypass; detail=store",
        ),
    ] {
        assert_eq!(outcome.x_cache(), x_cache);
        let status = CacheStatus::from(outcome);
        assert_eq!(shown(&status), format!("ExampleCache; {expected}"));
    }
}

#[test]
fn parameters_follow_the_outcome() {
    let status = CacheStatus {
        fwd_status: Some(StatusCode::OK),
        ttl: Some(-412),
        key: Some("GET \"a\\b\""),
        detail: Some("two words"),
        ..CacheStatus::from(miss(Miss::Stale))
    };
    let expected = "ExampleCache; fwd=stale; fwd-status=200; ttl=-412; \
                    key=\"GET \\\"a\\\\b\\\"\"; detail=\"two words\"";
    assert_eq!(shown(&status), expected);
}

#[test]
fn what_a_structured_field_cannot_say_is_left_out() {
    let status = CacheStatus {
        ttl: Some(i64::MIN),
        key: Some("/caf\u{e9}"),
        detail: Some("a\r\nb"),
        ..CacheStatus::from(Outcome::Hit)
    };
    assert_eq!(shown(&status), "ExampleCache; hit; ttl=-999999999999999");
}

#[test]
fn bypasses_are_ready_made() {
    let writer = writer();
    for reason in BypassReason::ALL {
        let status = CacheStatus::from(Outcome::Bypass(reason));
        assert_eq!(writer.bypass(reason), writer.value(&status));
    }
}

#[test]
fn every_outcome_has_the_parameters_and_types_of_rfc_9211() {
    const FORWARDS: [&str; 8] = [
        "bypass",
        "method",
        "uri-miss",
        "vary-miss",
        "miss",
        "request",
        "stale",
        "partial",
    ];
    let stalenesses = [
        StaleReason::WhileRevalidating,
        StaleReason::IfError,
        StaleReason::IfSlow,
        StaleReason::Accepted,
    ];
    let mut outcomes = vec![Outcome::Hit, Outcome::Unsatisfied];
    outcomes.extend(stalenesses.map(Outcome::Stale));
    outcomes.extend(BypassReason::ALL.map(Outcome::Bypass));
    for why in Miss::ALL {
        for (stored, collapsed) in [(false, false), (false, true), (true, false), (true, true)] {
            outcomes.push(Outcome::Revalidated {
                why,
                stored,
                collapsed,
            });
            outcomes.extend([None, Some("no-store")].map(|detail| Outcome::Miss {
                why,
                stored,
                collapsed,
                detail,
            }));
        }
    }
    for outcome in outcomes {
        for parameters in [
            StatusParameters::default(),
            StatusParameters {
                ttl: Some(i64::MIN),
                fwd_status: Some(StatusCode::from_u16(999).expect("a status")),
                detail: Some("two \"words\""),
            },
        ] {
            // Behind another cache's member, on a line of its own (§2).
            let mut headers = HeaderMap::new();
            headers.append("cache-status", HeaderValue::from_static("Origin; fwd=miss"));
            StatusHeaders::default().stamp(&mut headers, outcome, parameters);
            let lines = headers.get_all("cache-status").iter();
            let field = lines
                .map(|line| line.to_str().expect("printable"))
                .collect::<Vec<_>>()
                .join(", ");
            let list: sfv::List = Parser::new(&field).parse().expect("a list");
            let [_, ListEntry::Item(ours)] = &list[..] else {
                panic!("{field}");
            };
            assert_eq!(
                ours.bare_item.as_token().map(|name| name.as_str()),
                Some(NAME)
            );
            for (name, value) in &ours.params {
                let fits = match name.as_str() {
                    "hit" | "stored" | "collapsed" => value.as_boolean() == Some(true),
                    "fwd" => value
                        .as_token()
                        .is_some_and(|why| FORWARDS.contains(&why.as_str())),
                    "fwd-status" | "ttl" => value.as_integer().is_some(),
                    "key" => value.as_string().is_some(),
                    "detail" => value.as_token().is_some() || value.as_string().is_some(),
                    _ => false,
                };
                assert!(fits, "{name} in {field}");
            }
            // §2.1 and §2.2: it was satisfied by the cache, or forwarded, and not both.
            let has = |name: &str| ours.params.keys().any(|known| known.as_str() == name);
            assert!(!(has("hit") && has("fwd")), "{field}");
            assert!(has("fwd") || !has("stored") && !has("collapsed"), "{field}");
        }
    }
}

#[test]
fn a_name_is_a_token() {
    for (name, valid) in [
        ("tower-response-cache", true),
        ("cache.example.net/1:80", true),
        ("*", true),
        ("", false),
        ("1st", false),
        ("two words", false),
        ("caf\u{e9}", false),
        ("a;b", false),
    ] {
        assert_eq!(CacheStatusWriter::new(name).is_some(), valid, "{name}");
    }
}

#[test]
fn our_member_comes_after_those_closer_to_the_origin() {
    let mut headers = HeaderMap::new();
    headers.append("cache-status", HeaderValue::from_static("Origin; hit"));
    append(&mut headers, HeaderValue::from_static("Ours; fwd=uri-miss"));
    let members: Vec<_> = headers.get_all("cache-status").iter().collect();
    assert_eq!(members, ["Origin; hit", "Ours; fwd=uri-miss"]);
}

#[test]
fn the_ttl_is_what_is_left_of_the_lifetime() {
    let seconds = Duration::from_secs;
    assert_eq!(ttl(seconds(60), seconds(10)), 50);
    assert_eq!(ttl(seconds(60), seconds(60)), 0);
    assert_eq!(ttl(seconds(60), seconds(90)), -30);
    assert_eq!(ttl(Duration::MAX, Duration::ZERO), i64::MAX);
    assert_eq!(ttl(Duration::ZERO, Duration::MAX), -i64::MAX);
}

proptest! {
    #[test]
    fn every_value_is_a_structured_field(
        name in "[A-Za-z*][a-z:/.!]{0,6}",
        key in ".{0,12}",
        detail in ".{0,12}",
        ttl in any::<i64>(),
        stored in any::<bool>(),
    ) {
        let status = CacheStatus {
            ttl: Some(ttl),
            key: Some(&key),
            detail: Some(&detail),
            stored,
            ..CacheStatus::from(miss(Miss::Uri))
        };
        let value = CacheStatusWriter::new(&name).expect("a token").value(&status);
        let list: sfv::List = Parser::new(value.as_bytes()).parse().expect("a list");
        prop_assert_eq!(list.len(), 1);
        let ListEntry::Item(item) = &list[0] else {
            return Err(TestCaseError::fail("not an item"));
        };
        prop_assert_eq!(item.bare_item.as_token().map(|name| name.as_str()), Some(&*name));
        if let Some(BareItem::String(shown)) = item.params.get("key") {
            prop_assert_eq!(shown.as_str(), &*key);
        }
    }
}
