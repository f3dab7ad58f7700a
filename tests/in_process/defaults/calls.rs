//! Calls of the handler: collapsing, refreshing and timeouts.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_response_cache::{MemoryStore, NoStore, Policy, Store};

use super::builder;
use crate::support::{Bench, MINUTE, Origin, respond, seconds, settle};

/// Sends five requests at once and returns how often the handler was called.
async fn calls_for_five(policy: Policy, store: impl Store) -> usize {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |_, _| {
        let gate = held.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            respond(200, &[], "x")
        }
    });
    let bench = Arc::new(Bench::with_builder(builder(policy).store(store), origin));
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let bench = bench.clone();
        tasks.push(tokio::spawn(async move { bench.get("/").await }));
        settle().await;
    }
    gate.add_permits(100);
    for task in tasks {
        assert_eq!(task.await.unwrap().text(), "x");
    }
    bench.origin.calls()
}

#[tokio::test]
async fn misses_share_a_call_unless_the_policy_says_otherwise() {
    let memory = MemoryStore::default;
    assert_eq!(calls_for_five(Policy::ttl(MINUTE), memory()).await, 1);
    assert_eq!(calls_for_five(Policy::ttl(MINUTE), NoStore::new()).await, 1);
    let policy = Policy::ttl(MINUTE).without_collapsing();
    assert_eq!(calls_for_five(policy, memory()).await, 5);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_make_their_own_call_in_the_end() {
    for (policy, wait) in [
        (Policy::ttl(MINUTE), seconds(10)),
        (Policy::ttl(MINUTE).max_wait(seconds(3)), seconds(3)),
    ] {
        let origin = Origin::new(|_, call| async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            respond(200, &[], call.to_string())
        });
        let bench = Arc::new(Bench::new(policy, origin));
        let leader = bench.clone();
        let leader = tokio::spawn(async move { leader.get("/").await });
        settle().await;
        let began = tokio::time::Instant::now();
        assert_eq!(bench.get("/").await.text(), "2");
        let waited = began.elapsed();
        assert!(waited >= wait && waited < wait + seconds(1), "{waited:?}");
        leader.abort();
    }
}

#[tokio::test]
async fn what_is_asked_for_near_its_end_is_refreshed_ahead_of_it() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), "MISS"),
        (Policy::ttl(MINUTE).refresh_ahead(seconds(10)), "HIT"),
    ] {
        let bench = Bench::new(policy, Origin::counting());
        bench.get("/").await;
        bench.clock.advance(seconds(49));
        bench.get("/").await;
        settle().await;
        assert_eq!(bench.origin.calls(), 1, "not that near");
        bench.clock.advance(seconds(5));
        let hit = bench.get("/").await;
        assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
        settle().await;
        bench.clock.advance(seconds(10));
        let later = bench.get("/").await;
        assert_eq!((later.x_cache(), later.text()), (expected, "2"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_timeout_answers_stale_and_a_hard_one_gives_up() {
    let slow = || {
        Origin::new(|_, call| async move {
            if call > 1 {
                tokio::time::sleep(seconds(30)).await;
            }
            respond(200, &[], call.to_string())
        })
    };
    let policy = || Policy::ttl(MINUTE).stale_if_error(MINUTE);
    for (policy, waited, status, text) in [
        (policy(), 30, 200, "2"),
        (policy().soft_timeout(seconds(2)), 2, 200, "1"),
        (
            policy().stale_if_error(seconds(0)).soft_timeout(seconds(2)),
            30,
            200,
            "2",
        ),
        (policy().hard_timeout(seconds(3)), 3, 200, "1"),
        (Policy::ttl(MINUTE).hard_timeout(seconds(3)), 3, 504, ""),
    ] {
        let bench = Bench::new(policy, slow());
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        let began = tokio::time::Instant::now();
        let answer = bench.get("/").await;
        assert_eq!(began.elapsed().as_secs(), waited);
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text));
    }
}
