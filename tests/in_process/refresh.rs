//! Refreshing ahead of time, and what is answered when the handler takes too long.
//!
//! Handlers take tokio's paused time; stored responses age by the clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_response_cache::Policy;

use crate::support::{
    Answer, Bench, Gate, MINUTE, Origin, chunk, request, respond, respond_with, scripted, seconds,
    sent, settle,
};

type Fields = &'static [(&'static str, &'static str)];

/// An origin whose first answer comes at once, and the others after `delay`.
fn slow(delay: Duration, fields: Fields) -> Origin {
    Origin::new(move |_, call| async move {
        if call > 1 {
            sleep(delay).await;
        }
        respond(200, fields, call.to_string())
    })
}

/// A stale response under this policy, and a handler that now takes `delay`.
async fn stale(policy: Policy, delay: Duration, fields: Fields) -> Bench {
    let bench = Bench::new(policy, slow(delay, fields));
    assert_eq!(bench.get("/").await.text(), "1");
    bench.clock.advance(MINUTE);
    bench
}

fn lenient() -> Policy {
    Policy::ttl(MINUTE).stale_if_error(MINUTE)
}

fn soft() -> Policy {
    lenient().soft_timeout(seconds(2))
}

fn hard() -> Policy {
    lenient().hard_timeout(seconds(3))
}

async fn timed(bench: &Bench) -> (Answer, u64) {
    let began = Instant::now();
    let answer = bench.get("/").await;
    (answer, began.elapsed().as_secs())
}

// Refreshing ahead

fn ahead() -> Policy {
    Policy::ttl(MINUTE).refresh_ahead(seconds(10))
}

