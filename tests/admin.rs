//! The admin router through its public API: who may come in, what each address answers, and how bad
//! input is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_response_cache::admin::{Access, Admin};
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheHandle, CacheLayer, ErrorKind, NoStore, Policy, Routes};

mod support;
use support::{MINUTE, seconds};

const TOKEN: &str = "tests-only-0123456789";

/// A cached shop and its administration.
struct Bench {
    shop: Router,
    admin: Router,
    handle: CacheHandle,
    clock: ManualClock,
    calls: Arc<AtomicUsize>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Bench {
    fn new() -> Self {
        Self::with_access(Access::token(TOKEN).unwrap())
    }

    fn with_access(access: Access) -> Self {
        let clock = ManualClock::new();
        let cache = CacheLayer::builder()
            .clock(clock.clock())
            .routes(
                Routes::new()
                    .route("/products/{id}", Policy::ttl(MINUTE).tag("products"))
                    .route("/search", Policy::ttl(seconds(5))),
            )
            .build()
            .unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let answer = move || async move { count.fetch_add(1, Ordering::SeqCst).to_string() };
        Self {
            shop: Router::new().fallback(answer).layer(cache.clone()),
            admin: Admin::new(cache.handle(), access).router(),
            handle: cache.handle(),
            clock,
            calls,
        }
    }

    /// A bench with three products and a search stored.
    async fn filled() -> Self {
        let bench = Self::new();
        for uri in [
            "/products/1",
            "/products/2",
            "/products/3?a=b",
            "/search?q=tea",
        ] {
            assert_eq!(bench.buy(uri).await, "MISS");
        }
        bench
    }

    /// Asks the shop, and returns its `X-Cache`.
    async fn buy(&self, uri: &str) -> String {
        let request = Request::get(uri).header("host", "shop.example");
        let answer = send(&self.shop, request.body(Body::empty()).unwrap()).await;
        answer.field("x-cache").to_owned()
    }

    async fn get(&self, uri: &str) -> Answer {
        send(
            &self.admin,
            authorized(Method::GET, uri).body(Body::empty()).unwrap(),
        )
        .await
    }

    async fn post(&self, uri: &str) -> Answer {
        send(
            &self.admin,
            authorized(Method::POST, uri).body(Body::empty()).unwrap(),
        )
        .await
    }

    async fn post_json(&self, uri: &str, body: &Value) -> Answer {
        let request = authorized(Method::POST, uri).header("content-type", "application/json");
        send(&self.admin, request.body(body.to_string().into()).unwrap()).await
    }

    async fn listed(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/entries?{query}")).await.json();
        let entries = answer["entries"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["uri"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("(absent)", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// The reason of a refusal.
    fn error(&self) -> String {
        assert!(!self.status.is_success(), "{}", self.body);
        let body: Value = serde_json::from_str(&self.body).unwrap();
        body["error"].as_str().unwrap().to_owned()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn authorized(method: Method, uri: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(uri);
    request.header("authorization", format!("Bearer {TOKEN}"))
}

fn plain(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let request = Request::builder().method(method).uri(uri);
    let request = fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(Body::empty()).unwrap()
}

const ADDRESSES: [(&str, &str); 8] = [
    ("GET", "/health"),
    ("GET", "/stats"),
    ("GET", "/metrics"),
    ("GET", "/entries"),
    ("GET", "/explain?url=/products/1"),
    ("POST", "/purge?all"),
    ("POST", "/bypass?on=true"),
    ("GET", "/nowhere"),
];

#[test]
fn a_token_that_can_be_guessed_or_not_be_sent_is_refused_at_once() {
    for (token, hint) in [
        ("", "0 characters"),
        ("short", "5 characters"),
        ("fifteen-letters", "15 characters"),
        ("sixteen letters!", "cannot be sent"),
        ("sixteen-létters!", "cannot be sent"),
        ("sixteen-letters\n", "cannot be sent"),
    ] {
        let error = Access::token(token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let error = error.to_string();
        assert!(error.contains(hint), "{error}");
        assert!(token.is_empty() || !error.contains(token), "{error}");
    }
    let access = Access::token("sixteen-letters!").unwrap();
    assert!(!format!("{access:?}").contains("sixteen"));
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let bench = Bench::filled().await;
    let with = |value: &str| plain("GET", "/", &[("authorization", value)]);
    for (method, uri) in ADDRESSES {
        for authorization in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(TOKEN.into()),
            Some(format!("Basic {TOKEN}")),
            Some(format!("Bearer {TOKEN}0")),
            Some(format!("Bearer {}", &TOKEN[..TOKEN.len() - 1])),
            Some(format!("Bearer {}", TOKEN.to_uppercase())),
            Some("Bearer another-token-of-that-length".into()),
        ] {
            let mut request = match &authorization {
                Some(value) => with(value),
                None => plain("GET", "/", &[]),
            };
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = uri.parse().unwrap();
            let answer = send(&bench.admin, request).await;
            assert_eq!(answer.status, 401, "{method} {uri} {authorization:?}");
            assert!(
                answer
                    .field("www-authenticate")
                    .starts_with("Bearer realm=")
            );
            assert!(answer.error().contains("token"));
        }
    }
    assert!(!bench.handle.is_bypassed());
    assert_eq!(bench.buy("/products/1").await, "HIT");
}

#[tokio::test]
async fn two_authorizations_are_none() {
    let bench = Bench::new();
    let both = format!("Bearer {TOKEN}");
    let request = plain(
        "GET",
        "/stats",
        &[("authorization", &both), ("authorization", &both)],
    );
    assert_eq!(send(&bench.admin, request).await.status, 401);
}

#[tokio::test]
async fn the_token_lets_in_however_the_scheme_is_spelt() {
    let bench = Bench::new();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {TOKEN}");
        let request = plain("GET", "/stats", &[("authorization", &value)]);
        assert_eq!(send(&bench.admin, request).await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn a_predicate_decides_for_each_request() {
    let access = Access::predicate(|parts| {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        peer.is_some_and(|ConnectInfo(peer)| peer.ip().is_loopback())
    });
    let bench = Bench::with_access(access);
    for (method, uri) in ADDRESSES {
        let from = |peer: Option<&str>| {
            let mut request = plain(method, uri, &[]);
            if let Some(peer) = peer {
                let peer: SocketAddr = peer.parse().unwrap();
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            request
        };
        let near = send(&bench.admin, from(Some("127.0.0.1:1"))).await;
        assert_ne!(near.status, 403, "{method} {uri}");
        for peer in [None, Some("192.0.2.1:1")] {
            let far = send(&bench.admin, from(peer)).await;
            assert_eq!(far.status, 403, "{method} {uri} {peer:?}");
            assert_eq!(far.error(), "you have no access");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_whatever_access_says() {
    let bench = Bench::with_access(Access::predicate(|_| true));
    let host = ("host", "localhost:9901");
    for (fields, status) in [
        (&[host][..], 200),
        (&[host, ("sec-fetch-site", "same-origin")], 200),
        (&[host, ("sec-fetch-site", "none")], 200),
        (&[host, ("sec-fetch-site", "same-site")], 403),
        (&[host, ("sec-fetch-site", "cross-site")], 403),
        (&[host, ("origin", "http://localhost:9901")], 200),
        (&[host, ("origin", "https://LOCALHOST:9901")], 200),
        (&[host, ("origin", "http://localhost:3000")], 403),
        (&[host, ("origin", "http://evil.example")], 403),
        (&[host, ("origin", "null")], 403),
        (&[host, ("origin", "")], 403),
        (&[("origin", "http://localhost:9901")], 403),
    ] {
        let answer = send(&bench.admin, plain("POST", "/bypass?on=false", fields)).await;
        assert_eq!(answer.status, status, "{fields:?}");
    }
    let request = plain(
        "POST",
        "http://localhost:9901/bypass?on=false",
        &[("origin", "http://localhost:9901")],
    );
    assert_eq!(
        send(&bench.admin, request).await.status,
        200,
        "HTTP/2 has no Host"
    );
}

#[tokio::test]
async fn every_answer_is_marked_as_nobody_elses_business() {
    let bench = Bench::new();
    let mut answers = Vec::new();
    for (method, uri) in ADDRESSES {
        answers.push(send(&bench.admin, plain(method, uri, &[])).await);
        let request = authorized(method.parse().unwrap(), uri);
        answers.push(send(&bench.admin, request.body(Body::empty()).unwrap()).await);
    }
    answers.push(bench.get("/").await);
    answers.push(bench.get("/purge").await);
    for answer in answers {
        assert_eq!(answer.field("cache-control"), "no-store");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        assert_eq!(answer.field("x-frame-options"), "DENY");
        assert_eq!(answer.field("referrer-policy"), "no-referrer");
        assert_eq!(answer.field("cross-origin-resource-policy"), "same-origin");
        let policy = answer.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let cors = |name: &http::HeaderName| name.as_str().starts_with("access-control");
        assert!(!answer.headers.keys().any(cors));
    }
}

#[tokio::test]
async fn a_preflight_gets_no_leave() {
    let bench = Bench::new();
    let request = plain(
        "OPTIONS",
        "/purge",
        &[
            ("origin", "https://evil.example"),
            ("access-control-request-method", "POST"),
        ],
    );
    let answer = send(&bench.admin, request).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_page_is_shown_to_everyone_and_may_do_little() {
    let bench = Bench::new();
    let answer = send(
        &bench.admin,
        plain("GET", "/", &[("sec-fetch-site", "cross-site")]),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
    let policy = answer.field("content-security-policy");
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(answer.body.len() < 60 << 10, "{} bytes", answer.body.len());
    for outside in [
        "src=",
        "@import",
        "url(",
        "import(",
        "href=\"http",
        "action=",
    ] {
        assert!(!answer.body.contains(outside), "{outside} in the page");
    }
    for markup in [
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
    ] {
        assert!(!answer.body.contains(markup), "{markup} in the page");
    }
    assert_eq!(bench.post("/").await.status, 405);
}

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
            "url=http://shop.example/products/1&version=2",
            "MISS",
            "uri-miss",
        ),
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

#[tokio::test]
async fn bad_input_is_refused_with_what_to_change() {
    let bench = Bench::filled().await;
    for (method, uri, status, hint) in [
        ("GET", "/entries?limit=201", 400, "up to 200"),
        ("GET", "/entries?limit=many", 400, "up to 200"),
        ("GET", "/entries?offset=10001", 400, "narrow"),
        (
            "GET",
            "/entries?offset=99999999999999999999",
            400,
            "up to 10000",
        ),
        ("GET", "/entries?status=abc", 400, "status code"),
        (
            "GET",
            "/entries?state=old",
            400,
            "fresh, stale, invalidated",
        ),
        ("GET", "/entries?order=size", 400, "largest"),
        (
            "GET",
            "/entries?order=path&order=path",
            400,
            "more than once",
        ),
        ("GET", "/entries?pattern=products", 400, "/"),
        ("GET", "/entries?pth=/a", 400, "path, pattern, tag"),
        ("GET", "/explain", 400, "`url` is missing"),
        ("GET", "/explain?url=", 400, "`url` is missing"),
        ("GET", "/explain?url=%20", 400, "`url`"),
        ("GET", "/explain?url=shop.example:80", 400, "http://host"),
        (
            "GET",
            "/explain?url=/a&header=Accept",
            400,
            "a name and a value",
        ),
        (
            "GET",
            "/explain?url=/a&header=Accept:a%0ab",
            400,
            "a name and a value",
        ),
        (
            "GET",
            "/explain?url=/a&header=%20:x",
            400,
            "a name and a value",
        ),
        ("GET", "/explain?url=/a&version=3", 400, "1, 2"),
        ("GET", "/explain?url=/a&method=A%20B", 400, "GET"),
        ("POST", "/purge", 400, "one of url, pattern, tag and all"),
        (
            "POST",
            "/purge?all=false",
            400,
            "one of url, pattern, tag and all",
        ),
        (
            "POST",
            "/purge?url=/a&tag=b",
            400,
            "one of url, pattern, tag and all",
        ),
        (
            "POST",
            "/purge?all&tag=b",
            400,
            "one of url, pattern, tag and all",
        ),
        ("POST", "/purge?all=yes", 400, "true or false"),
        ("POST", "/purge?all&dryrun=true", 400, "dry_run"),
        ("POST", "/purge?pattern=/a/***", 400, "**"),
        ("POST", "/bypass", 400, "on=true"),
        ("POST", "/bypass?on=perhaps", 400, "true or false"),
        ("GET", "/purge?all", 405, "takes POST"),
        ("PUT", "/stats", 405, "takes GET"),
        ("GET", "/stats/", 404, "/stats"),
        ("GET", "/favicon.ico", 404, "/entries"),
    ] {
        let request = authorized(method.parse().unwrap(), uri)
            .body(Body::empty())
            .unwrap();
        let answer = send(&bench.admin, request).await;
        assert_eq!(answer.status, status, "{method} {uri}: {}", answer.body);
        let error = answer.error();
        assert!(error.contains(hint), "{method} {uri}: {error}");
        // RFC 9110 §15.5.6.
        assert_eq!(
            status == 405,
            answer.headers.contains_key("allow"),
            "{method} {uri}"
        );
    }
    assert_eq!(bench.handle.stats().invalidations, 0);
    assert!(!bench.handle.is_bypassed());
}

#[tokio::test]
async fn bad_bodies_are_refused_with_what_to_change() {
    let bench = Bench::filled().await;
    let long = "x".repeat(17 << 10);
    for (content_type, body, status, hint) in [
        ("application/json", "{", 400, "not JSON"),
        ("application/json", "[]", 400, "not an object"),
        ("application/json", r#"{"tag": {"a": 1}}"#, 400, "\"tag\""),
        (
            "application/json",
            r#"{"tag": ["a", "b"]}"#,
            400,
            "more than once",
        ),
        ("application/json", r#"{"tag": "a", "x": 1}"#, 400, "\"x\""),
        (
            "application/json; charset=utf-8",
            "nonsense",
            400,
            "not JSON",
        ),
        ("text/plain", "all", 415, "application/json"),
        ("application/x-www-form-urlencoded", "al", 400, "\"al\""),
        ("application/json", &long, 413, "16384"),
    ] {
        let request = authorized(Method::POST, "/purge").header("content-type", content_type);
        let answer = send(&bench.admin, request.body(body.to_owned().into()).unwrap()).await;
        assert_eq!(answer.status, status, "{body:.40}: {}", answer.body);
        assert!(answer.error().contains(hint), "{body:.40}: {}", answer.body);
    }
    // Given in two places is given twice.
    let twice = bench
        .post_json("/purge?tag=a", &json!({ "tag": "a" }))
        .await;
    assert!(twice.error().contains("more than once"));
    assert_eq!(bench.handle.stats().invalidations, 0);
}

/// A router that is cached as recklessly as its options allow, and the administration inside.
fn reckless() -> (Router, CacheHandle) {
    let policy = Policy::ttl(MINUTE).ttl_overrides().shared_with_everyone();
    let cache = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy))
        .build()
        .unwrap();
    let admin = Admin::new(cache.handle(), Access::token(TOKEN).unwrap()).router();
    let app = Router::new()
        .route("/page", get(|| async { "page" }))
        .nest_service("/admin", admin)
        .layer(cache.clone());
    (app, cache.handle())
}

#[tokio::test]
async fn inside_of_a_cached_router_no_answer_is_ever_stored() {
    let (app, handle) = reckless();
    for (method, uri) in ADDRESSES.iter().chain(&[("GET", "")]) {
        let uri = format!("/admin{uri}");
        for _ in 0..2 {
            let request = authorized(method.parse().unwrap(), &uri)
                .body(Body::empty())
                .unwrap();
            let answer = send(&app, request).await;
            assert_ne!(answer.field("x-cache"), "HIT", "{uri}");
            assert_eq!(answer.field("cache-control"), "no-store", "{uri}");
            let answer = send(&app, plain(method, &uri, &[])).await;
            let expected = if uri == "/admin" { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{method} {uri}");
        }
        handle.set_bypass(false);
    }
    assert_eq!(handle.stats().stored, 0);
    assert_eq!(handle.stats().usage.entries, 0);
    // It is cached, in other words.
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(
            send(&app, plain("GET", "/page", &[]))
                .await
                .field("x-cache"),
            x_cache
        );
    }
}

#[tokio::test]
async fn inside_of_a_cached_router_nobody_shares_anothers_answer() {
    let (app, _) = reckless();
    let calls = (0..20).map(|caller| {
        let request = match caller % 2 {
            0 => authorized(Method::GET, "/admin/entries")
                .body(Body::empty())
                .unwrap(),
            _ => plain("GET", "/admin/entries", &[]),
        };
        let app = app.clone();
        tokio::spawn(async move { send(&app, request).await.status })
    });
    let calls: Vec<_> = calls.collect();
    for (caller, call) in calls.into_iter().enumerate() {
        let expected = if caller % 2 == 0 { 200 } else { 401 };
        assert_eq!(call.await.unwrap(), expected, "caller {caller}");
    }
}
