//! Responses that are selected by request fields.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_response_cache::{CacheLayer, MemoryStore, Policy, Routes};

use crate::support::{Answer, Bench, MINUTE, Origin, request, respond, seconds, sent, settle};

type Fields = &'static [(&'static str, &'static str)];

/// An origin whose answers show the field they vary by.
fn by_language() -> Origin {
    Origin::showing(&[("vary", "accept-language")], |request| {
        sent(request, "accept-language")
    })
}

async fn in_language(bench: &Bench, language: &str) -> Answer {
    bench.get_with("/", &[("accept-language", language)]).await
}

/// Asks for each in turn: none may be given what another was given.
async fn assert_apart(bench: &Bench, all: &[Fields]) {
    for (index, fields) in all.iter().enumerate() {
        let answer = bench.get_with("/", fields).await;
        assert_eq!(answer.x_cache(), "MISS", "{fields:?}");
        assert_eq!(answer.text(), (index + 1).to_string());
    }
    for (index, fields) in all.iter().enumerate() {
        let answer = bench.get_with("/", fields).await;
        assert_eq!(answer.text(), (index + 1).to_string(), "{fields:?}");
        assert_eq!(answer.x_cache(), "HIT", "{fields:?}");
    }
}

/// Asks for each in turn: all may be given what the first was given.
async fn assert_together(vary: &'static str, all: &[Fields]) {
    let origin =
        Origin::new(
            move |_, call| async move { respond(200, &[("vary", vary)], call.to_string()) },
        );
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for fields in all {
        let answer = bench.get_with("/", fields).await;
        assert_eq!(answer.text(), "1", "{fields:?}");
    }
}

