//! For how long a response is used: what the handler states, what the route says, and how that is
//! bounded and spread.

use std::collections::HashSet;
use std::time::Duration;

use tower_response_cache::{CacheDirective, Policy};

use super::{Fields, lifetime_of};
use crate::support::{Bench, MINUTE, Origin, respond, seconds};

/// Returns for how many whole seconds responses with these fields are hits.
async fn lifetime(policy: Policy, fields: Fields) -> u64 {
    lifetime_of(policy, 200, fields).await
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
async fn pragma_no_cache_alone_keeps_freshness_from_being_guessed() {
    const OLD: (&str, &str) = ("last-modified", "Fri, 31 Dec 1999 23:59:59 GMT");
    for (fields, fresh) in [
        (&[OLD][..], true),
        (&[OLD, ("pragma", "no-cache")], false),
        (&[OLD, ("pragma", "No-Cache, x")], false),
        (&[OLD, ("pragma", "x")], true),
        (
            &[OLD, ("pragma", "no-cache"), ("cache-control", "public")],
            true,
        ),
        (
            &[OLD, ("pragma", "no-cache"), ("cache-control", "max-age=9")],
            true,
        ),
    ] {
        let bench = Bench::new(
            Policy::origin_decides(),
            Origin::new(move |_, call| async move { respond(200, fields, call.to_string()) }),
        );
        bench.get("/").await;
        assert_eq!(bench.get("/").await.x_cache() == "HIT", fresh, "{fields:?}");
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