#[tokio::test(start_paused = true)]
async fn a_crowd_near_the_end_is_answered_at_once_and_causes_one_call() {
    let bench = Bench::new(ahead(), slow(seconds(5), &[]));
    bench.get("/").await;
    bench.clock.advance(seconds(50));
    let crowd: Vec<_> = (0..100)
        .map(|_| bench.spawn(request("GET", "/", &[])))
        .collect();
    for one in crowd {
        let answer = one.await.unwrap();
        assert_eq!((answer.text(), answer.x_cache()), ("1", "HIT"));
    }
    settle().await;
    // While the call is under way later ones start none.
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    sleep(seconds(6)).await;
    bench.clock.advance(seconds(6));
    let answer = bench.get("/").await;
    assert_eq!(
        (answer.text(), answer.x_cache(), answer.field("age")),
        ("2", "HIT", "6")
    );
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn what_is_asked_for_often_enough_is_never_missed_again() {
    let bench = Bench::new(ahead(), Origin::counting());
    bench.get("/").await;
    for _ in 0..100 {
        bench.clock.advance(seconds(9));
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        settle().await;
    }
    assert!(
        (14..=20).contains(&bench.origin.calls()),
        "{}",
        bench.origin.calls()
    );
}

#[tokio::test]
async fn it_is_due_from_the_window_on_and_not_before() {
    for (age, calls) in [(0, 1), (49, 1), (50, 2), (59, 2)] {
        let bench = Bench::new(ahead(), Origin::counting());
        bench.get("/").await;
        bench.clock.advance(seconds(age));
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        settle().await;
        assert_eq!(bench.origin.calls(), calls, "{age} s");
    }
    // Past the lifetime it is a miss as ever.
    let bench = Bench::new(ahead(), Origin::counting());
    bench.get("/").await;
    bench.clock.advance(seconds(60));
    assert_eq!(bench.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn only_a_whole_get_refreshes_ahead() {
    let bench = Bench::new(ahead(), Origin::counting());
    bench.get("/").await;
    bench.clock.advance(seconds(55));
    let head = bench.ask(request("HEAD", "/", &[])).await;
    let range = bench.get_with("/", &[("range", "bytes=0-0")]).await;
    settle().await;
    assert_eq!((head.x_cache(), range.x_cache()), ("HIT", "HIT"));
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_refresh_ahead_asks_whether_what_is_stored_still_holds() {
    let origin = Origin::new(|request, call| async move {
        let etag = [("etag", "\"v1\"")];
        match &*sent(&request, "if-none-match") {
            "\"v1\"" => respond(304, &etag, ""),
            _ => respond(200, &etag, call.to_string()),
        }
    });
    let bench = Bench::new(ahead(), origin);
    bench.get("/").await;
    bench.clock.advance(seconds(55));
    // The client's own condition is answered from the store and not passed on.
    let known = bench.get_with("/", &[("if-none-match", "\"v0\"")]).await;
    assert_eq!(known.status, 200);
    settle().await;
    assert_eq!(bench.origin.seen()[1]["if-none-match"], "\"v1\"");
    bench.clock.advance(seconds(30));
    let answer = bench.get("/").await;
    assert_eq!((answer.text(), answer.x_cache()), ("1", "HIT"));
}

#[tokio::test]
async fn a_refresh_ahead_that_fails_leaves_what_is_stored() {
    let origin = Origin::script([
        respond(200, &[], "old"),
        respond(500, &[], "failed"),
        respond(404, &[], "gone"),
    ]);
    let bench = Bench::new(ahead(), origin);
    bench.get("/").await;
    bench.clock.advance(seconds(55));
    for calls in [2, 3] {
        let answer = bench.get("/").await;
        assert_eq!((answer.text(), answer.x_cache()), ("old", "HIT"));
        settle().await;
        assert_eq!(bench.origin.calls(), calls);
    }
}

#[tokio::test]
async fn a_refresh_ahead_that_a_write_overtook_is_not_used() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |request, call| {
        let gate = held.clone();
        async move {
            if call == 2 && request.method() == "GET" {
                gate.wait().await;
            }
            respond(200, &[], call.to_string())
        }
    });
    let bench = Bench::new(ahead(), origin);
    bench.get("/").await;
    bench.clock.advance(seconds(55));
    bench.get("/").await;
    settle().await;
    bench.ask(request("PUT", "/", &[])).await;
    gate.open();
    settle().await;
    let answer = bench.get("/").await;
    assert_eq!((answer.text(), answer.x_cache()), ("4", "MISS"));
}

#[tokio::test]
async fn a_window_as_long_as_the_lifetime_refreshes_at_each_request() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).refresh_ahead(MINUTE),
        Origin::counting(),
    );
    bench.get("/").await;
    for calls in 2..5 {
        let answer = bench.get("/").await;
        assert_eq!(answer.x_cache(), "HIT");
        assert_eq!(answer.text(), (calls - 1).to_string());
        settle().await;
        assert_eq!(bench.origin.calls(), calls);
    }
}

