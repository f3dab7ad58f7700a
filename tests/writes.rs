//! When a write's evictions take effect and for how long, and what the handle foretells.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::poll_immediate;
use http::StatusCode;
use support::{
    Bench, Gate, MINUTE, Origin, TestRequest, request, respond, scripted, seconds, settle,
};
use tower_response_cache::{Evict, Invalidation, Pattern, Policy, Routes};

type Fields = &'static [(&'static str, &'static str)];

/// A cache of everything under `/items`, whose writes are under these rules and wait for a gate.
struct Writes {
    bench: Bench,
    gate: Gate,
    status: Arc<AtomicU16>,
}

impl Writes {
    fn new(evict: Evict) -> Self {
        let routes = Routes::new()
            .route("/items", policy())
            .route("/items/{id}", policy().tag("item:{id}"))
            .route("/others", policy())
            .on_write("/items/{id}", evict);
        Self::with_routes(routes)
    }

    fn with_routes(routes: Routes) -> Self {
        let gate = Gate::shut();
        let status = Arc::new(AtomicU16::new(200));
        let (held, answered) = (gate.clone(), status.clone());
        let origin = Origin::new(move |request, call| {
            let (gate, status) = (held.clone(), answered.clone());
            async move {
                if request.method() != "GET" {
                    gate.wait().await;
                    return respond(status.load(Ordering::SeqCst), &[], "");
                }
                respond(200, &[], call.to_string())
            }
        });
        Self {
            bench: Bench::with_routes(routes, origin),
            gate,
            status,
        }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn warm(&self) {
        for uri in ["/items", "/items/1", "/items/2", "/others"] {
            self.bench.get(uri).await;
            assert_eq!(self.x_cache(uri).await, "HIT");
        }
    }

    async fn x_cache(&self, uri: &str) -> String {
        self.bench.get(uri).await.x_cache().to_owned()
    }
}

fn policy() -> Policy {
    Policy::ttl(MINUTE).stale_while_revalidate(MINUTE)
}

fn put(uri: &str) -> TestRequest {
    request("PUT", uri, &[])
}

#[tokio::test]
async fn a_failed_write_evicts_only_where_its_rule_says_so() {
    for status in [400, 404, 409, 500, 503] {
        for (evict, expected) in [
            (Evict::pattern("/items"), "HIT"),
            (Evict::pattern("/items").even_if_failed(), "MISS"),
        ] {
            let writes = Writes::new(evict);
            writes.gate.open();
            writes.answers(status);
            writes.warm().await;
            let answer = writes.bench.ask(put("/items/1")).await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(writes.x_cache("/items").await, expected, "{status}");
            assert_eq!(writes.x_cache("/items/1").await, expected, "{status}");
            assert_eq!(writes.x_cache("/others").await, "HIT", "{status}");
        }
    }
}

#[tokio::test]
async fn while_a_write_runs_its_rules_take_effect_only_in_two_phases() {
    for (evict, meanwhile) in [
        (Evict::pattern("/items"), "HIT"),
        (Evict::pattern("/items").two_phase(), "MISS"),
        // Soft as they are: what is about to be written is not served at all.
        (Evict::pattern("/items").soft().two_phase(), "MISS"),
    ] {
        let writes = Writes::new(evict);
        writes.warm().await;
        let write = writes.bench.spawn(put("/items/1"));
        settle().await;
        for _ in 0..2 {
            assert_eq!(writes.x_cache("/items").await, meanwhile);
            assert_eq!(writes.x_cache("/items/1").await, meanwhile);
        }
        assert_eq!(writes.x_cache("/items/2").await, "HIT");
        writes.gate.open();
        write.await.unwrap();
        assert_eq!(writes.x_cache("/items/1").await, "MISS");
        assert_eq!(writes.x_cache("/items/1").await, "HIT");
    }
}

#[tokio::test]
async fn a_failed_write_in_two_phases_gives_back_what_was_stored() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    let before = writes.bench.get("/items").await;
    writes.answers(409);
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    assert!(
        writes
            .bench
            .handle
            .explain(&request("GET", "/items", &[]))
            .await
            .x_cache
            == "MISS"
    );
    writes.gate.open();
    write.await.unwrap();
    let after = writes.bench.get("/items").await;
    assert_eq!((after.text(), after.x_cache()), (before.text(), "HIT"));
    assert_eq!(writes.x_cache("/items/1").await, "HIT");
}

