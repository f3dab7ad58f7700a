//! Which statuses are stored, for how long, and with all their fields.

use http::StatusCode;
use tower_response_cache::Policy;

use super::lifetime_of;
use crate::support::{Bench, MINUTE, Origin, respond, seconds};

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
