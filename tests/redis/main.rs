//! Nodes that share what they store in a real Redis.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod failures;
mod names;
mod round_trips;
mod sharing;
mod stores;
#[cfg(feature = "values")]
mod values;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tower_response_cache::{
    CacheLayer, Evict, NearCache, Policy, RedisStore, RedisStoreBuilder, Routes, Store, TieredStore,
};

use crate::support::redis::Redis;
use crate::support::{Bench, MINUTE, Origin, request};

/// Longer than the default: tests share the machine with each other.
const DEADLINE: Duration = Duration::from_secs(1);

fn store_on(redis: &Redis) -> RedisStoreBuilder {
    let url = format!("redis://{}", redis.address());
    RedisStore::builder().url(url).deadline(DEADLINE)
}

/// Longer than anything takes that happens at all, and less than half of a minute's lease.
const PATIENCE: Duration = Duration::from_secs(20);

/// A name that no other store has: they all may share one server.
fn unused_namespace() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("ns{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn ready_store(redis: &Redis) -> RedisStore {
    let store = store_on(redis)
        .namespace(unused_namespace())
        .build()
        .unwrap();
    store.ready().await;
    store
}

/// A service over a store of its own, that counts the calls of its handler.
struct Node {
    bench: Bench,
}

impl Node {
    fn over(store: impl Store) -> Self {
        Self::with_origin(store, Origin::counting())
    }

    fn with_origin(store: impl Store, origin: Origin) -> Self {
        let routes = Routes::new()
            .otherwise(Policy::ttl(MINUTE))
            .on_write(
                "/things/{id}",
                Evict::pattern("/things/{id}").and_tag("list"),
            )
            .route("/list", Policy::ttl(MINUTE).tag("list"));
        let builder = CacheLayer::builder()
            .store(store)
            .store_deadline(DEADLINE)
            .routes(routes);
        Self {
            bench: Bench::with_builder(builder, origin),
        }
    }

    async fn on(redis: &Redis) -> Self {
        let store = store_on(redis).build().unwrap();
        store.ready().await;
        Self::over(store)
    }

    async fn tiered(redis: &Redis, mode: NearCache) -> Self {
        let builder = TieredStore::builder().redis(store_on(redis));
        let store = builder.near_cache(mode).build().unwrap();
        store.ready().await;
        Self::over(store)
    }

    async fn get(&self, uri: &str) -> String {
        self.bench.get(uri).await.x_cache().to_owned()
    }

    /// Asks until the store has taken what was stored in the background.
    async fn get_until(&self, uri: &str, x_cache: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.get(uri).await != x_cache {
            let late = Instant::now() > deadline;
            assert!(!late, "{uri} does not become a {x_cache}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn put(&self, uri: &str) -> String {
        let answer = self.bench.ask(request("PUT", uri, &[])).await;
        answer.field("cache-status").to_owned()
    }
}
