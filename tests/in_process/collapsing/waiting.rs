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
async fn one_of_those_who_have_waited_long_enough_makes_the_next_call() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().max_wait(3 * SECOND), gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    tokio::time::sleep(3 * SECOND - Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), 1);
    for calls in 2..5 {
        tokio::time::sleep(Duration::from_millis(4)).await;
        settle().await;
        assert_eq!(bench.origin.calls(), calls);
        tokio::time::sleep(3 * SECOND - Duration::from_millis(4)).await;
        assert_eq!(bench.origin.calls(), calls);
    }
    gate.open();
    all(callers).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_counts_from_the_beginning_of_the_call() {
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
    tokio::time::sleep(2 * SECOND).await;
    let fourth = bench.spawn(get("/a"));
    settle().await;
    assert_eq!(
        bench.origin.calls(),
        2,
        "the second call is two seconds old"
    );
    tokio::time::sleep(SECOND + Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), 3, "and now it is overdue");
    gate.open();
    all(vec![second, third, fourth]).await;
}

/// A handler whose first call hangs.
fn hanging_once(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |_, call| async move {
        if call == 1 {
            std::future::pending::<()>().await;
        }
        respond(200, fields, call.to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_delays_nobody_who_comes_when_it_is_overdue() {
    for fields in [&[][..], &[("cache-control", "no-store")]] {
        let bench = Bench::new(policy(), hanging_once(fields));
        let hung = bench.spawn(get("/a"));
        settle().await;
        tokio::time::sleep(300 * SECOND).await;
        for _ in 0..3 {
            let asked = tokio::time::Instant::now();
            bench.get("/a").await;
            assert!(asked.elapsed() < SECOND, "{fields:?}");
            tokio::time::sleep(30 * SECOND).await;
        }
        hung.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_slow_handler_take_the_answer_that_comes_first() {
    for (seconds, calls) in [(12, 2), (35, 4)] {
        let origin = Origin::new(move |_, call| async move {
            tokio::time::sleep(seconds * SECOND).await;
            respond(200, &[], call.to_string())
        });
        let bench = Bench::new(policy(), origin);
        let asked = tokio::time::Instant::now();
        let callers = (0..1000).map(|_| {
            let answer = bench.spawn(get("/a"));
            tokio::spawn(async move { (answer.await.unwrap(), asked.elapsed()) })
        });
        let answers = all(callers.collect()).await;
        let first = (answers.iter())
            .filter(|(answer, took)| answer.text() == "1" && *took < (seconds + 1) * SECOND);
        assert_eq!(first.count(), 1001 - calls);
        assert_eq!(bench.origin.calls(), calls);
    }
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
