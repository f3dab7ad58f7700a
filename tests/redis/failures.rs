//! Redis that is gone, full, set back or read-only.

use tower_response_cache::{Invalidation, NearCache, Store, TieredStore};

use super::{Node, store_on};
use crate::support::redis::{self, Redis};
use crate::support::{Origin, respond};

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_log_ends_all_that_was_stored() {
    let redis = Redis::start();
    let node = Node::on(&redis).await;
    let near = Node::tiered(&redis, NearCache::Strict).await;
    for command in [
        "DEL {tower-response-cache}:L",
        "FLUSHALL",
        "SET {tower-response-cache}:L x",
    ] {
        for node in [&node, &near] {
            node.get_until("/things/1", "HIT").await;
        }
        redis.ask(command);
        for node in [&node, &near] {
            let first = node.get("/things/1").await;
            // The first node that misses stores it for the other.
            assert!(first == "MISS" || first == "HIT", "{command}: {first}");
        }
        node.get_until("/things/1", "HIT").await;
    }
    assert!(node.bench.origin.calls() + near.bench.origin.calls() >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_brings_old_data_back_ends_all_that_was_stored() {
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let node = Node::on(&redis).await;
    node.get_until("/things/1", "HIT").await;
    redis.kill();
    redis.restart();
    assert_eq!(
        redis.ask("EXISTS {tower-response-cache}:L").number(),
        1,
        "it is still there"
    );
    node.get_until("/things/1", "MISS").await;
    node.get_until("/things/1", "HIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_requests_go_to_the_handler_and_later_to_redis() {
    let mut redis = Redis::start();
    redis.kill();
    let store = store_on(&redis).build().unwrap();
    let node = Node::over(store.clone());
    assert_eq!(node.get("/things/1").await, "BYPASS");
    let status = node.put("/things/1").await;
    assert!(status.contains("detail=invalidation-pending"), "{status}");
    redis.restart();
    store.ready().await;
    assert_eq!(node.get("/things/1").await, "MISS");
    node.get_until("/things/1", "HIT").await;
    let status = node.put("/things/1").await;
    assert!(!status.contains("pending"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_recorded_is_recorded_first_when_redis_is_back() {
    let mut redis = Redis::start();
    let store = store_on(&redis).build().unwrap();
    store.ready().await;
    let node = Node::over(store.clone());
    redis.kill();
    // Whether the breaker has noticed or not.
    for path in ["/things/1", "/things/2", "/things/3"] {
        let status = node.put(path).await;
        assert!(status.contains("detail=invalidation-pending"), "{status}");
    }
    redis.restart();
    // Without anybody asking for anything.
    redis::wait_for("all of them in the log", || {
        let members = redis.ask("ZRANGE {tower-response-cache}:L 0 -1").texts();
        let recorded = |path| members.iter().any(|member| member.ends_with(path));
        let all = ["/things/1", "/things/2", "/things/3"]
            .into_iter()
            .all(recorded);
        all.then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_forgets_the_oldest_and_what_was_stored_before() {
    let redis = Redis::start();
    let store = store_on(&redis).log_capacity(64).build().unwrap();
    store.ready().await;
    let node = Node::over(store.clone());
    node.get_until("/old", "HIT").await;
    for number in 0..200 {
        let what = [Invalidation::uri(format!("/things/{number}"))];
        store.shared_log().invalidate(&what).get().await.unwrap();
    }
    let members = redis.ask("ZCARD {tower-response-cache}:L").number();
    assert!((60..=68).contains(&members), "{members}");
    assert_eq!(node.get("/old").await, "MISS");
    node.get_until("/old", "HIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_costs_only_what_it_does_not_store() {
    let redis = Redis::with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let origin = Origin::new(|_, _| async { respond(200, &[], vec![b'x'; 100_000]) });
    let store = store_on(&redis).build().unwrap();
    store.ready().await;
    let node = Node::with_origin(store, origin);
    for number in 0..60 {
        assert_eq!(node.get(&format!("/things/{number}")).await, "MISS");
    }
    node.get_until("/things/0", "HIT").await;
    let status = node.put("/things/0").await;
    assert!(!status.contains("pending"), "{status}");
    assert_eq!(node.get("/things/0").await, "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_goes_on_alone_only_where_that_was_asked_for() {
    for alone in [false, true] {
        let mut redis = Redis::start();
        let store = TieredStore::builder()
            .redis(store_on(&redis))
            .near_cache(NearCache::Strict)
            .serve_unsynchronised_while_redis_is_down(alone)
            .build()
            .unwrap();
        store.ready().await;
        let node = Node::over(store);
        node.get_until("/things/1", "HIT").await;
        redis.kill();
        if alone {
            node.get_until("/things/1", "HIT").await;
            // What it writes itself it holds to.
            let status = node.put("/things/1").await;
            assert!(status.contains("pending"), "{status}");
            for _ in 0..3 {
                assert_eq!(node.get("/things/1").await, "MISS");
            }
            node.get_until("/things/2", "HIT").await;
        } else {
            for _ in 0..20 {
                assert_eq!(node.get("/things/1").await, "BYPASS");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_what_expires_goes_first_the_log_stays() {
    let redis = Redis::with(&["--maxmemory", "3mb", "--maxmemory-policy", "volatile-lru"]);
    let store = store_on(&redis).build().unwrap();
    store.ready().await;
    let origin = Origin::new(|_, _| async { respond(200, &[], vec![b'x'; 20_000]) });
    let node = Node::with_origin(store.clone(), origin);
    store
        .shared_log()
        .invalidate(&[Invalidation::tag("old")])
        .get()
        .await
        .unwrap();
    for number in 0..500 {
        node.get(&format!("/{number}")).await;
    }
    redis::wait_for("an eviction", || {
        (redis.info("evicted_keys") != "0").then_some(())
    });
    let log = redis.ask("EXISTS {tower-response-cache}:L");
    assert_eq!(log.number(), 1);
    assert_eq!(store.health().epoch_changes, 0);
    node.get_until("/499", "HIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_writes_counts_as_down_until_it_takes_them() {
    let redis = Redis::start();
    let node = Node::on(&redis).await;
    node.get_until("/a", "HIT").await;
    redis.ask("CONFIG SET min-replicas-to-write 1");
    node.get_until("/a", "BYPASS").await;
    redis.ask("CONFIG SET min-replicas-to-write 0");
    node.get_until("/a", "HIT").await;
}
