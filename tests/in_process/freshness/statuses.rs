//! Which statuses are stored, for how long, and with all their fields.

use http::StatusCode;
use tower_response_cache::{CacheLayer, Policy, Routes};

use super::lifetime_of;
use crate::support::{Bench, MINUTE, Origin, respond, seconds, sent};

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
    for status in [
        400, 402, 403, 405, 409, 413, 414, 418, 422, 424, 431, 444, 499, 500, 501, 502, 503, 504,
        599,
    ] {
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

/// Statuses that answer what one request carries or lacks, and never another.
const FOR_ONE: [u16; 14] = [
    401, 406, 407, 408, 411, 412, 415, 416, 417, 421, 425, 426, 428, 429,
];

#[tokio::test]
async fn an_answer_to_what_one_request_carries_is_not_stored_in_any_mode() {
    for status in FOR_ONE {
        for fields in [
            &[("cache-control", "public, max-age=60"), ("etag", "\"1\"")][..],
            &[("expires", "Fri, 31 Dec 2100 23:59:59 GMT")],
        ] {
            for policy in [
                || Policy::ttl(MINUTE),
                || Policy::ttl(MINUTE).ttl_overrides(),
                || Policy::ttl(MINUTE).shared_with_everyone(),
                Policy::origin_decides,
                || Policy::origin_decides().shared_with_everyone(),
            ] {
                assert_eq!(lifetime_of(policy(), status, fields).await, 0, "{status}");
            }
        }
        let code = StatusCode::from_u16(status).unwrap();
        let named = Routes::new().otherwise(Policy::ttl(MINUTE).ttl_for(code, MINUTE));
        let error = CacheLayer::builder().routes(named).build().unwrap_err();
        assert!(error.to_string().contains(code.as_str()), "{error}");
    }
}

#[tokio::test]
async fn one_clients_error_neither_becomes_everyones_nor_takes_the_place_of_what_is_stored() {
    for (status, field) in [
        (401, ("x-anything", "x")),
        (401, ("authorization", "x")),
        (403, ("authorization", "x")),
        (403, ("cookie", "x")),
        (403, ("x-api-key", "x")),
        (406, ("accept", "x/y")),
        (407, ("proxy-authorization", "x")),
        (412, ("if-match", "\"x\"")),
        (
            412,
            ("if-unmodified-since", "Fri, 31 Dec 1999 23:59:59 GMT"),
        ),
        (415, ("accept-encoding", "x")),
        (416, ("range", "bytes=999999-")),
        (417, ("expect", "x")),
        (429, ("x-client", "greedy")),
        (400, ("x-anything", "\"")),
        (431, ("x-long", "xxx")),
    ] {
        // Where the origin decides, the standard lets it say that a 400 is for everyone.
        let may_be_for_all = matches!(status, 400 | 431);
        for policy in [
            Policy::ttl(MINUTE),
            Policy::ttl(MINUTE).shared_with_everyone(),
            match may_be_for_all {
                true => Policy::ttl(MINUTE).ttl_overrides(),
                false => Policy::origin_decides().shared_with_everyone(),
            },
        ] {
            let origin = Origin::new(move |request, _| {
                let fails = request.headers().contains_key(field.0);
                async move {
                    // As a layer does that gives everything the same freshness.
                    let fields = [("cache-control", "public, max-age=60"), ("etag", "\"1\"")];
                    match fails {
                        true => respond(status, &fields, "error"),
                        false => respond(200, &fields, "page"),
                    }
                }
            });
            let bench = Bench::new(policy, origin);
            let failed = bench.get_with("/", &[field]).await;
            assert_eq!(failed.status, status, "{field:?}");
            let answer = bench.get("/").await;
            assert_eq!((answer.status.as_u16(), answer.x_cache()), (200, "MISS"));
            // Nor once there is a page, fresh or stale.
            bench.get_with("/", &[field]).await;
            assert_eq!(bench.get("/").await.x_cache(), "HIT", "{status} {field:?}");
            bench.clock.advance(seconds(90));
            let failed = bench.get_with("/", &[field]).await;
            assert_eq!(failed.status, status, "{field:?}");
            let answer = bench.get("/").await;
            assert_eq!(answer.text(), "page", "{status} {field:?}");
            assert_ne!(answer.x_cache(), "HIT");
        }
    }
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_nobody_elses_answer() {
    let origin = Origin::new(|_, _| async {
        let fields = [
            ("content-range", "bytes 0-1/4"),
            ("cache-control", "max-age=60"),
        ];
        respond(206, &fields, "ab")
    });
    let bench = Bench::new(Policy::origin_decides(), origin);
    for call in 1..4 {
        assert_eq!(bench.get("/").await.x_cache(), "MISS");
        assert_eq!(bench.origin.calls(), call);
    }
}

#[tokio::test]
async fn an_answer_that_allows_one_origin_is_kept_for_that_origin() {
    for fields in [&[][..], &[("vary", "accept")]] {
        let origin = Origin::new(move |request, _| {
            let allowed = sent(&request, "origin");
            let mut response = respond(200, fields, allowed.clone());
            let value = allowed.parse().unwrap();
            response
                .headers_mut()
                .insert("access-control-allow-origin", value);
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        for expected in ["MISS", "HIT"] {
            for who in ["https://a.example", "https://b.example", "null"] {
                let answer = bench.get_with("/", &[("origin", who)]).await;
                assert_eq!((answer.x_cache(), answer.text()), (expected, who));
            }
            let nobody = bench.get("/").await;
            assert_eq!((nobody.x_cache(), nobody.text()), (expected, "-"));
        }
    }
    let bench = Bench::new(
        Policy::ttl(MINUTE),
        Origin::with_fields(&[("access-control-allow-origin", "*")]),
    );
    bench
        .get_with("/", &[("origin", "https://a.example")])
        .await;
    let other = [("origin", "https://b.example")];
    assert_eq!(bench.get_with("/", &other).await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_status_without_a_ttl_is_stored_if_the_handler_states_freshness() {
    for status in [204, 299, 301, 302, 303, 307, 308, 404, 410, 451] {
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
