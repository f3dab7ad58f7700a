//! What is answered stale within its window, and the refresh that runs meanwhile.

use std::sync::Arc;

use tower_response_cache::Policy;

use super::validating;
use crate::support::{
    self, Bench, MINUTE, Origin, request, respond, scripted, seconds, sent, settle,
};

#[tokio::test]
async fn within_its_window_a_stale_response_is_served_while_one_refresh_runs() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(seconds(30)),
        Origin::counting(),
    );
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    for _ in 0..10 {
        let stale = bench.get("/").await;
        assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"));
        assert_eq!(stale.field("age"), "60");
        if bench.origin.calls() == 2 {
            break;
        }
    }
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    let fresh = bench.get("/").await;
    assert_eq!((fresh.x_cache(), fresh.text()), ("HIT", "2"));
    assert_eq!(fresh.field("age"), "0");
}

#[tokio::test]
async fn the_answer_does_not_wait_for_the_refresh_and_a_crowd_starts_only_one() {
    let (send, body) = scripted();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let origin = Origin::new(move |_, call| {
        let body = if call == 2 {
            body.lock().unwrap().take()
        } else {
            None
        };
        async move {
            match body {
                Some(body) => support::respond_with(200, &[], body),
                None => respond(200, &[], call.to_string()),
            }
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE).stale_while_revalidate(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    for _ in 0..100 {
        assert_eq!(bench.get("/").await.x_cache(), "STALE");
        settle().await;
    }
    assert_eq!(bench.origin.calls(), 2);
    send.send(support::chunk("new")).unwrap();
    drop(send);
    settle().await;
    let fresh = bench.get("/").await;
    assert_eq!((fresh.x_cache(), fresh.text()), ("HIT", "new"));
}

#[tokio::test]
async fn past_its_window_a_stale_response_is_not_served() {
    for (advance, expected) in [(89, "STALE"), (90, "MISS"), (1000, "MISS")] {
        let bench = Bench::new(
            Policy::ttl(MINUTE).stale_while_revalidate(seconds(30)),
            Origin::counting(),
        );
        bench.get("/").await;
        bench.clock.advance(seconds(advance));
        assert_eq!(bench.get("/").await.x_cache(), expected, "{advance}");
    }
    let none = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    none.get("/").await;
    none.clock.advance(MINUTE);
    assert_eq!(none.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn the_handler_sets_and_forbids_the_windows() {
    // (Cache-Control, X-Cache half a minute after it became stale)
    for (control, expected) in [
        ("max-age=60", "STALE"),
        ("max-age=60, stale-while-revalidate=10", "MISS"),
        ("max-age=60, stale-while-revalidate=0", "MISS"),
        ("max-age=60, must-revalidate", "MISS"),
        ("max-age=60, proxy-revalidate", "MISS"),
        ("s-maxage=60", "MISS"),
        ("no-cache", "MISS"),
    ] {
        for if_error in [false, true] {
            let policy = match if_error {
                true => Policy::ttl(MINUTE).stale_if_error(MINUTE),
                false => Policy::ttl(MINUTE).stale_while_revalidate(MINUTE),
            };
            let control = control.replace(
                "while-revalidate",
                match if_error {
                    true => "if-error",
                    false => "while-revalidate",
                },
            );
            let origin = Origin::new(move |_, call| {
                let fields = [("cache-control", &*control), ("etag", "\"v\"")];
                let status = if if_error && call > 1 { 503 } else { 200 };
                let response = respond(status, &fields, call.to_string());
                async move { response }
            });
            let bench = Bench::new(policy, origin);
            bench.get("/").await;
            bench.clock.advance(seconds(90));
            let answer = bench.get("/").await;
            assert_eq!(answer.x_cache(), expected, "if_error: {if_error}");
            if expected == "MISS" {
                assert_eq!(answer.text(), "2");
            }
        }
    }
    // Without a window of the route's, the handler's own counts.
    let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    let bench = Bench::new(Policy::origin_decides(), Origin::with_fields(fields));
    bench.get("/").await;
    bench.clock.advance(seconds(119));
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
}

#[tokio::test]
async fn a_background_refresh_validates_too() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(MINUTE),
        validating(&[]),
    );
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
    settle().await;
    assert_eq!(bench.origin.seen()[1]["if-none-match"], "\"v1\"");
    let hit = bench.get("/").await;
    assert_eq!(
        (hit.x_cache(), hit.text(), hit.field("age")),
        ("HIT", "1", "0")
    );
}

#[tokio::test]
async fn a_head_or_a_part_within_the_window_starts_no_refresh_that_could_not_be_stored() {
    let policy = Policy::ttl(MINUTE).stale_while_revalidate(MINUTE);
    let bench = Bench::new(policy, Origin::counting());
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let part = request("GET", "/", &[("range", "bytes=0-0")]);
    for asking in [request("HEAD", "/", &[]), part] {
        assert_eq!(bench.ask(asking).await.x_cache(), "STALE");
        settle().await;
        assert_eq!(bench.origin.calls(), 1);
    }
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
    settle().await;
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_refresh_is_made_without_the_conditions_of_the_client_that_caused_it() {
    let origin = Origin::new(|request, call| async move {
        match sent(&request, "if-none-match").as_str() {
            "\"old\"" => respond(304, &[("etag", "\"old\"")], ""),
            _ => respond(200, &[("etag", "\"new\"")], call.to_string()),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE).stale_while_revalidate(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let old = [("if-none-match", "\"old\"")];
    let stale = bench.get_with("/", &old).await;
    assert_eq!((stale.x_cache(), stale.text()), ("STALE", "1"));
    settle().await;
    assert_eq!(bench.get("/").await.text(), "2");
}
