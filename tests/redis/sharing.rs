//! What one node stores or evicts holds for the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tower_response_cache::NearCache;

use super::{Node, PATIENCE, store_on};
use crate::support::redis::Redis;
use crate::support::{self, Gate, MINUTE, Origin, request, respond};

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
