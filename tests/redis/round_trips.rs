//! How often Redis is asked, and leases that spare it.

use std::time::{Duration, Instant};

use tower_response_cache::testing::store_contract;
use tower_response_cache::{Invalidation, NearCache, Store, TieredStore};

use super::{Node, PATIENCE, ready_store, store_on};
use crate::support::redis::{self, Redis};
use crate::support::{self, MINUTE, Origin};

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_and_an_invalidation_are_one_round_trip_each() {
    let redis = Redis::start();
    let store = ready_store(&redis).await;
    let (key, stored) = store_contract::sample(store.log(), "/a", "body".into());
    store.put(key.clone(), stored).get().await.unwrap();
    redis.ask("CONFIG RESETSTAT");
    for _ in 0..10 {
        assert!(store.get(key.borrow()).get().await.unwrap().is_some());
    }
    let many: Vec<_> = (0..100)
        .map(|number| Invalidation::uri(format!("/things/{number}")))
        .collect();
    store.shared_log().invalidate(&many).get().await.unwrap();
    let calls = |command: &str| redis.info(&format!("cmdstat_{command}"));
    assert!(calls("get").starts_with("calls=10,"), "{}", calls("get"));
    assert!(
        calls("evalsha").starts_with("calls=11,"),
        "{}",
        calls("evalsha")
    );
}

/// On one thread, all that is asked in one go is known to be sent before any of it is answered.
#[tokio::test]
async fn a_response_with_vary_takes_one_round_trip_where_the_last_one_tells_which() {
    let redis = Redis::start();
    let origin = || {
        Origin::showing(&[("vary", "accept-language")], |request| {
            support::sent(request, "accept-language")
        })
    };
    let near = TieredStore::builder()
        .redis(store_on(&redis).namespace("near"))
        .near_cache(NearCache::Strict);
    let (far, near) = (store_on(&redis).build().unwrap(), near.build().unwrap());
    far.ready().await;
    near.ready().await;
    let get = async |node: &Node, language: &str| {
        let fields = [("accept-language", language)];
        let answer = node.bench.get_with("/page", &fields).await;
        assert_eq!(answer.text(), language);
        answer.x_cache().to_owned()
    };
    let calls = |command: &str| {
        let stat = redis.info(&format!("cmdstat_{command}"));
        let calls = stat
            .strip_prefix("calls=")
            .and_then(|rest| rest.split(',').next());
        calls.map_or(0, |calls| calls.parse::<usize>().unwrap())
    };
    for (node, gets) in [
        (Node::with_origin(far, origin()), 2),
        (Node::with_origin(near, origin()), 0),
    ] {
        for language in ["de", "fr"] {
            let deadline = Instant::now() + PATIENCE;
            while get(&node, language).await != "HIT" {
                assert!(Instant::now() < deadline, "{language}: never a hit");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        redis.ask("CONFIG RESETSTAT");
        for _ in 0..5 {
            for language in ["de", "fr"] {
                assert_eq!(get(&node, language).await, "HIT");
            }
        }
        // What is asked of the log is shared by what is asked together.
        assert_eq!((calls("evalsha"), calls("get")), (10, 10 * gets));
        // A variant that nobody knows is not found under the wrong name.
        assert_eq!(get(&node, "it").await, "MISS");
        let status = node.put("/page").await;
        assert!(!status.contains("pending"), "{status}");
        for language in ["de", "fr", "it"] {
            assert_eq!(get(&node, language).await, "MISS");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_a_write_ends_a_long_lease_early() {
    let redis = Redis::start();
    let mode = NearCache::Lease(MINUTE);
    let (one, other) = (
        Node::tiered(&redis, mode).await,
        Node::tiered(&redis, mode).await,
    );
    redis::wait_for("both listen", || {
        let listeners = redis.ask("PUBSUB NUMSUB {tower-response-cache}:P").array();
        (listeners[1].number() == 2).then_some(())
    });
    other.get_until("/things/1", "HIT").await;
    one.put("/things/1").await;
    // By itself it would ask the log in half a minute.
    other.get_until("/things/1", "MISS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_lease_hits_ask_redis_nothing() {
    let redis = Redis::start();
    let node = Node::tiered(&redis, NearCache::Lease(MINUTE)).await;
    node.get_until("/things/1", "HIT").await;
    redis.ask("CONFIG RESETSTAT");
    for _ in 0..100 {
        assert_eq!(node.get("/things/1").await, "HIT");
    }
    assert_eq!(redis.info("cmdstat_get"), "");
    assert_eq!(redis.info("cmdstat_evalsha"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_hit_asks_the_log_and_moves_no_body() {
    let redis = Redis::start();
    let node = Node::tiered(&redis, NearCache::Strict).await;
    node.get_until("/things/1", "HIT").await;
    redis.ask("CONFIG RESETSTAT");
    for _ in 0..10 {
        assert_eq!(node.get("/things/1").await, "HIT");
    }
    assert_eq!(redis.info("cmdstat_get"), "");
    assert!(redis.info("cmdstat_evalsha").starts_with("calls=10,"));
}
