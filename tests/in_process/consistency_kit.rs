//! What the `testing` module finds in a faulty service, and does not find in a right one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::testing::{
    Fault, ManualClock, Note, Plan, Report, ScriptedOrigin, XCache, assert_outcome, check,
};
use tower_response_cache::{CacheLayer, CacheLayerBuilder, Evict, Policy, Routes};

const MINUTE: Duration = Duration::from_secs(60);

fn minute() -> Policy {
    Policy::ttl(MINUTE)
}

/// A small service: users with names, and a list of them.
fn users() -> Router {
    let names: Arc<Mutex<[String; 3]>> = Arc::default();
    let list = names.clone();
    let (one, change) = (names.clone(), names);
    Router::new()
        .route(
            "/users",
            get(move || async move { list.lock().unwrap().join(",") }),
        )
        .route(
            "/users/{id}",
            get(move |Path(id): Path<usize>| async move { one.lock().unwrap()[id].clone() }).put(
                move |Path(id): Path<usize>, name: String| async move {
                    change.lock().unwrap()[id] = name;
                    StatusCode::NO_CONTENT
                },
            ),
        )
}

fn routes(rule: Evict) -> Routes {
    Routes::new()
        .route("/users", minute())
        .route("/users/{id}", minute())
        .on_write("/users/{id}", rule)
}

fn plan(cache: &CacheLayer) -> Plan {
    ["/users", "/users/0", "/users/1", "/users?page=2"]
        .into_iter()
        .fold(Plan::new(cache.handle()), Plan::read)
        .write(Request::put("/users/0"), "Ada")
        .write(Request::put("/users/0"), "Emmy")
        .write(Request::put("/users/1"), "Grace")
        .write(Request::put("/users/1"), "Lise")
        .rounds(30)
}

/// The faults, as they are shown, in alphabetical order.
fn faults(report: &Report) -> Vec<String> {
    let mut lines: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_missing_rule_is_named_by_the_read_and_the_write() {
    let cache = CacheLayer::builder()
        .routes(routes(Evict::nothing()))
        .build()
        .unwrap();
    let report = check(users().layer(cache.clone()), plan(&cache)).await;
    let expected = [
        "GET /users was stale after PUT /users/0",
        "GET /users was stale after PUT /users/1",
        "GET /users?page=2 was stale after PUT /users/0",
        "GET /users?page=2 was stale after PUT /users/1",
    ];
    assert_eq!(faults(&report), expected);
    assert_eq!(report.notes, []);
    let first = Fault::Stale {
        read: "GET /users".into(),
        write: "PUT /users/0".into(),
    };
    assert!(report.faults.contains(&first));
    assert_eq!(report.to_string().lines().count(), 4);
    assert!(!cache.handle().is_bypassed(), "the cache is on again");
}

#[tokio::test]
async fn right_rules_of_any_kind_are_found_right() {
    let by_tag = Routes::new()
        .route("/users", minute().tag("users"))
        .route("/users/{id}", minute())
        .on_write("/users/{id}", Evict::tag("users"));
    for routes in [
        routes(Evict::pattern("/users")),
        routes(Evict::everything()),
        routes(Evict::pattern("/users").two_phase()),
        by_tag,
    ] {
        let cache = CacheLayer::builder().routes(routes).build().unwrap();
        let report = check(users().layer(cache.clone()), plan(&cache)).await;
        report.assert_clean();
        assert_eq!(report, Report::default());
    }
}

#[tokio::test]
async fn a_rule_that_is_too_narrow_is_found_out() {
    // It forgets the other pages of the list.
    let rule = Evict::pattern("/users?page=1").and_pattern("/users?");
    let cache = CacheLayer::builder().routes(routes(rule)).build().unwrap();
    let report = check(users().layer(cache.clone()), plan(&cache)).await;
    assert!(faults(&report).contains(&"GET /users?page=2 was stale after PUT /users/0".into()));
}

#[tokio::test]
#[should_panic(expected = "GET /users was stale after PUT /users/1")]
async fn a_test_fails_with_the_faults() {
    let cache = CacheLayer::builder()
        .routes(routes(Evict::nothing()))
        .build()
        .unwrap();
    check(users().layer(cache.clone()), plan(&cache))
        .await
        .assert_clean();
}

#[tokio::test]
async fn a_soft_rule_that_gives_the_promise_up_is_told_so() {
    let routes = Routes::new()
        .route("/users", minute().stale_while_revalidate(MINUTE))
        .route("/users/{id}", minute())
        .on_write("/users/{id}", Evict::pattern("/users").soft());
    let cache = CacheLayer::builder().routes(routes).build().unwrap();
    let report = check(users().layer(cache.clone()), plan(&cache)).await;
    assert!(faults(&report).contains(&"GET /users was stale after PUT /users/0".into()));
}

/// Echoes a request field, or a parameter of the query.
fn echo() -> Router {
    let echoes = |name: &'static str| {
        get(move |headers: HeaderMap| async move {
            let value = headers.get(name).cloned();
            value
                .unwrap_or(HeaderValue::from_static("none"))
                .as_bytes()
                .to_vec()
        })
    };
    let varies = |headers: HeaderMap| async move {
        let value = headers.get("accept-language").cloned();
        (
            [("vary", "accept-language")],
            value
                .map(|value| value.as_bytes().to_vec())
                .unwrap_or_default(),
        )
    };
    let location = |headers: HeaderMap| async move {
        let host = headers.get("x-forwarded-host").cloned();
        let host = host.unwrap_or(HeaderValue::from_static("here"));
        (StatusCode::OK, [("link", host)], "the same").into_response()
    };
    let query = |Query(query): Query<std::collections::BTreeMap<String, String>>| async move {
        format!("{query:?}")
    };
    Router::new()
        .route("/p", echoes("x-forwarded-host"))
        .route("/for", echoes("x-forwarded-for"))
        .route("/cookie", echoes("cookie"))
        .route("/authorization", echoes("authorization"))
        .route("/agent", echoes("user-agent"))
        .route("/override", echoes("x-http-method-override"))
        .route("/own", echoes("x-own"))
        .route("/varies", get(varies))
        .route("/link", get(location))
        .route("/query", get(query))
}

