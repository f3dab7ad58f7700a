//! `examples/reverse_proxy` as a cache: what its options store, evict and leave alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::Uri;
use axum::routing::any;
use http::Method;

use crate::support::programs::{Program, origin, run};

/// An origin that answers with the number of the request and its target, and, below `/fields/`,
/// with a field that the path names.
async fn counting_origin() -> String {
    let count = Arc::new(AtomicUsize::new(0));
    let answer = move |uri: Uri| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { format!("{number} {uri}") }
    };
    let fields = answer.clone();
    origin(
        Router::new()
            .route(
                "/fields/{name}/{value}",
                any(
                    move |Path((name, value)): Path<(String, String)>, uri: Uri| async move {
                        ([(name, value)], fields(uri).await)
                    },
                ),
            )
            .fallback(any(answer)),
    )
    .await
}

async fn proxy(options: &[&str]) -> Program {
    let url = counting_origin().await;
    let mut args = vec!["--origin", &url];
    args.extend(options);
    Program::start("reverse_proxy", &args)
}

#[tokio::test]
async fn the_most_specific_ttl_counts_and_zero_means_never() {
    let proxy = proxy(&[
        "--ttl",
        "/**=60",
        "--ttl",
        "/live/**=0",
        "--ttl",
        "/live/*/map=60",
    ])
    .await;
    for (path, outcomes) in [
        ("/", ["MISS", "HIT"]),
        ("/products?page=2", ["MISS", "HIT"]),
        ("/live/scores/map", ["MISS", "HIT"]),
        ("/live", ["BYPASS", "BYPASS"]),
        ("/live/scores", ["BYPASS", "BYPASS"]),
    ] {
        let (first, second) = (proxy.get(path).await, proxy.get(path).await);
        assert_eq!((first.status(), second.status()), (200, 200), "{path}");
        assert_eq!([first.x_cache(), second.x_cache()], outcomes, "{path}");
        assert_eq!(
            first.body() == second.body(),
            outcomes[1] == "HIT",
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_ttl_or_origin_decides_nothing_is_cached() {
    let proxy = proxy(&[]).await;
    for path in ["/a", "/fields/cache-control/max-age=60"] {
        let first = proxy.get(path).await;
        let second = proxy.get(path).await;
        assert_ne!(first.body(), second.body(), "{path}");
        assert_eq!(second.x_cache(), "BYPASS", "{path}");
    }
}

#[tokio::test]
async fn the_store_none_stores_nothing() {
    let proxy = proxy(&["--ttl", "/**=60", "--store", "none"]).await;
    let first = proxy.get("/a").await;
    assert_ne!(first.body(), proxy.get("/a").await.body());
}

#[tokio::test]
async fn the_origin_decides_when_it_is_told_to() {
    let proxy = proxy(&["--origin-decides"]).await;
    for (path, cached) in [
        ("/a", false),
        ("/fields/cache-control/max-age=60", true),
        ("/fields/cache-control/no-store", false),
        ("/fields/cache-control/private,max-age=60", false),
    ] {
        let first = proxy.get(path).await;
        let second = proxy.get(path).await;
        assert_eq!(first.body() == second.body(), cached, "{path}");
    }
}

#[tokio::test]
async fn the_origin_has_the_last_word_over_a_ttl() {
    let proxy = proxy(&["--ttl", "/**=60"]).await;
    for refusal in ["no-store", "private", "max-age=0"] {
        let path = format!("/fields/cache-control/{refusal}");
        let first = proxy.get(&path).await;
        assert_ne!(first.body(), proxy.get(&path).await.body(), "{refusal}");
    }
}

#[tokio::test]
async fn responses_with_cookies_are_stored_only_when_asked_for() {
    for (options, cached) in [
        (&["--ttl", "/**=60"][..], false),
        (&["--ttl", "/**=60", "--store-set-cookie"], true),
    ] {
        let proxy = proxy(options).await;
        let first = proxy.get("/fields/set-cookie/a=b").await;
        let second = proxy.get("/fields/set-cookie/a=b").await;
        assert_eq!(first.body() == second.body(), cached, "{options:?}");
    }
}

#[tokio::test]
async fn a_write_evicts_what_its_rule_names_and_no_more() {
    let proxy = proxy(&[
        "--ttl",
        "/**=60",
        "--on-write",
        "/catalog/{cat}/items/{id}=/catalog/{cat}/**",
        "--on-write",
        "/orders=/stats/today",
    ])
    .await;
    let paths = [
        "/catalog/tea",
        "/catalog/tea/items/1?full",
        "/catalog/cups",
        "/stats/today",
    ];
    for path in paths {
        assert_eq!(proxy.get(path).await.x_cache(), "MISS", "{path}");
    }
    let outcomes = async || {
        let mut outcomes = Vec::new();
        for path in paths {
            outcomes.push(proxy.get(path).await.x_cache());
        }
        outcomes
    };
    proxy
        .send(Method::PUT, "/catalog/tea/items/7", &[], "new")
        .await;
    assert_eq!(outcomes().await, ["MISS", "MISS", "HIT", "HIT"]);
    proxy.send(Method::POST, "/orders", &[], "one").await;
    assert_eq!(outcomes().await, ["HIT", "HIT", "HIT", "MISS"]);
    // A star in a capture is a star, not a pattern.
    proxy
        .send(Method::DELETE, "/catalog/*/items/7", &[], "")
        .await;
    assert_eq!(outcomes().await, ["HIT", "HIT", "HIT", "HIT"]);
}

#[tokio::test]
async fn one_thread_is_enough() {
    let proxy = proxy(&[
        "--threads",
        "1",
        "--max-bytes",
        "1000000",
        "--ttl",
        "/**=60",
    ])
    .await;
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    assert!(proxy.stop().success());
}

#[test]
fn a_bad_option_ends_with_2_and_names_itself() {
    let always = ["--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:9"];
    for (flag, value, hint) in [
        ("--ttl", "/a", "PATTERN=SECONDS"),
        ("--ttl", "/a=soon", "soon"),
        ("--ttl", "a=1", "/"),
        ("--on-write", "/a/{id}", "ROUTE=PATTERN"),
        ("--on-write", "/a/{id}=/b/{name}", "name"),
        ("--on-write", "/a/{id=/b", "/a/{id"),
        ("--store", "disk", "expected memory"),
        ("--near-cache", "lax", "lease:MS"),
        ("--admin", "localhost:9", "an address and a port"),
        ("--threads", "none", "number"),
    ] {
        let output = run("reverse_proxy", &[&always[..], &[flag, value]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flag} {value}: {error}");
        for part in [flag, value, hint] {
            assert!(error.contains(part), "{flag} {value}: {error}");
        }
    }
    assert_eq!(run("reverse_proxy", &[]).status.code(), Some(2));
}
