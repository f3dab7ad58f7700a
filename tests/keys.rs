//! Which requests share a stored response: never two that a handler could answer differently,
//! unless the operator says so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::extract::OriginalUri;
use axum::routing::get;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use support::{Answer, Bench, MINUTE, Origin, request, respond, sent};
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheLayer, Evict, Policy, Routes};

/// A bench whose origin shows all that a key is made of.
fn echoing(policy: Policy) -> Bench {
    Bench::new(policy, echo())
}

fn echo() -> Origin {
    Origin::showing(&[], |request| {
        format!(
            "{} host={} forwarded={} proto={} x={}",
            request.uri(),
            sent(request, "host"),
            sent(request, "x-forwarded-host"),
            sent(request, "x-forwarded-proto"),
            sent(request, "x-part"),
        )
    })
}

type Asking = (&'static str, &'static [(&'static str, &'static str)]);

/// Asks each twice, all first times first: none may be given another's answer.
async fn assert_apart(bench: &Bench, all: &[Asking]) {
    let mut first = Vec::new();
    for (uri, fields) in all {
        let answer = bench.get_with(uri, fields).await;
        assert_eq!(answer.x_cache(), "MISS", "{uri} {fields:?}");
        first.push(answer);
    }
    for ((uri, fields), first) in all.iter().zip(first) {
        let again = bench.get_with(uri, fields).await;
        assert_eq!(again.x_cache(), "HIT", "{uri} {fields:?}");
        assert_eq!(again.text(), first.text(), "{uri} {fields:?}");
    }
}

