//! Where the layer goes: routers, method routers, handlers, stacks and plain hyper.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as AxumRequest;
use axum::routing::{any_service, get};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_response_cache::{Cache, CacheBody, CacheLayer, Policy, Routes};

use super::{ask_router, assert_caches, cache, get_twice};
use crate::support::{Answer, MINUTE, Origin, request};

#[tokio::test]
async fn a_router_takes_the_layer_without_an_error_handler() {
    let app = Router::new()
        .route("/", get(|| async { "x" }))
        .layer(cache());
    assert_caches(&app, "/").await;
    // With a state, a fallback, and beneath the routing.
    let app = Router::new()
        .route("/", get(|| async { "x" }))
        .fallback(|| async { "nothing" })
        .route_layer(cache())
        .with_state(());
    assert_caches(&app, "/").await;
    let [first, second] = get_twice(&app, "/unknown").await;
    assert_eq!(first.x_cache(), "(absent)");
    assert_eq!(second.text(), "nothing");
}

#[tokio::test]
async fn method_routers_and_handles_take_it_too() {
    let layer = cache();
    let handle = layer.handle();
    let minute = handle.layer(Policy::ttl(MINUTE)).unwrap();
    let app = Router::new()
        .route("/a", get(|| async { "a" }).layer(layer))
        .route("/b", get(|| async { "b" }).put(async || ()).layer(minute))
        .route(
            "/c",
            any_service(service_fn(|_: AxumRequest| async {
                Ok::<_, Infallible>(Response::new(Body::from("c")))
            }))
            .layer(handle.layer(Policy::bypass()).unwrap()),
        );
    assert_caches(&app, "/a").await;
    assert_caches(&app, "/b").await;
    let write = Request::put("/b").body(Body::empty()).unwrap();
    ask_router(&app, write).await;
    assert_caches(&app, "/b").await;
    let [first, second] = get_twice(&app, "/c").await;
    assert_eq!((first.x_cache(), second.x_cache()), ("BYPASS", "BYPASS"));
    assert_eq!(handle.stats().hits, 3);
}

#[tokio::test]
async fn a_policy_for_one_layer_cannot_tag_by_captures_it_does_not_have() {
    let handle = cache().handle();
    let error = handle.layer(Policy::ttl(MINUTE).tag("user:{id}"));
    let error = error.expect_err("there is no template").to_string();
    assert!(error.contains("id"), "{error}");
}

#[tokio::test]
async fn it_stands_in_a_stack_with_the_usual_layers() {
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(CatchPanicLayer::new())
        .layer(cache())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(1),
        ));
    let app = Router::new().route("/", get(|| async { "x" })).layer(stack);
    assert_caches(&app, "/").await;
    // And over a service of any kind, cloned or boxed.
    let service = ServiceBuilder::new()
        .layer(cache())
        .service(Origin::counting());
    let boxed = BoxCloneSyncService::new(service);
    for expected in ["MISS", "HIT"] {
        let response = boxed
            .clone()
            .oneshot(request("GET", "/", &[]))
            .await
            .unwrap();
        assert_eq!(response.headers()["x-cache"], expected);
        let read = Answer::read(response.map(BodyExt::boxed_unsync)).await;
        assert_eq!(read.text(), "1");
    }
}

#[tokio::test]
async fn one_cache_inside_another_does_not_wait_for_itself() {
    let layer = cache();
    let app = Router::new()
        .route("/", get(|| async { "x" }).layer(layer.clone()))
        .layer(layer);
    let answers = tokio::time::timeout(Duration::from_secs(5), get_twice(&app, "/")).await;
    let [first, second] = answers.expect("no deadlock");
    assert_eq!((first.text(), second.x_cache()), ("x", "HIT"));
}

#[tokio::test]
async fn a_plain_hyper_service_serves_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = cache().layer(service_fn(
        move |request: Request<hyper::body::Incoming>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let content = request.into_body().collect().await.unwrap().to_bytes();
                let content = if content.is_empty() {
                    "x".into()
                } else {
                    content
                };
                Ok::<_, Infallible>(Response::new(Full::new(content)))
            }
        },
    ));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let ask = async |method: Method, content: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}/"))
            .body(Full::new(Bytes::from(content)))
            .unwrap();
        let response = client.request(request).await.unwrap();
        Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await
    };
    let miss = ask(Method::GET, "").await;
    assert_eq!((miss.x_cache(), miss.text()), ("MISS", "x"));
    let hit = ask(Method::GET, "").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "x"));
    let head = ask(Method::HEAD, "").await;
    assert_eq!((head.x_cache(), head.field("content-length")), ("HIT", "1"));
    let fat = ask(Method::GET, "fat").await;
    assert_eq!((fat.x_cache(), fat.text()), ("BYPASS", "fat"));
    let post = ask(Method::POST, "written").await;
    assert_eq!((post.x_cache(), post.text()), ("BYPASS", "written"));
    assert_eq!(ask(Method::GET, "").await.x_cache(), "MISS");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    server.abort();
}

#[test]
fn types_are_what_servers_ask_for() {
    fn is<T: Send + Sync + Clone + std::fmt::Debug + 'static>() {}
    is::<CacheLayer>();
    is::<tower_response_cache::CacheHandle>();
    is::<Policy>();
    is::<Routes>();
    fn service<S>()
    where
        S: Service<Request<Body>, Response = Response<CacheBody<Body>>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
    }
    service::<Cache<axum::routing::Route>>();
    fn body<B: http_body::Body<Data = Bytes> + Send + 'static>() {}
    body::<CacheBody<Body>>();
}
