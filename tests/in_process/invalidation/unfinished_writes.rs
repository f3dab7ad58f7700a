//! Writes whose end nobody sees.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http_body_util::BodyExt;
use tower::timeout::Timeout;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::{CacheLayer, Evict, OriginUnreachable, Routes};

use super::{Data, get, policy, put, text, warm};
use crate::support::{Bench, Origin, TestRequest, request, respond, settle};

/// Polls a request `polls` times and drops it.
fn poll_and_drop(bench: &Bench, request: TestRequest, polls: usize) -> bool {
    let mut future = pin!(bench.service.clone().oneshot(request));
    let mut cx = Context::from_waker(Waker::noop());
    (0..polls).any(|_| future.as_mut().poll(&mut cx).is_ready())
}

/// An origin whose writes wait several times before and after they write.
fn hesitating(data: &Data) -> Origin {
    let data = data.clone();
    Origin::new(move |request, _| {
        let data = data.clone();
        async move {
            if request.method() == "GET" {
                return data.answer(request).await;
            }
            for step in 0..6 {
                tokio::task::yield_now().await;
                if step == 3 {
                    data.write("/a");
                }
            }
            respond(200, &[], "")
        }
    })
}

#[tokio::test]
async fn a_client_that_leaves_at_any_moment_of_a_write_still_evicts() {
    for polls in 0.. {
        let data = Data::default();
        let bench = Bench::new(policy(), hesitating(&data));
        warm(&bench, &["/a"]).await;
        let ended = poll_and_drop(&bench, put("/a"), polls);
        let next = bench.get("/a").await;
        assert_eq!(next.text(), data.version("/a").to_string(), "{polls} polls");
        let called = bench.origin.calls() > if polls == 0 { 2 } else { 1 };
        assert_eq!(next.x_cache(), if called { "MISS" } else { "HIT" });
        if ended {
            assert!(polls > 6);
            break;
        }
    }
}

#[tokio::test]
async fn a_fill_that_runs_beside_a_write_whose_client_left_is_not_used() {
    let data = Data::default();
    let bench = Bench::new(policy(), hesitating(&data));
    let read = bench.spawn(request("GET", "/a", &[("x-gate", "read")]));
    settle().await;
    assert!(!poll_and_drop(&bench, put("/a"), 5));
    data.gate("read").open();
    assert_eq!(text(read).await, "0");
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test]
async fn a_handler_that_panics_after_it_wrote_evicts() {
    let data = Data::default();
    let origin = {
        let data = data.clone();
        Origin::new(move |request, _| {
            let data = data.clone();
            async move {
                if request.method() == "PUT" {
                    data.write("/a");
                    tokio::task::yield_now().await;
                    panic!("after the commit");
                }
                data.answer(request).await
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    warm(&bench, &["/a"]).await;
    assert!(bench.spawn(put("/a")).await.unwrap_err().is_panic());
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test]
async fn a_handler_that_panics_before_it_awaits_anything_evicts() {
    let data = Data::default();
    let service = {
        let data = data.clone();
        service_fn(move |request: TestRequest| {
            let writes = request.method() == "PUT";
            if writes {
                data.write("/a");
                panic!("in `call` itself");
            }
            let answer = data.clone().answer(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        })
    };
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy()))
        .build()
        .unwrap();
    let service = layer.layer(service);
    let ask = |request| tokio::spawn(service.clone().oneshot(request));
    ask(get("/a"))
        .await
        .unwrap()
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert!(ask(put("/a")).await.unwrap_err().is_panic());
    let next = ask(get("/a")).await.unwrap().unwrap();
    assert_eq!(next.headers()["x-cache"], "MISS");
}

#[tokio::test]
async fn an_error_of_the_inner_service_evicts() {
    let service = service_fn(|request: TestRequest| async move {
        match request.method().as_str() {
            "PUT" => Err("the connection broke"),
            _ => Ok(respond(200, &[], "")),
        }
    });
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy()))
        .build()
        .unwrap();
    let service = layer.layer(service);
    let ask = |request| service.clone().oneshot(request);
    for expected in ["MISS", "HIT"] {
        let response = ask(get("/a")).await.unwrap();
        assert_eq!(response.headers()["x-cache"], expected);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(ask(put("/a")).await.unwrap_err(), "the connection broke");
    assert_eq!(ask(get("/a")).await.unwrap().headers()["x-cache"], "MISS");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_timeout_outside_cuts_short_evicts() {
    let data = Data::default();
    let bench = data.bench(policy());
    warm(&bench, &["/a"]).await;
    let impatient = Timeout::new(bench.service.clone(), Duration::from_secs(1));
    let written = impatient.oneshot(request("PUT", "/a", &[("x-gate", "never")]));
    assert!(written.await.is_err());
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
}

/// An origin whose writes are answered by something in its stead, with this status.
fn unseen(data: &Data, status: u16, unreachable: bool) -> Origin {
    let data = data.clone();
    Origin::new(move |request, _| {
        let data = data.clone();
        async move {
            if request.method() == "GET" {
                return data.answer(request).await;
            }
            data.write("/a");
            let mut response = respond(status, &[], "");
            if unreachable {
                response.extensions_mut().insert(OriginUnreachable);
            }
            response
        }
    })
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_counts_as_made_in_one_phase_or_two() {
    let rule = || Evict::pattern("/list");
    for evict in [rule(), rule().two_phase()] {
        for (status, unreachable) in [
            (502, true),
            (504, true),
            (400, true),
            (502, false),
            (504, false),
        ] {
            let routes = || {
                Routes::new()
                    .otherwise(policy())
                    .on_write("/a", evict.clone())
            };
            let data = Data::default();
            let bench = Bench::with_routes(routes(), unseen(&data, status, unreachable));
            warm(&bench, &["/a", "/list"]).await;
            assert_eq!(bench.ask(put("/a")).await.status.as_u16(), status);
            // What a status alone says is the origin's own word: that it failed.
            let (outcome, version) = if unreachable {
                ("MISS", "1")
            } else {
                ("HIT", "0")
            };
            let next = bench.get("/a").await;
            assert_eq!(
                (next.x_cache(), next.text()),
                (outcome, version),
                "{status}"
            );
            assert_eq!(bench.get("/list").await.x_cache(), outcome, "{status}");
        }
    }
}