const PATHS: [&str; 10] = [
    "/p",
    "/for",
    "/cookie",
    "/authorization",
    "/agent",
    "/override",
    "/own",
    "/varies",
    "/link",
    "/query",
];

async fn checked_inputs(builder: CacheLayerBuilder) -> Vec<String> {
    let cache = builder.build().unwrap();
    let plan = PATHS
        .into_iter()
        .fold(Plan::new(cache.handle()), Plan::read)
        .suspect(
            HeaderName::from_static("x-own"),
            HeaderValue::from_static("unkeyed"),
        );
    let report = check(echo().layer(cache), plan).await;
    faults(&report)
}

#[tokio::test]
async fn an_unkeyed_input_is_named_by_the_field_and_the_path() {
    // By default fields that handlers build links from are keyed, and users bypassed.
    let routes = || Routes::new().otherwise(minute());
    let expected = [
        "unkeyed input: User-Agent changes /agent",
        "unkeyed input: X-Forwarded-For changes /for",
        "unkeyed input: X-Own changes /own",
    ];
    let found = checked_inputs(CacheLayer::builder().routes(routes())).await;
    assert_eq!(found, expected);

    // With the precautions taken away the rest shows.
    let routes =
        Routes::new().otherwise(minute().shared_with_everyone().ignore_query(["utm_source"]));
    let builder = [
        "x-forwarded-host",
        "x-host",
        "x-http-method-override",
        "x-original-url",
        "x-rewrite-url",
    ]
    .map(HeaderName::from_static)
    .into_iter()
    .fold(CacheLayer::builder().routes(routes), |builder, name| {
        builder.ignore_header(name)
    });
    let expected = [
        "unkeyed input: Authorization changes /authorization",
        "unkeyed input: Cookie changes /cookie",
        "unkeyed input: User-Agent changes /agent",
        "unkeyed input: X-Forwarded-For changes /for",
        "unkeyed input: X-Forwarded-Host changes /link",
        "unkeyed input: X-Forwarded-Host changes /p",
        "unkeyed input: X-Http-Method-Override changes /override",
        "unkeyed input: X-Own changes /own",
        "unkeyed input: the query's utm_source=unkeyed changes /query",
    ];
    assert_eq!(checked_inputs(builder).await, expected);
}

