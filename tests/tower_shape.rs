//! How the layer fits among Tower's: it goes everywhere, calls the service that was found ready, and
//! leaves requests, responses and errors what they are.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request as AxumRequest};
use axum::routing::{any_service, get};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use support::{Answer, MINUTE, Origin, request, respond, settle};
use tokio::sync::Semaphore;
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_response_cache::{Cache, CacheBody, CacheLayer, Policy, Routes};

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

#[tokio::test]
async fn the_service_that_was_found_ready_is_the_one_that_is_called() {
    // The mock panics when a service is called that was not made ready.
    let (mock, mut handle) =
        tower_test::mock::pair::<Request<Empty<Bytes>>, Response<Full<Bytes>>>();
    let mut service = cache().layer(mock);
    handle.allow(0);
    let mut cx = Context::from_waker(futures_util::task::noop_waker_ref());
    assert!(service.poll_ready(&mut cx).is_pending(), "not before inner");
    for method in ["GET", "POST", "HEAD", "OPTIONS"] {
        handle.allow(1);
        service.ready().await.unwrap();
        let uri = format!("/{method}");
        let mut response = pin!(service.call(request(method, &uri, &[])));
        assert!(response.as_mut().poll(&mut cx).is_pending());
        let (_, send) = handle.next_request().await.unwrap();
        send.send_response(Response::new(Full::from("x")));
        assert_eq!(response.await.unwrap().status(), 200);
        // The one left behind has to be made ready again.
        assert!(service.poll_ready(&mut cx).is_pending());
    }
}

#[tokio::test]
async fn an_error_of_readiness_is_passed_on() {
    let (mock, mut handle) =
        tower_test::mock::pair::<Request<Empty<Bytes>>, Response<Full<Bytes>>>();
    let mut service = cache().layer(mock);
    handle.send_error("broken");
    let error = service.ready().await.expect_err("an error");
    assert_eq!(error.to_string(), "broken");
}

#[tokio::test]
async fn a_hit_gives_its_place_in_a_concurrency_limit_back() {
    let inner = ConcurrencyLimit::new(Origin::counting(), 1);
    let mut service = cache().layer(inner);
    let response = service
        .ready()
        .await
        .unwrap()
        .call(request("GET", "/", &[]));
    Answer::read(response.await.unwrap().map(BodyExt::boxed_unsync)).await;
    // Held, not even read: the hits take no place.
    let mut held = Vec::new();
    for _ in 0..10 {
        let ready = tokio::time::timeout(Duration::from_secs(5), service.ready()).await;
        let response = ready
            .expect("a place")
            .unwrap()
            .call(request("GET", "/", &[]));
        held.push(response.await.unwrap());
    }
    assert!(held.iter().all(|hit| hit.headers()["x-cache"] == "HIT"));
}

/// An origin that holds every answer until it is let go.
fn held() -> (Arc<Semaphore>, Origin) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |_, call| {
        let gate = held.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            respond(200, &[], call.to_string())
        }
    });
    (gate, origin)
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Asks for one path by ten callers at once, and for ten paths by one each.
async fn assert_all_are_answered<S, B>(service: S, gate: &Semaphore, same_path: bool) -> Vec<String>
where
    S: Service<support::TestRequest, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Boxed> + std::fmt::Debug,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<Boxed>> + Send + 'static,
{
    let mut tasks = Vec::new();
    for n in 0..10 {
        let service = service.clone();
        tasks.push(tokio::spawn(async move {
            let uri = if same_path {
                "/".to_owned()
            } else {
                format!("/{n}")
            };
            let response = service.oneshot(request("GET", &uri, &[])).await.unwrap();
            let response = response.map(|body| body.map_err(Into::into).boxed_unsync());
            Answer::read(response).await.x_cache().to_owned()
        }));
        settle().await;
    }
    gate.add_permits(100);
    let mut found = Vec::new();
    for task in tasks {
        let answer = tokio::time::timeout(Duration::from_secs(5), task).await;
        found.push(answer.expect("no deadlock").unwrap());
    }
    found
}

#[tokio::test]
async fn limits_and_buffers_inside_and_outside_let_every_request_through() {
    for same_path in [true, false] {
        let (gate, origin) = held();
        let inside = ServiceBuilder::new()
            .layer(cache())
            .layer(ConcurrencyLimitLayer::new(1))
            .service(origin);
        assert_all_are_answered(inside, &gate, same_path).await;

        let (gate, origin) = held();
        let outside = ServiceBuilder::new()
            .layer(ConcurrencyLimitLayer::new(2))
            .layer(cache())
            .service(origin);
        assert_all_are_answered(outside, &gate, same_path).await;

        let (gate, origin) = held();
        let buffered = ServiceBuilder::new()
            .layer(cache())
            .layer(BufferLayer::new(1))
            .layer(ConcurrencyLimitLayer::new(1))
            .service(origin);
        assert_all_are_answered(buffered, &gate, same_path).await;

        let (gate, origin) = held();
        let buffering = ServiceBuilder::new()
            .layer(BufferLayer::new(1))
            .layer(cache())
            .service(origin);
        assert_all_are_answered(buffering, &gate, same_path).await;
    }
}

