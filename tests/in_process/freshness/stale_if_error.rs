//! When a stale response stands in for an error.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheLayer, Policy, Routes};

use crate::support::{Answer, Bench, MINUTE, Origin, TestRequest, request, respond, seconds};

/// Answers with these statuses in turn, the last of them for good.
fn statuses(statuses: &'static [u16]) -> Origin {
    Origin::new(move |_, call| async move {
        let status = statuses[(call - 1).min(statuses.len() - 1)];
        respond(status, &[], call.to_string())
    })
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_error_within_its_window() {
    for status in [500, 502, 503, 504] {
        let origin = Origin::new(move |_, call| async move {
            respond(if call == 1 { 200 } else { status }, &[], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(seconds(30)), origin);
        bench.get("/").await;
        bench.clock.advance(seconds(89));
        let stale = bench.get("/").await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"), "{status}");
        assert_eq!((stale.status.as_u16(), stale.field("age")), (200, "89"));
        bench.clock.advance(seconds(1));
        let failed = bench.get("/").await;
        assert_eq!(failed.status.as_u16(), status);
    }
}

#[tokio::test]
async fn other_errors_and_no_window_are_passed_on() {
    for status in [400, 401, 403, 404, 410, 429, 501, 505] {
        let origin = Origin::new(move |_, call| async move {
            respond(if call == 1 { 200 } else { status }, &[], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(MINUTE), origin);
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        assert_eq!(bench.get("/").await.status.as_u16(), status);
    }
    let bench = Bench::new(Policy::ttl(MINUTE), statuses(&[200, 503]));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.get("/").await.status, 503);
}

#[tokio::test]
async fn where_the_origin_decides_errors_are_covered_for_an_hour_unless_switched_off() {
    for (policy, advance, expected) in [
        (Policy::origin_decides(), 60 + 3599, 200),
        (Policy::origin_decides(), 60 + 3600, 503),
        (
            Policy::origin_decides().stale_if_error(Duration::ZERO),
            61,
            503,
        ),
    ] {
        let origin = Origin::new(|_, call| async move {
            let status = if call == 1 { 200 } else { 503 };
            respond(status, &[("cache-control", "max-age=60")], "")
        });
        let bench = Bench::new(policy, origin);
        bench.get("/").await;
        bench.clock.advance(seconds(advance));
        assert_eq!(bench.get("/").await.status.as_u16(), expected);
    }
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_inner_services_error() {
    let layer = |policy| {
        let clock = tower_response_cache::testing::ManualClock::new();
        let layer = CacheLayer::builder()
            .routes(Routes::new().otherwise(policy))
            .clock(clock.clock())
            .build()
            .unwrap();
        (clock, layer)
    };
    for (policy, expected) in [
        (Policy::ttl(MINUTE).stale_if_error(MINUTE), Ok("STALE")),
        (Policy::ttl(MINUTE), Err("down")),
    ] {
        let (clock, layer) = layer(policy);
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let service = layer.layer(tower::service_fn(move |_: TestRequest| {
            let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                match call {
                    0 => Ok(respond(200, &[], "stored")),
                    _ => Err("down"),
                }
            }
        }));
        let first = service.clone().oneshot(request("GET", "/", &[])).await;
        Answer::read(first.unwrap().map(BodyExt::boxed_unsync)).await;
        clock.advance(MINUTE);
        let answer = service.oneshot(request("GET", "/", &[])).await;
        let found = answer.map(|answer| answer.headers()["x-cache"].to_str().unwrap().to_owned());
        assert_eq!(found.as_deref().map_err(|error| *error), expected);
    }
}

#[tokio::test]
async fn an_invalidated_response_is_not_served_stale_whatever_the_windows() {
    let policy = Policy::ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .stale_if_error(MINUTE);
    for advance in [0, 61] {
        let bench = Bench::new(policy.clone(), statuses(&[200, 503]));
        bench.get("/").await;
        bench.handle.invalidate_uri("/").await.unwrap();
        bench.clock.advance(seconds(advance));
        assert_eq!(bench.get("/").await.status, 503);
    }
}
