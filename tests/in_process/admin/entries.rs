//! The list of entries: what it tells, how it is narrowed, and its pages.

use serde_json::{Value, json};
use tower_response_cache::admin::{Access, Admin};
use tower_response_cache::{CacheLayer, NoStore};

use super::{Bench, plain, send};
use crate::support::seconds;

#[tokio::test]
async fn entries_are_listed_with_all_there_is_to_know() {
    let bench = Bench::filled().await;
    bench.clock.advance(seconds(5));
    let answer = bench.get("/entries?path=/products/3").await.json();
    assert_eq!(answer["matched"], 1);
    assert_eq!(answer["examined"], 4);
    assert_eq!(answer["next_offset"], Value::Null);
    let entry = &answer["entries"][0];
    let size = entry["size"].as_u64().unwrap();
    assert!((100..1000).contains(&size), "{size}");
    assert_eq!(
        *entry,
        json!({
            "uri": "/products/3?a=b",
            "status": 200,
            "state": "fresh",
            "size": size,
            "content_type": "text/plain; charset=utf-8",
            "age_seconds": 5.0,
            "lifetime_seconds": 60.0,
            "ttl_seconds": 55.0,
            "stale_while_revalidate_seconds": 0.0,
            "stale_if_error_seconds": 0.0,
            "tags": ["products"],
            "key": {
                "digest": entry["key"]["digest"],
                "scheme": null,
                "authority": "shop.example",
                "fields": [],
                "other": [],
            },
        })
    );
    assert_eq!(entry["key"]["digest"].as_str().unwrap().len(), 64);
    let stale = bench.get("/entries?state=stale").await.json();
    assert_eq!(stale["entries"][0]["uri"], "/search?q=tea");
    assert_eq!(stale["entries"][0]["ttl_seconds"], 0.0);
}

#[tokio::test]
async fn entries_are_narrowed_and_ordered_by_what_is_asked() {
    let bench = Bench::filled().await;
    let products = ["/products/1", "/products/2", "/products/3?a=b"];
    for (query, expected) in [
        ("path=products", &products[..]),
        ("path=products&path=b", &products[2..]),
        ("pattern=/products/*", &products[..]),
        ("pattern=%2Fproducts%2F1", &products[..1]),
        ("pattern=/products/*%3Fa%3D*", &products[2..]),
        ("tag=products", &products[..]),
        ("tag=product", &[]),
        ("status=404", &[]),
        ("status=200&limit=1&offset=1", &products[1..2]),
        ("state=invalidated", &[]),
        ("order=expiring&limit=1", &["/search?q=tea"]),
        (
            "path=&pattern=&tag=&status=&state=&order=&path=tea",
            &["/search?q=tea"],
        ),
    ] {
        assert_eq!(bench.listed(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_of_entries_lead_from_one_to_the_next() {
    let bench = Bench::new();
    let mut expected: Vec<String> = (0..23).map(|id| format!("/products/{id}")).collect();
    for uri in &expected {
        bench.buy(uri).await;
    }
    expected.sort();
    let (mut listed, mut offset) = (Vec::new(), Some(0));
    while let Some(from) = offset {
        let page = bench
            .get(&format!("/entries?limit=5&offset={from}"))
            .await
            .json();
        assert_eq!(page["matched"], 23);
        let entries = page["entries"].as_array().unwrap();
        listed.extend(
            entries
                .iter()
                .map(|entry| entry["uri"].as_str().unwrap().to_owned()),
        );
        offset = page["next_offset"].as_u64();
    }
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_store_that_cannot_list_is_told_of() {
    let cache = CacheLayer::builder().store(NoStore::new()).build().unwrap();
    let admin = Admin::new(cache.handle(), Access::predicate(|_| true)).router();
    let answer = send(&admin, plain("GET", "/entries", &[])).await.json();
    assert_eq!(answer["listable"], false);
    assert!(answer["note"].as_str().unwrap().contains("cannot list"));
    let answer = send(&admin, plain("POST", "/purge?all&dry_run", &[]))
        .await
        .json();
    assert_eq!(answer["would_evict"], Value::Null);
    assert!(answer["note"].as_str().unwrap().contains("cannot list"));
}
