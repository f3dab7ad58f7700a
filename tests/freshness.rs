//! For how long a stored response is used, what is done with it afterwards, and what is answered
//! from it meanwhile.

mod support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use support::{
    Answer, Bench, MINUTE, Origin, TestRequest, request, respond, scripted, seconds, sent, settle,
};
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheDirective, CacheLayer, Policy, Routes};

const HOUR: Duration = Duration::from_secs(3600);

type Fields = &'static [(&'static str, &'static str)];

/// Returns for how many whole seconds responses with these fields are hits.
async fn lifetime(policy: Policy, fields: Fields) -> u64 {
    lifetime_of(policy, 200, fields).await
}

async fn lifetime_of(policy: Policy, status: u16, fields: Fields) -> u64 {
    let origin =
        Origin::new(move |_, call| async move { respond(status, fields, call.to_string()) });
    let bench = Bench::new(policy, origin);
    bench.get("/").await;
    for second in 0..200 {
        if bench.get("/").await.text() != "1" {
            return second;
        }
        bench.clock.advance(seconds(1));
    }
    200
}

#[tokio::test]
async fn what_the_handler_states_wins_over_the_route_and_s_maxage_over_all() {
    let cases: &[(Fields, u64)] = &[
        (&[], 60),
        (&[("cache-control", "max-age=10")], 10),
        (&[("cache-control", "max-age=100")], 100),
        (&[("cache-control", "s-maxage=20, max-age=10")], 20),
        (&[("cache-control", "max-age=10, s-maxage=20")], 20),
        (&[("cache-control", "MAX-AGE=10")], 10),
        (&[("cache-control", "public")], 60),
        (&[("cache-control", "immutable")], 60),
        (&[("cache-control", "max-age=0")], 0),
        (&[("expires", "Fri, 31 Dec 1999 23:59:59 GMT")], 0),
        (&[("expires", "0")], 0),
        (&[("expires", "garbage")], 0),
        (
            &[
                ("expires", "Fri, 31 Dec 1999 23:59:59 GMT"),
                ("cache-control", "max-age=10"),
            ],
            10,
        ),
        // RFC 9213: the field meant for caches like this one replaces the general one.
        (
            &[
                ("cdn-cache-control", "max-age=30"),
                ("cache-control", "max-age=10"),
            ],
            30,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=30"),
                ("cache-control", "no-store"),
            ],
            30,
        ),
        (&[("pragma", "no-cache")], 60),
    ];
    for (fields, expected) in cases {
        let found = lifetime(Policy::ttl(MINUTE), fields).await;
        assert_eq!(found, *expected, "{fields:?}");
        let said = lifetime(Policy::ttl(MINUTE).ttl_overrides().ttl_as_default(), fields).await;
        assert_eq!(said, *expected, "{fields:?}");
    }
}