#[tokio::test]
async fn variants_are_kept_beside_each_other() {
    let bench = Bench::new(Policy::ttl(MINUTE), by_language());
    for expected in ["MISS", "HIT"] {
        for language in ["de", "en", "fr"] {
            let answer = in_language(&bench, language).await;
            assert_eq!((answer.x_cache(), answer.text()), (expected, language));
        }
    }
    let absent = bench.get("/").await;
    assert_eq!((absent.x_cache(), absent.text()), ("MISS", "-"));
    assert!(absent.field("cache-status").contains("fwd=vary-miss"));
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn an_absent_field_an_empty_one_and_one_with_a_value_are_apart() {
    let bench = Bench::new(
        Policy::ttl(MINUTE),
        Origin::with_fields(&[("vary", "x-a, x-b")]),
    );
    assert_apart(
        &bench,
        &[
            &[],
            &[("x-a", "")],
            &[("x-a", "1")],
            &[("x-b", "1")],
            &[("x-a", "1"), ("x-b", "1")],
            &[("x-a", "1"), ("x-a", "1")],
            &[("x-a", "A")],
            &[("x-a", "a")],
        ],
    )
    .await;
}

#[tokio::test]
async fn the_name_in_vary_is_read_in_any_case_on_any_line() {
    for lines in [
        &["Accept-Language"][..],
        &["ACCEPT-LANGUAGE"],
        &["x-other, accept-language"],
        &["x-other", "accept-language"],
        &[" , ,accept-language,,"],
        &["accept-language,accept-language"],
    ] {
        let origin = Origin::new(move |request, _| {
            let mut response = respond(200, &[], sent(&request, "accept-language"));
            for line in lines {
                let line = HeaderValue::from_static(line);
                response.headers_mut().append("vary", line);
            }
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        for expected in ["MISS", "HIT"] {
            for language in ["de", "en"] {
                let answer = in_language(&bench, language).await;
                assert_eq!((answer.x_cache(), answer.text()), (expected, language));
            }
        }
    }
}

#[tokio::test]
async fn what_says_the_same_in_other_words_shares_a_response() {
    assert_together(
        "accept-encoding",
        &[
            &[("accept-encoding", "gzip, br")],
            &[("accept-encoding", "br,gzip")],
            &[("accept-encoding", "BR;q=1.0, GZIP;q=0.5")],
            &[("accept-encoding", "gzip"), ("accept-encoding", "br")],
            &[("accept-encoding", "gzip, br, identity")],
            &[("accept-encoding", "x-gzip, br")],
            &[("accept-encoding", "gzip, br, deflate;q=0")],
        ],
    )
    .await;
    assert_together(
        "accept-language",
        &[
            &[("accept-language", "de-CH, en;q=0.5")],
            &[("accept-language", "de-ch,en;q=0.50")],
            &[("accept-language", "en;q=0.5 , DE-CH")],
        ],
    )
    .await;
    assert_together(
        "accept-charset",
        &[
            &[("accept-charset", "utf-8, iso-8859-1")],
            &[("accept-charset", "utf-8,iso-8859-1")],
            &[
                ("accept-charset", "utf-8"),
                ("accept-charset", "iso-8859-1"),
            ],
        ],
    )
    .await;
}

#[tokio::test]
async fn values_of_a_field_whose_grammar_is_not_known_are_compared_byte_for_byte() {
    for name in ["x-filter", "x-api-key", "user-agent", "origin"] {
        let origin = Origin::new(move |request, _| {
            let answer = sent(&request, name);
            async move { respond(200, &[("vary", name)], answer) }
        });
        let bench = Bench::new(Policy::ttl(MINUTE).shared_with_everyone(), origin);
        let all: [&[(&str, &str)]; 6] = [
            &[(name, "a, b")],
            &[(name, "a,b")],
            &[(name, "a ,b")],
            &[(name, "b"), (name, "a")],
            &[(name, "a")],
            &[(name, "A")],
        ];
        for expected in ["MISS", "HIT"] {
            for fields in all {
                let answer = bench.get_with("/", fields).await;
                assert_eq!(answer.x_cache(), expected, "{fields:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_asks_for_something_else_does_not() {
    let encodings: [Fields; 9] = [
        &[("accept-encoding", "gzip")],
        &[("accept-encoding", "br")],
        &[("accept-encoding", "gzip, br")],
        &[("accept-encoding", "gzip;q=0, br;q=0, identity;q=0")],
        &[("accept-encoding", "gzip, identity;q=0")],
        &[("accept-encoding", "*")],
        &[("accept-encoding", "gzip, *;q=0")],
        &[("accept-encoding", "zstd")],
        &[("accept-encoding", "gzip;q=")],
    ];
    let bench =
        |vary: &'static [(&str, &str)]| Bench::new(Policy::ttl(MINUTE), Origin::with_fields(vary));
    for (index, one) in encodings.iter().enumerate() {
        for other in &encodings[index + 1..] {
            if index == 4 && *other == encodings[6] {
                // Both take gzip and nothing else.
                continue;
            }
            assert_apart(&bench(&[("vary", "accept-encoding")]), &[one, other]).await;
        }
    }
    let apart: &[Fields] = &[
        &[("accept-language", "de, en;q=0.5")],
        &[("accept-language", "en, de;q=0.5")],
        &[("accept-language", "de")],
        &[("accept-language", "de-ch")],
    ];
    assert_apart(&bench(&[("vary", "accept-language")]), apart).await;
    let apart: &[Fields] = &[
        &[("user-agent", "a, b")],
        &[("user-agent", "a,b")],
        &[("user-agent", "A,b")],
    ];
    assert_apart(&bench(&[("vary", "user-agent")]), apart).await;
}

#[tokio::test]
async fn vary_star_is_not_stored_and_ends_what_was_stored_before() {
    for star in ["*", "accept, *", "*, accept", " * ", "accept,\u{b}"] {
        let Ok(star) = HeaderValue::try_from(star) else {
            continue;
        };
        let origin = Origin::new(move |_, call| {
            let mut response = respond(200, &[], call.to_string());
            if call > 1 {
                response.headers_mut().insert("vary", star.clone());
            }
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(MINUTE), origin);
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        for call in ["2", "3", "4"] {
            let answer = bench.get("/").await;
            assert_eq!((answer.x_cache(), answer.text()), ("MISS", call));
        }
    }
}

#[tokio::test]
async fn a_client_never_gets_an_older_entry_where_its_own_answer_was_vary_star() {
    // Stored for German; English was answered with `Vary: *`, and must be each time.
    let origin = Origin::new(|request, call| async move {
        let language = sent(&request, "accept-language");
        let vary = if language == "de" {
            "accept-language"
        } else {
            "*"
        };
        respond(200, &[("vary", vary)], format!("{language} {call}"))
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    assert_eq!(in_language(&bench, "de").await.text(), "de 1");
    assert_eq!(in_language(&bench, "en").await.text(), "en 2");
    assert_eq!(in_language(&bench, "en").await.text(), "en 3");
    assert_eq!(in_language(&bench, "de").await.text(), "de 1");
}

#[tokio::test]
async fn the_union_of_all_names_ever_nominated_selects() {
    let origin = Origin::new(|request, call| async move {
        let vary = if call == 1 { "x-a" } else { "x-a, x-b" };
        let shown = format!("{} {}", sent(&request, "x-a"), sent(&request, "x-b"));
        respond(200, &[("vary", vary)], shown)
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let all: [Fields; 4] = [
        &[("x-a", "1"), ("x-b", "1")],
        &[("x-a", "2"), ("x-b", "1")],
        &[("x-a", "2"), ("x-b", "2")],
        &[("x-a", "1"), ("x-b", "2")],
    ];
    // The first was answered before x-b was known to matter: others of its x-a may be given that.
    for _ in 0..2 {
        for fields in all {
            let answer = bench.get_with("/", fields).await;
            let own = format!("{} {}", fields[0].1, fields[1].1);
            assert_eq!(answer.text(), own, "{fields:?}");
        }
    }
    assert_eq!(bench.origin.calls(), 5);
}

#[tokio::test]
async fn a_response_without_vary_stays_with_the_request_it_was_an_answer_to() {
    // The error page forgets the field that the page itself varies by.
    let origin = Origin::new(|request, call| async move {
        let vary: &[(&str, &str)] = match call {
            1 => &[("vary", "accept-language")],
            _ => &[],
        };
        respond(200, vary, sent(&request, "accept-language"))
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for _ in 0..2 {
        for language in ["de", "en"] {
            assert_eq!(in_language(&bench, language).await.text(), language);
        }
    }
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn too_many_names_are_not_stored_and_do_no_harm() {
    let names: Vec<String> = (0..200).map(|n| format!("x-{n}")).collect();
    for vary in [
        names.join(", "),
        names[..17].join(","),
        vec!["x"; 20_000].join(",") + ", *",
        "a".repeat(65_000),
        ",".repeat(65_000) + "*",
    ] {
        let vary = HeaderValue::try_from(vary).unwrap();
        let origin = Origin::new(move |_, call| {
            let mut response = respond(200, &[], call.to_string());
            response.headers_mut().insert("vary", vary.clone());
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let found = [bench.get("/").await, bench.get("/").await];
        let same = found[0].text() == found[1].text();
        let long_name = found[0].headers["vary"].as_bytes()[0] == b'a';
        assert_eq!(same, long_name, "only the single name is worth storing");
    }
    // Sixteen will do, and two hundred times the same is one.
    for vary in [names[..16].join(", "), vec!["x-1"; 200].join(", ")] {
        let vary = HeaderValue::try_from(vary).unwrap();
        let origin = Origin::new(move |_, call| {
            let mut response = respond(200, &[], call.to_string());
            response.headers_mut().insert("vary", vary.clone());
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        assert_eq!(bench.get_with("/", &[("x-1", "1")]).await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn names_that_change_with_every_response_do_not_add_up_without_end() {
    let origin = Origin::new(|request, call| async move {
        let vary = format!("x-{call}, x-always");
        respond(200, &[("vary", &vary)], sent(&request, "x-always"))
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for n in 0..500 {
        let value = n.to_string();
        let answer = bench.get_with("/", &[("x-always", &value)]).await;
        assert_eq!(answer.text(), value);
    }
    let usage = bench.handle.stats().usage;
    assert!(usage.bytes < 10_000, "{usage:?}");
}

#[tokio::test]
async fn variants_of_one_key_are_capped_and_the_oldest_goes_first() {
    let bench = Bench::new(Policy::ttl(MINUTE).max_variants(3), by_language());
    for language in ["a", "b", "c", "d"] {
        in_language(&bench, language).await;
    }
    for (language, expected) in [("b", "HIT"), ("c", "HIT"), ("d", "HIT"), ("a", "MISS")] {
        assert_eq!(in_language(&bench, language).await.x_cache(), expected);
    }
    assert_eq!(in_language(&bench, "b").await.x_cache(), "MISS");
    // At least one is always kept.
    let bench = Bench::new(Policy::ttl(MINUTE).max_variants(0), by_language());
    in_language(&bench, "a").await;
    assert_eq!(in_language(&bench, "a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_flood_of_values_neither_fills_memory_nor_pushes_others_out() {
    let builder = CacheLayer::builder()
        .store(MemoryStore::new(4 << 20))
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)));
    let origin = Origin::showing(&[("vary", "user-agent")], |request| {
        sent(request, "user-agent")
    });
    let bench = Bench::with_builder(builder, origin);
    for uri in 0..100 {
        bench.get(&format!("/other/{uri}")).await;
    }
    let before = bench.handle.stats().usage;
    for n in 0..20_000 {
        let agent = format!("bot/{n}");
        let answer = bench.get_with("/", &[("user-agent", &agent)]).await;
        assert_eq!(answer.text(), agent);
    }
    let after = bench.handle.stats().usage;
    assert!(
        after.entries <= before.entries + 40 && after.bytes < before.bytes + 100_000,
        "{before:?} {after:?}"
    );
    for uri in 0..100 {
        let other = bench.get(&format!("/other/{uri}")).await;
        assert_eq!(other.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn those_who_wait_are_given_only_what_they_select() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let origin = Origin::new(move |request, _| {
        let gate = held.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            let language = sent(&request, "accept-language");
            respond(200, &[("vary", "accept-language")], language)
        }
    });
    let bench = Arc::new(Bench::new(Policy::ttl(MINUTE), origin));
    let mut tasks = Vec::new();
    for language in ["de", "en", "de", "fr", "en", "de"] {
        let bench = bench.clone();
        tasks.push((
            language,
            tokio::spawn(async move { in_language(&bench, language).await }),
        ));
        settle().await;
    }
    gate.add_permits(100);
    for (language, task) in tasks {
        assert_eq!(task.await.unwrap().text(), language);
    }
}

#[tokio::test]
async fn those_who_wait_for_a_validation_that_adds_vary_are_given_only_what_they_select() {
    let gate = Arc::new(Semaphore::new(1));
    let held = gate.clone();
    let origin = Origin::new(move |request, call| {
        let gate = held.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            let language = sent(&request, "accept-language");
            let etag = ("etag", "\"de\"");
            match (call, sent(&request, "if-none-match").as_str()) {
                (1, _) => respond(200, &[etag], language),
                (_, "\"de\"") if language == "de" => {
                    respond(304, &[etag, ("vary", "accept-language")], "")
                }
                _ => respond(200, &[("vary", "accept-language")], language),
            }
        }
    });
    let bench = Arc::new(Bench::new(Policy::ttl(MINUTE), origin));
    in_language(&bench, "de").await;
    bench.clock.advance(MINUTE + seconds(1));
    let mut tasks = Vec::new();
    for language in ["de", "en", "de"] {
        let bench = bench.clone();
        tasks.push((
            language,
            tokio::spawn(async move { in_language(&bench, language).await }),
        ));
        settle().await;
    }
    gate.add_permits(100);
    for (language, task) in tasks {
        let answer = task.await.unwrap();
        assert_eq!(answer.text(), language, "{answer:?}");
    }
}

#[tokio::test]
async fn a_write_evicts_all_variants() {
    let bench = Bench::new(Policy::ttl(MINUTE), by_language());
    for language in ["de", "en"] {
        in_language(&bench, language).await;
    }
    bench.ask(request("PUT", "/", &[])).await;
    for language in ["de", "en"] {
        assert_eq!(in_language(&bench, language).await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn a_stale_variant_is_validated_by_its_own_tag_and_kept_apart() {
    let origin = Origin::new(|request, call| async move {
        let language = sent(&request, "accept-language");
        let etag = format!("\"{language}\"");
        let fields = [("vary", "accept-language"), ("etag", &*etag)];
        match sent(&request, "if-none-match") == etag {
            true => respond(304, &fields, ""),
            false => respond(200, &fields, format!("{language} {call}")),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    in_language(&bench, "de").await;
    in_language(&bench, "en").await;
    bench.clock.advance(MINUTE);
    for (language, text) in [("de", "de 1"), ("en", "en 2")] {
        let answer = in_language(&bench, language).await;
        assert_eq!((answer.x_cache(), answer.text()), ("REVALIDATED", text));
    }
}

const PAGE: &str = "a page that is long enough to be compressed, a page that is long enough";

async fn ask(app: &Router, encoding: Option<&str>) -> Answer {
    let mut request = Request::get("/");
    if let Some(encoding) = encoding {
        request = request.header("accept-encoding", encoding);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    Answer::read(response.map(|body| body.map_err(Into::into).boxed_unsync())).await
}

#[tokio::test]
async fn a_compressed_response_never_reaches_a_client_that_cannot_read_it() {
    let cache = || {
        CacheLayer::builder()
            .routes(Routes::new().otherwise(Policy::ttl(MINUTE)))
            .build()
            .unwrap()
    };
    let app = || Router::new().route("/", get(|| async { ([("etag", "\"v\"")], PAGE) }));
    for app in [
        app().layer(CompressionLayer::new()).layer(cache()),
        app().layer(cache()).layer(CompressionLayer::new()),
    ] {
        for encodings in [[Some("gzip"), None], [None, Some("gzip")]] {
            for encoding in encodings.into_iter().chain([Some("identity"), Some("br")]) {
                let answer = ask(&app, encoding).await;
                assert_eq!(answer.status, 200);
                let zipped = answer.field("content-encoding") == "gzip";
                assert_eq!(zipped, encoding == Some("gzip"), "{encoding:?}");
                assert_eq!(answer.body == PAGE, !zipped);
            }
        }
        let again = ask(&app, Some("gzip")).await;
        assert_eq!(again.x_cache(), "HIT");
    }
}
