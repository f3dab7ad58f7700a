//! Both stores, held to the contract of stores, and what they can list.

use std::time::Duration;

use tower_response_cache::testing::store_contract;
use tower_response_cache::{EntryFilter, EntryState, MemoryStore, NearCache, TieredStore};

use super::{Node, ready_store, store_on, unused_namespace};
use crate::support::redis::Redis;

async fn ready_tiered(redis: &Redis, mode: NearCache) -> TieredStore {
    let store = TieredStore::builder()
        .redis(store_on(redis).namespace(unused_namespace()))
        .memory(MemoryStore::builder().max_bytes(16 << 20))
        .near_cache(mode)
        .build()
        .unwrap();
    store.ready().await;
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_store_keeps_to_the_contract() {
    let redis = Redis::start();
    let report = store_contract::run(async || ready_store(&redis).await).await;
    assert_eq!(report.found, report.lookups, "{report:?}");
    assert!(report.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tiered_store_keeps_to_the_contract_in_each_mode() {
    let redis = Redis::start();
    let short = Duration::from_millis(5);
    for mode in [
        NearCache::Strict,
        NearCache::Lease(short),
        NearCache::LeaseAndWait(short),
    ] {
        let report = store_contract::run(async || ready_tiered(&redis, mode).await).await;
        assert!(report.found > report.lookups / 2, "{mode:?}: {report:?}");
        assert!(report.counts, "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tiered_store_lists_what_is_near_and_redis_alone_cannot_list() {
    let redis = Redis::start();
    let listed = |node: &Node| node.bench.handle.entries(&EntryFilter::new());
    let (one, other) = (
        Node::tiered(&redis, NearCache::Strict).await,
        Node::tiered(&redis, NearCache::Strict).await,
    );
    one.get("/things/1").await;
    let page = listed(&one).unwrap();
    assert_eq!((page.matched, page.entries[0].uri()), (1, "/things/1"));
    assert_eq!(listed(&other).unwrap().matched, 0);
    other.get_until("/things/1", "HIT").await;
    assert_eq!(listed(&other).unwrap().matched, 1);
    one.put("/things/1").await;
    // What another node wrote is known here with the next answer of Redis.
    other.get("/things/2").await;
    let page = listed(&other).unwrap();
    let of = |uri: &str| page.entries.iter().find(|entry| entry.uri() == uri);
    assert!(of("/things/1").is_none_or(|entry| entry.state() == EntryState::Invalidated));
    assert_eq!(listed(&Node::on(&redis).await), None);
}
