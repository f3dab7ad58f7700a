//! An invalidation of a URI covers all that a GET of it may be given, and all that its route counts as
//! the same.

use tower::Layer;
use tower_response_cache::{Evict, Invalidation, Policy, Routes};

use super::{Data, assert_evicted, assert_hits, policy, put, warm, warm_again};
use crate::support::{Bench, request};

/// Under each policy the first is stored, and given to those who ask for the second.
fn sharing() -> [(Policy, &'static str, &'static str); 8] {
    let params = |value| policy().no_vary_search(value);
    [
        (policy().ignore_query(["utm"]), "/p?id=1&utm=x", "/p?id=1"),
        (policy().ignore_query(["utm"]), "/p?utm=x", "/p"),
        (policy().only_query(["id"]), "/p?z=9&id=1", "/p?id=1"),
        (policy().sort_query(), "/p?b=2&a=1", "/p?a=1&b=2"),
        (params("params=(\"utm\")"), "/p?utm=x&id=1", "/p?id=1"),
        (params("params, except=(\"id\")"), "/p?id=1&z=9", "/p?id=1"),
        (params("key-order"), "/p?b=2&a=1", "/p?a=1&b=2"),
        (
            policy().replace_key_with(|_| Some("p".into())),
            "/p?id=1&utm=x",
            "/p?id=1",
        ),
    ]
}

#[tokio::test]
async fn a_write_evicts_what_the_rule_of_its_route_counts_as_the_same() {
    for (policy, first, asked) in sharing() {
        for written in [
            first,
            asked,
            "/p",
            "/p?notify=true",
            "/p?",
            "/%70?x",
            "/b/../p",
        ] {
            let data = Data::default();
            let bench = data.bench_with(Routes::new().route("/p", policy.clone()));
            warm(&bench, &[first]).await;
            assert_hits(&bench, &[asked], first).await;
            bench.ask(put(written)).await;
            assert_evicted(&bench, &[asked], written).await;
            assert_hits(&bench, &[first], written).await;
        }
    }
}

#[tokio::test]
async fn an_invalidation_by_hand_covers_what_the_rule_of_the_route_counts_as_the_same() {
    for (policy, first, asked) in sharing() {
        let bench = Data::default().bench_with(Routes::new().route("/p", policy));
        let handle = &bench.handle;
        for what in [first, asked, "/p", "https://a.example/p"] {
            warm_again(&bench, &[first]).await;
            assert_eq!(
                handle.would_evict(Invalidation::uri(what)).unwrap().matched,
                1,
                "{what}"
            );
            handle.invalidate_uri(what).await.unwrap();
            assert_evicted(&bench, &[asked], what).await;
        }
        for what in [first, asked] {
            warm_again(&bench, &[first]).await;
            handle.invalidate_pattern(what).await.unwrap();
            assert_evicted(&bench, &[asked], what).await;
        }
    }
}

#[tokio::test]
async fn a_path_with_a_query_still_means_that_query_only() {
    for (policy, written, others) in [
        (
            policy().ignore_query(["utm"]),
            "/p?utm=y&id=1",
            ["/p?id=2", "/p"],
        ),
        (
            policy().ignore_query(["utm"]),
            "/p?utm=y",
            ["/p?id=2", "/p?id=1"],
        ),
        (
            policy().only_query(["id"]),
            "/p?id=1&id2=2",
            ["/p?id=2", "/p"],
        ),
        (
            policy().sort_query(),
            "/p?b=2&a=1",
            ["/p?a=1", "/p?a=2&b=1"],
        ),
    ] {
        let bench = Data::default().bench(policy);
        warm(&bench, &others).await;
        bench.handle.invalidate_uri(written).await.unwrap();
        assert_hits(&bench, &others, written).await;
        bench.handle.invalidate_uri("/p").await.unwrap();
        assert_evicted(&bench, &others, "/p").await;
    }
}

#[tokio::test]
async fn a_name_in_another_spelling_is_covered_too() {
    // Keys keep `%75tm` apart from `utm`; nobody who invalidates should have to know.
    let bench = Data::default().bench(policy().ignore_query(["utm", "%C3%BC", "a+b"]));
    for stored in ["/p?%75tm=x&id=1", "/p?id=1&%c3%bc=1", "/p?a%20b=1&id=1"] {
        for what in ["/p?id=1", "/p?id=1&utm=7", stored] {
            warm_again(&bench, &[stored]).await;
            bench.handle.invalidate_uri(what).await.unwrap();
            assert_evicted(&bench, &[stored], what).await;
        }
    }
}

