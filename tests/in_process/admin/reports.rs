//! Health, statistics, the keys that are asked for most, metrics, and explanations.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Bench;
use crate::support::seconds;

#[tokio::test]
async fn health_is_told_and_a_degraded_cache_is_not_dead() {
    let bench = Bench::new();
    let health = bench.get("/health").await.json();
    assert_eq!(
        (&health["status"], &health["ready"]),
        (&json!("ok"), &json!(true))
    );
    assert_eq!(health["store"]["state"], "up");
    bench.handle.set_bypass(true);
    let health = bench.get("/health").await.json();
    assert_eq!(
        (&health["status"], &health["ready"]),
        (&json!("degraded"), &json!(true))
    );
    assert_eq!(health["bypass"], true);
}

#[tokio::test]
async fn stats_count_what_happened() {
    let bench = Bench::filled().await;
    bench.buy("/products/1").await;
    bench.buy("/elsewhere").await;
    let stats = bench.get("/stats").await.json();
    assert_eq!(stats["requests"]["hit"], 1);
    assert_eq!(stats["requests"]["miss"], 4);
    assert_eq!(stats["requests"]["bypass"], 1);
    assert_eq!(stats["hit_ratio"], 0.2);
    assert_eq!(stats["store"]["entries"], 4);
    assert!(stats["store"]["bytes"].as_u64() > Some(0));
    assert_eq!(stats["bypass"], false);
    assert_eq!(stats["health"]["status"], "ok");
    let route = |template: Value| {
        let routes = stats["routes"].as_array().unwrap();
        let found = routes.iter().find(|route| route["route"] == template);
        found.unwrap().clone()
    };
    assert_eq!(route(json!("/products/{id}"))["hit"], 1);
    assert_eq!(route(json!("/products/{id}"))["miss"], 3);
    assert_eq!(route(json!("/search"))["hit_ratio"], 0.0);
    assert_eq!(route(Value::Null)["bypass"], 1);
    let outcomes = stats["outcomes"].as_array().unwrap();
    assert!(outcomes.contains(&json!({ "outcome": "miss", "reason": "uri-miss", "requests": 4 })));
    let counted = |outcome: &str| {
        let counts = stats["latency"][outcome].as_array().unwrap();
        assert_eq!(
            counts.len(),
            stats["latency"]["bounds"].as_array().unwrap().len() + 1
        );
        counts
            .iter()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        (counted("hit"), counted("miss"), counted("stale")),
        (1, 4, 0)
    );
}

#[tokio::test]
async fn the_keys_that_are_asked_for_most_are_told() {
    let bench = Bench::new();
    for turn in 0..4000 {
        // Every other request is for the same one.
        let id = if turn % 2 == 0 { 1 } else { 100 + turn % 500 };
        bench.buy(&format!("/products/{id}")).await;
    }
    let stats = bench.get("/stats").await.json();
    let hottest = &stats["hot_keys"][0];
    assert_eq!(hottest["uri"], "/products/1");
    let requests = hottest["requests"].as_u64().unwrap();
    assert!((1500..2500).contains(&requests), "{requests} of 2000");
    assert!(hottest["hit_ratio"].as_f64().unwrap() > 0.9);
    assert!(stats["hot_keys"].as_array().unwrap().len() <= 20);
}

#[tokio::test]
async fn metrics_come_in_the_format_of_prometheus() {
    let bench = Bench::filled().await;
    let metrics = bench.get("/metrics").await;
    assert_eq!(
        metrics.field("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(metrics.body, bench.handle.prometheus());
    let misses = metrics.body.lines().find(|line| {
        line.contains("route=\"/products/{id}\"") && line.contains("outcome=\"miss\"")
    });
    assert!(
        misses.is_some_and(|line| line.ends_with(" 3")),
        "{}",
        metrics.body
    );
}

#[tokio::test]
async fn explain_tells_of_the_request_that_a_client_would_send() {
    let bench = Bench::filled().await;
    bench.clock.advance(seconds(10));
    let hit = bench
        .get("/explain?url=http://shop.example/products/1")
        .await
        .json();
    assert_eq!(
        hit["request"],
        json!({
            "method": "GET",
            "target": "/products/1",
            "headers": [["host", "shop.example"]],
        })
    );
    assert_eq!(
        (&hit["x_cache"], &hit["route"]),
        (&json!("HIT"), &json!("/products/{id}"))
    );
    assert_eq!(
        (&hit["age_seconds"], &hit["lifetime_seconds"]),
        (&json!(10.0), &json!(60.0))
    );
    assert_eq!(hit["tags"], json!(["products"]));

    let same = "/explain?url=/products/1&header=Host:%20shop.example";
    assert_eq!(bench.get(same).await.json(), hit);
    for (query, x_cache, detail) in [
        ("url=/products/1", "MISS", "uri-miss"),
        ("url=http://other.example/products/1", "MISS", "uri-miss"),
        (
            "url=https://shop.example/products/1&version=2",
            "MISS",
            "uri-miss",
        ),
        ("url=http://shop.example/products/1&version=2", "HIT", "hit"),
        ("url=http://shop.example/nowhere", "BYPASS", "no-route"),
        (
            "url=http://shop.example/products/1&method=PUT",
            "BYPASS",
            "method",
        ),
        (
            "url=http://shop.example/products/9&header=Authorization:%20x",
            "BYPASS",
            "authorization",
        ),
    ] {
        let answer = bench.get(&format!("/explain?{query}")).await.json();
        assert_eq!(answer["x_cache"], x_cache, "{query}");
        let status = answer["cache_status"].as_str().unwrap();
        assert!(status.contains(detail), "{query}: {status}");
    }
    let calls = bench.calls.load(Ordering::SeqCst);
    assert_eq!(calls, 4, "explaining calls no handler");
}
