//! Invalidation by hand, soft purges, and writes while the cache is switched off.

use tower_response_cache::{ErrorKind, Evict, Invalidation, Routes};

use super::{Data, assert_evicted, assert_hits, policy, put, warm, warm_again};
use crate::support::{MINUTE, settle};

#[tokio::test]
async fn the_handle_invalidates_uris_patterns_tags_and_everything() {
    let routes = Routes::new()
        .route("/a/{*rest}", policy().tag("a"))
        .otherwise(policy());
    let bench = Data::default().bench_with(routes);
    let all = ["/a/1", "/a/1?x=1", "/a/2", "/b"];
    let handle = &bench.handle;

    warm_again(&bench, &all).await;
    handle.invalidate_uri("/a/1").await.unwrap();
    assert_evicted(&bench, &["/a/1", "/a/1?x=1"], "uri").await;
    assert_hits(&bench, &["/a/2", "/b"], "uri").await;

    warm_again(&bench, &all).await;
    handle.invalidate_uri("/a/1?x=1").await.unwrap();
    assert_evicted(&bench, &["/a/1?x=1"], "uri with a query").await;
    assert_hits(&bench, &["/a/1", "/a/2", "/b"], "uri with a query").await;

    for what in ["pattern", "tag"] {
        warm_again(&bench, &all).await;
        match what {
            "pattern" => handle.invalidate_pattern("/a/**").await.unwrap(),
            _ => handle.invalidate_tag("a").await.unwrap(),
        }
        assert_evicted(&bench, &all[..3], what).await;
        assert_hits(&bench, &["/b"], what).await;
    }
    warm_again(&bench, &all).await;
    handle.invalidate_all().await.unwrap();
    assert_evicted(&bench, &all, "everything").await;
    assert!(handle.invalidate_pattern("a/***{").await.is_err());
}

#[tokio::test]
async fn a_text_that_is_no_uri_is_an_error_and_invalidates_nothing() {
    let bench = Data::default().bench(policy());
    warm(&bench, &["/a"]).await;
    for text in ["not a uri", "a", "", "**", "tag:a"] {
        let error = bench.handle.invalidate_uri(text).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Pattern, "{text}");
        assert!(error.to_string().contains("such as `/products/7`"));
    }
    assert_hits(&bench, &["/a"], "no URI").await;
    bench
        .handle
        .invalidate_uri("http://any.example/a")
        .await
        .unwrap();
    assert_evicted(&bench, &["/a"], "an absolute URI").await;
}

#[tokio::test]
async fn a_soft_purge_is_served_stale_while_it_is_refreshed() {
    let data = Data::default();
    let bench = data.bench(policy().stale_while_revalidate(MINUTE));
    warm(&bench, &["/a", "/b"]).await;
    data.write("/a");
    let soft = Invalidation::uri("/a").soft();
    bench.handle.invalidate(soft).await.unwrap();
    let stale = bench.get("/a").await;
    assert_eq!((stale.x_cache(), stale.text()), ("STALE", "0"));
    settle().await;
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("HIT", "1"));
    assert_hits(&bench, &["/b"], "soft purge of /a").await;
}

#[tokio::test]
async fn a_soft_rule_marks_what_it_names_and_still_evicts_what_was_written() {
    let routes = Routes::new()
        .otherwise(policy().stale_while_revalidate(MINUTE))
        .on_write("/items/{id}", Evict::pattern("/list").soft());
    let bench = Data::default().bench_with(routes);
    warm(&bench, &["/items/1", "/list"]).await;
    bench.ask(put("/items/1")).await;
    assert_eq!(bench.get("/list").await.x_cache(), "STALE");
    assert_eq!(bench.get("/items/1").await.x_cache(), "MISS");
}

#[tokio::test]
async fn without_a_window_a_soft_purge_is_a_miss() {
    let data = Data::default();
    let bench = data.bench(policy());
    warm(&bench, &["/a"]).await;
    data.write("/a");
    let soft = Invalidation::everything().soft();
    bench.handle.invalidate(soft).await.unwrap();
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
}

#[tokio::test]
async fn while_the_cache_is_switched_off_writes_still_evict() {
    let data = Data::default();
    let bench = data.bench(policy());
    warm(&bench, &["/a"]).await;
    bench.handle.set_bypass(true);
    assert!(bench.handle.is_bypassed());
    assert_eq!(bench.get("/a").await.x_cache(), "BYPASS");
    bench.ask(put("/a")).await;
    assert_eq!(bench.get("/a").await.text(), "1");
    bench.handle.set_bypass(false);
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
}
