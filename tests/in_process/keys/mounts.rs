//! Cached routers that are nested under several prefixes.

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_response_cache::{CacheLayer, Policy, Routes};

use crate::support::{Answer, MINUTE};

async fn where_am_i(OriginalUri(uri): OriginalUri) -> String {
    uri.to_string()
}

async fn ask_axum(app: &Router, uri: &str) -> (String, String) {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let answer = Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await;
    (answer.x_cache().to_owned(), answer.text().to_owned())
}

async fn assert_mounts_are_apart(app: Router) {
    for expected in ["MISS", "HIT"] {
        for uri in ["/v1/items/7", "/v2/items/7"] {
            assert_eq!(
                ask_axum(&app, uri).await,
                (expected.to_owned(), uri.to_owned())
            );
        }
    }
}

#[tokio::test]
async fn two_mounts_of_one_cached_router_are_kept_apart() {
    let cache = CacheLayer::builder()
        .routes(Routes::new().route("/{version}/items/{id}", Policy::ttl(MINUTE)))
        .build()
        .unwrap();
    let items = Router::new()
        .route("/items/{id}", get(where_am_i))
        .layer(cache);
    assert_mounts_are_apart(Router::new().nest("/v1", items.clone()).nest("/v2", items)).await;
}

#[tokio::test]
async fn two_mounts_of_one_cached_service_or_method_router_are_kept_apart() {
    let minute = || {
        let handle = CacheLayer::builder().build().unwrap().handle();
        handle.layer(Policy::ttl(MINUTE)).unwrap()
    };
    let items = Router::new().route("/items/{id}", get(where_am_i).layer(minute()));
    assert_mounts_are_apart(
        Router::new()
            .nest("/v1", items.clone())
            .nest_service("/v2", items),
    )
    .await;
    let items = Router::new()
        .route("/{id}", get(where_am_i))
        .layer(minute());
    let items = Router::new().nest("/items", items);
    assert_mounts_are_apart(Router::new().nest("/v1", items.clone()).nest("/v2", items)).await;
}

#[tokio::test]
async fn a_write_through_a_nested_router_evicts_under_its_own_prefix() {
    let cache = CacheLayer::builder()
        .routes(Routes::new().route("/{version}/items/{id}", Policy::ttl(MINUTE)))
        .build()
        .unwrap();
    let items = Router::new()
        .route("/items/{id}", get(where_am_i).put(async || ()))
        .layer(cache);
    let app = Router::new().nest("/v1", items.clone()).nest("/v2", items);
    for uri in ["/v1/items/7", "/v2/items/7"] {
        ask_axum(&app, uri).await;
    }
    let write = Request::put("/v1/items/7").body(Body::empty()).unwrap();
    app.clone().oneshot(write).await.unwrap();
    assert_eq!(ask_axum(&app, "/v1/items/7").await.0, "MISS");
    assert_eq!(ask_axum(&app, "/v2/items/7").await.0, "HIT");
}
