//! The keys that are asked for most.

use super::{bench, shop};
use crate::support::{Bench, Origin};

#[tokio::test]
async fn the_keys_asked_for_most_are_told_in_their_order() {
    let bench = Bench::with_builder(shop().hot_keys(2), Origin::counting());
    for n in 0..4_000 {
        match n % 8 {
            0..4 => bench.get("/search?q=b&p=1").await,
            4..6 => bench.get("/products/7").await,
            _ => bench.get(&format!("/products/a{n}")).await,
        };
    }
    let keys = bench.handle.hot_keys();
    let uris: Vec<_> = keys.iter().map(|key| &*key.uri).collect();
    assert_eq!(uris, ["/search?q=b&p=1", "/products/7"]);
    assert!((1_500..2_500).contains(&keys[0].requests), "{keys:?}");
    assert!(keys.iter().all(|key| key.hit_ratio > 0.9), "{keys:?}");
}

#[tokio::test]
async fn nobody_watches_keys_until_told_to() {
    let bench = bench();
    for _ in 0..200 {
        bench.get("/products/7").await;
    }
    assert_eq!(bench.handle.hot_keys(), []);
    bench.handle.watch_hot_keys(5);
    for _ in 0..200 {
        bench.get("/products/7").await;
    }
    let keys = bench.handle.hot_keys();
    assert_eq!(keys.len(), 1);
    assert_eq!((&*keys[0].uri, keys[0].error), ("/products/7", 0));
}
