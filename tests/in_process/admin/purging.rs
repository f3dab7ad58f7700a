//! Purges, and the switch that turns the cache off.

use http::Method;
use serde_json::json;

use super::{Bench, authorized, send};

#[tokio::test]
async fn a_purge_ends_the_use_of_what_it_names_and_nothing_else() {
    for (how, gone) in [
        ("url=/products/1", &["/products/1"][..]),
        ("url=http://shop.example/products/3", &["/products/3?a=b"]),
        (
            "pattern=/products/**",
            &["/products/1", "/products/2", "/products/3?a=b"],
        ),
        (
            "tag=products",
            &["/products/1", "/products/2", "/products/3?a=b"],
        ),
        (
            "all",
            &[
                "/products/1",
                "/products/2",
                "/products/3?a=b",
                "/search?q=tea",
            ],
        ),
        (
            "all=true",
            &[
                "/products/1",
                "/products/2",
                "/products/3?a=b",
                "/search?q=tea",
            ],
        ),
        ("pattern=/none/**&all=false", &[]),
    ] {
        let bench = Bench::filled().await;
        let answer = bench.post(&format!("/purge?{how}")).await.json();
        assert_eq!(answer["purged"], true, "{how}");
        for uri in [
            "/products/1",
            "/products/2",
            "/products/3?a=b",
            "/search?q=tea",
        ] {
            let expected = if gone.contains(&uri) { "MISS" } else { "HIT" };
            assert_eq!(bench.buy(uri).await, expected, "{how}: {uri}");
        }
    }
}

#[tokio::test]
async fn a_purge_may_come_as_json_or_as_a_form() {
    let bench = Bench::filled().await;
    let answer = bench
        .post_json("/purge", &json!({ "pattern": "/products/1", "soft": null }))
        .await;
    assert_eq!(answer.json()["target"], "/products/1");
    assert_eq!(bench.buy("/products/1").await, "MISS");
    let request = authorized(Method::POST, "/purge?soft=false")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = send(
        &bench.admin,
        request.body("pattern=%2Fproducts%2F2".into()).unwrap(),
    )
    .await;
    assert_eq!(answer.json()["target"], "/products/2");
    assert_eq!(bench.buy("/products/2").await, "MISS");
    assert_eq!(bench.buy("/products/3?a=b").await, "HIT");
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_hit_and_hits_nothing() {
    let bench = Bench::filled().await;
    for query in [
        "pattern=/products/**&dry_run=true",
        "tag=products&dry_run=1",
        "all&dry_run&soft",
    ] {
        let answer = bench.post(&format!("/purge?{query}")).await.json();
        assert_eq!(answer["dry_run"], true, "{query}");
        assert!(answer["purged"].is_null(), "{query}");
        let all = query.starts_with("all");
        assert_eq!(
            answer["would_evict"]["matched"],
            if all { 4 } else { 3 },
            "{query}"
        );
        assert_eq!(answer["would_evict"]["examined"], 4);
        assert!(answer["would_evict"]["examples"].as_array().unwrap().len() >= 3);
    }
    assert_eq!(bench.handle.stats().invalidations, 0);
    assert_eq!(bench.buy("/products/1").await, "HIT");
}

#[tokio::test]
async fn a_soft_purge_marks_as_stale() {
    let bench = Bench::filled().await;
    let answer = bench.post("/purge?tag=products&soft=true").await.json();
    assert_eq!(answer["target"], "soft tag \"products\"");
    let entry = &bench.get("/entries?path=/products/1").await.json()["entries"][0];
    assert_eq!(entry["state"], "stale");
}

#[tokio::test]
async fn bypass_is_switched_on_and_off() {
    let bench = Bench::filled().await;
    assert_eq!(
        bench.post("/bypass?on=true").await.json(),
        json!({ "bypass": true })
    );
    assert!(bench.handle.is_bypassed());
    assert_eq!(bench.buy("/products/1").await, "BYPASS");
    assert_eq!(bench.get("/stats").await.json()["bypass"], true);
    let answer = bench
        .post_json("/bypass", &json!({ "on": false }))
        .await
        .json();
    assert_eq!(answer, json!({ "bypass": false }));
    assert_eq!(bench.buy("/products/1").await, "HIT");
}
