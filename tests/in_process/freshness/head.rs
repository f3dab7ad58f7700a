//! HEAD beside GET.

use std::sync::Arc;
use std::time::Duration;

use tower_response_cache::Policy;

use super::Fields;
use crate::support::{Bench, MINUTE, Origin, request, respond, settle};

#[tokio::test]
async fn head_is_answered_from_get() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(&[("x-a", "1")]));
    bench.get("/").await;
    let head = bench.ask(request("HEAD", "/", &[])).await;
    assert_eq!((head.x_cache(), head.field("x-a")), ("HIT", "1"));
    assert_eq!((head.field("content-length"), head.text()), ("1", ""));
    assert_eq!(bench.origin.calls(), 1);
}

/// An origin whose HEAD has a head and no body, as routers make it.
fn with_head(fields: Fields) -> Origin {
    Origin::new(move |request, call| async move {
        let body = match request.method().as_str() {
            "HEAD" => String::new(),
            _ => call.to_string(),
        };
        respond(200, fields, body)
    })
}

#[tokio::test]
async fn head_never_poisons_get() {
    for fields in [
        &[][..],
        &[("content-length", "0")],
        &[("content-length", "1")],
        &[("etag", "\"v\"")],
        &[("cache-control", "public, max-age=60")],
    ] {
        let bench = Bench::new(Policy::ttl(MINUTE), with_head(fields));
        for _ in 0..2 {
            let head = bench.ask(request("HEAD", "/", &[])).await;
            assert_eq!(head.x_cache(), "MISS", "{fields:?}");
        }
        let get = bench.get("/").await;
        assert_eq!((get.x_cache(), get.text()), ("MISS", "3"), "{fields:?}");
        // Nor when what is stored is stale, nor in the background.
        for window in [Duration::ZERO, MINUTE] {
            let policy = Policy::ttl(MINUTE).stale_while_revalidate(window);
            let bench = Bench::new(policy, with_head(fields));
            bench.get("/").await;
            bench.clock.advance(MINUTE);
            bench.ask(request("HEAD", "/", &[])).await;
            settle().await;
            let get = bench.get("/").await;
            assert!(!get.text().is_empty(), "{fields:?} {window:?}: {get:?}");
            settle().await;
            assert!(!bench.get("/").await.text().is_empty());
        }
    }
}

#[tokio::test]
async fn a_get_does_not_wait_for_a_head_and_a_head_for_nobody() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |request, _| {
        let gate = held.clone();
        async move {
            if request.method() == "HEAD" {
                gate.acquire().await.unwrap().forget();
                return respond(200, &[], "");
            }
            respond(200, &[], "body")
        }
    });
    let bench = Arc::new(Bench::new(Policy::ttl(MINUTE), origin));
    let head = bench.clone();
    let head = tokio::spawn(async move { head.ask(request("HEAD", "/", &[])).await });
    settle().await;
    assert_eq!(bench.get("/").await.text(), "body");
    gate.add_permits(1);
    assert_eq!(head.await.unwrap().text(), "");
    assert_eq!(bench.get("/").await.text(), "body");
}
