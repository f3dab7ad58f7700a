//! Nodes that share what they store in a real Redis.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/redis/mod.rs"]
mod redis;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::Redis;
use support::{Bench, Gate, MINUTE, Origin, request, respond};
use tower_response_cache::testing::store_contract;
use tower_response_cache::{
    CacheLayer, EntryFilter, EntryState, Evict, Invalidation, MemoryStore, NearCache, Policy,
    RedisStore, RedisStoreBuilder, Routes, Store, TieredStore,
};

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

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_stores_another_serves() {
    let redis = Redis::start();
    let (one, other) = (Node::on(&redis).await, Node::on(&redis).await);
    assert_eq!(one.get("/things/1").await, "MISS");
    other.get_until("/things/1", "HIT").await;
    let answer = other.bench.get("/things/1").await;
    assert_eq!(answer.text(), "1");
    assert_eq!(answer.field("age"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_one_node_holds_for_all_at_once() {
    let redis = Redis::start();
    let wait = NearCache::LeaseAndWait(Duration::from_millis(30));
    let nodes = [
        [Node::on(&redis).await, Node::on(&redis).await],
        [
            Node::tiered(&redis, NearCache::Strict).await,
            Node::tiered(&redis, NearCache::Strict).await,
        ],
        [
            Node::tiered(&redis, wait).await,
            Node::tiered(&redis, wait).await,
        ],
    ];
    for [one, other] in nodes {
        for round in 0..20 {
            for path in ["/things/7", "/list"] {
                one.get_until(path, "HIT").await;
                other.get_until(path, "HIT").await;
            }
            let status = one.put("/things/7").await;
            assert!(!status.contains("pending"), "{round}: {status}");
            for path in ["/things/7", "/list"] {
                assert_ne!(other.get(path).await, "HIT", "{round} {path}");
            }
        }
    }
}

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
    store.invalidate(&many).get().await.unwrap();
    let calls = |command: &str| redis.info(&format!("cmdstat_{command}"));
    assert!(calls("get").starts_with("calls=10,"), "{}", calls("get"));
    assert!(
        calls("evalsha").starts_with("calls=11,"),
        "{}",
        calls("evalsha")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_redis_hold_nothing_of_a_request_and_all_but_the_log_expire() {
    let redis = Redis::start();
    let node = Node::on(&redis).await;
    node.get_until("/things/(x)*?q=%00'{}", "HIT").await;
    node.put("/things/1").await;
    let mut names = redis.ask("KEYS *").texts();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    let (entry, log) = (&names[0], &names[1]);
    assert_eq!(log, "{tower-response-cache}:L");
    let digest = entry.strip_prefix("tower-response-cache:e:").unwrap();
    assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let left = redis.ask(&format!("PTTL {entry}")).number();
    assert!((1..=60_000).contains(&left), "{left}");
    assert_eq!(redis.ask(&format!("PTTL {log}")).number(), -1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_stands_under_a_name_is_a_miss_and_is_removed() {
    let redis = Redis::start();
    let node = Node::on(&redis).await;
    node.get_until("/things/1", "HIT").await;
    let name = redis.ask("KEYS *:e:*").texts().pop().unwrap();
    let whole = redis.ask(&format!("GET {name}")).bytes();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    let mut other_version = whole.clone();
    other_version[4] ^= 1;
    let values = [
        b"".to_vec(),
        b"{}".to_vec(),
        whole[1..].to_vec(),
        flipped,
        other_version,
    ];
    let mut connection = redis.connect();
    for value in values {
        connection.send(&[b"SET", name.as_bytes(), &value]).unwrap();
        assert_eq!(node.get("/things/1").await, "MISS", "{value:?}");
        node.get_until("/things/1", "HIT").await;
    }
    connection.send(&[b"DEL", name.as_bytes()]).unwrap();
    connection.send(&[b"RPUSH", name.as_bytes(), b"x"]).unwrap();
    assert_eq!(node.get("/things/1").await, "MISS", "a list");
    node.get_until("/things/1", "HIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_entry_of_another_key_is_not_read() {
    let redis = Redis::start();
    let node = Node::on(&redis).await;
    node.get_until("/things/1", "HIT").await;
    let one = redis.ask("KEYS *:e:*").texts().pop().unwrap();
    node.get_until("/things/2", "HIT").await;
    let two = redis
        .ask("KEYS *:e:*")
        .texts()
        .into_iter()
        .find(|name| *name != one);
    redis.ask(&format!("COPY {one} {} REPLACE", two.unwrap()));
    assert_eq!(node.get("/things/2").await, "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_see_nothing_of_each_other() {
    let redis = Redis::start();
    let in_namespace = async |name| {
        let store = store_on(&redis).namespace(name).build().unwrap();
        store.ready().await;
        Node::over(store)
    };
    let (one, other) = (in_namespace("one").await, in_namespace("other").await);
    one.get_until("/things/1", "HIT").await;
    assert_eq!(other.get("/things/1").await, "MISS");
    other.put("/things/1").await;
    assert_eq!(one.get("/things/1").await, "HIT");
    // Not even where an entry is copied under the right name: its epoch is another.
    let name = redis.ask("KEYS one:e:*").texts().pop().unwrap();
    let copy = name.replacen("one", "other", 1);
    redis.ask(&format!("COPY {name} {copy} REPLACE"));
    assert_eq!(other.get("/things/1").await, "MISS");
}

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
        store.invalidate(&what).get().await.unwrap();
    }
    let members = redis.ask("ZCARD {tower-response-cache}:L").number();
    assert!((60..=68).contains(&members), "{members}");
    assert_eq!(node.get("/old").await, "MISS");
    node.get_until("/old", "HIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_late_learns_of_everything() {
    let redis = Redis::start();
    let one = Node::on(&redis).await;
    one.get_until("/things/1", "HIT").await;
    one.get_until("/things/2", "HIT").await;
    one.put("/things/1").await;
    let late = Node::on(&redis).await;
    assert_eq!(late.get("/things/1").await, "MISS");
    assert_eq!(late.get("/things/2").await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_are_shared_and_found() {
    let redis = Redis::start();
    let origin = || {
        Origin::showing(&[("vary", "accept-language")], |request| {
            support::sent(request, "accept-language")
        })
    };
    let on_redis = async || {
        let store = store_on(&redis).build().unwrap();
        store.ready().await;
        Node::with_origin(store, origin())
    };
    let (one, other) = (on_redis().await, on_redis().await);
    for language in ["de", "fr"] {
        let fields = [("accept-language", language)];
        one.bench.get_with("/page", &fields).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = other.bench.get_with("/page", &fields).await;
            assert_eq!(answer.text(), language);
            if answer.x_cache() == "HIT" {
                break;
            }
            assert!(Instant::now() < deadline, "{language}: never a hit");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(
        one.bench
            .get_with("/page", &[("accept-language", "de")])
            .await
            .text(),
        "de"
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
async fn bodies_of_all_sizes_come_back_from_redis() {
    let redis = Redis::start();
    let origin = Origin::new(|request, _| async move {
        let length = request.uri().path()[1..].parse().unwrap();
        respond(200, &[("etag", "\"x\"")], vec![b'x'; length])
    });
    let store = store_on(&redis).build().unwrap();
    store.ready().await;
    let node = Node::with_origin(store, origin);
    for length in [0, 1, 4_095, 4_096, 4_097, 65_536, 1 << 20] {
        let uri = format!("/{length}");
        node.get_until(&uri, "HIT").await;
        assert_eq!(node.bench.get(&uri).await.text().len(), length);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_nodes_calls_the_handler_for_all() {
    let redis = Redis::start();
    let gate = Gate::shut();
    let calls = std::sync::Arc::new(AtomicUsize::new(0));
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let store = store_on(&redis).collapse_across_nodes(MINUTE);
        let store = store.build().unwrap();
        store.ready().await;
        let (gate, calls) = (gate.clone(), calls.clone());
        let origin = Origin::new(move |_, _| {
            let (gate, calls) = (gate.clone(), calls.clone());
            async move {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                gate.wait().await;
                respond(200, &[], call.to_string())
            }
        });
        nodes.push(Node::with_origin(store, origin));
    }
    let waiting: Vec<_> = nodes
        .iter()
        .flat_map(|node| (0..5).map(|_| node.bench.spawn(request("GET", "/slow", &[]))))
        .collect();
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Time for the others to call as well, if they would.
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.open();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().text(), "1");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_another_node_about_what_is_not_for_others() {
    let redis = Redis::start();
    let store = store_on(&redis)
        .collapse_across_nodes(MINUTE)
        .build()
        .unwrap();
    store.ready().await;
    let private = || Origin::with_fields(&[("cache-control", "private")]);
    let one = Node::with_origin(store.clone(), private());
    let other = Node::with_origin(store, private());
    for _ in 0..3 {
        assert_eq!(one.get("/mine").await, "MISS");
        assert_eq!(other.get("/mine").await, "MISS");
    }
    assert_eq!(one.bench.origin.calls() + other.bench.origin.calls(), 6);
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

/// Handlers' own values, in Redis.
#[cfg(feature = "values")]
mod values {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_one_node_sets_another_gets_until_any_of_them_evicts_it() {
        let redis = Redis::start();
        let wait = NearCache::LeaseAndWait(Duration::from_millis(30));
        let nodes = [
            [Node::on(&redis).await, Node::on(&redis).await],
            [
                Node::tiered(&redis, NearCache::Strict).await,
                Node::tiered(&redis, NearCache::Strict).await,
            ],
            [
                Node::tiered(&redis, wait).await,
                Node::tiered(&redis, wait).await,
            ],
        ];
        for [one, other] in nodes {
            let [ours, theirs] = [&one, &other].map(|node| {
                let values = node.bench.handle.values::<String>("things");
                values.ttl(MINUTE).tags(["list"])
            });
            let set = async || {
                ours.set("7:a", &"first".to_owned()).await.unwrap();
                for values in [&ours, &theirs] {
                    let found = values.get("7:a").await.unwrap();
                    assert_eq!(found.as_deref(), Some("first"));
                }
            };
            let gone = async || {
                for values in [&ours, &theirs] {
                    assert_eq!(values.get("7:a").await.unwrap(), None);
                }
            };
            set().await;
            let status = one.put("/things/7").await;
            assert!(!status.contains("pending"), "{status}");
            gone().await;
            set().await;
            theirs.remove("7:a").await.unwrap();
            gone().await;
            set().await;
            theirs.remove_matching("7:*").await.unwrap();
            gone().await;
            set().await;
            theirs.remove_matching("*:a").await.unwrap();
            gone().await;
            set().await;
            other.bench.handle.invalidate_all().await.unwrap();
            gone().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_that_was_overtaken_on_another_node_stores_nothing_of_use() {
        let redis = Redis::start();
        let (one, other) = (Node::on(&redis).await, Node::on(&redis).await);
        let ours = one.bench.handle.values::<u32>("numbers");
        let theirs = other.bench.handle.values::<u32>("numbers");
        let made = ours.get_or_insert_with("n", async || {
            theirs.remove("n").await.unwrap();
            Ok::<_, ()>(1)
        });
        assert_eq!(made.await, Ok(1));
        for values in [&ours, &theirs] {
            assert_eq!(values.get("n").await.unwrap(), None);
        }
        let made = theirs.get_or_insert_with("n", async || Ok::<_, ()>(2));
        assert_eq!(made.await, Ok(2));
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ours.get("n").await.unwrap() {
                Some(number) => return assert_eq!(number, 2),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            assert!(Instant::now() < deadline, "what was made is not stored");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_keys_ask_the_log_a_few_times_and_not_for_each() {
        let redis = Redis::start();
        let node = Node::on(&redis).await;
        let numbers = node.bench.handle.values::<usize>("numbers");
        let keys: Vec<_> = (0..100).map(|key| key.to_string()).collect();
        let entries = keys.iter().enumerate().map(|(number, key)| (key, number));
        numbers.set_many(entries).await.unwrap();
        redis.ask("CONFIG RESETSTAT");
        let found = numbers.get_many(&keys).await.unwrap();
        let numbers_of =
            |found: Vec<Option<usize>>| found.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(numbers_of(found), (0..100).collect::<Vec<_>>());
        let calls = |command: &str| -> u32 {
            let stat = redis.info(&format!("cmdstat_{command}"));
            let calls = stat
                .strip_prefix("calls=")
                .and_then(|rest| rest.split(',').next());
            calls.map_or(0, |calls| calls.parse().unwrap())
        };
        assert_eq!(calls("get"), 100);
        assert!(calls("evalsha") <= 10, "{}", calls("evalsha"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn counters_add_up_over_nodes_and_end_when_they_were_first_to() {
        let redis = Redis::start();
        let nodes = [
            Node::on(&redis).await,
            Node::tiered(&redis, NearCache::default()).await,
        ];
        let logins = nodes.each_ref().map(|node| {
            let logins = node.bench.handle.values::<()>("logins");
            logins.ttl(Duration::from_secs(600))
        });
        logins[0].increment("n", 0).await.unwrap();
        assert!(
            redis.ask("KEYS *:e:*").texts().is_empty(),
            "zero adds nothing"
        );
        let adding: Vec<_> = (0..8)
            .map(|task| {
                let logins = logins[task % 2].clone();
                tokio::spawn(async move {
                    for _ in 0..100 {
                        logins.increment("n", 1).await.unwrap();
                    }
                })
            })
            .collect();
        for task in adding {
            task.await.unwrap();
        }
        for logins in &logins {
            assert_eq!(logins.increment("n", 0).await.unwrap(), 800);
        }
        let names = redis.ask("KEYS *:e:*").texts();
        let [name] = &names[..] else {
            panic!("{names:?}");
        };
        let left = || redis.ask(&format!("PTTL {name}")).number();
        assert!((1..=600_000).contains(&left()), "{}", left());
        redis.ask(&format!("PEXPIRE {name} 60000"));
        assert_eq!(logins[0].increment("n", 1).await.unwrap(), 801);
        assert!((1..=60_000).contains(&left()), "{}", left());
        logins[1].reset("n").await.unwrap();
        let for_ever = logins[0].ttl(Duration::MAX);
        assert_eq!(for_ever.increment("n", i64::MAX).await.unwrap(), i64::MAX);
        assert_eq!(left(), -1);
        assert!(logins[0].increment("n", 1).await.is_err());
        assert_eq!(logins[0].increment("n", -1).await.unwrap(), i64::MAX - 1);
        assert_eq!(left(), -1, "a later addition gives it no end");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_redis_closures_are_called_and_nothing_waits() {
        let mut redis = Redis::start();
        let node = Node::on(&redis).await;
        let numbers = node.bench.handle.values::<u32>("numbers");
        redis.kill();
        for number in 0..20 {
            let made = numbers.get_or_insert_with("n", async || Ok::<_, ()>(number));
            assert_eq!(made.await, Ok(number));
        }
        assert!(numbers.get("n").await.is_err());
        assert!(numbers.increment("n", 1).await.is_err());
        assert!(numbers.remove("n").await.is_err());
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
