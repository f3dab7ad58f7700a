//! Whatever way a URI is spelt or a host named, what is written there is evicted.

use tower_response_cache::{Evict, Routes};

use super::{Data, assert_evicted, assert_hits, policy, put, warm_again};
use crate::support::request;

#[tokio::test]
async fn a_write_evicts_every_spelling_of_its_uri() {
    let bench = Data::default().bench(policy());
    for (written, stored) in [
        ("/a/%62", "/a/b"),
        ("/a/b", "/a/%62"),
        ("/a/x/../b", "/a/b"),
        ("/a/%7e", "/a/~"),
        ("/a/%2f", "/a/%2F"),
    ] {
        warm_again(&bench, &[stored, "/a/other"]).await;
        bench.ask(put(written)).await;
        assert_evicted(&bench, &[stored], written).await;
        assert_hits(&bench, &["/a/other"], written).await;
    }
}

#[tokio::test]
async fn a_rule_holds_for_every_spelling_of_the_written_uri() {
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/products/{id}", Evict::pattern("/list"));
    let bench = Data::default().bench_with(routes);
    for written in [
        "/products/1",
        "/%70roducts/1",
        "/x/../products/1",
        "/products/./1",
    ] {
        warm_again(&bench, &["/list", "/other"]).await;
        bench.ask(put(written)).await;
        assert_evicted(&bench, &["/list"], written).await;
        assert_hits(&bench, &["/other"], written).await;
    }
}

#[tokio::test]
async fn what_a_client_writes_into_a_path_is_no_wildcard() {
    let routes = Routes::new()
        .otherwise(policy())
        .route("/tagged/{id}", policy().tag("t:{id}"))
        .on_write(
            "/items/{id}",
            Evict::pattern("/list/{id}/**").and_tag("t:{id}"),
        )
        .on_write("/deep/{*rest}", Evict::pattern("/list/{rest}"));
    let bench = Data::default().bench_with(routes);
    let bystanders = ["/list/1", "/list/1/2", "/list", "/tagged/1", "/else"];
    for written in [
        "/items/*",
        "/items/**",
        "/items/%2A",
        "/items/%2a%2a",
        "/items/..%2F**",
        "/items/%7Bid%7D",
        "/items/\\*",
        "/items/%3F*",
        "/items/%00",
        "/items/%FF",
        "/deep/**",
        "/deep/*/**",
        "/deep/..",
        "/deep/%2e%2e/**",
        "/deep/{rest}",
    ] {
        warm_again(&bench, &bystanders).await;
        bench.ask(put(written)).await;
        assert_hits(&bench, &bystanders, written).await;
    }
    warm_again(&bench, &bystanders).await;
    bench.ask(put("/items/1")).await;
    assert_evicted(
        &bench,
        &["/list/1", "/list/1/2", "/tagged/1"],
        "an honest one",
    )
    .await;
}

#[tokio::test]
async fn the_same_path_of_every_host_is_evicted() {
    let bench = Data::default().bench(policy());
    let on = |method, host| request(method, "/a", &[("host", host)]);
    bench.ask(on("GET", "one.example")).await;
    assert_eq!(bench.ask(on("GET", "one.example")).await.x_cache(), "HIT");
    assert_eq!(bench.ask(on("GET", "two.example")).await.x_cache(), "MISS");
    bench.ask(on("PUT", "one.example")).await;
    for host in ["one.example", "two.example"] {
        assert_eq!(bench.ask(on("GET", host)).await.x_cache(), "MISS", "{host}");
    }
}
