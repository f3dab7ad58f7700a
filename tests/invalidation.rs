//! Never older than an acknowledged write.

mod support;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use support::{
    Answer, Bench, BoxError, Gate, MINUTE, Origin, TestBody, TestRequest, request, respond,
    respond_with, settle,
};
use tokio::task::JoinHandle;
use tower::timeout::Timeout;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::{
    CacheDirective, CacheLayer, Error, Evict, Invalidate, Invalidation, Key, KeyRef, Log,
    MemoryStore, Policy, Routes, Store, Stored, Usage,
};

/// What is behind the cache: a version for each path, which every write raises by one.
///
/// Requests say how they are to be answered:
/// `x-gate: NAME` waits for that gate after the data was read or written;
/// `x-body-gate: NAME` sends the head and then waits;
/// `x-status: CODE` answers with that status;
/// `x-field: NAME: VALUE` adds that field.
#[derive(Clone, Default)]
struct Data {
    versions: Arc<Mutex<HashMap<String, u64>>>,
    gates: Arc<Mutex<HashMap<String, Gate>>>,
    /// Fields of every answer to a GET.
    fields: Arc<Mutex<Vec<(&'static str, &'static str)>>>,
    etags: bool,
}

impl Data {
    fn with_fields(fields: &[(&'static str, &'static str)]) -> Self {
        let data = Self::default();
        *data.fields.lock().unwrap() = fields.to_vec();
        data
    }

    fn with_etags() -> Self {
        Self {
            etags: true,
            ..Self::default()
        }
    }

    fn gate(&self, name: &str) -> Gate {
        let mut gates = self.gates.lock().unwrap();
        gates
            .entry(name.to_owned())
            .or_insert_with(Gate::shut)
            .clone()
    }

    fn version(&self, path: &str) -> u64 {
        self.versions
            .lock()
            .unwrap()
            .get(path)
            .copied()
            .unwrap_or(0)
    }

    fn write(&self, path: &str) -> u64 {
        let mut versions = self.versions.lock().unwrap();
        let version = versions.entry(path.to_owned()).or_default();
        *version += 1;
        *version
    }