#[tokio::test]
async fn shed_load_is_an_error_for_new_paths_and_none_for_what_is_stored_or_shared() {
    let (gate, origin) = held();
    let service = ServiceBuilder::new()
        .layer(cache())
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin);
    let leader = tokio::spawn(service.clone().oneshot(request("GET", "/", &[])));
    settle().await;
    let joiner = tokio::spawn(service.clone().oneshot(request("GET", "/", &[])));
    settle().await;
    let other = service.clone().oneshot(request("GET", "/other", &[])).await;
    let shed = other.expect_err("one at a time");
    assert!(shed.is::<tower::load_shed::error::Overloaded>(), "{shed}");
    gate.add_permits(1);
    for task in [leader, joiner] {
        let response = task.await.unwrap().unwrap();
        let answer = Answer::read(response.map(BodyExt::boxed_unsync)).await;
        assert_eq!(answer.text(), "1");
    }
    // Again the one place is taken; what is stored needs none.
    let busy = tokio::spawn(service.clone().oneshot(request("GET", "/busy", &[])));
    settle().await;
    let hit = service
        .clone()
        .oneshot(request("GET", "/", &[]))
        .await
        .unwrap();
    assert_eq!(hit.headers()["x-cache"], "HIT");
    gate.add_permits(1);
    assert!(busy.await.unwrap().is_ok());

    // Outside, it sees the inner readiness.
    let (_gate, origin) = held();
    let service = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(cache())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin);
    let busy = tokio::spawn(service.clone().oneshot(request("GET", "/", &[])));
    settle().await;
    assert!(service.oneshot(request("GET", "/", &[])).await.is_err());
    busy.abort();
}

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

#[tokio::test]
async fn a_panic_is_caught_outside_and_inside_and_leaves_the_cache_working() {
    let calls = Arc::new(AtomicUsize::new(0));
    let panics_once = {
        let calls = calls.clone();
        move || {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(call % 2 == 1, "the handler's own panic");
                "x"
            }
        }
    };
    let app = || Router::new().route("/", get(panics_once.clone()));
    for app in [
        app().layer(cache()).layer(CatchPanicLayer::new()),
        app().layer(CatchPanicLayer::new()).layer(cache()),
    ] {
        let [failed, stored] = get_twice(&app, "/").await;
        assert_eq!((failed.status.as_u16(), stored.x_cache()), (500, "MISS"));
        let [hit, _] = get_twice(&app, "/").await;
        assert_eq!((hit.x_cache(), hit.text()), ("HIT", "x"));
        calls.store(0, Ordering::SeqCst);
    }
}

async fn panics() -> &'static str {
    tokio::task::yield_now().await;
    panic!("the handler's own panic")
}

#[tokio::test]
async fn a_write_that_panics_evicts() {
    let app = Router::new()
        .route("/", get(|| async { "x" }).post(panics))
        .layer(cache())
        .layer(CatchPanicLayer::new());
    assert_caches(&app, "/").await;
    let write = Request::post("/").body(Body::empty()).unwrap();
    assert_eq!(ask_router(&app, write).await.status, 500);
    assert_caches(&app, "/").await;
}

/// Messages of panics that were seen in this process.
static PANICS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

#[tokio::test]
async fn a_journey_that_panicked_is_not_resumed_in_the_background() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default().to_owned();
        PANICS.lock().unwrap().push(message);
        before(info);
    }));
    let app = Router::new()
        .route("/", get(panics))
        .layer(cache())
        .layer(CatchPanicLayer::new());
    let failed = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(ask_router(&app, failed).await.status, 500);
    settle().await;
    let panics = PANICS.lock().unwrap();
    let resumed = panics.iter().find(|message| message.contains("resumed"));
    assert_eq!(resumed, None);
}

#[test]
fn a_runtime_that_shuts_down_amid_an_abandoned_body_shuts_down() {
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (send, body) = support::scripted();
        let body = Arc::new(std::sync::Mutex::new(Some(body)));
        runtime.block_on(async {
            let origin = Origin::new(move |_, _| {
                let body = body.lock().unwrap().take().unwrap();
                async move { support::respond_with(200, &[], body) }
            });
            let response = cache().layer(origin).oneshot(request("GET", "/", &[]));
            drop(response.await.unwrap());
            settle().await;
        });
        drop(runtime);
        assert!(send.is_closed(), "nobody reads it any more");
    }
}

#[tokio::test]
async fn without_a_runtime_of_tokios_a_miss_and_a_hit_are_answered() {
    std::thread::spawn(|| {
        futures_util::future::FutureExt::now_or_never(async {
            let service = cache().layer(Origin::counting());
            for expected in ["MISS", "HIT"] {
                let response = service.clone().oneshot(request("GET", "/", &[])).await;
                let response = response.unwrap().map(BodyExt::boxed_unsync);
                assert_eq!(Answer::read(response).await.x_cache(), expected);
            }
        })
        .expect("nothing to wait for")
    })
    .join()
    .unwrap();
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
