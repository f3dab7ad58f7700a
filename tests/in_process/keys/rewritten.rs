//! Requests whose path or query a layer rewrites before the cache: what the handler is shown is keyed.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_response_cache::{CacheHandle, CacheLayer, Policy, Routes};

use crate::support::{Answer, MINUTE};

/// Takes the URI that the cache and the handler are shown from a header, if it names one.
async fn rewrite(mut request: Request, next: Next) -> Response {
    if let Some(shown) = request.headers().get("x-shown") {
        *request.uri_mut() = shown.to_str().unwrap().parse().unwrap();
    }
    next.run(request).await
}

fn app(policy: Policy) -> (Router, CacheHandle) {
    let routes = Routes::new().otherwise(policy);
    let cache = CacheLayer::builder().routes(routes).build().unwrap();
    let handle = cache.handle();
    let show = get(|request: Request| async move { request.uri().to_string() });
    let router = Router::new()
        .route("/{page}", show)
        .layer(cache)
        .layer(from_fn(rewrite));
    (router, handle)
}

async fn ask(app: &Router, uri: &str, shown: &str) -> (String, String) {
    let request = Request::get(uri).header("x-shown", shown);
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let answer = Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await;
    (answer.x_cache().to_owned(), answer.text().to_owned())
}

#[tokio::test]
async fn a_rewritten_path_or_query_is_part_of_the_key() {
    let (app, handle) = app(Policy::ttl(MINUTE));
    let all = ["/p", "/p?lang=de", "/p?lang=en", "/q", "/q?lang=de", "/p?"];
    for outcome in ["MISS", "HIT"] {
        for shown in all {
            let expected = (outcome.to_owned(), shown.to_owned());
            assert_eq!(ask(&app, "/p", shown).await, expected);
        }
    }
    // The client's URI is the one that invalidations mean.
    handle.invalidate_uri("/p").await.unwrap();
    for shown in all {
        assert_eq!(ask(&app, "/p", shown).await.0, "MISS");
    }
}

#[tokio::test]
async fn the_rule_of_the_route_holds_for_a_rewritten_query_too() {
    let (app, _) = app(Policy::ttl(MINUTE).ignore_query(["utm"]));
    assert_eq!(ask(&app, "/p?id=1&utm=x", "/p?id=1&utm=x").await.0, "MISS");
    for shown in ["/p?id=1", "/p?utm=y&id=1"] {
        assert_eq!(ask(&app, "/p?id=1&utm=z", shown).await.0, "HIT", "{shown}");
    }
    assert_eq!(ask(&app, "/p?id=1", "/p?id=1&lang=de").await.0, "MISS");
    let again = ask(&app, "/p?utm=x&id=1", "/p?utm=y&id=1&lang=de").await;
    assert_eq!(again.0, "HIT");
    assert_eq!(ask(&app, "/p?id=1", "/p?id=1&lang=en").await.0, "MISS");
}
