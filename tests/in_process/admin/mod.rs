//! The admin router through its public API: who may come in, what each address answers, and how bad
//! input is refused.

mod access;
mod bad_input;
mod entries;
mod inside_a_cache;
mod purging;
mod reports;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_response_cache::admin::{Access, Admin};
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheHandle, CacheLayer, Policy, Routes};

use crate::support::{MINUTE, seconds};

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