// Soft timeout

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_not_waited_for_where_there_is_something_stale() {
    let bench = stale(soft(), seconds(30), &[]).await;
    let (answer, waited) = timed(&bench).await;
    assert_eq!((answer.text(), answer.x_cache(), waited), ("1", "STALE", 2));
    assert!(answer.field("cache-status").contains("detail=soft-timeout"));
    // Those who come later wait for the same call, each no longer than the same while.
    let (answer, waited) = timed(&bench).await;
    assert_eq!((answer.text(), answer.x_cache(), waited), ("1", "STALE", 2));
    assert_eq!(bench.origin.calls(), 2);
    // Its call went on, and has refreshed what is stored.
    sleep(seconds(30)).await;
    let (answer, waited) = timed(&bench).await;
    assert_eq!((answer.text(), answer.x_cache(), waited), ("2", "HIT", 0));
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_another_are_given_the_stale_response_too() {
    let bench = stale(soft(), seconds(30), &[]).await;
    let began = Instant::now();
    let crowd: Vec<_> = (0..50)
        .map(|_| bench.spawn(request("GET", "/", &[])))
        .collect();
    for one in crowd {
        let answer = one.await.unwrap();
        assert_eq!((answer.text(), answer.x_cache()), ("1", "STALE"));
    }
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_quick_enough_answers_itself() {
    let bench = stale(soft(), Duration::from_millis(1900), &[]).await;
    let (answer, _) = timed(&bench).await;
    assert_eq!((answer.text(), answer.x_cache()), ("2", "MISS"));
}

#[tokio::test(start_paused = true)]
async fn there_is_nothing_to_fall_back_on_where_stale_use_is_forbidden_or_over() {
    for fields in [
        &[("cache-control", "max-age=60, must-revalidate")][..],
        &[("cache-control", "max-age=60, proxy-revalidate")],
        &[("cache-control", "s-maxage=60")],
        &[("cache-control", "max-age=60, stale-if-error=0")],
        &[("cache-control", "no-cache"), ("etag", "\"v1\"")],
    ] {
        let bench = stale(soft(), seconds(30), fields).await;
        let (answer, waited) = timed(&bench).await;
        assert_eq!((answer.text(), waited), ("2", 30), "{fields:?}");
    }
    let bench = stale(soft(), seconds(30), &[]).await;
    bench.clock.advance(MINUTE);
    assert_eq!(timed(&bench).await.1, 30, "past the window");
    let bench = stale(soft(), seconds(30), &[]).await;
    bench.handle.invalidate_uri("/").await.unwrap();
    assert_eq!(timed(&bench).await.1, 30, "invalidated");
    let bench = Bench::new(soft(), slow(seconds(30), &[]));
    bench.get("/other").await;
    assert_eq!(timed(&bench).await.1, 30, "nothing stored");
}

#[tokio::test(start_paused = true)]
async fn a_write_while_the_handler_is_slow_forbids_the_stale_response() {
    let bench = stale(soft(), seconds(30), &[]).await;
    let waits = bench.spawn(request("GET", "/", &[]));
    sleep(seconds(1)).await;
    bench.handle.invalidate_uri("/").await.unwrap();
    let after = bench.spawn(request("GET", "/", &[]));
    let after = after.await.unwrap();
    assert_eq!((after.text(), after.x_cache()), ("3", "MISS"));
    // The one who asked before may be given either.
    assert_eq!(waits.await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_call_goes_on_though_nobody_shares_it() {
    for policy in [
        soft().without_collapsing(),
        soft().stop_when_abandoned(),
        soft().shared_with_everyone(),
    ] {
        let bench = stale(policy, seconds(30), &[]).await;
        let (answer, waited) = timed(&bench).await;
        assert_eq!((answer.text(), answer.x_cache(), waited), ("1", "STALE", 2));
        sleep(seconds(40)).await;
        let (answer, waited) = timed(&bench).await;
        assert_eq!((answer.text(), answer.x_cache(), waited), ("2", "HIT", 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_not_what_the_timeouts_are_about() {
    let (send, body) = scripted();
    let origin = Origin::script([respond(200, &[], "old"), respond_with(200, &[], body)]);
    let bench = Bench::new(soft().hard_timeout(seconds(3)), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let reads = bench.spawn(request("GET", "/", &[]));
    sleep(seconds(10)).await;
    send.send(chunk("new")).unwrap();
    drop(send);
    let answer = reads.await.unwrap();
    assert_eq!((answer.text(), &answer.error), ("new", &None));
}

// Hard timeout

/// An origin that never answers after the first time, and counts the calls that were dropped.
fn hanging(dropped: &Arc<AtomicUsize>) -> Origin {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = dropped.clone();
    Origin::new(move |request, call| {
        let counts = Counts(dropped.clone());
        async move {
            if call > 1 && request.uri().path() == "/" {
                std::future::pending::<()>().await;
            }
            std::mem::forget(counts);
            respond(200, &[], call.to_string())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_dropped_and_what_is_stale_stands_in() {
    let dropped = Arc::default();
    let bench = Bench::new(hard(), hanging(&dropped));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let (answer, waited) = timed(&bench).await;
    assert_eq!((answer.text(), answer.x_cache(), waited), ("1", "STALE", 3));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    // Past the window there is nothing to stand in.
    bench.clock.advance(MINUTE);
    let (answer, waited) = timed(&bench).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text(), waited),
        (504, "", 3)
    );
    assert!(
        answer.field("cache-status").contains("hard-timeout"),
        "{answer:?}"
    );
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_stored_for_nobody() {
    let origin = Origin::new(|_, call| async move {
        if call == 1 {
            std::future::pending::<()>().await;
        }
        respond(200, &[], call.to_string())
    });
    let bench = Bench::new(Policy::ttl(MINUTE).hard_timeout(seconds(3)), origin);
    assert_eq!(bench.get("/").await.status, 504);
    let answer = bench.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "2"));
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_call_that_hangs_are_answered_too() {
    for (policy, status) in [
        (hard(), 200),
        (Policy::ttl(MINUTE).hard_timeout(seconds(3)), 504),
    ] {
        let dropped = Arc::default();
        let bench = Bench::new(policy, hanging(&dropped));
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        let began = Instant::now();
        let crowd: Vec<_> = (0..20)
            .map(|_| bench.spawn(request("GET", "/", &[])))
            .collect();
        for one in crowd {
            assert_eq!(one.await.unwrap().status.as_u16(), status);
        }
        // At the worst each makes a call of its own after the one it waited for.
        assert!(began.elapsed() <= seconds(6), "{:?}", began.elapsed());
        assert_eq!(dropped.load(Ordering::SeqCst), bench.origin.calls() - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hard_timeout_ends_refreshes_and_spares_writes() {
    let dropped = Arc::default();
    let policy = Policy::ttl(MINUTE)
        .stale_while_revalidate(MINUTE * 60)
        .hard_timeout(seconds(3));
    let bench = Bench::new(policy.clone(), hanging(&dropped));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    assert_eq!(timed(&bench).await.1, 0);
    sleep(seconds(4)).await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    // The next refresh is not kept from beginning.
    bench.get("/").await;
    settle().await;
    assert_eq!(bench.origin.calls(), 3);

    let bench = Bench::new(
        policy,
        Origin::new(|_, _| async move {
            sleep(seconds(30)).await;
            respond(204, &[], "")
        }),
    );
    assert_eq!(bench.ask(request("PUT", "/", &[])).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn the_soft_timeout_comes_first_and_the_hard_one_still_ends_the_call() {
    let dropped = Arc::default();
    let bench = Bench::new(soft().hard_timeout(seconds(5)), hanging(&dropped));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let (answer, waited) = timed(&bench).await;
    assert_eq!((answer.text(), waited), ("1", 2));
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    sleep(seconds(4)).await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn head_and_range_requests_are_answered_in_time_too() {
    let bench = stale(soft(), seconds(30), &[]).await;
    for asked in [
        request("HEAD", "/", &[]),
        request("GET", "/", &[("range", "bytes=0-0")]),
    ] {
        let began = Instant::now();
        let answer = bench.ask(asked).await;
        assert_eq!((answer.x_cache(), began.elapsed().as_secs()), ("STALE", 2));
    }
}

// Jitter

#[tokio::test]
async fn what_is_stored_together_does_not_expire_together() {
    let bench = Bench::new(Policy::ttl(MINUTE).jitter(50), Origin::counting());
    for page in 0..200 {
        bench.get(&format!("/{page}")).await;
    }
    let mut fresh = Vec::new();
    for _ in 0..6 {
        let mut still = 0;
        for page in 0..200 {
            let asked = request("GET", &format!("/{page}"), &[]);
            let told = bench.handle.explain(&asked).await;
            still += usize::from(told.x_cache == "HIT");
        }
        fresh.push(still);
        bench
            .clock
            .advance(seconds(if fresh.len() == 1 { 29 } else { 8 }));
    }
    assert_eq!(fresh[..2], [200, 200], "none before half of its lifetime");
    for pair in fresh[1..].windows(2) {
        let expired = pair[0] - pair[1];
        assert!((20..100).contains(&expired), "{fresh:?}");
    }
    bench.clock.advance(seconds(1));
    let told = bench.handle.explain(&request("GET", "/0", &[])).await;
    assert_eq!(told.x_cache, "MISS");
}
