//! For how long anyone waits, and that who waits takes nobody's place.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::{CacheLayer, Routes};

use super::{CALLERS, SECOND, all, gated, get, policy, spawn_many};
use crate::support::{Answer, Bench, Gate, Origin, TestBody, TestRequest, respond, settle};

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_goes_alone() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().max_wait(3 * SECOND), gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    tokio::time::sleep(3 * SECOND - Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), 1);
    tokio::time::sleep(Duration::from_millis(4)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), CALLERS);
    gate.open();
    all(callers).await;
}

#[tokio::test(start_paused = true)]
async fn the_bound_on_waiting_covers_one_leader_after_another() {
    let gate = Gate::shut();
    let policy = policy().max_wait(3 * SECOND).stop_when_abandoned();
    let bench = Bench::new(policy, gated(&gate));
    let first = bench.spawn(get("/a"));
    settle().await;
    let second = bench.spawn(get("/a"));
    settle().await;
    let third = bench.spawn(get("/a"));
    settle().await;
    tokio::time::sleep(2 * SECOND).await;
    first.abort();
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    tokio::time::sleep(SECOND + Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), 3);
    gate.open();
    all(vec![second, third]).await;
}

fn layer() -> CacheLayer {
    let routes = Routes::new().otherwise(policy());
    CacheLayer::builder().routes(routes).build().unwrap()
}

/// Sends so many requests at once and waits for all.
async fn stampede<S>(service: S, count: usize) -> Vec<Answer>
where
    S: Service<TestRequest, Response = Response<tower_response_cache::CacheBody<TestBody>>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    S::Error: std::fmt::Debug + Send,
{
    let callers = (0..count).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            let response = service.oneshot(get("/a")).await.unwrap();
            Answer::read(response.map(BodyExt::boxed_unsync)).await
        })
    });
    all(callers.collect()).await
}

fn slow(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |_, call| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        respond(200, fields, call.to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn joiners_give_back_their_places_in_a_concurrency_limit() {
    let origin = slow(&[]);
    let service = layer().layer(ConcurrencyLimit::new(origin.clone(), 2));
    let answers = stampede(service, 100).await;
    assert!(answers.iter().all(|answer| answer.text() == "1"));
    assert_eq!(origin.calls(), 1);

    let origin = slow(&[("set-cookie", "a=b")]);
    let service = layer().layer(ConcurrencyLimit::new(origin.clone(), 2));
    stampede(service, 100).await;
    assert_eq!(origin.calls(), 100);
}

#[tokio::test(start_paused = true)]
async fn joiners_give_back_their_places_in_a_buffer() {
    for fields in [&[][..], &[("set-cookie", "a=b")]] {
        let origin = slow(fields);
        let service = layer().layer(Buffer::new(origin.clone(), 2));
        let answers = stampede(service, 100).await;
        assert_eq!(answers.len(), 100);
        assert_eq!(origin.calls(), if fields.is_empty() { 1 } else { 100 });
    }
}

#[tokio::test(start_paused = true)]
async fn caches_of_one_handle_inside_each_other_do_not_wait_for_each_other() {
    let origin = slow(&[]);
    let outer = layer();
    let inner = outer.handle().layer(policy()).unwrap();
    let inner = inner
        .layer(origin.clone())
        .map_response(|response| response.map(|body| body.boxed_unsync()));
    let answers = stampede(outer.layer(inner), 100).await;
    assert!(answers.iter().all(|answer| answer.text() == "1"));
    assert_eq!(origin.calls(), 1);
}
