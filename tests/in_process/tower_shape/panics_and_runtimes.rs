//! Handlers that panic, and runtimes that shut down or are not tokio's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;

use super::{ask_router, assert_caches, cache, get_twice};
use crate::support::{self, Answer, Origin, request, settle};

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
