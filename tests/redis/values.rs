//! Handlers' own values, in Redis.

use std::time::{Duration, Instant};

use tower_response_cache::NearCache;

use super::{Node, PATIENCE};
use crate::support::MINUTE;
use crate::support::redis::Redis;

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
    let numbers_of = |found: Vec<Option<usize>>| found.into_iter().flatten().collect::<Vec<_>>();
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
        let logins = node.bench.handle.counters("logins").unwrap();
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
    let forever = logins[0].ttl(Duration::MAX);
    assert_eq!(forever.increment("n", i64::MAX).await.unwrap(), i64::MAX);
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
    let counters = node.bench.handle.counters("numbers").unwrap();
    redis.kill();
    for number in 0..20 {
        let made = numbers.get_or_insert_with("n", async || Ok::<_, ()>(number));
        assert_eq!(made.await, Ok(number));
    }
    assert!(numbers.get("n").await.is_err());
    assert!(counters.increment("n", 1).await.is_err());
    assert!(numbers.remove("n").await.is_err());
}
