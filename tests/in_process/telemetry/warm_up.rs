//! Filling the cache before anybody asks.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower::{Layer, service_fn};
use tower_response_cache::{CacheDirective, Policy, WarmUp};

use super::{bench, gated, shop};
use crate::support::{
    Bench, Gate, MINUTE, Origin, TestRequest, chunk, request, respond, respond_with, scripted,
    settle,
};

fn counts(warmed: WarmUp) -> (u64, u64, u64, u64) {
    (
        warmed.requests,
        warmed.stored,
        warmed.not_stored,
        warmed.failed,
    )
}

fn products(numbers: impl Iterator<Item = usize>) -> Vec<TestRequest> {
    let uri = |n| format!("/products/{n}");
    numbers.map(|n| request("GET", &uri(n), &[])).collect()
}

#[tokio::test]
async fn what_was_warmed_up_is_a_hit() {
    let bench = bench();
    bench.get("/products/3").await;
    let requests = products(0..30);
    let warmed = bench.handle.warm_up(bench.service.clone(), requests).await;
    assert_eq!(counts(warmed), (30, 30, 0, 0));
    assert_eq!(bench.origin.calls(), 30);
    for n in 0..30 {
        assert_eq!(bench.get(&format!("/products/{n}")).await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_told_apart_from_what_fails() {
    let origin = Origin::new(|request, _| async move {
        match request.uri().path() {
            "/products/1" => {
                let mut response = respond(200, &[], "x");
                response.extensions_mut().insert(CacheDirective::no_store());
                response
            }
            "/products/2" => {
                let (send, body) = scripted();
                send.send(chunk("a part")).unwrap();
                send.send(Err("lost".into())).unwrap();
                respond_with(200, &[], body)
            }
            "/products/3" => panic!("a handler's mistake"),
            "/products/4" => respond(500, &[], "x"),
            _ => respond(200, &[], "x"),
        }
    });
    let bench = Bench::with_builder(shop(), origin);
    let mut requests = products(0..5);
    requests.push(request("GET", "/me", &[]));
    requests.push(request("GET", "/search", &[]));
    let warmed = bench.handle.warm_up(bench.service.clone(), requests).await;
    assert_eq!(counts(warmed), (7, 2, 3, 2));
}

#[tokio::test]
async fn a_service_under_a_policy_of_its_own_is_warmed_up_too() {
    let bench = bench();
    let layer = bench.handle.layer(Policy::ttl(MINUTE)).unwrap();
    let service = layer.layer(Origin::counting());
    let requests = [request("GET", "/report", &[])];
    let warmed = bench.handle.warm_up(service, requests).await;
    assert_eq!(counts(warmed), (1, 1, 0, 0));
}

#[tokio::test]
async fn a_service_that_is_not_wrapped_stores_nothing() {
    let bench = bench();
    let warmed = bench
        .handle
        .warm_up(Origin::counting(), products(0..3))
        .await;
    assert_eq!(counts(warmed), (3, 0, 3, 0));
}

#[tokio::test]
async fn only_eight_requests_are_under_way_at_once() {
    let gate = Gate::shut();
    let bench = Bench::with_builder(shop(), gated(&gate));
    let (handle, service) = (bench.handle.clone(), bench.service.clone());
    let warming = tokio::spawn(async move { handle.warm_up(service, products(0..20)).await });
    settle().await;
    assert_eq!(bench.origin.calls(), 8);
    gate.open_for_one();
    settle().await;
    assert_eq!(bench.origin.calls(), 9);
    gate.open();
    assert_eq!(counts(warming.await.unwrap()), (20, 20, 0, 0));
}

#[tokio::test]
async fn a_warm_up_that_is_dropped_makes_no_more_requests() {
    let gate = Gate::shut();
    let bench = Bench::with_builder(shop(), gated(&gate));
    let (handle, service) = (bench.handle.clone(), bench.service.clone());
    let warming = tokio::spawn(async move { handle.warm_up(service, products(0..20)).await });
    settle().await;
    warming.abort();
    gate.open();
    settle().await;
    assert_eq!(bench.origin.calls(), 8);
}

#[tokio::test]
async fn a_service_that_fails_is_counted() {
    let bench = bench();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let fails = service_fn(move |_: TestRequest| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Err::<http::Response<crate::support::TestBody>, _>("broken") }
    });
    let warmed = bench.handle.warm_up(fails, products(0..3)).await;
    assert_eq!(counts(warmed), (3, 0, 0, 3));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let none: [TestRequest; 0] = [];
    let service = service_fn(|_: TestRequest| async { Ok::<_, Infallible>(respond(200, &[], "")) });
    assert_eq!(
        counts(bench.handle.warm_up(service, none).await),
        (0, 0, 0, 0)
    );
}
