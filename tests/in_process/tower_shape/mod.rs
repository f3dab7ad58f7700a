//! How the layer fits among Tower's: it goes everywhere, calls the service that was found ready, and
//! leaves requests, responses and errors what they are.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod panics_and_runtimes;
mod readiness;
mod stacks;
mod untouched;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_response_cache::{CacheLayer, Policy, Routes};

use crate::support::{Answer, MINUTE};

fn cache() -> CacheLayer {
    cache_with(Policy::ttl(MINUTE))
}

fn cache_with(policy: Policy) -> CacheLayer {
    CacheLayer::builder()
        .routes(Routes::new().otherwise(policy))
        .build()
        .unwrap()
}

async fn ask_router(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await
}

async fn get_twice(app: &Router, uri: &str) -> [Answer; 2] {
    let request = || Request::get(uri).body(Body::empty()).unwrap();
    [
        ask_router(app, request()).await,
        ask_router(app, request()).await,
    ]
}

async fn assert_caches(app: &Router, uri: &str) {
    let [miss, hit] = get_twice(app, uri).await;
    assert_eq!((miss.x_cache(), hit.x_cache()), ("MISS", "HIT"));
    assert_eq!(miss.body, hit.body);
    assert!(!hit.body.is_empty());
}
