//! The admin router inside of a router that is cached.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Method;
use tower_response_cache::admin::{Access, Admin};
use tower_response_cache::{CacheHandle, CacheLayer, Policy, Routes};

use super::{ADDRESSES, TOKEN, authorized, plain, send};
use crate::support::MINUTE;

/// A router that is cached as recklessly as its options allow, and the administration inside.
fn reckless() -> (Router, CacheHandle) {
    let policy = Policy::ttl(MINUTE).ttl_overrides().shared_with_everyone();
    let cache = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy))
        .build()
        .unwrap();
    let admin = Admin::new(cache.handle(), Access::token(TOKEN).unwrap()).router();
    let app = Router::new()
        .route("/page", get(|| async { "page" }))
        .nest_service("/admin", admin)
        .layer(cache.clone());
    (app, cache.handle())
}

#[tokio::test]
async fn inside_of_a_cached_router_no_answer_is_ever_stored() {
    let (app, handle) = reckless();
    for (method, uri) in ADDRESSES.iter().chain(&[("GET", "")]) {
        let uri = format!("/admin{uri}");
        for _ in 0..2 {
            let request = authorized(method.parse().unwrap(), &uri)
                .body(Body::empty())
                .unwrap();
            let answer = send(&app, request).await;
            assert_ne!(answer.field("x-cache"), "HIT", "{uri}");
            assert_eq!(answer.field("cache-control"), "no-store", "{uri}");
            let answer = send(&app, plain(method, &uri, &[])).await;
            let expected = if uri == "/admin" { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{method} {uri}");
        }
        handle.set_bypass(false);
    }
    assert_eq!(handle.stats().stored, 0);
    assert_eq!(handle.stats().usage.entries, 0);
    // It is cached, in other words.
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(
            send(&app, plain("GET", "/page", &[]))
                .await
                .field("x-cache"),
            x_cache
        );
    }
}

#[tokio::test]
async fn inside_of_a_cached_router_nobody_shares_anothers_answer() {
    let (app, _) = reckless();
    let calls = (0..20).map(|caller| {
        let request = match caller % 2 {
            0 => authorized(Method::GET, "/admin/entries")
                .body(Body::empty())
                .unwrap(),
            _ => plain("GET", "/admin/entries", &[]),
        };
        let app = app.clone();
        tokio::spawn(async move { send(&app, request).await.status })
    });
    let calls: Vec<_> = calls.collect();
    for (caller, call) in calls.into_iter().enumerate() {
        let expected = if caller % 2 == 0 { 200 } else { 401 };
        assert_eq!(call.await.unwrap(), expected, "caller {caller}");
    }
}