#[tokio::test]
async fn expires_counts_from_date() {
    let origin = Origin::new(|_, call| async move {
        let now = httpdate::fmt_http_date(std::time::SystemTime::now());
        let then = std::time::SystemTime::now() + seconds(10);
        let then = httpdate::fmt_http_date(then);
        respond(200, &[("date", &now), ("expires", &then)], call.to_string())
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(seconds(8));
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
    bench.clock.advance(seconds(3));
    assert_eq!(bench.get("/").await.text(), "2");
}

#[tokio::test]
async fn ttl_overrides_replaces_how_long_and_not_whether() {
    let cases: &[(Fields, u64)] = &[
        (&[("cache-control", "max-age=10")], 60),
        (&[("cache-control", "s-maxage=100")], 60),
        (&[("cache-control", "max-age=0")], 60),
        (&[("expires", "0")], 60),
        (&[("cache-control", "no-store, max-age=10")], 0),
        (&[("cache-control", "private")], 0),
        (&[("cache-control", "no-cache")], 0),
    ];
    for (fields, expected) in cases {
        let found = lifetime(Policy::ttl(MINUTE).ttl_overrides(), fields).await;
        assert_eq!(found, *expected, "{fields:?}");
    }
    // A status the TTL does not apply to keeps what the handler states.
    let policy = || Policy::ttl(MINUTE).ttl_overrides();
    let stated = &[("cache-control", "max-age=10")];
    assert_eq!(lifetime_of(policy(), 404, stated).await, 10);
    assert_eq!(lifetime_of(policy(), 302, stated).await, 10);
}

#[tokio::test]
async fn where_the_origin_decides_there_is_no_ttl_but_its_own() {
    let cases: &[(Fields, u64)] = &[
        (&[], 0),
        (&[("cache-control", "max-age=10")], 10),
        (&[("cache-control", "public")], 0),
        // A tenth of the time since the last modification, at most a day.
        (&[("last-modified", "Fri, 31 Dec 1999 23:59:59 GMT")], 200),
        (&[("last-modified", "Fri, 31 Dec 2100 23:59:59 GMT")], 0),
    ];
    for (fields, expected) in cases {
        let found = lifetime(Policy::origin_decides(), fields).await;
        assert_eq!(found, *expected, "{fields:?}");
    }
}

#[tokio::test]
async fn a_route_ttl_is_no_guess_from_last_modified() {
    let fields = &[("last-modified", "Fri, 31 Dec 1999 23:59:59 GMT")];
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(fields));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_ttl_by_request_is_asked_for_each_request_and_may_decline() {
    let policy = Policy::ttl_with(|parts| match parts.uri.query() {
        Some("offset=0") => Some(seconds(30)),
        Some("live") => None,
        _ => Some(MINUTE),
    });
    let bench = Bench::new(policy, Origin::counting());
    for uri in ["/?offset=0", "/?offset=9"] {
        assert_eq!(bench.get(uri).await.x_cache(), "MISS");
    }
    for _ in 0..2 {
        assert_eq!(bench.get("/?live").await.x_cache(), "BYPASS");
    }
    bench.clock.advance(seconds(30));
    assert_eq!(bench.get("/?offset=0").await.x_cache(), "MISS");
    assert_eq!(bench.get("/?offset=9").await.x_cache(), "HIT");
    // A bare duration will do as well.
    let policy = Policy::ttl_with(|_| seconds(7));
    assert_eq!(lifetime(policy, &[]).await, 7);
}

#[tokio::test]
async fn a_ttl_for_a_status_is_that_statuss_own() {
    let policy = || {
        Policy::ttl(MINUTE)
            .ttl_for(StatusCode::NOT_FOUND, seconds(5))
            .ttl_for(StatusCode::NOT_FOUND, seconds(7))
            .ttl_for(StatusCode::SERVICE_UNAVAILABLE, seconds(3))
            .ttl_for(StatusCode::OK, seconds(9))
    };
    for (status, expected) in [(404, 7), (503, 3), (200, 9), (203, 60), (410, 0), (500, 0)] {
        let found = lifetime_of(policy(), status, &[]).await;
        assert_eq!(found, expected, "{status}");
    }
}

#[tokio::test]
async fn a_negative_ttl_is_for_404_and_410_alone() {
    let policy = || Policy::ttl(MINUTE).negative_ttl(seconds(5));
    for (status, expected) in [(404, 5), (410, 5), (405, 0), (403, 0), (451, 0), (500, 0)] {
        let found = lifetime_of(policy(), status, &[]).await;
        assert_eq!(found, expected, "{status}");
    }
}

#[tokio::test]
async fn clamps_bound_every_lifetime_but_zero() {
    let policy = || Policy::ttl(MINUTE).clamp_ttl(seconds(20), seconds(40));
    assert_eq!(lifetime(policy(), &[]).await, 40);
    assert_eq!(
        lifetime(policy(), &[("cache-control", "max-age=5")]).await,
        20
    );
    assert_eq!(
        lifetime(policy(), &[("cache-control", "max-age=30")]).await,
        30
    );
    assert_eq!(
        lifetime(policy(), &[("cache-control", "max-age=0")]).await,
        0
    );
    let fields = &[("cache-control", "no-store, max-age=5")];
    assert_eq!(lifetime(policy(), fields).await, 0);
}

#[tokio::test]
async fn jitter_shortens_lifetimes_by_up_to_its_part_and_spreads_them() {
    let bench = Bench::new(Policy::ttl(seconds(100)).jitter(50), Origin::counting());
    let uris: Vec<String> = (0..64).map(|n| format!("/{n}")).collect();
    let mut ends = HashSet::new();
    for uri in &uris {
        bench.get(uri).await;
    }
    bench.clock.advance(seconds(50));
    for step in 50..=100 {
        for uri in &uris {
            let status = bench.get_with(uri, &[("cache-control", "only-if-cached")]);
            if status.await.status == 504 && !ends.contains(uri) {
                assert!(step > 50, "shortened by more than half");
                ends.insert(uri.clone());
            }
        }
        if step < 100 {
            bench.clock.advance(seconds(1));
        }
        if step == 75 {
            assert!((8..56).contains(&ends.len()), "{}", ends.len());
        }
    }
    assert_eq!(ends.len(), uris.len(), "none lasts longer than its TTL");
}

#[tokio::test]
async fn the_longest_ttl_does_no_harm() {
    for policy in [
        Policy::ttl(Duration::MAX),
        Policy::ttl(Duration::MAX).jitter(100),
        Policy::ttl(Duration::MAX).jitter(1),
        Policy::ttl(MINUTE)
            .clamp_ttl(Duration::MAX, Duration::MAX)
            .jitter(1),
        Policy::ttl(MINUTE)
            .stale_while_revalidate(Duration::MAX)
            .stale_if_error(Duration::MAX),
    ] {
        let bench = Bench::new(policy, Origin::counting());
        for n in 0..2000 {
            bench.get(&format!("/{n}")).await;
        }
        bench.clock.advance(seconds(10));
        let hits = bench.get("/1999").await;
        assert_eq!(hits.x_cache(), "HIT");
        assert!(hits.field("cache-status").contains("ttl="));
    }
}

#[tokio::test]
async fn a_handlers_directive_wins_over_route_and_max_age_but_not_over_no_store() {
    let directed = |field: Option<&'static str>, directive: CacheDirective| {
        Origin::new(move |_, call| {
            let fields: Vec<_> = field
                .map(|value| ("cache-control", value))
                .into_iter()
                .collect();
            let mut response = respond(200, &fields, call.to_string());
            response.extensions_mut().insert(directive.clone());
            async move { response }
        })
    };
    let five = || CacheDirective::new().ttl(seconds(5));
    for (field, directive, expected) in [
        (None, five(), 5),
        (Some("max-age=100"), five(), 5),
        (Some("max-age=0"), five(), 5),
        (Some("no-store"), five(), 0),
        (Some("private"), five(), 0),
        (None, CacheDirective::no_store(), 0),
        (Some("max-age=100"), CacheDirective::no_store(), 0),
        (None, CacheDirective::new(), 60),
    ] {
        let bench = Bench::new(Policy::ttl(MINUTE), directed(field, directive));
        bench.get("/").await;
        let mut found = 0;
        while bench.get("/").await.text() == "1" {
            bench.clock.advance(seconds(1));
            found += 1;
        }
        assert_eq!(found, expected, "{field:?}");
    }
}

#[tokio::test]
async fn within_its_window_a_stale_response_is_served_while_one_refresh_runs() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(seconds(30)),
        Origin::counting(),
    );
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    for _ in 0..10 {
        let stale = bench.get("/").await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"));
        assert_eq!(stale.field("age"), "60");
        if bench.origin.calls() == 2 {
            break;
        }
    }
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    let fresh = bench.get("/").await;
    assert_eq!((fresh.x_cache(), fresh.text()), ("HIT", "2"));
    assert_eq!(fresh.field("age"), "0");
}

