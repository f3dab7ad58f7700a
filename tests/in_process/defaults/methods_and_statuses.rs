//! Which methods and statuses are stored, and which methods evict.

use http::{Method, StatusCode};
use tower_response_cache::Policy;

use super::is_stored;
use crate::support::{Bench, MINUTE, Origin, request, respond, settle};

#[tokio::test]
async fn only_get_is_stored() {
    for method in [
        "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
    ] {
        let fields = &[("cache-control", "public, max-age=60")];
        let bench = Bench::new(Policy::origin_decides(), Origin::with_fields(fields));
        bench.ask(request(method, "/", &[])).await;
        settle().await;
        assert_eq!(bench.get("/").await.x_cache(), "MISS", "{method}");
        // Nor answered from what is stored, but for HEAD.
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        let answer = bench.ask(request(method, "/", &[])).await;
        let expected = if method == "HEAD" { "HIT" } else { "BYPASS" };
        assert_eq!(answer.x_cache(), expected, "{method}");
    }
}

#[tokio::test]
async fn unsafe_and_unknown_methods_evict_where_they_succeed_and_safe_ones_do_not() {
    for (method, status, evicts) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("PATCH", 302, true),
        ("DELETE", 202, true),
        ("BREW", 200, true),
        ("POST", 400, false),
        ("PUT", 404, false),
        ("DELETE", 500, false),
        ("OPTIONS", 200, false),
        ("TRACE", 200, false),
        ("HEAD", 200, false),
    ] {
        let origin = Origin::new(move |request, call| async move {
            let status = if request.method() == Method::GET {
                200
            } else {
                status
            };
            respond(status, &[], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        bench.ask(request(method, "/", &[])).await;
        let expected = if evicts { "MISS" } else { "HIT" };
        assert_eq!(
            bench.get("/").await.x_cache(),
            expected,
            "{method} {status}"
        );
    }
}

#[tokio::test]
async fn a_post_repeated_twice_runs_twice() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    for call in ["1", "2", "3"] {
        assert_eq!(bench.ask(request("POST", "/", &[])).await.text(), call);
    }
}

#[tokio::test]
async fn a_route_ttl_applies_to_200_203_and_204_and_to_no_other_status() {
    for status in 200..600 {
        let origin = Origin::new(move |_, _| async move { respond(status, &[], "") });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let expected = matches!(status, 200 | 203 | 204);
        assert_eq!(is_stored(&bench).await, expected, "{status}");
    }
}

#[tokio::test]
async fn other_statuses_are_stored_by_name() {
    for status in [
        301, 302, 400, 403, 404, 405, 410, 413, 414, 431, 451, 500, 503,
    ] {
        let name = StatusCode::from_u16(status).unwrap();
        for (policy, expected) in [
            (Policy::ttl(MINUTE).ttl_for(name, MINUTE), true),
            (
                Policy::ttl(MINUTE).ttl_for(StatusCode::IM_A_TEAPOT, MINUTE),
                false,
            ),
            (
                Policy::ttl(MINUTE).negative_ttl(MINUTE),
                matches!(status, 404 | 410),
            ),
        ] {
            let origin = Origin::new(move |_, _| async move { respond(status, &[], "") });
            let bench = Bench::new(policy, origin);
            assert_eq!(is_stored(&bench).await, expected, "{status}");
        }
    }
}