async fn assert_together(bench: &Bench, first: Asking, second: Asking) {
    let stored = bench.get_with(first.0, first.1).await;
    let answer = bench.get_with(second.0, second.1).await;
    assert_eq!(answer.x_cache(), "HIT", "{first:?} {second:?}");
    assert_eq!(answer.text(), stored.text());
}

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
async fn the_authority_of_an_absolute_target_counts_and_not_the_host_field() {
    let bench = echoing(Policy::ttl(MINUTE));
    let asked = ("http://one.example/p", &[("host", "evil.example")][..]);
    let stored = bench.get_with(asked.0, asked.1).await;
    assert_eq!(stored.x_cache(), "MISS");
    let evil = bench.get_with("/p", &[("host", "evil.example")]).await;
    assert_eq!(evil.x_cache(), "MISS");
    let same = bench
        .get_with("http://one.example/p", &[("host", "other.example")])
        .await;
    assert_eq!(same.x_cache(), "HIT");
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
    assert_apart(
        &echoing(Policy::ttl(MINUTE)),
        &[
            ("http://example.com/p", &[]),
            ("https://example.com/p", &[]),
            (
                "/p",
                &[("host", "example.com"), ("x-forwarded-proto", "http")],
            ),
            (
                "/p",
                &[("host", "example.com"), ("x-forwarded-proto", "https")],
            ),
            ("/p", &[("host", "example.com")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn forwarding_fields_that_handlers_build_links_from_are_part_of_the_key() {
    assert_apart(
        &echoing(Policy::ttl(MINUTE)),
        &[
            ("/p", &[("x-forwarded-host", "evil.example")]),
            ("/p", &[]),
            ("/p", &[("x-forwarded-host", "good.example")]),
            ("/p", &[("x-forwarded-host", "")]),
            (
                "/p",
                &[
                    ("x-forwarded-host", "good.example"),
                    ("x-forwarded-host", "evil.example"),
                ],
            ),
            ("/p", &[("forwarded", "host=evil.example")]),
            ("/p", &[("forwarded", "good.example")]),
            ("/p", &[("x-forwarded-proto", "good.example")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn with_vary_forwarded_hosts_are_kept_apart_even_where_they_are_not_keyed() {
    let origin = Origin::showing(&[("vary", "x-forwarded-host")], |request| {
        sent(request, "x-forwarded-host")
    });
    let builder = CacheLayer::builder()
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
        .keyed_fields([]);
    let bench = Bench::with_builder(builder, origin);
    let evil = [("x-forwarded-host", "evil.example")];
    assert_eq!(bench.get_with("/p", &evil).await.text(), "evil.example");
    assert_eq!(bench.get("/p").await.text(), "-");
    let again = bench.get_with("/p", &evil).await;
    assert_eq!((again.x_cache(), again.text()), ("HIT", "evil.example"));
}

#[tokio::test]
async fn keyed_fields_replaces_the_list_whatever_the_name() {
    for name in [
        "x-tenant",
        "origin",
        "accept",
        "accept-language",
        "user-agent",
        "referer",
        "range-unit",
        "dnt",
        "te",
        "pragma",
    ] {
        let builder = CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .keyed_fields([HeaderName::from_static(name)]);
        let bench = Bench::with_builder(builder, Origin::counting());
        assert_eq!(bench.get_with("/", &[(name, "1")]).await.text(), "1");
        let other = bench.get_with("/", &[(name, "2")]).await;
        assert_eq!(other.text(), "2", "{name} is not part of the key");
        let again = bench.get_with("/", &[(name, "1")]).await;
        assert_eq!((again.x_cache(), again.text()), ("HIT", "1"), "{name}");
        // No longer on the list.
        let unlisted = [(name, "1"), ("x-forwarded-host", "h")];
        assert_eq!(bench.get_with("/", &unlisted).await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn a_get_that_asks_to_be_taken_for_another_request_is_bypassed() {
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    ] {
        let bench = echoing(Policy::ttl(MINUTE));
        for value in ["POST", "DELETE", "/admin", ""] {
            let answer = bench.get_with("/p", &[(name, value)]).await;
            assert_eq!(answer.x_cache(), "BYPASS", "{name}: {value}");
            assert!(answer.field("cache-status").contains("detail=header"));
        }
        // Neither stored, nor answered from what is stored.
        assert_eq!(bench.get("/p").await.x_cache(), "MISS", "{name}");
        let answer = bench.get_with("/p", &[(name, "DELETE")]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{name}");
        assert_eq!(bench.origin.calls(), 6);
    }
}

#[tokio::test]
async fn bypassed_fields_replaces_the_list_whatever_the_name() {
    for name in ["x-debug", "pragma", "origin", "range", "cache-control"] {
        let builder = CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .bypassed_fields([HeaderName::from_static(name)]);
        let bench = Bench::with_builder(builder, Origin::counting());
        bench.get("/p").await;
        let answer = bench.get_with("/p", &[(name, "x")]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{name}");
        let unlisted = [("x-original-url", "/q")];
        assert_eq!(bench.get_with("/p", &unlisted).await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn a_post_with_a_method_override_is_a_write_all_the_same() {
    let bench = echoing(Policy::ttl(MINUTE));
    bench.get("/p").await;
    let overridden = request("POST", "/p", &[("x-http-method-override", "GET")]);
    assert_eq!(bench.ask(overridden).await.x_cache(), "BYPASS");
    assert_eq!(bench.get("/p").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_get_that_announces_content_is_bypassed() {
    for field in [
        ("content-length", "5"),
        ("content-length", "garbage"),
        ("transfer-encoding", "chunked"),
    ] {
        let bench = echoing(Policy::ttl(MINUTE));
        let answer = bench.get_with("/p", &[field]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{field:?}");
        assert!(answer.field("cache-status").contains("detail=content"));
        assert_eq!(bench.get("/p").await.x_cache(), "MISS", "{field:?}");
        let answer = bench.get_with("/p", &[field]).await;
        assert_eq!(answer.x_cache(), "BYPASS", "{field:?}");
    }
    let bench = echoing(Policy::ttl(MINUTE));
    bench.get("/p").await;
    let empty = bench.get_with("/p", &[("content-length", "0")]).await;
    assert_eq!(empty.x_cache(), "HIT");
}

#[tokio::test]
async fn a_get_with_content_is_bypassed_though_no_field_announces_it() {
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
        .build()
        .unwrap();
    let service = layer.layer(tower::service_fn(
        |request: Request<Full<Bytes>>| async move {
            let content = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, std::convert::Infallible>(respond(200, &[], content))
        },
    ));
    let ask = async |content: &'static str| {
        let request = Request::get("/p").body(Full::from(content)).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        Answer::read(response.map(BodyExt::boxed_unsync)).await
    };
    assert_eq!(ask("").await.x_cache(), "MISS");
    let fat = ask("admin").await;
    assert_eq!((fat.x_cache(), fat.text()), ("BYPASS", "admin"));
    let lean = ask("").await;
    assert_eq!((lean.x_cache(), lean.text()), ("HIT", ""));
}

#[tokio::test]
async fn hostile_paths_get_a_key_of_their_own_and_leave_nothing_in_our_fields() {
    let bench = echoing(Policy::ttl(MINUTE));
    let mut raw = Vec::from(&b"/caf\xc3\xa9"[..]);
    raw.extend(std::iter::repeat_n(b'x', 60_000));
    let hostile: Vec<Vec<u8>> = vec![
        b"/a%00b".to_vec(),
        b"/a%0d%0aSet-Cookie:%20x=1".to_vec(),
        b"/a%0".to_vec(),
        b"/a%".to_vec(),
        b"/a%zz".to_vec(),
        b"/%ff%fe".to_vec(),
        b"/\"\"".to_vec(),
        b"/caf\xc3\xa9".to_vec(),
        raw,
        [&b"/"[..], &b"../".repeat(2_000)[..]].concat(),
        [&b"/"[..], &b"%2e%2e/".repeat(2_000)[..]].concat(),
        [&b"/?"[..], &b"a&".repeat(20_000)[..]].concat(),
    ];
    for path in hostile {
        // What `http` does not let in never comes to us.
        let Ok(uri) = Uri::from_maybe_shared(Bytes::from(path)) else {
            continue;
        };
        for expected in ["MISS", "HIT"] {
            let mut request = request("GET", "/", &[]);
            *request.uri_mut() = uri.clone();
            let answer = bench.ask(request).await;
            assert_eq!(answer.x_cache(), expected, "{uri}");
            assert!(answer.headers.get("set-cookie").is_none());
            assert!(answer.field("cache-status").len() < 100);
        }
    }
}

#[tokio::test]
async fn a_target_of_an_asterisk_and_an_empty_path_do_no_harm() {
    let bench = echoing(Policy::ttl(MINUTE));
    bench.ask(request("OPTIONS", "*", &[])).await;
    bench.get("*").await;
    bench.get("http://example.com").await;
    assert_eq!(bench.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn an_evicting_capture_is_taken_literally() {
    for (hostile, own) in [
        ("*", "/conversations/*/messages"),
        ("**", "/conversations/**/messages"),
        ("%2A", "/conversations/%2A/messages"),
        ("[a-z]", "/conversations/[a-z]/messages"),
        ("%5Ba-z%5D", "/conversations/%5Ba-z%5D/messages"),
        ("{id}", "/conversations/{id}/messages"),
        ("%7Bid%7D", "/conversations/%7Bid%7D/messages"),
        ("%3F", "/conversations/%3F/messages"),
        ("%2E%2E", "/conversations/%2E%2E/messages"),
        ("%5C", "/conversations/%5C/messages"),
    ] {
        let write = format!("/conversations/{hostile}/post");
        if write.parse::<Uri>().is_err() {
            continue;
        }
        let routes = Routes::new().otherwise(Policy::ttl(MINUTE)).on_write(
            "/conversations/{id}/post",
            Evict::pattern("/conversations/{id}/messages"),
        );
        let bench = Bench::with_routes(routes, Origin::counting());
        let others = [
            "/conversations/1/messages",
            "/conversations/a/messages",
            "/conversations/1/messages?page=2",
            "/conversations/ab/messages",
            "/conversations/1/2/messages",
        ];
        for uri in others.iter().chain([&own]) {
            bench.get(uri).await;
        }
        bench.ask(request("POST", &write, &[])).await;
        for uri in others {
            assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{hostile}: {uri}");
        }
        assert_eq!(bench.get(own).await.x_cache(), "MISS", "{hostile}");
    }
}

#[tokio::test]
async fn a_write_with_a_question_mark_in_a_capture_evicts_its_own_conversation() {
    // `/conversations/?/post` is a write to `/conversations/`, with a query.
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE)).on_write(
        "/conversations/{id}/post",
        Evict::pattern("/conversations/{id}/messages"),
    );
    let bench = Bench::with_routes(routes, Origin::counting());
    bench.get("/conversations/1/messages").await;
    bench
        .ask(request("POST", "/conversations/?/post", &[]))
        .await;
    let other = bench.get("/conversations/1/messages").await;
    assert_eq!(other.x_cache(), "HIT");
}

#[tokio::test]
async fn a_hostile_path_does_not_choose_the_tags_of_others() {
    let routes = Routes::new().route("/users/{id}", Policy::ttl(MINUTE).tag("user:{id}"));
    let bench = Bench::with_routes(routes, Origin::counting());
    for uri in ["/users/7", "/users/8", "/users/7,user:8", "/users/%37"] {
        bench.get(uri).await;
    }
    bench.handle.invalidate_tag("user:8").await.unwrap();
    assert_eq!(bench.get("/users/7").await.x_cache(), "HIT");
    assert_eq!(bench.get("/users/7,user:8").await.x_cache(), "HIT");
    assert_eq!(bench.get("/users/8").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_path_that_reads_in_two_ways_does_not_slip_past_a_bypassed_route() {
    let routes = Routes::new()
        .route("/me", Policy::bypass())
        .otherwise(Policy::ttl(MINUTE));
    let bench = Bench::with_routes(routes, Origin::counting());
    for uri in [
        "/me",
        "/%6de",
        "/%6D%65",
        "/x/../me",
        "/./me",
        "/x/%2e%2e/me",
    ] {
        for _ in 0..2 {
            assert_eq!(bench.get(uri).await.x_cache(), "BYPASS", "{uri}");
        }
    }
}

async fn where_am_i(OriginalUri(uri): OriginalUri) -> String {
    uri.to_string()
}

async fn ask_axum(app: &Router, uri: &str) -> (String, String) {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let answer = Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await;
    (answer.x_cache().to_owned(), answer.text().to_owned())
}

async fn assert_mounts_are_apart(app: Router) {
    for expected in ["MISS", "HIT"] {
        for uri in ["/v1/items/7", "/v2/items/7"] {
            assert_eq!(
                ask_axum(&app, uri).await,
                (expected.to_owned(), uri.to_owned())
            );
        }
    }
}

#[tokio::test]
async fn two_mounts_of_one_cached_router_are_kept_apart() {
    let cache = CacheLayer::builder()
        .routes(Routes::new().route("/{version}/items/{id}", Policy::ttl(MINUTE)))
        .build()
        .unwrap();
    let items = Router::new()
        .route("/items/{id}", get(where_am_i))
        .layer(cache);
    assert_mounts_are_apart(Router::new().nest("/v1", items.clone()).nest("/v2", items)).await;
}

#[tokio::test]
async fn two_mounts_of_one_cached_service_or_method_router_are_kept_apart() {
    let minute = || {
        let handle = CacheLayer::builder().build().unwrap().handle();
        handle.layer(Policy::ttl(MINUTE)).unwrap()
    };
    let items = Router::new().route("/items/{id}", get(where_am_i).layer(minute()));
    assert_mounts_are_apart(
        Router::new()
            .nest("/v1", items.clone())
            .nest_service("/v2", items),
    )
    .await;
    let items = Router::new()
        .route("/{id}", get(where_am_i))
        .layer(minute());
    let items = Router::new().nest("/items", items);
    assert_mounts_are_apart(Router::new().nest("/v1", items.clone()).nest("/v2", items)).await;
}

#[tokio::test]
async fn a_write_through_a_nested_router_evicts_under_its_own_prefix() {
    let cache = CacheLayer::builder()
        .routes(Routes::new().route("/{version}/items/{id}", Policy::ttl(MINUTE)))
        .build()
        .unwrap();
    let items = Router::new()
        .route("/items/{id}", get(where_am_i).put(async || ()))
        .layer(cache);
    let app = Router::new().nest("/v1", items.clone()).nest("/v2", items);
    for uri in ["/v1/items/7", "/v2/items/7"] {
        ask_axum(&app, uri).await;
    }
    let write = Request::put("/v1/items/7").body(Body::empty()).unwrap();
    app.clone().oneshot(write).await.unwrap();
    assert_eq!(ask_axum(&app, "/v1/items/7").await.0, "MISS");
    assert_eq!(ask_axum(&app, "/v2/items/7").await.0, "HIT");
}

#[tokio::test]
async fn a_key_header_keeps_its_values_apart() {
    let policy = Policy::ttl(MINUTE).key_header(HeaderName::from_static("x-part"));
    assert_apart(
        &echoing(policy),
        &[
            ("/", &[]),
            ("/", &[("x-part", "")]),
            ("/", &[("x-part", "a")]),
            ("/", &[("x-part", "b")]),
            ("/", &[("x-part", "a"), ("x-part", "b")]),
            ("/", &[("x-part", "b"), ("x-part", "a")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_values_of_one_key_header_never_pass_for_those_of_another() {
    let policy = Policy::ttl(MINUTE)
        .key_header(HeaderName::from_static("x-a"))
        .key_header(HeaderName::from_static("x-b"));
    assert_apart(
        &Bench::new(policy, Origin::counting()),
        &[
            ("/", &[("x-a", "1"), ("x-b", "2")]),
            ("/", &[("x-a", "1"), ("x-a", "x-b"), ("x-a", "2")]),
            ("/", &[("x-a", "1"), ("x-a", "2")]),
            ("/", &[("x-b", "1"), ("x-a", "2")]),
            (
                "/",
                &[("x-a", "1"), ("x-a", "x-b"), ("x-a", "2"), ("x-b", "3")],
            ),
            (
                "/",
                &[("x-a", "1"), ("x-b", "2"), ("x-b", "x-b"), ("x-b", "3")],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_variant_is_never_found_under_the_key_of_another_request() {
    // Stored for `x-a: 1`, selected by `x-v: 2`; asked for by one whose key spells the same.
    let origin = Origin::new(|request, call| {
        let varies = request.headers().contains_key("x-v");
        let vary: &[(&str, &str)] = if varies { &[("vary", "x-v")] } else { &[] };
        let response = respond(200, vary, call.to_string());
        async move { response }
    });
    let policy = Policy::ttl(MINUTE).key_header(HeaderName::from_static("x-a"));
    let bench = Bench::new(policy, origin);
    let varying = [("x-a", "1"), ("x-v", "2")];
    assert_eq!(bench.get_with("/", &varying).await.text(), "1");
    assert_eq!(bench.get_with("/", &varying).await.x_cache(), "HIT");
    let spelled = [("x-a", "1"), ("x-a", "x-v"), ("x-a", "2")];
    let other = bench.get_with("/", &spelled).await;
    assert_eq!((other.x_cache(), other.text()), ("MISS", "2"));
}

#[tokio::test]
async fn a_key_part_is_added_and_none_differs_from_empty() {
    let policy = Policy::ttl(MINUTE).key_part(|parts| {
        let value = parts.headers.get("x-part")?;
        value.to_str().ok().map(str::to_lowercase)
    });
    let bench = echoing(policy.clone());
    assert_apart(
        &bench,
        &[
            ("/", &[]),
            ("/", &[("x-part", "")]),
            ("/", &[("x-part", "a")]),
            ("/other", &[("x-part", "a")]),
        ],
    )
    .await;
    assert_together(&bench, ("/", &[("x-part", "a")]), ("/", &[("x-part", "A")])).await;
}

#[tokio::test]
async fn a_replaced_key_is_the_whole_key_where_the_function_gives_one() {
    let policy = Policy::ttl(MINUTE).replace_key_with(|parts| {
        let id = parts.uri.path().strip_prefix("/by-any-name/")?;
        Some(id.split('-').next_back()?.to_owned())
    });
    let bench = echoing(policy);
    assert_together(
        &bench,
        ("/by-any-name/red-chair-7?x=1", &[("host", "a.example")]),
        ("/by-any-name/chair-7", &[("host", "b.example")]),
    )
    .await;
    assert_apart(
        &bench,
        &[
            ("/by-any-name/chair-8", &[]),
            ("/by-any-name/chair-7", &[("x-forwarded-host", "e.example")]),
            ("/8", &[]),
            ("/8?x", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn cors_answers_are_apart_with_vary_and_with_origin_as_a_keyed_field() {
    let reflecting = |fields| Origin::showing(fields, |request| sent(request, "origin"));
    let vary = Bench::new(Policy::ttl(MINUTE), reflecting(&[("vary", "Origin")]));
    let keyed = CacheLayer::builder()
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
        .keyed_fields([header::ORIGIN]);
    let keyed = Bench::with_builder(keyed, reflecting(&[]));
    for bench in [vary, keyed] {
        for _ in 0..2 {
            for origin in ["https://a.example", "https://b.example"] {
                let answer = bench.get_with("/", &[("origin", origin)]).await;
                assert_eq!(answer.text(), origin);
            }
        }
        assert_eq!(bench.origin.calls(), 2);
    }
}

#[tokio::test]
async fn debug_output_of_the_key_and_our_fields_show_nothing_of_it() {
    let bench = echoing(Policy::ttl(MINUTE));
    let answer = bench.get("/secret-path?token=secret").await;
    assert!(answer.headers.get("x-cache-key").is_none());
    assert!(!answer.field("cache-status").contains("secret"));
}
