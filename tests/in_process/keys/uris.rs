//! Paths, queries, hosts and schemes.

use http::uri::Scheme;
use tower_response_cache::{CacheLayer, Policy, Routes};

use super::{assert_apart, assert_together, echo, echoing};
use crate::support::{Bench, MINUTE};

#[tokio::test]
async fn paths_that_differ_in_one_byte_are_kept_apart() {
    assert_apart(
        &echoing(Policy::ttl(MINUTE)),
        &[
            ("/a/b", &[]),
            ("/a%2Fb", &[]),
            ("/a%2fb", &[]),
            ("/a", &[]),
            ("/%61", &[]),
            ("/A", &[]),
            ("/a/", &[]),
            ("//a", &[]),
            ("/a//", &[]),
            ("/a/./b", &[]),
            ("/a/../a/b", &[]),
            ("/a/%2e%2e/a/b", &[]),
            ("/a/%2E%2E/a/b", &[]),
            ("/a;v=1", &[]),
            ("/a%3Bv=1", &[]),
            ("/a%20", &[]),
            ("/a+", &[]),
            ("/a%00b", &[]),
            ("/a%0d%0aX:1", &[]),
            ("/a%0D%0AX:1", &[]),
            ("/", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn queries_that_differ_in_one_byte_are_kept_apart() {
    assert_apart(
        &echoing(Policy::ttl(MINUTE)),
        &[
            ("/a", &[]),
            ("/a?", &[]),
            ("/a?a", &[]),
            ("/a?a=", &[]),
            ("/a?a=%20", &[]),
            ("/a?a=+", &[]),
            ("/a?a=1&b=2", &[]),
            ("/a?b=2&a=1", &[]),
            ("/a?a=1&b=2&", &[]),
            ("/a?a=1;b=2", &[]),
            ("/a?a=1&a=2", &[]),
            ("/a?a=2&a=1", &[]),
            ("/a?A=1&b=2", &[]),
            ("/a%3Fa", &[]),
            ("/a??a", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_sorted_query_shares_across_orders_of_different_names_only() {
    let sorting = || echoing(Policy::ttl(MINUTE).sort_query());
    assert_together(&sorting(), ("/?a=1&b=2", &[]), ("/?b=2&a=1", &[])).await;
    assert_apart(
        &sorting(),
        &[
            ("/?a=1&a=2", &[]),
            ("/?a=2&a=1", &[]),
            ("/?a=1&b=2", &[]),
            ("/?a=1&b=3", &[]),
            ("/", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_ignored_parameter_leaves_the_key_and_still_reaches_the_handler() {
    let bench = echoing(Policy::ttl(MINUTE).ignore_query(["utm_source"]));
    let first = bench.get("/?a=1&utm_source=mail").await;
    assert!(first.text().contains("utm_source=mail"));
    assert_together(
        &bench,
        ("/?a=1&utm_source=mail", &[]),
        ("/?a=1&utm_source=x&utm_source=y", &[]),
    )
    .await;
    // Only that name, spelled like that: a handler may decode more than we do.
    for other in ["/?a=2", "/?a=1&utm_sourc=x", "/?a=1&utm%5Fsource=x"] {
        assert_eq!(bench.get(other).await.x_cache(), "MISS", "{other}");
    }
}

#[tokio::test]
async fn only_query_keeps_only_the_named_parameters() {
    let bench = echoing(Policy::ttl(MINUTE).only_query(["q"]));
    assert_together(&bench, ("/?q=1", &[]), ("/?x=9&q=1", &[])).await;
    assert_eq!(bench.get("/?q=2").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_name_spelt_in_another_way_matters_as_much() {
    // A handler reads `%71` as `q`, so what it answers is not the answer without `q`.
    for policy in [
        Policy::ttl(MINUTE).only_query(["q"]),
        Policy::ttl(MINUTE).no_vary_search("params, except=(\"q\")"),
        Policy::ttl(MINUTE).no_vary_search("params, except=(\"%71\")"),
    ] {
        assert_apart(
            &echoing(policy),
            &[
                ("/", &[]),
                ("/?%71=evil", &[]),
                ("/?%71=1", &[]),
                ("/?q=1", &[]),
            ],
        )
        .await;
    }
    // The order of two of one name is kept, however they are spelt.
    for policy in [
        Policy::ttl(MINUTE).sort_query(),
        Policy::ttl(MINUTE).no_vary_search("key-order"),
    ] {
        assert_apart(
            &echoing(policy),
            &[
                ("/?a=1&%61=2", &[]),
                ("/?%61=2&a=1", &[]),
                ("/?a=2&a=1", &[]),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn hosts_and_ports_are_kept_apart() {
    assert_apart(
        &echoing(Policy::ttl(MINUTE)),
        &[
            ("/p", &[]),
            ("/p", &[("host", "example.com")]),
            ("/p", &[("host", "example.com:80")]),
            ("/p", &[("host", "example.com:8080")]),
            ("/p", &[("host", "example.org")]),
            ("/p", &[("host", "example.com.")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_case_of_a_host_does_not_matter() {
    let bench = echoing(Policy::ttl(MINUTE));
    assert_together(
        &bench,
        ("/p", &[("host", "EXAMPLE.com")]),
        ("/p", &[("host", "example.COM")]),
    )
    .await;
}

#[tokio::test]
async fn a_host_that_is_not_the_targets_is_bypassed() {
    let bench = echoing(Policy::ttl(MINUTE));
    let target = "http://one.example/p";
    for host in [
        "evil.example",
        "one.example:8080",
        "one.example:443",
        "one.example.",
        "",
        "user@one.example",
        "one.example,evil.example",
    ] {
        let answer = bench.get_with(target, &[("host", host)]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{host}");
        assert!(answer.field("cache-status").contains("detail=host"));
    }
    assert_eq!(bench.get(target).await.x_cache(), "MISS");
    for same in [
        "one.example",
        "One.Example",
        "one.example:80",
        "one.example:",
    ] {
        let answer = bench.get_with(target, &[("host", same)]).await;
        assert_eq!(answer.x_cache(), "HIT", "{same}");
    }
    let secure = ("https://one.example:443/p", &[("host", "one.example")][..]);
    assert_eq!(bench.get_with(secure.0, secure.1).await.x_cache(), "MISS");
    let other_port = [("host", "one.example:80")];
    let answer = bench.get_with("https://one.example/p", &other_port).await;
    assert_eq!(answer.x_cache(), "BYPASS");
}

#[tokio::test]
async fn the_host_counts_where_the_target_names_no_authority() {
    let bench = echoing(Policy::ttl(MINUTE));
    for (uri, fields) in [
        ("http://one.example/p", &[][..]),
        ("/p", &[("host", "other.example")][..]),
    ] {
        assert_eq!(bench.get_with(uri, fields).await.x_cache(), "MISS", "{uri}");
        assert_eq!(bench.get_with(uri, fields).await.x_cache(), "HIT", "{uri}");
    }
}

#[tokio::test]
async fn a_request_with_two_hosts_is_bypassed() {
    let bench = echoing(Policy::ttl(MINUTE));
    for _ in 0..2 {
        let twice = &[("host", "a.example"), ("host", "b.example")];
        let answer = bench.get_with("/p", twice).await;
        assert_eq!(answer.x_cache(), "BYPASS");
        assert!(answer.field("cache-status").contains("detail=host"));
    }
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn schemes_are_kept_apart() {
    let proto = |proto| [("host", "example.com"), ("x-forwarded-proto", proto)];
    let (http, https) = (proto("http"), proto("https"));
    for usual in [Scheme::HTTP, Scheme::HTTPS] {
        let bench = echoing_by(usual.clone());
        let mut answers = Vec::new();
        for (uri, fields) in [
            ("http://example.com/p", &[][..]),
            ("https://example.com/p", &[][..]),
            ("/p", &http[..]),
            ("/p", &https[..]),
        ] {
            let first = bench.get_with(uri, fields).await;
            assert_eq!(first.x_cache(), "MISS", "{uri} {fields:?} {usual}");
            answers.push((uri, fields, first.text().to_owned()));
        }
        for (uri, fields, first) in answers {
            let again = bench.get_with(uri, fields).await;
            assert_eq!((again.x_cache(), again.text()), ("HIT", &*first));
        }
    }
}

#[tokio::test]
async fn a_page_is_stored_once_for_targets_with_and_without_the_usual_scheme() {
    const HOST: &[(&str, &str)] = &[("host", "example.com")];
    let (http, https) = ("http://example.com/p", "https://example.com/p");
    for (usual, same, other) in [(Scheme::HTTP, http, https), (Scheme::HTTPS, https, http)] {
        let bench = echoing_by(usual);
        assert_together(&bench, (same, &[]), ("/p", HOST)).await;
        assert_eq!(bench.get(other).await.x_cache(), "MISS", "{other}");
        bench.handle.invalidate_all().await.unwrap();
        let first = bench.get_with("/p", HOST).await;
        assert_eq!(
            (first.x_cache(), bench.get(same).await.x_cache()),
            ("MISS", "HIT")
        );
        assert_eq!(bench.get(other).await.x_cache(), "MISS", "{other}");
    }
}

fn echoing_by(usual: Scheme) -> Bench {
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    Bench::with_builder(CacheLayer::builder().scheme(usual).routes(routes), echo())
}