#[tokio::test]
async fn the_answer_does_not_wait_for_the_refresh_and_a_crowd_starts_only_one() {
    let (send, body) = scripted();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let origin = Origin::new(move |_, call| {
        let body = if call == 2 {
            body.lock().unwrap().take()
        } else {
            None
        };
        async move {
            match body {
                Some(body) => support::respond_with(200, &[], body),
                None => respond(200, &[], call.to_string()),
            }
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE).stale_while_revalidate(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    for _ in 0..100 {
        assert_eq!(bench.get("/").await.x_cache(), "STALE");
        settle().await;
    }
    assert_eq!(bench.origin.calls(), 2);
    send.send(support::chunk("new")).unwrap();
    drop(send);
    settle().await;
    let fresh = bench.get("/").await;
    assert_eq!((fresh.x_cache(), fresh.text()), ("HIT", "new"));
}

#[tokio::test]
async fn past_its_window_a_stale_response_is_not_served() {
    for (advance, expected) in [(89, "STALE"), (90, "MISS"), (1000, "MISS")] {
        let bench = Bench::new(
            Policy::ttl(MINUTE).stale_while_revalidate(seconds(30)),
            Origin::counting(),
        );
        bench.get("/").await;
        bench.clock.advance(seconds(advance));
        assert_eq!(bench.get("/").await.x_cache(), expected, "{advance}");
    }
    let none = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    none.get("/").await;
    none.clock.advance(MINUTE);
    assert_eq!(none.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn the_handler_sets_and_forbids_the_windows() {
    // (Cache-Control, X-Cache half a minute after it became stale)
    for (control, expected) in [
        ("max-age=60", "STALE"),
        ("max-age=60, stale-while-revalidate=10", "MISS"),
        ("max-age=60, stale-while-revalidate=0", "MISS"),
        ("max-age=60, must-revalidate", "MISS"),
        ("max-age=60, proxy-revalidate", "MISS"),
        ("s-maxage=60", "MISS"),
        ("no-cache", "MISS"),
    ] {
        for if_error in [false, true] {
            let policy = match if_error {
                true => Policy::ttl(MINUTE).stale_if_error(MINUTE),
                false => Policy::ttl(MINUTE).stale_while_revalidate(MINUTE),
            };
            let control = control.replace(
                "while-revalidate",
                match if_error {
                    true => "if-error",
                    false => "while-revalidate",
                },
            );
            let origin = Origin::new(move |_, call| {
                let fields = [("cache-control", &*control), ("etag", "\"v\"")];
                let status = if if_error && call > 1 { 503 } else { 200 };
                let response = respond(status, &fields, call.to_string());
                async move { response }
            });
            let bench = Bench::new(policy, origin);
            bench.get("/").await;
            bench.clock.advance(seconds(90));
            let answer = bench.get("/").await;
            assert_eq!(answer.x_cache(), expected, "if_error: {if_error}");
            if expected == "MISS" {
                assert_eq!(answer.text(), "2");
            }
        }
    }
    // Without a window of the route's, the handler's own counts.
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    let bench = Bench::new(Policy::origin_decides(), Origin::with_fields(fields));
    bench.get("/").await;
    bench.clock.advance(seconds(119));
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
}

/// Answers with these statuses in turn, the last of them for good.
fn statuses(statuses: &'static [u16]) -> Origin {
    Origin::new(move |_, call| async move {
        let status = statuses[(call - 1).min(statuses.len() - 1)];
        respond(status, &[], call.to_string())
    })
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_error_within_its_window() {
    for status in [500, 502, 503, 504] {
        let origin = Origin::new(move |_, call| async move {
            respond(if call == 1 { 200 } else { status }, &[], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(seconds(30)), origin);
        bench.get("/").await;
        bench.clock.advance(seconds(89));
        let stale = bench.get("/").await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"), "{status}");
        assert_eq!((stale.status.as_u16(), stale.field("age")), (200, "89"));
        bench.clock.advance(seconds(1));
        let failed = bench.get("/").await;
        assert_eq!(failed.status.as_u16(), status);
    }
}

#[tokio::test]
async fn other_errors_and_no_window_are_passed_on() {
    for status in [400, 401, 403, 404, 410, 429, 501, 505] {
        let origin = Origin::new(move |_, call| async move {
            respond(if call == 1 { 200 } else { status }, &[], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(MINUTE), origin);
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        assert_eq!(bench.get("/").await.status.as_u16(), status);
    }
    let bench = Bench::new(Policy::ttl(MINUTE), statuses(&[200, 503]));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.get("/").await.status, 503);
}

#[tokio::test]
async fn where_the_origin_decides_errors_are_covered_for_an_hour_unless_switched_off() {
    for (policy, advance, expected) in [
        (Policy::origin_decides(), 60 + 3599, 200),
        (Policy::origin_decides(), 60 + 3600, 503),
        (
            Policy::origin_decides().stale_if_error(Duration::ZERO),
            61,
            503,
        ),
    ] {
        let origin = Origin::new(|_, call| async move {
            let status = if call == 1 { 200 } else { 503 };
            respond(status, &[("cache-control", "max-age=60")], "")
        });
        let bench = Bench::new(policy, origin);
        bench.get("/").await;
        bench.clock.advance(seconds(advance));
        assert_eq!(bench.get("/").await.status.as_u16(), expected);
    }
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_inner_services_error() {
    let layer = |policy| {
        let clock = tower_response_cache::testing::ManualClock::new();
        let layer = CacheLayer::builder()
            .routes(Routes::new().otherwise(policy))
            .clock(clock.clock())
            .build()
            .unwrap();
        (clock, layer)
    };
    for (policy, expected) in [
        (Policy::ttl(MINUTE).stale_if_error(MINUTE), Ok("STALE")),
        (Policy::ttl(MINUTE), Err("down")),
    ] {
        let (clock, layer) = layer(policy);
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let service = layer.layer(tower::service_fn(move |_: TestRequest| {
            let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                match call {
                    0 => Ok(respond(200, &[], "stored")),
                    _ => Err("down"),
                }
            }
        }));
        let first = service.clone().oneshot(request("GET", "/", &[])).await;
        Answer::read(first.unwrap().map(BodyExt::boxed_unsync)).await;
        clock.advance(MINUTE);
        let answer = service.oneshot(request("GET", "/", &[])).await;
        let found = answer.map(|answer| answer.headers()["x-cache"].to_str().unwrap().to_owned());
        assert_eq!(found.as_deref().map_err(|error| *error), expected);
    }
}

#[tokio::test]
async fn an_invalidated_response_is_not_served_stale_whatever_the_windows() {
    let policy = Policy::ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .stale_if_error(MINUTE);
    for advance in [0, 61] {
        let bench = Bench::new(policy.clone(), statuses(&[200, 503]));
        bench.get("/").await;
        bench.handle.invalidate_uri("/").await.unwrap();
        bench.clock.advance(seconds(advance));
        assert_eq!(bench.get("/").await.status, 503);
    }
}

/// An origin that confirms `"v1"` and answers everything else with 200, these fields and that tag.
fn validating(fields: Fields) -> Origin {
    Origin::new(move |request, call| async move {
        let etag = ("etag", "\"v1\"");
        if sent(&request, "if-none-match") == "\"v1\"" {
            return respond(304, &[etag, ("x-call", &call.to_string())], "");
        }
        let mut all = vec![etag];
        all.extend_from_slice(fields);
        respond(200, &all, call.to_string())
    })
}

#[tokio::test]
async fn no_cache_is_validated_each_time() {
    for fields in [
        &[("cache-control", "no-cache")],
        &[("cache-control", "no-cache, max-age=60")],
        &[("cache-control", "max-age=0")],
    ] {
        let bench = Bench::new(
            Policy::ttl(MINUTE).stale_while_revalidate(Duration::ZERO),
            validating(fields),
        );
        assert_eq!(bench.get("/").await.x_cache(), "MISS");
        for calls in 2..5 {
            let answer = bench.get("/").await;
            assert_eq!((answer.x_cache(), answer.text()), ("REVALIDATED", "1"));
            assert_eq!(
                (answer.status, bench.origin.calls()),
                (StatusCode::OK, calls)
            );
        }
    }
}

#[tokio::test]
async fn a_stale_response_is_validated_by_its_entity_tag_and_freshened() {
    let bench = Bench::new(Policy::ttl(MINUTE), validating(&[("x-kept", "1")]));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    assert_eq!(
        (confirmed.x_cache(), confirmed.text()),
        ("REVALIDATED", "1")
    );
    assert_eq!(confirmed.status, StatusCode::OK);
    assert_eq!(confirmed.field("x-kept"), "1");
    assert_eq!(confirmed.field("x-call"), "2", "the 304's fields count");
    let seen = &bench.origin.seen()[1];
    assert_eq!(seen["if-none-match"], "\"v1\"");
    assert!(!seen.contains_key("if-modified-since"));
    bench.clock.advance(MINUTE - seconds(1));
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.field("x-call")), ("HIT", "2"));
    bench.clock.advance(seconds(1));
    assert_eq!(bench.get("/").await.x_cache(), "REVALIDATED");
}

#[tokio::test]
async fn a_stale_response_is_validated_by_its_last_modified() {
    const MODIFIED: &str = "Fri, 31 Dec 1999 23:59:59 GMT";
    let origin = Origin::new(|request, call| async move {
        match sent(&request, "if-modified-since").as_str() {
            MODIFIED => respond(304, &[], ""),
            _ => respond(200, &[("last-modified", MODIFIED)], call.to_string()),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    assert_eq!(
        (confirmed.x_cache(), confirmed.text()),
        ("REVALIDATED", "1")
    );
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_a_validation_confirmed_keeps_the_tags_it_was_stored_with() {
    let origin = Origin::new(|request, call| async move {
        let etag = ("etag", "\"v\"");
        if sent(&request, "if-none-match") == "\"v\"" {
            return respond(304, &[etag], "");
        }
        let fields = [
            etag,
            ("surrogate-key", "by-field"),
            ("cache-groups", "\"by-group\""),
        ];
        let mut response = respond(200, &fields, call.to_string());
        let directive = CacheDirective::new().tag("by-handler");
        response.extensions_mut().insert(directive);
        response
    });
    for tag in ["by-field", "by-group", "by-handler", "by-route"] {
        let bench = Bench::new(Policy::ttl(MINUTE).tag("by-route"), origin.clone());
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        assert_eq!(bench.get("/").await.x_cache(), "REVALIDATED");
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        bench.handle.invalidate_tag(tag).await.unwrap();
        assert_eq!(bench.get("/").await.x_cache(), "MISS", "{tag}");
    }
}

#[tokio::test]
async fn a_changed_response_replaces_the_stale_one() {
    let origin = Origin::new(|_, call| async move {
        respond(200, &[("etag", &format!("\"v{call}\""))], call.to_string())
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let changed = bench.get("/").await;
    assert_eq!((changed.x_cache(), changed.text()), ("MISS", "2"));
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "2"));
    assert_eq!(hit.field("etag"), "\"v2\"");
}

#[tokio::test]
async fn a_background_refresh_validates_too() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(MINUTE),
        validating(&[]),
    );
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
    settle().await;
    assert_eq!(bench.origin.seen()[1]["if-none-match"], "\"v1\"");
    let hit = bench.get("/").await;
    assert_eq!(
        (hit.x_cache(), hit.text(), hit.field("age")),
        ("HIT", "1", "0")
    );
}

#[tokio::test]
async fn a_head_or_a_part_within_the_window_starts_no_refresh_that_could_not_be_stored() {
    let policy = Policy::ttl(MINUTE).stale_while_revalidate(MINUTE);
    let bench = Bench::new(policy, Origin::counting());
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let part = request("GET", "/", &[("range", "bytes=0-0")]);
    for asking in [request("HEAD", "/", &[]), part] {
        assert_eq!(bench.ask(asking).await.x_cache(), "STALE");
        settle().await;
        assert_eq!(bench.origin.calls(), 1);
    }
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
    settle().await;
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_refresh_is_made_without_the_conditions_of_the_client_that_caused_it() {
    let origin = Origin::new(|request, call| async move {
        match sent(&request, "if-none-match").as_str() {
            "\"old\"" => respond(304, &[("etag", "\"old\"")], ""),
            _ => respond(200, &[("etag", "\"new\"")], call.to_string()),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE).stale_while_revalidate(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let old = [("if-none-match", "\"old\"")];
    let stale = bench.get_with("/", &old).await;
    assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"));
    settle().await;
    assert_eq!(bench.get("/").await.text(), "2");
}

#[tokio::test]
async fn a_client_that_has_the_response_is_told_so_on_a_hit() {
    let bench = Bench::new(
        Policy::ttl(MINUTE),
        validating(&[("content-type", "text/plain")]),
    );
    bench.get("/").await;
    for (tags, status) in [
        ("\"v1\"", 304),
        ("W/\"v1\"", 304),
        ("*", 304),
        ("\"a\", \"v1\"", 304),
        ("\"a\",W/\"v1\" , \"b\"", 304),
        ("\"a, \\\", \"v1\"", 304),
        ("\"v2\"", 200),
        ("\"v\", \"v11\"", 200),
        ("v1", 200),
        ("", 200),
    ] {
        let answer = bench.get_with("/", &[("if-none-match", tags)]).await;
        assert_eq!(answer.status.as_u16(), status, "{tags}");
        assert_eq!(answer.x_cache(), "HIT");
        assert_eq!(answer.field("etag"), "\"v1\"");
        let body = if status == 304 { "" } else { "1" };
        assert_eq!(answer.text(), body);
        if status == 304 {
            assert_eq!(answer.field("content-length"), "(absent)");
            assert_eq!(answer.field("age"), "0");
        }
    }
    let lines = [("if-none-match", "\"a\""), ("if-none-match", "\"v1\"")];
    assert_eq!(bench.get_with("/", &lines).await.status, 304);
    let thousand = vec!["\"x\""; 1000].join(", ") + ", \"v1\"";
    let answer = bench.get_with("/", &[("if-none-match", &thousand)]).await;
    assert_eq!(answer.status, 304);
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_client_that_has_the_response_is_told_so_on_a_miss_and_the_whole_is_stored() {
    let bench = Bench::new(Policy::ttl(MINUTE), validating(&[]));
    let has = [("if-none-match", "\"v1\"")];
    let miss = bench.get_with("/", &has).await;
    assert_eq!((miss.status.as_u16(), miss.x_cache()), (304, "MISS"));
    assert!(miss.body.is_empty());
    assert!(!bench.origin.seen()[0].contains_key("if-none-match"));
    settle().await;
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
    // And on a validation.
    bench.clock.advance(MINUTE);
    let confirmed = bench.get_with("/", &has).await;
    let found = (confirmed.status.as_u16(), confirmed.x_cache());
    assert_eq!(found, (304, "REVALIDATED"));
}

#[tokio::test]
async fn last_modified_answers_if_modified_since_unless_there_are_tags() {
    let fields = &[("last-modified", "Fri, 31 Dec 1999 23:59:59 GMT")];
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(fields));
    bench.get("/").await;
    for (since, status) in [
        ("Fri, 31 Dec 1999 23:59:59 GMT", 304),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 304),
        ("Fri, 31 Dec 1999 23:59:58 GMT", 200),
        ("garbage", 200),
    ] {
        let since = ("if-modified-since", since);
        let answer = bench.get_with("/", &[since]).await;
        assert_eq!(answer.status.as_u16(), status, "{since:?}");
        let with_tag = [since, ("if-none-match", "\"x\"")];
        assert_eq!(bench.get_with("/", &with_tag).await.status, 200);
    }
}

#[tokio::test]
async fn a_304_for_which_nothing_is_stored_is_passed_on_and_not_stored() {
    // Uncacheable, so the client's conditions go through; the handler answers them.
    let origin = Origin::new(|request, call| async move {
        match sent(&request, "if-none-match").as_str() {
            "-" => respond(200, &[("cache-control", "private")], call.to_string()),
            tag => respond(304, &[("etag", tag)], ""),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    let answer = bench.get_with("/", &[("if-none-match", "\"v\"")]).await;
    assert_eq!(answer.status, 304);
    let next = bench.get("/").await;
    assert_eq!((next.status.as_u16(), next.text()), (200, "3"));
}

#[tokio::test]
async fn head_is_answered_from_get() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(&[("x-a", "1")]));
    bench.get("/").await;
    let head = bench.ask(request("HEAD", "/", &[])).await;
    assert_eq!((head.x_cache(), head.field("x-a")), ("HIT", "1"));
    assert_eq!((head.field("content-length"), head.text()), ("1", ""));
    assert_eq!(bench.origin.calls(), 1);
}

/// An origin whose HEAD has a head and no body, as routers make it.
fn with_head(fields: Fields) -> Origin {
    Origin::new(move |request, call| async move {
        let body = match request.method().as_str() {
            "HEAD" => String::new(),
            _ => call.to_string(),
        };
        respond(200, fields, body)
    })
}

#[tokio::test]
async fn head_never_poisons_get() {
    for fields in [
        &[][..],
        &[("content-length", "0")],
        &[("content-length", "1")],
        &[("etag", "\"v\"")],
        &[("cache-control", "public, max-age=60")],
    ] {
        let bench = Bench::new(Policy::ttl(MINUTE), with_head(fields));
        for _ in 0..2 {
            let head = bench.ask(request("HEAD", "/", &[])).await;
            assert_eq!(head.x_cache(), "MISS", "{fields:?}");
        }
        let get = bench.get("/").await;
        assert_eq!((get.x_cache(), get.text()), ("MISS", "3"), "{fields:?}");
        // Nor when what is stored is stale, nor in the background.
        for window in [Duration::ZERO, MINUTE] {
            let policy = Policy::ttl(MINUTE).stale_while_revalidate(window);
            let bench = Bench::new(policy, with_head(fields));
            bench.get("/").await;
            bench.clock.advance(MINUTE);
            bench.ask(request("HEAD", "/", &[])).await;
            settle().await;
            let get = bench.get("/").await;
            assert!(!get.text().is_empty(), "{fields:?} {window:?}: {get:?}");
            settle().await;
            assert!(!bench.get("/").await.text().is_empty());
        }
    }
}

#[tokio::test]
async fn a_get_does_not_wait_for_a_head_and_a_head_for_nobody() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |request, _| {
        let gate = held.clone();
        async move {
            if request.method() == "HEAD" {
                gate.acquire().await.unwrap().forget();
                return respond(200, &[], "");
            }
            respond(200, &[], "body")
        }
    });
    let bench = Arc::new(Bench::new(Policy::ttl(MINUTE), origin));
    let head = bench.clone();
    let head = tokio::spawn(async move { head.ask(request("HEAD", "/", &[])).await });
    settle().await;
    assert_eq!(bench.get("/").await.text(), "body");
    gate.add_permits(1);
    assert_eq!(head.await.unwrap().text(), "");
    assert_eq!(bench.get("/").await.text(), "body");
}

#[tokio::test]
async fn only_if_cached_is_answered_from_the_store_or_with_504() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(seconds(1)),
        Origin::counting(),
    );
    let only = [("cache-control", "Only-If-Cached")];
    let nothing = bench.get_with("/", &only).await;
    assert_eq!((nothing.status.as_u16(), nothing.x_cache()), (504, "MISS"));
    assert_eq!(bench.origin.calls(), 0);
    bench.get("/").await;
    assert_eq!(bench.get_with("/", &only).await.x_cache(), "HIT");
    bench.clock.advance(MINUTE + seconds(1));
    let stale = bench.get_with("/", &only).await;
    assert_eq!((stale.status.as_u16(), bench.origin.calls()), (504, 1));
}

#[tokio::test]
async fn no_store_in_a_request_keeps_its_response_out_and_still_takes_from_the_store() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let no_store = [("cache-control", "no-store")];
    assert_eq!(bench.get_with("/", &no_store).await.text(), "1");
    assert_eq!(bench.get("/").await.text(), "2");
    let hit = bench.get_with("/", &no_store).await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "2"));
}

#[tokio::test]
async fn a_browsers_reload_does_not_reach_the_handler() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    bench.get("/").await;
    bench.clock.advance(seconds(30));
    for line in ["no-cache", "max-age=0", "min-fresh=1000", "max-stale=0"] {
        let fields = [("cache-control", line), ("pragma", "no-cache")];
        assert_eq!(
            bench.get_with("/", &fields).await.x_cache(),
            "HIT",
            "{line}"
        );
    }
    bench.clock.advance(seconds(31));
    let stale = bench.get_with("/", &[("cache-control", "max-stale")]).await;
    assert_eq!(stale.x_cache(), "MISS");
}

#[tokio::test]
async fn request_directives_are_honoured_where_the_policy_says_so() {
    // Half a minute before or after the end of the lifetime, or 5 seconds behind it.
    for (line, at, expected) in [
        ("no-cache", 30, "REVALIDATED"),
        ("max-age=0", 30, "REVALIDATED"),
        ("max-age=29", 30, "REVALIDATED"),
        ("max-age=30", 30, "HIT"),
        ("min-fresh=30", 30, "HIT"),
        ("min-fresh=31", 30, "REVALIDATED"),
        ("max-stale", 90, "STALE"),
        ("max-stale=30", 90, "STALE"),
        ("max-stale=29", 90, "REVALIDATED"),
        ("max-stale=30, max-age=60", 90, "REVALIDATED"),
        ("no-transform", 30, "HIT"),
        ("foo", 90, "REVALIDATED"),
    ] {
        let bench = Bench::new(
            Policy::ttl(MINUTE).honour_request_directives(),
            validating(&[]),
        );
        bench.get("/").await;
        bench.clock.advance(seconds(at));
        let answer = bench.get_with("/", &[("cache-control", line)]).await;
        assert_eq!(answer.x_cache(), expected, "{line}");
        assert_eq!(answer.text(), "1");
    }
}

#[tokio::test]
async fn a_client_that_wants_validation_gets_it_within_the_window_too() {
    for (line, expected) in [
        ("no-cache", "REVALIDATED"),
        ("max-age=60", "REVALIDATED"),
        ("min-fresh=1", "REVALIDATED"),
        ("no-transform", "STALE"),
    ] {
        let policy = Policy::ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .honour_request_directives();
        let bench = Bench::new(policy, validating(&[]));
        bench.get("/").await;
        bench.clock.advance(seconds(61));
        let answer = bench.get_with("/", &[("cache-control", line)]).await;
        assert_eq!(answer.x_cache(), expected, "{line}");
    }
}

#[tokio::test]
async fn max_stale_does_not_revive_what_must_be_validated_or_was_invalidated() {
    let stale = [("cache-control", "max-stale")];
    for fields in [
        &[("cache-control", "max-age=60, must-revalidate")],
        &[("cache-control", "s-maxage=60")],
        &[("cache-control", "no-cache")],
    ] {
        let policy = Policy::ttl(MINUTE).honour_request_directives();
        let bench = Bench::new(policy, validating(fields));
        bench.get("/").await;
        bench.clock.advance(seconds(61));
        assert_eq!(bench.get_with("/", &stale).await.x_cache(), "REVALIDATED");
    }
    let policy = Policy::ttl(MINUTE).honour_request_directives();
    let bench = Bench::new(policy, Origin::counting());
    bench.get("/").await;
    bench.handle.invalidate_uri("/").await.unwrap();
    assert_eq!(bench.get_with("/", &stale).await.text(), "2");
}

#[tokio::test]
async fn a_wall_clock_that_jumps_neither_revives_nor_ends_a_response() {
    for back in [true, false] {
        let bench = Bench::new(
            Policy::ttl(MINUTE),
            Origin::new(|_, call| async move {
                let date = httpdate::fmt_http_date(std::time::SystemTime::now());
                respond(200, &[("date", &date)], call.to_string())
            }),
        );
        bench.get("/").await;
        bench.clock.advance(seconds(30));
        let wall = bench.clock.wall();
        bench
            .clock
            .set_wall(if back { wall - HOUR } else { wall + HOUR });
        let hit = bench.get("/").await;
        assert_eq!(hit.x_cache(), "HIT");
        assert!(["30", "31"].contains(&hit.field("age")), "{hit:?}");
        bench.clock.advance(seconds(30));
        assert_eq!(bench.get("/").await.text(), "2");
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_while_the_handler_works_does_not_lengthen_a_lifetime() {
    for jump in [-3600_i64, 3600] {
        let clock = tower_response_cache::testing::ManualClock::new();
        let hand = clock.clone();
        let layer = CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .clock(clock.clock())
            .build()
            .unwrap();
        let service = layer.layer(tower::service_fn(move |_: Request<Empty<Bytes>>| {
            let hand = hand.clone();
            async move {
                let wall = hand.wall();
                hand.set_wall(match jump > 0 {
                    true => wall + seconds(3600),
                    false => wall - seconds(3600),
                });
                Ok::<_, Infallible>(respond(200, &[], "x"))
            }
        }));
        let ask = async || {
            let response = service.clone().oneshot(request("GET", "/", &[])).await;
            let response = response.unwrap().map(BodyExt::boxed_unsync);
            Answer::read(response).await
        };
        ask().await;
        assert_eq!(ask().await.x_cache(), "HIT");
        clock.advance(MINUTE);
        assert_eq!(ask().await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn an_age_from_upstream_shortens_the_lifetime_and_is_passed_on_grown() {
    // Of a list the first counts, and what is no number is ignored (RFC 9111 §5.1).
    for (age, expected) in [
        ("10", "10"),
        ("0", "0"),
        ("10,50", "10"),
        ("10, 50", "10"),
        ("0, 0", "0"),
        ("-5", "0"),
        ("x", "0"),
        ("7200;a=1", "0"),
        ("", "0"),
    ] {
        let origin =
            Origin::new(
                move |_, call| async move { respond(200, &[("age", age)], call.to_string()) },
            );
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        let hit = bench.get("/").await;
        assert_eq!(hit.field("age"), expected, "{age}");
        assert_eq!(hit.headers.get_all("age").iter().count(), 1);
        bench
            .clock
            .advance(MINUTE - seconds(expected.parse().unwrap()));
        assert_eq!(bench.get("/").await.text(), "2", "{age}");
    }
    // Older than any lifetime: of no use, and no overflow.
    for age in ["61", "61, 0", "2147483648", "99999999999999999999999"] {
        let origin =
            Origin::new(
                move |_, call| async move { respond(200, &[("age", age)], call.to_string()) },
            );
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        assert_eq!(bench.get("/").await.text(), "2", "{age}");
    }
}

#[tokio::test]
async fn an_age_never_leaves_larger_than_the_standard_allows() {
    let origin = Origin::with_fields(&[("age", "2147483647"), ("cache-control", "public")]);
    let policy = Policy::ttl(Duration::from_secs(u64::from(u32::MAX))).stale_if_error(MINUTE);
    let bench = Bench::new(policy, origin);
    bench.get("/").await;
    bench.clock.advance(seconds(1000));
    assert_eq!(bench.get("/").await.field("age"), "2147483647");
}

#[tokio::test]
async fn a_date_that_is_off_never_lengthens_a_lifetime() {
    for date in [
        "Fri, 31 Dec 2100 23:59:59 GMT",
        "Thu, 01 Jan 1960 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "garbage",
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        for control in ["max-age=60", "public"] {
            let origin = Origin::new(move |_, call| async move {
                let fields = [("date", date), ("cache-control", control)];
                respond(200, &fields, call.to_string())
            });
            let bench = Bench::new(Policy::ttl(MINUTE), origin);
            bench.get("/").await;
            bench.clock.advance(MINUTE);
            assert_eq!(bench.get("/").await.text(), "2", "{date} {control}");
        }
    }
}

#[tokio::test]
async fn seconds_that_are_none_make_a_response_stale_and_too_many_are_cut() {
    for (control, expected) in [
        ("max-age=-1", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=60.5", 0),
        ("max-age=60s", 0),
        ("max-age = 60", 0),
        ("max-age=\"60\"", 60),
        ("max-age=060", 60),
        ("max-age=10, max-age=60", 10),
        ("max-age=60, max-age=10", 10),
        ("max-age=99999999999999999999", 200),
        ("max-age=2147483648", 200),
    ] {
        for policy in [Policy::ttl(seconds(30)), Policy::origin_decides()] {
            let origin = Origin::new(move |_, call| async move {
                respond(200, &[("cache-control", control)], call.to_string())
            });
            let bench = Bench::new(policy, origin);
            bench.get("/").await;
            let mut found = 0;
            while found < 200 && bench.get("/").await.text() == "1" {
                bench.clock.advance(seconds(1));
                found += 1;
            }
            assert_eq!(found, expected, "{control}");
        }
    }
}

#[tokio::test]
async fn expires_in_any_date_form_counts_and_anything_else_is_past() {
    for (lines, expected) in [
        (&["Fri, 31 Dec 2100 23:59:59 GMT"][..], "HIT"),
        (&["Fri Dec 31 23:59:59 2100"], "HIT"),
        (&["0"], "MISS"),
        (&["-1"], "MISS"),
        (&[""], "MISS"),
        (&["tomorrow"], "MISS"),
        // Two digits, more than fifty years ahead, are in the past (RFC 9110 §5.6.7).
        (&["Sunday, 06-Nov-94 08:49:37 GMT"], "MISS"),
        (
            &[
                "Fri, 31 Dec 2100 23:59:59 GMT",
                "Fri, 31 Dec 2100 23:59:59 GMT",
            ],
            "MISS",
        ),
    ] {
        let origin = Origin::new(move |_, call| {
            let mut response = respond(200, &[], call.to_string());
            for line in lines {
                let line = http::HeaderValue::from_static(line);
                response.headers_mut().append("expires", line);
            }
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        assert_eq!(bench.get("/").await.x_cache(), expected, "{lines:?}");
    }
}

#[tokio::test]
async fn opaque_long_and_many_fields_are_replayed_byte_for_byte() {
    let origin = Origin::new(|_, _| async {
        let mut response = respond(200, &[], "x");
        let headers = response.headers_mut();
        let opaque = http::HeaderValue::from_bytes(b"\xff\xfe caf\xe9 \t \"").unwrap();
        headers.append("x-opaque", opaque);
        let long = http::HeaderValue::from_bytes(&[b'a'; 65_536]).unwrap();
        headers.append("x-long", long);
        for n in 0..500 {
            let name = http::HeaderName::try_from(format!("x-{}", n % 100)).unwrap();
            headers.append(name, http::HeaderValue::from(n));
        }
        response
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let ours = ["x-cache", "cache-status", "age", "date"];
    let [mut miss, mut hit] = [bench.get("/").await, bench.get("/").await];
    assert_eq!(hit.x_cache(), "HIT");
    for name in ours {
        miss.headers.remove(name);
        hit.headers.remove(name);
    }
    assert_eq!(miss.headers, hit.headers);
}

#[tokio::test]
async fn errors_that_are_the_requests_own_fault_are_not_stored() {
    for status in [400, 405, 413, 414, 431, 500, 501, 502, 503, 504, 599] {
        for fields in [
            &[][..],
            &[("cache-control", "public, max-age=60")],
            &[("expires", "Fri, 31 Dec 2100 23:59:59 GMT")],
        ] {
            let policy = Policy::ttl(MINUTE).negative_ttl(MINUTE);
            let found = lifetime_of(policy, status, fields).await;
            assert_eq!(found, 0, "{status} {fields:?}");
        }
        // By name, or where the origin decides and says so.
        let named = Policy::ttl(MINUTE).ttl_for(StatusCode::from_u16(status).unwrap(), seconds(5));
        assert_eq!(lifetime_of(named, status, &[]).await, 5, "{status}");
        let stated = &[("cache-control", "max-age=5")];
        let found = lifetime_of(Policy::origin_decides(), status, stated).await;
        assert_eq!(found, 5, "{status}");
    }
}

#[tokio::test]
async fn a_status_without_a_ttl_is_stored_if_the_handler_states_freshness() {
    for status in [204, 299, 301, 302, 303, 307, 308, 403, 404, 410, 451] {
        let stated = &[("cache-control", "max-age=5")];
        let found = lifetime_of(Policy::ttl(MINUTE), status, stated).await;
        assert_eq!(found, 5, "{status}");
        let expected = if status == 204 { 60 } else { 0 };
        let found = lifetime_of(Policy::ttl(MINUTE), status, &[]).await;
        assert_eq!(found, expected, "{status}");
    }
    for status in [206, 304] {
        let stated = &[("cache-control", "public, max-age=60")];
        assert_eq!(lifetime_of(Policy::ttl(MINUTE), status, stated).await, 0);
    }
    // must-understand: only what we know the caching of.
    let fields = &[("cache-control", "must-understand, no-store, max-age=60")];
    assert_eq!(lifetime_of(Policy::ttl(MINUTE), 200, fields).await, 60);
    assert_eq!(lifetime_of(Policy::ttl(MINUTE), 299, fields).await, 0);
}
