//! Readiness, limits, buffers and load that is shed.

use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::Semaphore;
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::cache;
use crate::support::{self, Answer, Origin, request, respond, settle};

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
