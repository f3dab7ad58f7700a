//! What the handle foretells of a request, held against what then happens.

use tower_response_cache::{Invalidation, Policy, Routes};

use super::put;
use crate::support::{Bench, MINUTE, Origin, request, respond, seconds, settle};

type Fields = &'static [(&'static str, &'static str)];

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