#[tokio::test]
async fn what_is_read_while_a_write_in_two_phases_runs_is_not_stored() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    // Read amid the write: whether before or after it took effect nobody can tell.
    assert_eq!(writes.x_cache("/items").await, "MISS");
    writes.gate.open();
    write.await.unwrap();
    assert_eq!(writes.x_cache("/items").await, "MISS");
    assert_eq!(writes.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn a_write_in_two_phases_whose_client_left_or_whose_handler_panicked_evicts() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    write.abort();
    settle().await;
    for uri in ["/items", "/items/1"] {
        assert_eq!(writes.x_cache(uri).await, "MISS", "{uri}");
        assert_eq!(writes.x_cache(uri).await, "HIT", "{uri}");
    }

    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/{id}", Evict::pattern("/list").two_phase());
    let origin = Origin::new(|request, _| async move {
        assert!(request.method() == "GET", "a write that panics");
        respond(200, &[], "list")
    });
    let bench = Bench::with_routes(routes, origin);
    bench.get("/list").await;
    bench.spawn(put("/1")).await.unwrap_err();
    assert_eq!(bench.get("/list").await.x_cache(), "MISS");
    assert_eq!(bench.get("/list").await.x_cache(), "HIT");
}

#[tokio::test]
async fn writes_in_two_phases_beside_each_other_end_one_by_one() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    writes.answers(500);
    let first = writes.bench.spawn(put("/items/1"));
    let second = writes.bench.spawn(put("/items/2"));
    settle().await;
    writes.gate.open_for_one();
    settle().await;
    assert!(first.is_finished() != second.is_finished());
    assert_eq!(writes.x_cache("/items").await, "MISS");
    writes.gate.open();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(writes.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn a_read_that_waits_with_others_while_a_write_runs_gets_what_is_new() {
    let (send, body) = scripted();
    let script = Origin::script([
        support::respond_with(200, &[], body),
        respond(200, &[], "written"),
    ]);
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/items/{id}", Evict::pattern("/items").two_phase());
    let bench = Bench::with_routes(routes, script);
    let early = bench.spawn(request("GET", "/items", &[]));
    settle().await;
    bench.ask(put("/items/1")).await;
    let late = bench.spawn(request("GET", "/items", &[]));
    settle().await;
    send.send(support::chunk("old")).unwrap();
    drop(send);
    assert_eq!(early.await.unwrap().text(), "old");
    assert_eq!(late.await.unwrap().text(), "3");
    assert_eq!(bench.get("/items").await.text(), "3");
}

#[tokio::test]
async fn after_a_write_with_a_hold_fills_are_passed_on_and_not_stored() {
    let writes = Writes::new(Evict::pattern("/items").hold_after(seconds(5)));
    writes.gate.open();
    writes.warm().await;
    writes.bench.ask(put("/items/1")).await;
    for elapsed in 0..5 {
        let stored = writes.bench.handle.stats().stored;
        for uri in ["/items", "/items/1"] {
            assert_eq!(writes.x_cache(uri).await, "MISS", "{uri} after {elapsed} s");
        }
        assert_eq!(writes.bench.handle.stats().stored, stored);
        // What the write does not concern is stored as ever.
        assert_eq!(writes.x_cache("/others").await, "HIT");
        writes.bench.get("/items/2?new").await;
        assert_eq!(writes.x_cache("/items/2?new").await, "HIT");
        writes.bench.clock.advance(seconds(1));
    }
    for uri in ["/items", "/items/1"] {
        assert_eq!(writes.x_cache(uri).await, "MISS", "{uri}");
        assert_eq!(writes.x_cache(uri).await, "HIT", "{uri}");
    }
}

#[tokio::test]
async fn the_longest_hold_is_one() {
    let writes = Writes::new(Evict::pattern("/items").hold_after(std::time::Duration::MAX));
    writes.gate.open();
    writes.bench.ask(put("/items/1")).await;
    for _ in 0..3 {
        assert_eq!(writes.x_cache("/items").await, "MISS");
        writes.bench.clock.advance(seconds(365 * 24 * 60 * 60));
    }
}

#[tokio::test]
async fn a_fill_that_began_in_the_hold_and_ends_after_it_is_not_stored() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |request, call| {
        let gate = held.clone();
        async move {
            if request.method() == "GET" {
                gate.wait().await;
            }
            respond(200, &[], call.to_string())
        }
    });
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/{id}", Evict::pattern("/list").hold_after(seconds(5)));
    let bench = Bench::with_routes(routes, origin);
    bench.ask(put("/1")).await;
    bench.clock.advance(seconds(4));
    let lagging = bench.spawn(request("GET", "/list", &[]));
    settle().await;
    bench.clock.advance(seconds(10));
    gate.open();
    assert_eq!(lagging.await.unwrap().text(), "2");
    assert_eq!(bench.get("/list").await.text(), "3");
    assert_eq!(bench.get("/list").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_refresh_and_a_dropped_write_respect_the_hold() {
    // A soft eviction leaves a stale response, whose refresh in the hold may see a lagging replica.
    let writes = Writes::new(Evict::pattern("/items").soft().hold_after(seconds(5)));
    writes.warm().await;
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    write.abort();
    settle().await;
    for _ in 0..2 {
        assert_eq!(writes.x_cache("/items").await, "STALE");
        settle().await;
    }
    writes.bench.clock.advance(seconds(5));
    assert_eq!(writes.x_cache("/items").await, "STALE");
    settle().await;
    assert_eq!(writes.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn a_hold_is_not_shortened_by_another_write() {
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/long", Evict::pattern("/list").hold_after(seconds(10)))
        .on_write("/short", Evict::pattern("/list").hold_after(seconds(1)))
        .on_write(
            "/forever",
            Evict::pattern("/held").hold_after(Duration::MAX),
        );
    let bench = Bench::with_routes(routes, Origin::counting());
    bench.ask(put("/long")).await;
    bench.ask(put("/short")).await;
    bench.clock.advance(seconds(9));
    bench.get("/list").await;
    assert_eq!(bench.get("/list").await.x_cache(), "MISS");
    bench.clock.advance(seconds(1));
    bench.get("/list").await;
    assert_eq!(bench.get("/list").await.x_cache(), "HIT");
}

#[tokio::test]
async fn rules_for_one_template_add_up_in_every_respect() {
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/items/{id}", Evict::pattern("/items"))
        .on_write(
            "/items/{id}",
            Evict::pattern("/lists/{id}").even_if_failed(),
        )
        .on_write("/items/{id}", Evict::pattern("/counts").soft())
        .on_write("/items/{id}", Evict::nothing().two_phase())
        .on_write("/items/{id}", Evict::nothing().hold_after(seconds(5)));
    let writes = Writes::with_routes(routes);
    writes.answers(500);
    let uris = ["/items", "/lists/1", "/lists/2", "/counts", "/items/1"];
    for uri in uris {
        writes.bench.get(uri).await;
    }
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    let meanwhile = ["MISS", "MISS", "HIT", "MISS", "MISS"];
    for (uri, expected) in uris.into_iter().zip(meanwhile) {
        assert_eq!(writes.x_cache(uri).await, expected, "{uri}");
    }
    writes.gate.open();
    write.await.unwrap();
    let after = ["MISS", "MISS", "HIT", "STALE", "MISS"];
    for (uri, expected) in uris.into_iter().zip(after) {
        assert_eq!(writes.x_cache(uri).await, expected, "{uri}");
        settle().await;
        assert_eq!(writes.x_cache(uri).await, expected, "{uri} is held");
    }
}

#[tokio::test]
async fn other_spellings_of_what_is_written_are_under_the_same_rules() {
    for spelling in [
        "/items/%31",
        "/%69tems/1",
        "/items/./1",
        "/x/../items/1",
        "/items/%31?a=b",
    ] {
        let writes = Writes::new(
            Evict::pattern("/items")
                .and_tag("item:{id}")
                .two_phase()
                .even_if_failed()
                .hold_after(seconds(5)),
        );
        writes.answers(500);
        writes.warm().await;
        let write = writes.bench.spawn(put(spelling));
        settle().await;
        for uri in ["/items", "/items/1"] {
            assert_eq!(writes.x_cache(uri).await, "MISS", "{spelling} {uri}");
        }
        writes.gate.open();
        write.await.unwrap();
        for uri in ["/items", "/items/1"] {
            for _ in 0..2 {
                assert_eq!(writes.x_cache(uri).await, "MISS", "{spelling} {uri}");
            }
        }
        assert_eq!(writes.x_cache("/items/2").await, "HIT", "{spelling}");
    }
}

/// One thing to do before a request, the request, and what it then comes to.
struct Case {
    name: &'static str,
    policy: fn() -> Policy,
    before: &'static [Step],
    asked: (&'static str, &'static str, Fields),
    x_cache: &'static str,
    detail: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Get(&'static str, Fields),
    Put(&'static str),
    Advance(u64),
    Purge(&'static str),
    Bypass,
}

const STORED: Step = Step::Get("/p", &[]);

fn plain() -> Policy {
    Policy::ttl(MINUTE).tag("page")
}

fn lenient() -> Policy {
    plain().stale_while_revalidate(MINUTE)
}

fn obedient() -> Policy {
    plain().honour_request_directives()
}

fn case(
    name: &'static str,
    policy: fn() -> Policy,
    before: &'static [Step],
    asked: (&'static str, &'static str, Fields),
    x_cache: &'static str,
    detail: Option<&'static str>,
) -> Case {
    Case {
        name,
        policy,
        before,
        asked,
        x_cache,
        detail,
    }
}

fn cases() -> Vec<Case> {
    let get = |fields: Fields| ("GET", "/p", fields);
    vec![
        case("nothing stored", plain, &[], get(&[]), "MISS", None),
        case("stored", plain, &[STORED], get(&[]), "HIT", None),
        case(
            "HEAD of it",
            plain,
            &[STORED],
            ("HEAD", "/p", &[]),
            "HIT",
            None,
        ),
        case(
            "last second",
            plain,
            &[STORED, Step::Advance(59)],
            get(&[]),
            "HIT",
            None,
        ),
        case(
            "expired",
            plain,
            &[STORED, Step::Advance(60)],
            get(&[]),
            "MISS",
            None,
        ),
        case(
            "within its window",
            lenient,
            &[STORED, Step::Advance(119)],
            get(&[]),
            "STALE",
            Some("stale-while-revalidate"),
        ),
        case(
            "past its window",
            lenient,
            &[STORED, Step::Advance(120)],
            get(&[]),
            "MISS",
            None,
        ),
        case(
            "due to be refreshed",
            || plain().refresh_ahead(seconds(10)),
            &[STORED, Step::Advance(55)],
            get(&[]),
            "HIT",
            None,
        ),
        case(
            "written",
            plain,
            &[STORED, Step::Put("/p")],
            get(&[]),
            "MISS",
            None,
        ),
        case(
            "purged softly",
            lenient,
            &[STORED, Step::Purge("page")],
            get(&[]),
            "STALE",
            None,
        ),
        case(
            "another query",
            plain,
            &[STORED],
            ("GET", "/p?a=b", &[]),
            "MISS",
            None,
        ),
        case(
            "another variant",
            plain,
            &[Step::Get("/vary", &[("accept-language", "en")])],
            ("GET", "/vary", &[("accept-language", "de")]),
            "MISS",
            None,
        ),
        case(
            "the same variant",
            plain,
            &[Step::Get("/vary", &[("accept-language", "en")])],
            ("GET", "/vary", &[("accept-language", "en")]),
            "HIT",
            None,
        ),
        case(
            "only if cached, and it is not",
            plain,
            &[],
            get(&[("cache-control", "only-if-cached")]),
            "MISS",
            Some("only-if-cached"),
        ),
        case(
            "only if cached, and it is",
            plain,
            &[STORED],
            get(&[("cache-control", "only-if-cached")]),
            "HIT",
            None,
        ),
        case(
            "a client that wants it new",
            obedient,
            &[STORED],
            get(&[("cache-control", "no-cache")]),
            "MISS",
            None,
        ),
        case(
            "a client that takes it stale",
            obedient,
            &[STORED, Step::Advance(70)],
            get(&[("cache-control", "max-stale=60")]),
            "STALE",
            Some("max-stale"),
        ),
        case(
            "not for users",
            plain,
            &[STORED],
            get(&[("authorization", "Bearer a")]),
            "BYPASS",
            Some("authorization"),
        ),
        case(
            "cookie",
            plain,
            &[STORED],
            get(&[("cookie", "a=b")]),
            "BYPASS",
            Some("cookie"),
        ),
        case(
            "a write",
            plain,
            &[STORED],
            ("PUT", "/p", &[]),
            "BYPASS",
            None,
        ),
        case(
            "an OPTIONS",
            plain,
            &[],
            ("OPTIONS", "/p", &[]),
            "BYPASS",
            None,
        ),
        case(
            "no route",
            plain,
            &[],
            ("GET", "/elsewhere", &[]),
            "BYPASS",
            Some("no-route"),
        ),
        case(
            "a route that bypasses",
            plain,
            &[],
            ("GET", "/never", &[]),
            "BYPASS",
            Some("policy"),
        ),
        case(
            "two readings of its path",
            plain,
            &[],
            ("GET", "/n%65ver", &[]),
            "BYPASS",
            None,
        ),
        case(
            "a method in a field",
            plain,
            &[],
            get(&[("x-http-method-override", "DELETE")]),
            "BYPASS",
            Some("header"),
        ),
        case(
            "content",
            plain,
            &[],
            get(&[("content-length", "3")]),
            "BYPASS",
            Some("content"),
        ),
        case(
            "upgrade",
            plain,
            &[],
            get(&[("upgrade", "websocket")]),
            "BYPASS",
            Some("upgrade"),
        ),
        case(
            "two hosts",
            plain,
            &[],
            get(&[("host", "a"), ("host", "b")]),
            "BYPASS",
            Some("host"),
        ),
        case(
            "switched off",
            plain,
            &[STORED, Step::Bypass],
            get(&[]),
            "BYPASS",
            Some("disabled"),
        ),
        case(
            "a condition that fails",
            || plain().when(|_| false),
            &[],
            get(&[]),
            "BYPASS",
            Some("policy"),
        ),
        case(
            "a partition that has no name",
            || plain().partition_by(|_| None),
            &[],
            get(&[]),
            "BYPASS",
            Some("partition"),
        ),
        case(
            "a part of what is stored",
            plain,
            &[STORED],
            get(&[("range", "bytes=0-0")]),
            "HIT",
            None,
        ),
        case(
            "what the client has",
            plain,
            &[STORED],
            get(&[("if-none-match", "\"v1\"")]),
            "HIT",
            None,
        ),
    ]
}

async fn prepared(case: &Case) -> Bench {
    let routes = Routes::new()
        .route("/p", (case.policy)())
        .route("/vary", (case.policy)())
        .route("/never", Policy::bypass());
    let origin = Origin::new(|request, call| async move {
        let vary = ("vary", "accept-language");
        let fields = match request.uri().path() {
            "/vary" => &[("etag", "W/\"v1\""), vary][..],
            _ => &[("etag", "\"v1\"")],
        };
        respond(200, fields, call.to_string())
    });
    let bench = Bench::with_routes(routes, origin);
    for step in case.before {
        match *step {
            Step::Get(uri, fields) => {
                bench.get_with(uri, fields).await;
            }
            Step::Put(uri) => {
                bench.ask(put(uri)).await;
            }
            Step::Advance(by) => bench.clock.advance(seconds(by)),
            Step::Purge(tag) => {
                let soft = Invalidation::tag(tag).soft();
                bench.handle.invalidate(soft).await.unwrap();
            }
            Step::Bypass => bench.handle.set_bypass(true),
        }
        settle().await;
    }
    bench
}

fn member(status: &str, name: &str) -> Option<String> {
    status
        .split(';')
        .map(str::trim)
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
}

#[tokio::test]
async fn what_explain_foretells_is_what_then_happens_and_it_changes_nothing() {
    for case in cases() {
        let name = case.name;
        let bench = prepared(&case).await;
        let (method, uri, fields) = case.asked;
        let (calls, stats) = (bench.origin.calls(), bench.handle.stats());
        for _ in 0..3 {
            let told = bench.handle.explain(&request(method, uri, fields)).await;
            assert_eq!(told.x_cache, case.x_cache, "{name}");
            if let Some(detail) = case.detail {
                let said = member(&told.cache_status, "detail");
                assert_eq!(said.as_deref(), Some(detail), "{name}");
            }
        }
        settle().await;
        assert_eq!(
            bench.origin.calls(),
            calls,
            "{name}: the handler was called"
        );
        assert_eq!(bench.handle.stats(), stats, "{name}: something was counted");

        let told = bench.handle.explain(&request(method, uri, fields)).await;
        let answer = bench.ask(request(method, uri, fields)).await;
        assert_eq!(told.x_cache, answer.x_cache(), "{name}");
        let said = answer.field("cache-status");
        for parameter in ["fwd", "ttl"] {
            let expected = member(&told.cache_status, parameter);
            // A new response has a lifetime of its own.
            if parameter == "fwd" || answer.x_cache() == "HIT" || answer.x_cache() == "STALE" {
                assert_eq!(member(said, parameter), expected, "{name}: {said}");
            }
        }
        if answer.x_cache() != "MISS" {
            assert_eq!(
                member(said, "detail"),
                member(&told.cache_status, "detail"),
                "{name}"
            );
        }
        if let Ok(age) = answer.field("age").parse() {
            assert_eq!(told.age.map(|age| age.as_secs()), Some(age), "{name}");
        }
    }
}

#[tokio::test]
async fn an_explanation_tells_route_tags_age_and_variants_and_reads_as_a_line() {
    let case = &cases()[1];
    let bench = prepared(case).await;
    bench.clock.advance(seconds(20));
    let told = bench.handle.explain(&request("GET", "/p", &[])).await;
    assert_eq!(told.route.as_deref(), Some("/p"));
    assert_eq!(told.tags, ["page"]);
    assert_eq!(told.age, Some(seconds(20)));
    assert_eq!(told.lifetime, Some(MINUTE));
    assert_eq!(told.variants, 0);
    let line = told.to_string();
    for part in ["HIT (", "route /p", "20 s", "60 s", "page"] {
        assert!(line.contains(part), "{line}");
    }
    for language in ["en", "de", "fr"] {
        bench
            .get_with("/vary", &[("accept-language", language)])
            .await;
    }
    let told = bench.handle.explain(&request("GET", "/vary", &[])).await;
    assert_eq!((told.x_cache.as_str(), told.variants), ("MISS", 3));
    // The same key for what shares, another for what does not.
    let mut keys = Vec::new();
    for uri in ["/p", "/p", "/p?"] {
        keys.push(
            bench
                .handle
                .explain(&request("GET", uri, &[]))
                .await
                .key
                .unwrap(),
        );
    }
    assert!(keys[0] == keys[1] && keys[0] != keys[2], "{keys:?}");
}

#[tokio::test]
async fn what_would_be_evicted_is_what_then_is_gone() {
    let uris = [
        "/items",
        "/items?page=2",
        "/items/1",
        "/items/1/parts",
        "/items/1/parts/2",
        "/items/12",
        "/Items/1",
        "/items/%2A",
        "/others",
        "/",
    ];
    let invalidations: Vec<Invalidation> = vec![
        Invalidation::uri("/items"),
        Invalidation::uri("/items?page=2"),
        Invalidation::uri("/items/1"),
        Invalidation::uri("/items/*"),
        Invalidation::uri("/nothing"),
        Pattern::parse("/items/*").unwrap().into(),
        Pattern::parse("/items/**").unwrap().into(),
        Pattern::parse("/items/1*").unwrap().into(),
        Pattern::parse("/**/parts").unwrap().into(),
        Pattern::parse("/**").unwrap().into(),
        Invalidation::tag("item:1"),
        Invalidation::tag("item:*"),
        Invalidation::tag("items"),
        Invalidation::everything(),
        Invalidation::tag("items").soft(),
    ];
    for what in invalidations {
        let routes = Routes::new()
            .route(
                "/items/{id}",
                Policy::ttl(MINUTE).tag("item:{id}").tag("items"),
            )
            .otherwise(Policy::ttl(MINUTE));
        let bench = Bench::with_routes(routes, Origin::counting());
        for uri in uris {
            bench.get(uri).await;
        }
        let would = bench.handle.would_evict(what.clone()).unwrap();
        assert_eq!(would.examined, uris.len() as u64, "{what:?}");
        assert_eq!(bench.handle.would_evict(what.clone()).unwrap(), would);
        for uri in uris {
            assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{what:?} {uri}");
        }
        bench.handle.invalidate(what.clone()).await.unwrap();
        let mut gone = HashSet::new();
        for uri in uris {
            let told = bench.handle.explain(&request("GET", uri, &[])).await;
            if told.x_cache != "HIT" {
                gone.insert(uri);
            }
        }
        assert_eq!(would.matched, gone.len() as u64, "{what:?}: {gone:?}");
        let examples: HashSet<_> = would.examples.iter().map(String::as_str).collect();
        assert_eq!(examples, gone, "{what:?}");
    }
}

#[tokio::test]
async fn what_would_be_evicted_counts_variants_and_names_twenty_at_the_most() {
    let origin = Origin::with_fields(&[("vary", "accept-language")]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for language in ["en", "de", "fr"] {
        bench.get_with("/", &[("accept-language", language)]).await;
    }
    let would = bench.handle.would_evict(Invalidation::uri("/")).unwrap();
    assert_eq!(would.matched, 3);
    for page in 0..30 {
        bench.get(&format!("/pages/{page}")).await;
    }
    let would = bench
        .handle
        .would_evict(Invalidation::everything())
        .unwrap();
    assert_eq!((would.matched, would.examples.len()), (33, 20));
}

#[tokio::test]
async fn explaining_does_not_disturb_a_call_that_others_wait_for() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |_, call| {
        let gate = held.clone();
        async move {
            gate.wait().await;
            respond(200, &[], call.to_string())
        }
    });
    let bench = Bench::new(plain_untagged(), origin);
    let leads = bench.spawn(request("GET", "/", &[]));
    settle().await;
    let asked = request("GET", "/", &[]);
    let told = poll_immediate(bench.handle.explain(&asked))
        .await
        .expect("it waits for nobody");
    assert_eq!(told.x_cache, "MISS");
    let joins = bench.spawn(request("GET", "/", &[]));
    settle().await;
    gate.open();
    assert_eq!(leads.await.unwrap().status, StatusCode::OK);
    assert_eq!(joins.await.unwrap().text(), "1");
}

fn plain_untagged() -> Policy {
    Policy::ttl(MINUTE)
}