#[tokio::test]
async fn a_write_to_one_uri_of_a_replaced_key_evicts_it_for_all() {
    let by_id =
        |parts: &http::request::Parts| Some(parts.uri.path().split('-').next_back()?.into());
    let routes = Routes::new()
        .route("/chairs/{name}", policy().replace_key_with(by_id))
        .on_write("/workshop/{id}", Evict::pattern("/chairs/**"))
        .otherwise(policy());
    let data = Data::default();
    let bench = data.bench_with(routes);
    let all = ["/chairs/red-7", "/tables/7"];
    for written in ["/chairs/7", "/chairs/blue-7", "/workshop/1"] {
        warm_again(&bench, &all).await;
        assert_hits(&bench, &["/chairs/blue-7"], written).await;
        bench.ask(put(written)).await;
        assert_evicted(&bench, &["/chairs/red-7"], written).await;
        assert_hits(&bench, &["/tables/7"], written).await;
    }
    for what in ["/chairs/blue-7", "/chairs/7?x"] {
        warm_again(&bench, &all).await;
        bench.handle.invalidate_uri(what).await.unwrap();
        assert_evicted(&bench, &["/chairs/red-7"], what).await;
    }
    // What cannot mean any of them leaves them alone.
    warm_again(&bench, &all).await;
    bench.ask(put("/tables/7")).await;
    bench.handle.invalidate_pattern("/tables/**").await.unwrap();
    assert_hits(&bench, &["/chairs/red-7"], "/tables/7").await;
}

#[tokio::test]
async fn what_a_write_announces_and_holds_follows_the_rule_of_the_route_too() {
    let routes = Routes::new()
        .route("/p", policy().ignore_query(["utm"]))
        .on_write("/p", Evict::nothing().two_phase())
        .on_write(
            "/held",
            Evict::pattern("/p?id=1&utm=7").hold_after(crate::support::MINUTE),
        );
    let data = Data::default();
    let bench = data.bench_with(routes);
    warm(&bench, &["/p?id=1&utm=x"]).await;
    let gated = request("PUT", "/p?id=1", &[("x-gate", "write")]);
    let write = bench.spawn(gated);
    crate::support::settle().await;
    assert_eq!(bench.get("/p?id=1").await.x_cache(), "MISS");
    data.gate("write").open();
    write.await.unwrap();

    bench.ask(put("/held")).await;
    for _ in 0..2 {
        assert_evicted(&bench, &["/p?id=1", "/p?utm=1&id=1"], "held").await;
    }
    warm(&bench, &["/p?id=2"]).await;
}

#[tokio::test]
async fn a_location_and_what_a_handler_asks_for_follow_the_rule_of_the_route_they_name() {
    let bench =
        Data::default().bench_with(Routes::new().route("/p", policy().ignore_query(["utm"])));
    warm(&bench, &["/p?utm=x&id=1", "/p?id=2"]).await;
    let write = request("POST", "/jobs", &[("x-field", "location: /p?id=1&utm=new")]);
    bench.ask(write).await;
    assert_evicted(&bench, &["/p?id=1"], "location").await;
    assert_hits(&bench, &["/p?id=2"], "location").await;
}

#[tokio::test]
async fn a_tag_holds_the_canonical_path_whoever_came_first() {
    let bench = Data::default()
        .bench_with(Routes::new().route("/files/{*path}", policy().tag("file:{path}")));
    for stored in [
        "/files/a/b",
        "/files/%61/b",
        "/files/x/../a/b",
        "/files/./a/%62",
    ] {
        warm_again(&bench, &[stored]).await;
        bench.handle.invalidate_tag("file:a/b").await.unwrap();
        assert_evicted(&bench, &[stored], stored).await;
    }
}

#[tokio::test]
async fn what_a_layer_with_a_policy_of_its_own_stores_is_covered_whatever_the_table_says() {
    let by_table = |policy| Routes::new().otherwise(policy);
    let ignoring = || policy().ignore_query(["utm"]);
    let replacing = || policy().replace_key_with(|_| Some("page".into()));
    for (routes, own, stored, what) in [
        (by_table(ignoring()), policy(), "/p?utm=x", "/p?utm=x"),
        (by_table(policy()), ignoring(), "/p?utm=x&id=1", "/p?id=1"),
        (Routes::new(), ignoring(), "/p?utm=x&id=1", "/p?id=1"),
        (Routes::new(), replacing(), "/p", "/q?id=1"),
        (Routes::new(), replacing(), "/p", "/q"),
    ] {
        let bench = Data::default().bench_with(routes);
        let layer = bench.handle.layer(own).unwrap();
        let service = layer.layer(bench.origin.clone());
        let bench = Bench { service, ..bench };
        warm(&bench, &[stored]).await;
        bench
            .handle
            .invalidate_uri("/elsewhere.html")
            .await
            .unwrap();
        bench.get(stored).await;
        assert_hits(&bench, &[stored], what).await;
        bench.handle.invalidate_uri(what).await.unwrap();
        assert_evicted(&bench, &[stored], what).await;
        bench.ask(put(what)).await;
        assert_evicted(&bench, &[stored], what).await;
    }
}