    async fn answer(self, request: TestRequest) -> Response<TestBody> {
        let path = request.uri().path().to_owned();
        let asked = |name| {
            let value = request.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let reads = ["GET", "HEAD"].contains(&request.method().as_str());
        let version = match reads {
            true => self.version(&path),
            false => self.write(&path),
        };
        let text = version.to_string();
        let etag = format!("\"{text}\"");
        let mut status = asked("x-status").map_or(200, |status| status.parse().unwrap());
        if self.etags && asked("if-none-match").is_some_and(|known| known.contains(&etag)) {
            status = 304;
        }
        if let Some(gate) = asked("x-gate") {
            self.gate(&gate).wait().await;
        }
        let mut fields = match reads {
            true => self.fields.lock().unwrap().clone(),
            false => Vec::new(),
        };
        if self.etags {
            fields.push(("etag", &etag));
        }
        let field = asked("x-field");
        fields.extend(field.iter().filter_map(|field| field.split_once(": ")));
        let Some(gate) = asked("x-body-gate") else {
            return respond(
                status,
                &fields,
                if status == 304 { "".into() } else { text },
            );
        };
        let gate = self.gate(&gate);
        let frames = stream::once(async move {
            gate.wait().await;
            Ok::<_, BoxError>(Frame::data(text.into()))
        });
        respond_with(status, &fields, StreamBody::new(frames).boxed_unsync())
    }

    fn origin(&self) -> Origin {
        let data = self.clone();
        Origin::new(move |request, _| data.clone().answer(request))
    }

    fn bench(&self, policy: Policy) -> Bench {
        Bench::new(policy, self.origin())
    }

    fn bench_with(&self, routes: Routes) -> Bench {
        Bench::with_routes(routes, self.origin())
    }
}

fn policy() -> Policy {
    Policy::ttl(MINUTE)
}

fn get(uri: &str) -> TestRequest {
    request("GET", uri, &[])
}

fn put(uri: &str) -> TestRequest {
    request("PUT", uri, &[])
}

async fn text(task: JoinHandle<Answer>) -> String {
    task.await.unwrap().text().to_owned()
}

/// Fills the cache for these and sees that they are hits.
async fn warm(bench: &Bench, uris: &[&str]) {
    for uri in uris {
        bench.get(uri).await;
        assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{uri}");
    }
}

async fn assert_hits(bench: &Bench, uris: &[&str], what: &str) {
    for uri in uris {
        assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{what}: {uri}");
    }
}

async fn assert_evicted(bench: &Bench, uris: &[&str], what: &str) {
    for uri in uris {
        assert_eq!(bench.get(uri).await.x_cache(), "MISS", "{what}: {uri}");
    }
}

// Races.

#[tokio::test]
async fn a_fill_that_a_write_overtook_answers_nobody_who_comes_later() {
    for wait in ["x-gate", "x-body-gate"] {
        let data = Data::default();
        let bench = data.bench(policy());
        let read = bench.spawn(request("GET", "/a", &[(wait, "read")]));
        settle().await;
        bench.ask(put("/a")).await;
        data.gate("read").open();
        assert_eq!(text(read).await, "0", "it began before the write");
        let next = bench.get("/a").await;
        assert_eq!((next.x_cache(), next.text()), ("MISS", "1"), "{wait}");
        assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn nobody_joins_a_call_that_a_write_overtook() {
    for wait in ["x-gate", "x-body-gate"] {
        let data = Data::default();
        let bench = data.bench(policy());
        let old = bench.spawn(request("GET", "/a", &[(wait, "read")]));
        settle().await;
        bench.ask(put("/a")).await;
        // At once: it does not even wait for the old call.
        let new = bench.spawn(get("/a"));
        settle().await;
        assert!(new.is_finished(), "{wait}: it waits for the old call");
        let new = new.await.unwrap();
        assert_eq!((new.x_cache(), new.text()), ("MISS", "1"), "{wait}");
        // And the old call, landing last, does not replace what is newer.
        data.gate("read").open();
        assert_eq!(text(old).await, "0");
        let next = bench.get("/a").await;
        assert_eq!((next.x_cache(), next.text()), ("HIT", "1"), "{wait}");
    }
}

#[tokio::test]
async fn those_who_come_after_a_write_share_a_call_of_their_own() {
    let data = Data::default();
    let bench = data.bench(policy());
    let old = bench.spawn(request("GET", "/a", &[("x-gate", "old")]));
    settle().await;
    bench.ask(put("/a")).await;
    let new: Vec<_> = (0..5)
        .map(|_| bench.spawn(request("GET", "/a", &[("x-gate", "new")])))
        .collect();
    settle().await;
    data.gate("old").open();
    assert_eq!(text(old).await, "0");
    settle().await;
    data.gate("new").open();
    for read in new {
        assert_eq!(text(read).await, "1");
    }
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_refresh_that_a_write_overtook_is_not_used() {
    let data = Data::default();
    let bench = data.bench(policy().stale_while_revalidate(MINUTE));
    warm(&bench, &["/a"]).await;
    bench.clock.advance(MINUTE);
    let stale = bench
        .ask(request("GET", "/a", &[("x-gate", "refresh")]))
        .await;
    assert_eq!(stale.x_cache(), "STALE");
    settle().await;
    bench.ask(put("/a")).await;
    // Not the stale response, not the refresh under way.
    let next = bench.spawn(get("/a"));
    settle().await;
    assert!(next.is_finished(), "it waits for the refresh");
    let next = next.await.unwrap();
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
    data.gate("refresh").open();
    settle().await;
    let last = bench.get("/a").await;
    assert_eq!((last.x_cache(), last.text()), ("HIT", "1"));
}

#[tokio::test]
async fn a_confirmation_that_a_write_overtook_is_not_used() {
    let data = Data::with_etags();
    let bench = data.bench(policy());
    warm(&bench, &["/a"]).await;
    bench.clock.advance(MINUTE);
    let validating = bench.spawn(request("GET", "/a", &[("x-gate", "read")]));
    settle().await;
    bench.ask(put("/a")).await;
    data.gate("read").open();
    let confirmed = validating.await.unwrap();
    assert_eq!(
        (confirmed.x_cache(), confirmed.text()),
        ("REVALIDATED", "0")
    );
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
}

#[tokio::test]
async fn what_a_write_made_old_does_not_stand_in_for_an_error() {
    let data = Data::default();
    let bench = data.bench(policy().stale_if_error(60 * MINUTE));
    warm(&bench, &["/a"]).await;
    bench.clock.advance(MINUTE);
    let failing = |bench: &Bench| bench.spawn(request("GET", "/a", &[("x-status", "503")]));
    assert_eq!(failing(&bench).await.unwrap().x_cache(), "STALE");
    bench.ask(put("/a")).await;
    assert_eq!(failing(&bench).await.unwrap().status, 503);
}

#[tokio::test]
async fn tags_that_are_known_only_at_the_head_are_judged_there() {
    for wait in ["x-gate", "x-body-gate"] {
        let data = Data::with_fields(&[("surrogate-key", "catalogue other")]);
        let bench = data.bench(policy());
        let old = bench.spawn(request("GET", "/a", &[(wait, "read")]));
        settle().await;
        data.write("/a");
        bench.handle.invalidate_tag("catalogue").await.unwrap();
        // It cannot be known yet whether this one may join.
        let new = bench.spawn(get("/a"));
        settle().await;
        data.gate("read").open();
        assert_eq!(text(old).await, "0");
        assert_eq!(text(new).await, "1", "{wait}");
        settle().await;
        let next = bench.get("/a").await;
        assert_eq!((next.x_cache(), next.text()), ("HIT", "1"), "{wait}");
    }
}

#[tokio::test]
async fn an_old_variant_that_lands_late_does_not_come_back() {
    let data = Data::with_fields(&[("vary", "accept-language")]);
    let bench = data.bench(policy());
    let german = [("accept-language", "de")];
    let gated = [("accept-language", "de"), ("x-gate", "read")];
    bench.get_with("/a", &[("accept-language", "en")]).await;
    let old = bench.spawn(request("GET", "/a", &gated));
    settle().await;
    bench.ask(put("/a")).await;
    assert_eq!(bench.get_with("/a", &german).await.text(), "1");
    data.gate("read").open();
    assert_eq!(text(old).await, "0");
    for language in ["de", "en"] {
        let answer = bench.get_with("/a", &[("accept-language", language)]).await;
        assert_eq!(answer.text(), "1", "{language}");
    }
}

// What evicts what.

#[tokio::test]
async fn a_write_evicts_what_its_rules_name_and_nothing_else() {
    let routes = Routes::new()
        .route("/users/{id}", policy().tag("user:{id}"))
        .route(
            "/users/{id}/orders",
            policy().tag("user:{id}").tag("orders"),
        )
        .route("/orders", policy().tag("orders"))
        .otherwise(policy())
        .on_write(
            "/orders/{user}/{order}",
            Evict::pattern("/users/{user}/**").and_tag("orders"),
        )
        .on_write("/names/{user}", Evict::tag("user:{user}"))
        .on_write("/reset", Evict::everything());
    let bench = Data::default().bench_with(routes);
    let all = [
        "/users/1",
        "/users/1/orders",
        "/users/2",
        "/users/2/orders",
        "/orders",
        "/else",
    ];
    for (written, evicted, kept) in [
        (
            "/orders/1/77",
            &["/users/1", "/users/1/orders", "/users/2/orders", "/orders"][..],
            &["/users/2", "/else"][..],
        ),
        (
            "/names/2",
            &["/users/2", "/users/2/orders"],
            &["/users/1", "/users/1/orders", "/orders", "/else"],
        ),
        ("/reset", &all, &[]),
        ("/unrelated", &[], &all),
    ] {
        warm_again(&bench, &all).await;
        bench.ask(put(written)).await;
        assert_hits(&bench, kept, written).await;
        assert_evicted(&bench, evicted, written).await;
    }
}

async fn warm_again(bench: &Bench, uris: &[&str]) {
    bench.handle.invalidate_all().await.unwrap();
    warm(bench, uris).await;
}

#[tokio::test]
async fn a_write_evicts_its_own_uri_with_every_query() {
    let bench = Data::default().bench(policy());
    let uris = ["/a", "/a?x=1", "/a?x=2", "/a/b", "/ab"];
    warm(&bench, &uris).await;
    bench.ask(put("/a")).await;
    assert_evicted(&bench, &["/a", "/a?x=1", "/a?x=2"], "PUT /a").await;
    assert_hits(&bench, &["/a/b", "/ab"], "PUT /a").await;
    warm_again(&bench, &uris).await;
    bench.ask(put("/a?x=1")).await;
    assert_evicted(&bench, &["/a?x=1"], "PUT /a?x=1").await;
    assert_hits(&bench, &["/a?x=2"], "PUT /a?x=1").await;
}

#[tokio::test]
async fn handlers_tag_their_responses_by_extension_and_by_fields() {
    let origin = Origin::new(|request, _| async move {
        match request.uri().path() {
            "/extension" => {
                let mut response = respond(200, &[], "");
                let directive = CacheDirective::new().tag("t");
                response.extensions_mut().insert(directive);
                response
            }
            "/surrogate-key" => respond(200, &[("surrogate-key", "a t b")], ""),
            "/cache-tag" => respond(200, &[("cache-tag", "a, t,b")], ""),
            "/cache-groups" => respond(200, &[("cache-groups", "\"a\", \"t\"")], ""),
            _ => respond(200, &[("cache-tag", "tt")], ""),
        }
    });
    let bench = Bench::new(policy(), origin);
    let tagged = [
        "/extension",
        "/surrogate-key",
        "/cache-tag",
        "/cache-groups",
    ];
    warm(&bench, &tagged).await;
    warm(&bench, &["/else"]).await;
    bench.handle.invalidate_tag("t").await.unwrap();
    assert_hits(&bench, &["/else"], "tag t").await;
    assert_evicted(&bench, &tagged, "tag t").await;
}

#[tokio::test]
async fn a_write_names_groups_to_invalidate_and_a_read_does_not() {
    let data = Data::with_fields(&[("cache-groups", "\"g\"")]);
    let bench = data.bench(policy());
    let field = [("x-field", "cache-group-invalidation: \"g\"")];
    warm(&bench, &["/a"]).await;
    bench.ask(request("GET", "/b", &field)).await;
    assert_hits(&bench, &["/a"], "GET").await;
    bench.ask(request("POST", "/c", &field)).await;
    assert_evicted(&bench, &["/a"], "POST").await;
}

#[tokio::test]
async fn handlers_invalidate_by_extension_on_any_method() {
    let origin = Origin::new(|request, call| async move {
        let status = request.headers().get("x-status");
        let status = status.map_or(200, |status| status.to_str().unwrap().parse().unwrap());
        let mut response = respond(status, &[], call.to_string());
        if request.uri().path() != "/a" {
            let what = [Invalidation::uri("/a"), Invalidation::tag("none")];
            response.extensions_mut().insert(Invalidate::new(what));
        }
        response
    });
    let routes = Routes::new()
        .route("/a", policy())
        .route("/cached", policy())
        .route("/bypassed", Policy::bypass());
    let bench = Bench::with_routes(routes, origin);
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "QUERY"] {
        for uri in ["/cached", "/bypassed", "/unrouted"] {
            let what = format!("{method} {uri}");
            warm(&bench, &["/a"]).await;
            bench
                .ask(request(method, uri, &[("x-status", "500")]))
                .await;
            assert_hits(&bench, &["/a"], &what).await;
            bench.ask(request(method, uri, &[])).await;
            assert_evicted(&bench, &["/a"], &what).await;
            bench.handle.invalidate_uri("/cached").await.unwrap();
        }
    }
}

#[tokio::test]
async fn locations_are_evicted_within_the_same_origin_only() {
    let bench = Data::default().bench(policy());
    let host = [("host", "example.com")];
    for (field, evicts) in [
        ("location: /new", true),
        ("content-location: /new", true),
        ("location: new", true),
        ("location: http://example.com/new", true),
        ("location: //example.com/new", true),
        ("location: http://other.com/new", false),
        ("location: //other.com/new", false),
        ("location: http://example.com:8080/new", false),
        ("content-location: http://other.com/new", false),
        ("link: /new", false),
    ] {
        bench.ask(request("GET", "/new", &host)).await;
        let fields = [
            ("host", "example.com"),
            ("x-field", field),
            ("x-status", "201"),
        ];
        bench.ask(request("POST", "/things", &fields)).await;
        let next = bench.ask(request("GET", "/new", &host)).await;
        assert_eq!(
            next.x_cache(),
            if evicts { "MISS" } else { "HIT" },
            "{field}"
        );
    }
}

#[tokio::test]
async fn only_writes_that_may_have_been_made_evict() {
    let bench = Data::default().bench(policy());
    for (status, evicts) in [
        ("200", true),
        ("201", true),
        ("204", true),
        ("206", true),
        ("299", true),
        ("301", true),
        ("303", true),
        ("304", true),
        ("399", true),
        ("400", false),
        ("404", false),
        ("409", false),
        ("412", false),
        ("499", false),
        ("500", false),
        ("503", false),
        ("599", false),
    ] {
        warm_again(&bench, &["/a"]).await;
        bench
            .ask(request("PUT", "/a", &[("x-status", status)]))
            .await;
        let next = bench.get("/a").await;
        assert_eq!(
            next.x_cache(),
            if evicts { "MISS" } else { "HIT" },
            "{status}"
        );
    }
}

#[tokio::test]
async fn unsafe_and_unknown_methods_evict_and_safe_ones_do_not() {
    let bench = Data::default().bench(policy());
    for (method, evicts) in [
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
        ("FROB", true),
        ("MKCOL", true),
        ("get", true),
        ("GET", false),
        ("HEAD", false),
        ("OPTIONS", false),
        ("TRACE", false),
        ("PROPFIND", false),
        ("QUERY", false),
    ] {
        warm_again(&bench, &["/a"]).await;
        bench.ask(request(method, "/a", &[])).await;
        let next = bench.get("/a").await;
        assert_eq!(
            next.x_cache(),
            if evicts { "MISS" } else { "HIT" },
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_write_that_is_repeated_runs_again() {
    let data = Data::default();
    let bench = data.bench(policy());
    for method in ["POST", "PUT", "DELETE"] {
        let before = bench.origin.calls();
        let first = bench.ask(request(method, "/a", &[])).await;
        let second = bench.ask(request(method, "/a", &[])).await;
        assert_eq!(bench.origin.calls(), before + 2, "{method}");
        assert_ne!(first.text(), second.text());
        assert_eq!(second.x_cache(), "BYPASS");
    }
}

// Writes whose end nobody sees.

/// Polls a request `polls` times and drops it.
fn poll_and_drop(bench: &Bench, request: TestRequest, polls: usize) -> bool {
    let mut future = pin!(bench.service.clone().oneshot(request));
    let mut cx = Context::from_waker(Waker::noop());
    (0..polls).any(|_| future.as_mut().poll(&mut cx).is_ready())
}

/// An origin whose writes wait several times before and after they write.
fn hesitating(data: &Data) -> Origin {
    let data = data.clone();
    Origin::new(move |request, _| {
        let data = data.clone();
        async move {
            if request.method() == "GET" {
                return data.answer(request).await;
            }
            for step in 0..6 {
                tokio::task::yield_now().await;
                if step == 3 {
                    data.write("/a");
                }
            }
            respond(200, &[], "")
        }
    })
}

#[tokio::test]
async fn a_client_that_leaves_at_any_moment_of_a_write_still_evicts() {
    for polls in 0.. {
        let data = Data::default();
        let bench = Bench::new(policy(), hesitating(&data));
        warm(&bench, &["/a"]).await;
        let ended = poll_and_drop(&bench, put("/a"), polls);
        let next = bench.get("/a").await;
        assert_eq!(next.text(), data.version("/a").to_string(), "{polls} polls");
        let called = bench.origin.calls() > if polls == 0 { 2 } else { 1 };
        assert_eq!(next.x_cache(), if called { "MISS" } else { "HIT" });
        if ended {
            assert!(polls > 6);
            break;
        }
    }
}

#[tokio::test]
async fn a_fill_that_runs_beside_a_write_whose_client_left_is_not_used() {
    let data = Data::default();
    let bench = Bench::new(policy(), hesitating(&data));
    let read = bench.spawn(request("GET", "/a", &[("x-gate", "read")]));
    settle().await;
    assert!(!poll_and_drop(&bench, put("/a"), 5));
    data.gate("read").open();
    assert_eq!(text(read).await, "0");
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test]
async fn a_handler_that_panics_after_it_wrote_evicts() {
    let data = Data::default();
    let origin = {
        let data = data.clone();
        Origin::new(move |request, _| {
            let data = data.clone();
            async move {
                if request.method() == "PUT" {
                    data.write("/a");
                    tokio::task::yield_now().await;
                    panic!("after the commit");
                }
                data.answer(request).await
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    warm(&bench, &["/a"]).await;
    assert!(bench.spawn(put("/a")).await.unwrap_err().is_panic());
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test]
async fn a_handler_that_panics_before_it_awaits_anything_evicts() {
    let data = Data::default();
    let service = {
        let data = data.clone();
        service_fn(move |request: TestRequest| {
            let writes = request.method() == "PUT";
            if writes {
                data.write("/a");
                panic!("in `call` itself");
            }
            let answer = data.clone().answer(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        })
    };
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy()))
        .build()
        .unwrap();
    let service = layer.layer(service);
    let ask = |request| tokio::spawn(service.clone().oneshot(request));
    ask(get("/a"))
        .await
        .unwrap()
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert!(ask(put("/a")).await.unwrap_err().is_panic());
    let next = ask(get("/a")).await.unwrap().unwrap();
    assert_eq!(next.headers()["x-cache"], "MISS");
}

#[tokio::test]
async fn an_error_of_the_inner_service_evicts() {
    let service = service_fn(|request: TestRequest| async move {
        match request.method().as_str() {
            "PUT" => Err("the connection broke"),
            _ => Ok(respond(200, &[], "")),
        }
    });
    let layer = CacheLayer::builder()
        .routes(Routes::new().otherwise(policy()))
        .build()
        .unwrap();
    let service = layer.layer(service);
    let ask = |request| service.clone().oneshot(request);
    for expected in ["MISS", "HIT"] {
        let response = ask(get("/a")).await.unwrap();
        assert_eq!(response.headers()["x-cache"], expected);
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(ask(put("/a")).await.unwrap_err(), "the connection broke");
    assert_eq!(ask(get("/a")).await.unwrap().headers()["x-cache"], "MISS");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_timeout_outside_cuts_short_evicts() {
    let data = Data::default();
    let bench = data.bench(policy());
    warm(&bench, &["/a"]).await;
    let impatient = Timeout::new(bench.service.clone(), Duration::from_secs(1));
    let written = impatient.oneshot(request("PUT", "/a", &[("x-gate", "never")]));
    assert!(written.await.is_err());
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
}

// A store that takes its time.

/// A memory store whose invalidations wait for a gate.
#[derive(Debug)]
struct Slow {
    memory: Arc<MemoryStore>,
    gate: Gate,
}

impl Store for Slow {
    fn get(&self, key: KeyRef<'_>) -> tower_response_cache::Answer<Result<Option<Stored>, Error>> {
        self.memory.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> tower_response_cache::Answer<Result<(), Error>> {
        self.memory.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> tower_response_cache::Answer<Result<(), Error>> {
        self.memory.remove(key)
    }

    fn log(&self) -> &Log {
        self.memory.log()
    }

    fn invalidate(
        &self,
        invalidations: &[Invalidation],
    ) -> tower_response_cache::Answer<Result<(), Error>> {
        let (memory, gate) = (self.memory.clone(), self.gate.clone());
        let invalidations = invalidations.to_vec();
        tower_response_cache::Answer::Later(Box::pin(async move {
            gate.wait().await;
            memory.invalidate(&invalidations).get().await
        }))
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }
}

fn slow_bench(data: &Data, deadline: Duration) -> (Gate, Bench) {
    let routes = Routes::new().otherwise(policy());
    slow_bench_with(routes, data.origin(), deadline)
}

fn slow_bench_with(routes: Routes, origin: Origin, deadline: Duration) -> (Gate, Bench) {
    let gate = Gate::shut();
    let store = Slow {
        memory: Arc::default(),
        gate: gate.clone(),
    };
    let builder = CacheLayer::builder().store(store).store_deadline(deadline);
    (gate, Bench::with_builder(builder.routes(routes), origin))
}

#[tokio::test(start_paused = true)]
async fn a_write_is_acknowledged_only_when_its_invalidation_is_recorded() {
    let data = Data::default();
    let (gate, bench) = slow_bench(&data, MINUTE);
    warm(&bench, &["/a"]).await;
    let written = bench.spawn(put("/a"));
    settle().await;
    assert_eq!(data.version("/a"), 1);
    assert!(
        !written.is_finished(),
        "its head left before the invalidation was recorded"
    );
    gate.open();
    let written = written.await.unwrap();
    assert_eq!(written.text(), "1");
    assert!(
        !written
            .field("cache-status")
            .contains("invalidation-pending")
    );
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_late_records_all_the_same() {
    let data = Data::default();
    let (gate, bench) = slow_bench(&data, Duration::from_millis(50));
    warm(&bench, &["/a"]).await;
    let written = bench.ask(put("/a")).await;
    assert!(
        written
            .field("cache-status")
            .contains("invalidation-pending")
    );
    gate.open();
    settle().await;
    assert_eq!(bench.get("/a").await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_handler_evicts_tells_when_that_is_not_recorded() {
    let data = Data::default();
    let origin = Origin::new(move |request: TestRequest, _| {
        let answer = data.clone().answer(request);
        async move {
            let mut response = answer.await;
            let what = Invalidation::uri("/elsewhere");
            response.extensions_mut().insert(Invalidate::new([what]));
            response
        }
    });
    let routes = Routes::new()
        .route("/stored", policy())
        .route("/not", policy())
        .route("/bypassed", Policy::bypass());
    let (gate, bench) = slow_bench_with(routes, origin, Duration::from_millis(50));
    let no_store = [("x-field", "cache-control: no-store")];
    for read in [
        get("/stored"),
        request("GET", "/not", &no_store),
        get("/bypassed"),
    ] {
        let uri = read.uri().clone();
        let answer = bench.ask(read).await;
        let status = answer.field("cache-status");
        assert!(
            status.ends_with("; detail=invalidation-pending"),
            "{uri}: {status}"
        );
    }
    gate.open();
    settle().await;
    let answer = bench.get("/bypassed").await;
    let status = answer.field("cache-status");
    assert!(!status.contains("pending"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_store_records_still_evicts() {
    let data = Data::default();
    let (gate, bench) = slow_bench(&data, MINUTE);
    warm(&bench, &["/a"]).await;
    let written = bench.spawn(put("/a"));
    settle().await;
    written.abort();
    settle().await;
    gate.open();
    settle().await;
    assert_eq!(bench.get("/a").await.text(), "1");
}

// By hand.

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

// Spellings.

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
