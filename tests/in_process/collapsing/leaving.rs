//! What becomes of a call when its leader or everyone has left.

use super::{all, gated, get, policy, spawn_many};
use crate::support::{Bench, Gate, MINUTE, settle};

#[tokio::test]
async fn a_leader_that_leaves_before_the_head_leaves_its_call_to_the_others() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), gated(&gate));
    let leader = bench.spawn(get("/a"));
    settle().await;
    let others = spawn_many(&bench, 10, "/a");
    settle().await;
    leader.abort();
    settle().await;
    gate.open();
    for answer in all(others).await {
        assert_eq!(answer.text(), "1");
    }
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_call_that_everyone_left_is_finished_and_stored() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), gated(&gate));
    let leader = bench.spawn(get("/a"));
    settle().await;
    leader.abort();
    settle().await;
    gate.open();
    settle().await;
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("HIT", "1"));
}

#[tokio::test]
async fn another_leads_when_the_leader_leaves_and_its_call_is_to_stop() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().stop_when_abandoned(), gated(&gate));
    let leader = bench.spawn(get("/a"));
    settle().await;
    let others = spawn_many(&bench, 10, "/a");
    settle().await;
    leader.abort();
    settle().await;
    assert_eq!(bench.origin.calls(), 2, "one of them calls at once");
    gate.open();
    for answer in all(others).await {
        assert_eq!(answer.text(), "2");
    }
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_everyone_left_is_given_up_after_a_while() {
    let bench = Bench::new(policy(), gated(&Gate::shut()));
    let leader = bench.spawn(get("/a"));
    settle().await;
    leader.abort();
    tokio::time::sleep(2 * MINUTE).await;
    // A new leader is needed, so the old flight is over.
    let next = bench.spawn(get("/a"));
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    next.abort();
}
