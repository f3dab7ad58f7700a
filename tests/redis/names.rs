//! What stands in Redis under which name.

use super::{Node, store_on};
use crate::support::redis::Redis;

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