#[tokio::test]
async fn a_service_whose_inputs_are_keyed_is_found_right() {
    let policy = ["x-forwarded-for", "user-agent", "x-own"]
        .into_iter()
        .fold(minute(), |policy, name| {
            policy.key_header(HeaderName::from_static(name))
        });
    let routes = Routes::new().otherwise(policy);
    let found = checked_inputs(CacheLayer::builder().routes(routes)).await;
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn only_what_is_suspected_is_tried() {
    let routes = Routes::new().otherwise(minute());
    let cache = CacheLayer::builder().routes(routes).build().unwrap();
    let plan = Plan::new(cache.handle())
        .read("/agent")
        .read("/query?a=b")
        .without_usual_suspects()
        .suspect_query("lang=tlh");
    assert_eq!(check(echo().layer(cache), plan).await, Report::default());
}

#[tokio::test]
async fn what_cannot_be_told_is_noted_and_no_fault() {
    let calls = Arc::new(AtomicUsize::new(0));
    let app = Router::new()
        .route(
            "/counter",
            get({
                let calls = calls.clone();
                move || async move { calls.fetch_add(1, Ordering::SeqCst).to_string() }
            }),
        )
        .route(
            "/private",
            get(|| async { ([("cache-control", "private")], "") }),
        )
        .route(
            "/steady",
            get(|| async { "steady" }).put(|| async { StatusCode::FORBIDDEN }),
        );
    let routes = Routes::new().otherwise(minute());
    let cache = CacheLayer::builder().routes(routes).build().unwrap();
    let plan = ["/counter", "/private", "/steady"]
        .into_iter()
        .fold(Plan::new(cache.handle()), Plan::read)
        .write(Request::put("/steady"), "")
        .rounds(5);
    let report = check(app.layer(cache), plan).await;
    report.assert_clean();
    let notes: Vec<_> = report.notes.iter().map(ToString::to_string).collect();
    let expected = [
        "GET /counter changes without a write",
        "GET /private was never answered from the cache",
        "PUT /steady never succeeded",
    ];
    for note in expected {
        assert!(notes.iter().any(|known| known == note), "{note}: {notes:?}");
    }
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(
        report
            .notes
            .contains(&Note::Unsteady("GET /counter".into()))
    );
}

#[tokio::test]
async fn fields_that_differ_each_time_are_left_out_when_named() {
    let app = || {
        let calls = AtomicUsize::new(0);
        let calls = Arc::new(calls);
        Router::new().route(
            "/",
            get(move || async move {
                let call = calls.fetch_add(1, Ordering::SeqCst).to_string();
                ([("x-request-id", call)], "page")
            }),
        )
    };
    for ignored in [true, false] {
        let routes = Routes::new().otherwise(minute().generate_etag());
        let cache = CacheLayer::builder().routes(routes).build().unwrap();
        let mut plan = Plan::new(cache.handle())
            .read("/")
            .write(Request::post("/elsewhere"), "")
            .rounds(3);
        if ignored {
            plan = plan.ignore_field(HeaderName::from_static("x-request-id"));
        }
        let report = check(app().layer(cache), plan).await;
        report.assert_clean();
        let unsteady = report.notes.contains(&Note::Unsteady("GET /".into()));
        assert_eq!(unsteady, !ignored);
    }
}

/// A request body of a service's own.
#[derive(Debug)]
struct Own(Full<Bytes>);

impl http_body::Body for Own {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

#[tokio::test]
async fn services_of_any_body_can_be_checked() {
    let routes = Routes::new().otherwise(minute());
    let cache = CacheLayer::builder().routes(routes).build().unwrap();
    let origin = ScriptedOrigin::new(|parts, _| {
        let language = parts.headers.get("accept-language").cloned();
        let language = language.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        Response::new(language.unwrap_or_default())
    });
    let plan = Plan::with_body(cache.handle(), |body| Own(Full::new(body))).read("/");
    let service = cache.layer(origin);
    fn takes_own<S: Service<Request<Own>>>(_: &S) {}
    takes_own(&service);
    let report = check(service, plan).await;
    let expected = ["unkeyed input: Accept-Language changes /"];
    assert_eq!(faults(&report), expected);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_run() {
    let run = |seed| async move {
        let routes = Routes::new().otherwise(minute());
        let cache = CacheLayer::builder().routes(routes).build().unwrap();
        let origin = ScriptedOrigin::new(|_, _| Response::new(Bytes::new()));
        let plan = Plan::new(cache.handle())
            .read("/a")
            .read("/b")
            .write(Request::put("/a"), "")
            .write(Request::put("/b"), "")
            .without_usual_suspects()
            .rounds(20)
            .seed(seed);
        check(cache.layer(origin.clone()), plan).await;
        let seen = origin.seen().into_iter();
        seen.map(|parts| format!("{} {}", parts.method, parts.uri))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test]
async fn a_scripted_origin_holds_answers_back_and_lets_them_go_one_by_one() {
    let routes = Routes::new().otherwise(minute().without_collapsing());
    let clock = ManualClock::new();
    let cache = CacheLayer::builder()
        .routes(routes)
        .clock(clock.clock())
        .build()
        .unwrap();
    let origin = ScriptedOrigin::counting();
    let service = cache.layer(origin.clone());
    let send = |uri: &str| {
        let request = Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        tokio::spawn(service.clone().oneshot(request))
    };
    assert_outcome(&send("/").await.unwrap().unwrap(), XCache::Miss);
    let barrier = origin.hold();
    let held = [send("/a"), send("/b"), send("/c")];
    barrier.arrived(3).await;
    assert_eq!(origin.calls(), 4);
    assert!(held.iter().all(|one| !one.is_finished()));
    barrier.let_one_go();
    let [first, second, third] = held;
    assert_outcome(&first.await.unwrap().unwrap(), XCache::Miss);
    assert!(!second.is_finished() && !third.is_finished());
    barrier.open();
    second.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
    // Hits are not held: they call nobody.
    let barrier = origin.hold();
    assert_outcome(&send("/").await.unwrap().unwrap(), XCache::Hit);
    clock.advance(MINUTE);
    let late = send("/");
    barrier.arrived(1).await;
    barrier.open();
    assert_outcome(&late.await.unwrap().unwrap(), XCache::Miss);
    assert_eq!(origin.seen()[4].uri, "/");
}

#[test]
#[should_panic(expected = "expected HIT, found X-Cache: Some(\"MISS\")")]
fn an_outcome_that_is_another_is_shown() {
    let response = Response::builder()
        .header("x-cache", "MISS")
        .body(())
        .unwrap();
    assert_eq!(XCache::of(&response), Some(XCache::Miss));
    assert_outcome(&response, XCache::Hit);
}
