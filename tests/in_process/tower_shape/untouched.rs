//! Requests, responses and errors stay what they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Path, Request as AxumRequest};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_response_cache::Policy;

use super::{ask_router, cache};
use crate::support::{self, MINUTE, Origin, request, respond, settle};

#[derive(Clone, Debug, PartialEq)]
struct Marked(u32);

#[tokio::test]
async fn extensions_captures_fields_and_content_reach_the_handler_untouched() {
    async fn shown(
        Extension(marked): Extension<Marked>,
        Path((kind, id)): Path<(String, u32)>,
        matched: axum::extract::MatchedPath,
        request: AxumRequest,
    ) -> String {
        let matched = matched.as_str().to_owned();
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().map_or(0, http::HeaderMap::len);
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let field = head.headers.get_all("x-field").iter().count();
        let version = head.version;
        format!(
            "{} {} {version:?} {marked:?} {kind} {id} {matched} {field} {body} {trailers}",
            head.method, head.uri
        )
    }
    let app = Router::new()
        .route("/{kind}/{id}", get(shown).post(shown).options(shown))
        .layer(cache())
        .layer(Extension(Marked(7)));
    for (method, content) in [
        ("GET", ""),
        ("GET", "fat"),
        ("POST", "content"),
        ("OPTIONS", ""),
    ] {
        let request = Request::builder()
            .method(method)
            .uri("/things/9?q=1")
            .header("x-field", "1")
            .header("x-field", "2")
            .body(Body::from(content))
            .unwrap();
        let answer = ask_router(&app, request).await;
        let expected = format!(
            "{method} /things/9?q=1 HTTP/1.1 Marked(7) things 9 /{{kind}}/{{id}} 2 {content} 0"
        );
        assert_eq!(answer.text(), expected);
    }
}

#[tokio::test]
async fn the_request_of_a_miss_is_the_clients_but_for_conditions() {
    let bench = support::Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let sent = [
        ("accept", "text/plain"),
        ("cache-control", "max-age=0"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("if-none-match", "\"a\""),
    ];
    bench.get_with("/", &sent).await;
    let mut expected = request("GET", "/", &sent).headers().clone();
    expected.remove("if-none-match");
    assert_eq!(bench.origin.seen(), [expected]);
}

#[tokio::test]
async fn extensions_of_the_response_reach_the_caller() {
    let service = cache().layer(service_fn(|_: support::TestRequest| async {
        let mut response = respond(200, &[], "x");
        response.extensions_mut().insert(Marked(1));
        Ok::<_, Infallible>(response)
    }));
    for method in ["GET", "POST"] {
        let response = service.clone().oneshot(request(method, "/", &[])).await;
        let response = response.unwrap();
        assert_eq!(response.extensions().get(), Some(&Marked(1)), "{method}");
    }
}

/// An error that is nobody's but the inner service's.
#[derive(Debug, PartialEq)]
struct Own(u32);

#[tokio::test]
async fn the_error_is_the_inner_services_own() {
    let service = cache().layer(service_fn(|_: support::TestRequest| async {
        Err::<Response<Full<Bytes>>, _>(Own(5))
    }));
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        let answer = service.clone().oneshot(request(method, "/", &[])).await;
        assert_eq!(answer.err(), Some(Own(5)), "{method}");
    }
    // Neither Clone nor Sync is asked of it, nor that it be an error at all.
    fn error_of<S: Service<support::TestRequest, Error = Own>>(_: &S) {}
    error_of(&service);
}

#[tokio::test]
async fn a_failed_leader_fails_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let (held, calls) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let service = cache().layer(service_fn(move |_: support::TestRequest| {
        let (gate, call) = (held.clone(), calls.fetch_add(1, Ordering::SeqCst));
        async move {
            gate.acquire().await.unwrap().forget();
            match call {
                0 => Err(Own(0)),
                _ => Ok(respond(200, &[], "x")),
            }
        }
    }));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(tokio::spawn(service.clone().oneshot(request(
            "GET",
            "/",
            &[],
        ))));
        settle().await;
    }
    gate.add_permits(100);
    let mut failed = 0;
    for task in tasks {
        failed += usize::from(task.await.unwrap().is_err());
    }
    assert_eq!(failed, 1);
}
