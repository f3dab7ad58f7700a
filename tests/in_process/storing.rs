//! What is stored under another request's key, and the fields that say how: POST answers stored for
//! GET, targeted cache control, and the names by which responses are invalidated together.

use http::HeaderName;
use tower_response_cache::{CacheLayer, Evict, Policy, Routes};

use crate::support::{self, Bench, Gate, MINUTE, Origin, request, respond, sent, settle};

type Fields = &'static [(&'static str, &'static str)];

/// An origin whose POST is answered with these fields, and all else with the number of the call.
fn posting(fields: Fields) -> Origin {
    Origin::new(move |request, call| async move {
        match request.method().as_str() {
            "POST" => respond(200, fields, "posted"),
            _ => respond(200, &[], call.to_string()),
        }
    })
}

#[tokio::test]
async fn a_post_answer_that_is_the_target_itself_is_stored_for_get() {
    let fields: Fields = &[
        ("cache-control", "max-age=60"),
        ("content-location", "/a?b=c"),
    ];
    let bench = Bench::new(Policy::ttl(MINUTE), posting(fields));
    assert_eq!(bench.get("/a?b=c").await.text(), "1");
    let posted = bench.ask(request("POST", "/a?b=c", &[])).await;
    assert_eq!((posted.text(), posted.x_cache()), ("posted", "BYPASS"));
    let read = bench.get("/a?b=c").await;
    assert_eq!((read.text(), read.x_cache()), ("posted", "HIT"));
    let head = bench.ask(request("HEAD", "/a?b=c", &[])).await;
    assert_eq!(head.x_cache(), "HIT");
    // A POST is never answered from it.
    bench.ask(request("POST", "/a?b=c", &[])).await;
    assert_eq!(bench.origin.calls(), 3);
    // And the next write ends it.
    bench.ask(request("PUT", "/a?b=c", &[])).await;
    assert_eq!(bench.get("/a?b=c").await.text(), "5");
}

#[tokio::test]
async fn other_post_answers_are_not_stored() {
    let cases: &[Fields] = &[
        // RFC 9110 §9.3.3: explicit freshness and the target's own location, both.
        &[("content-location", "/a")],
        &[("cache-control", "max-age=60")],
        &[("cache-control", "max-age=60"), ("content-location", "/b")],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "/a?b"),
        ],
        &[("cache-control", "max-age=60"), ("location", "/a")],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "http://other.example/a"),
        ],
        &[
            ("cache-control", "max-age=60, no-store"),
            ("content-location", "/a"),
        ],
        &[
            ("cache-control", "max-age=60, private"),
            ("content-location", "/a"),
        ],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "/a"),
            ("set-cookie", "a=b"),
        ],
        &[
            ("cache-control", "max-age=60"),
            ("content-location", "/a"),
            ("vary", "*"),
        ],
        &[("cache-control", "max-age=0"), ("content-location", "/a")],
    ];
    for fields in cases {
        let bench = Bench::new(Policy::ttl(MINUTE), posting(fields));
        bench.ask(request("POST", "/a", &[])).await;
        let read = bench.get("/a").await;
        assert_eq!((read.text(), read.x_cache()), ("2", "MISS"), "{fields:?}");
    }
}

#[tokio::test]
async fn only_post_answers_are_stored_and_only_of_users_without_credentials() {
    let fields: Fields = &[("cache-control", "max-age=60"), ("content-location", "/a")];
    let origin = Origin::new(move |request, call| async move {
        match request.method().as_str() {
            "GET" => respond(200, &[], call.to_string()),
            _ => respond(200, fields, "written"),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for (method, credentials) in [
        ("PUT", &[][..]),
        ("PATCH", &[]),
        ("DELETE", &[]),
        ("POST", &[("authorization", "Bearer a")]),
        ("POST", &[("cookie", "a=b")]),
    ] {
        bench.ask(request(method, "/a", credentials)).await;
        let read = bench.get("/a").await;
        assert_ne!(read.text(), "written", "{method} {credentials:?}");
    }
}

#[tokio::test]
async fn a_post_answer_that_another_write_overtook_is_not_stored() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |request, call| {
        let gate = held.clone();
        async move {
            match request.method().as_str() {
                "POST" => {
                    gate.wait().await;
                    let fields = [
                        ("cache-control", "max-age=60"),
                        ("content-location", "/a?b=c"),
                    ];
                    respond(200, &fields, "posted")
                }
                _ => respond(200, &[], call.to_string()),
            }
        }
    });
    for (other, expected) in [("/a", "MISS"), ("/a?b=c", "MISS"), ("/elsewhere", "HIT")] {
        let bench = Bench::new(Policy::ttl(MINUTE), origin.clone());
        let posting = bench.spawn(request("POST", "/a?b=c", &[]));
        settle().await;
        bench.ask(request("PUT", other, &[])).await;
        gate.open_for_one();
        assert_eq!(posting.await.unwrap().text(), "posted");
        assert_eq!(bench.get("/a?b=c").await.x_cache(), expected, "{other}");
    }
}

#[tokio::test]
async fn a_post_answer_is_stored_beside_what_its_route_evicts() {
    let fields: Fields = &[
        ("cache-control", "max-age=60"),
        ("content-location", "/a/1"),
    ];
    let routes = Routes::new()
        .otherwise(Policy::ttl(MINUTE))
        .on_write("/a/{id}", Evict::pattern("/a/**").and_tag("a"));
    let bench = Bench::with_routes(routes, posting(fields));
    bench.get("/a/2").await;
    bench.ask(request("POST", "/a/1", &[])).await;
    assert_eq!(bench.get("/a/1").await.text(), "posted");
    assert_eq!(bench.get("/a/2").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_post_answer_under_a_rule_in_two_phases_is_never_old() {
    let fields: Fields = &[("cache-control", "max-age=60"), ("content-location", "/a")];
    let routes = Routes::new()
        .otherwise(Policy::ttl(MINUTE))
        .on_write("/a", Evict::nothing().two_phase());
    let bench = Bench::with_routes(routes, posting(fields));
    bench.get("/a").await;
    bench.ask(request("POST", "/a", &[])).await;
    // Stored or not, it is not what was there before.
    let read = bench.get("/a").await;
    assert!(["posted", "3"].contains(&read.text()), "{read:?}");
}

/// Whether a response with these fields is a hit the next time.
async fn is_stored(fields: Fields) -> bool {
    is_stored_by(CacheLayer::builder(), fields).await
}

async fn is_stored_by(builder: tower_response_cache::CacheLayerBuilder, fields: Fields) -> bool {
    let routes = Routes::new().otherwise(Policy::origin_decides());
    let bench = Bench::with_builder(builder.routes(routes), Origin::with_fields(fields));
    bench.get("/").await;
    bench.get("/").await.x_cache() == "HIT"
}

#[tokio::test]
async fn a_targeted_field_wins_over_cache_control_and_expires() {
    let cases: &[(Fields, bool)] = &[
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "no-store"),
            ],
            true,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "max-age=0"),
            ],
            true,
        ),
        (
            &[("cdn-cache-control", "max-age=60"), ("expires", "0")],
            true,
        ),
        (
            &[
                ("cdn-cache-control", "no-store"),
                ("cache-control", "max-age=60"),
            ],
            false,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=0"),
                ("cache-control", "max-age=60"),
            ],
            false,
        ),
        (
            &[
                ("cdn-cache-control", "private"),
                ("cache-control", "public, max-age=60"),
            ],
            false,
        ),
        // RFC 9213 §2.1: a dictionary; two lines are one value.
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cdn-cache-control", "no-store"),
            ],
            false,
        ),
        // An empty field says nothing (§2.2).
        (
            &[("cdn-cache-control", ""), ("cache-control", "max-age=60")],
            true,
        ),
        (
            &[("cdn-cache-control", ""), ("cache-control", "no-store")],
            false,
        ),
    ];
    for (fields, stored) in cases {
        assert_eq!(is_stored(fields).await, *stored, "{fields:?}");
    }
}

#[tokio::test]
async fn a_malformed_targeted_field_is_void() {
    for value in [
        "max-age=60, &",
        "max-age=\"60\"",
        "max-age=60.5",
        "max-age",
        "MAX-AGE=60",
        "no-store=1, max-age=60",
        "max-age=60,",
        "max-age=60 max-age=70",
    ] {
        let with = |control| {
            let fields = vec![("cdn-cache-control", value), ("cache-control", control)];
            &*Vec::leak(fields)
        };
        assert!(is_stored(with("max-age=60")).await, "{value}");
        assert!(!is_stored(with("no-store")).await, "{value}");
    }
}

#[tokio::test]
async fn the_first_targeted_field_that_is_there_and_valid_wins() {
    let builder = || {
        CacheLayer::builder().targeted_fields([
            HeaderName::from_static("my-cache-control"),
            HeaderName::from_static("cdn-cache-control"),
        ])
    };
    let cases: &[(Fields, bool)] = &[
        (
            &[
                ("my-cache-control", "max-age=60"),
                ("cdn-cache-control", "no-store"),
            ],
            true,
        ),
        (
            &[
                ("my-cache-control", "no-store"),
                ("cdn-cache-control", "max-age=60"),
            ],
            false,
        ),
        (
            &[
                ("my-cache-control", "&"),
                ("cdn-cache-control", "max-age=60"),
            ],
            true,
        ),
        (
            &[
                ("cdn-cache-control", "no-store"),
                ("cache-control", "max-age=60"),
            ],
            false,
        ),
    ];
    for (fields, stored) in cases {
        assert_eq!(is_stored_by(builder(), fields).await, *stored, "{fields:?}");
    }
    let none = CacheLayer::builder().targeted_fields([]);
    let fields: Fields = &[
        ("cdn-cache-control", "no-store"),
        ("cache-control", "max-age=60"),
    ];
    assert!(is_stored_by(none, fields).await);
}

#[tokio::test]
async fn a_targeted_field_reaches_the_client_as_any_other() {
    let fields: Fields = &[("cdn-cache-control", "max-age=60")];
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(fields));
    for _ in 0..2 {
        assert_eq!(
            bench.get("/").await.field("cdn-cache-control"),
            "max-age=60"
        );
    }
}

#[tokio::test]
async fn tags_in_fields_evict_and_do_not_reach_the_client_while_groups_do() {
    let origin = Origin::new(|_, call| async move {
        let fields = [
            ("surrogate-key", "one two"),
            ("surrogate-key", "three"),
            ("cache-tag", "four, five six"),
            ("cache-groups", "\"seven\", \"eight\""),
        ];
        respond(200, &fields, call.to_string())
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let assert_fields = |answer: &support::Answer| {
        assert_eq!(answer.field("surrogate-key"), "(absent)");
        assert_eq!(answer.field("cache-tag"), "(absent)");
        assert_eq!(answer.field("cache-groups"), "\"seven\", \"eight\"");
    };
    assert_fields(&bench.get("/").await);
    for tag in ["one", "two", "three", "four", "five six", "seven", "eight"] {
        let before = bench.get("/").await;
        assert_eq!(before.x_cache(), "HIT", "{tag}");
        assert_fields(&before);
        bench.handle.invalidate_tag(tag).await.unwrap();
        let after = bench.get("/").await;
        assert_eq!(after.x_cache(), "MISS", "{tag}");
        assert_fields(&after);
    }
    bench.handle.invalidate_tag("five").await.unwrap();
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn tags_do_not_reach_those_who_wait_and_outlive_a_validation() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |request, _| {
        let gate = held.clone();
        async move {
            gate.wait().await;
            let etag = ("etag", "\"v1\"");
            match &*sent(&request, "if-none-match") {
                "-" => respond(200, &[etag, ("surrogate-key", "a"), ("cache-tag", "b")], ""),
                _ => respond(304, &[etag], ""),
            }
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let readers: Vec<_> = (0..3)
        .map(|_| bench.spawn(request("GET", "/", &[])))
        .collect();
    settle().await;
    gate.open();
    for reader in readers {
        let answer = reader.await.unwrap();
        assert_eq!(answer.field("surrogate-key"), "(absent)");
        assert_eq!(answer.field("cache-tag"), "(absent)");
    }
    bench.clock.advance(MINUTE);
    assert_eq!(bench.get("/").await.x_cache(), "REVALIDATED");
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
    bench.handle.invalidate_tag("a").await.unwrap();
    assert_eq!(bench.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn tags_do_not_reach_the_clients_of_what_is_not_stored_or_is_revalidated() {
    let origin = Origin::new(|request, _| async move {
        let fields = [
            ("surrogate-key", "a"),
            ("cache-tag", "b"),
            ("etag", "\"v1\""),
        ];
        let status = match &*sent(&request, "if-none-match") {
            "\"v1\"" => 304,
            _ => 200,
        };
        match request.uri().path() {
            "/private" => respond(
                200,
                &[fields[0], fields[1], ("cache-control", "private")],
                "",
            ),
            _ => respond(status, &fields, ""),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let mut answers = vec![bench.get("/private").await, bench.get("/").await];
    bench.clock.advance(MINUTE);
    answers.push(bench.get("/").await);
    assert_eq!(answers[2].x_cache(), "REVALIDATED");
    answers.push(bench.ask(request("HEAD", "/other", &[])).await);
    for answer in answers {
        assert_eq!(answer.field("surrogate-key"), "(absent)");
        assert_eq!(answer.field("cache-tag"), "(absent)");
    }
}

#[tokio::test]
async fn a_write_invalidates_the_groups_it_names_and_a_read_does_not() {
    let origin = Origin::new(|request, call| async move {
        let invalidates = ("cache-group-invalidation", "\"news\"");
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/reads") => respond(200, &[invalidates], ""),
            ("GET", _) => respond(200, &[("cache-groups", "\"news\"")], call.to_string()),
            (_, "/failing") => respond(500, &[invalidates], ""),
            _ => respond(204, &[invalidates], ""),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/news").await;
    bench.get("/reads").await;
    bench.ask(request("POST", "/failing", &[])).await;
    assert_eq!(bench.get("/news").await.x_cache(), "HIT");
    bench.ask(request("POST", "/write", &[])).await;
    assert_eq!(bench.get("/news").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_response_with_thousands_of_fields_is_passed_on_and_not_stored() {
    for (fields, stored) in [(1_000, true), (5_000, false), (30_000, false)] {
        let origin = Origin::new(move |_, _| async move {
            let mut response = respond(200, &[], "body");
            for number in 0..fields {
                let value = number.to_string().parse().unwrap();
                response.headers_mut().append("x-many", value);
            }
            response
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        for x_cache in ["MISS", if stored { "HIT" } else { "MISS" }] {
            let answer = bench.get("/").await;
            assert_eq!(
                (answer.text(), answer.x_cache()),
                ("body", x_cache),
                "{fields}"
            );
        }
    }
}

#[tokio::test]
async fn a_coded_body_is_stored_as_the_bytes_it_is() {
    // What would be a gibibyte of zeros, and what is no gzip at all: nobody inflates either.
    let bomb: Vec<u8> = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
        .into_iter()
        .chain([0xed, 0xc0].repeat(5_000))
        .collect();
    for body in [bomb, b"not gzip".to_vec()] {
        let sent = body.clone();
        let origin = Origin::new(move |_, _| {
            let fields = [("content-encoding", "gzip"), ("etag", "\"a\"")];
            let response = respond(200, &fields, sent.clone());
            async move { response }
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        for outcome in ["MISS", "HIT"] {
            let answer = bench.get("/").await;
            assert_eq!(answer.x_cache(), outcome);
            assert_eq!(answer.body, body);
            assert_eq!(answer.field("content-encoding"), "gzip");
        }
        // Ranges are of the coded bytes (RFC 9110 §14.1.2).
        let part = bench.get_with("/", &[("range", "bytes=2-3")]).await;
        assert_eq!((part.status.as_u16(), &part.body[..]), (206, &body[2..4]));
    }
}

#[tokio::test]
async fn tags_never_leave_whatever_becomes_of_a_request() {
    let origin = Origin::new(|request, call| async move {
        let status = request.headers().get("x-status");
        let status = status.map_or(200, |status| status.to_str().unwrap().parse().unwrap());
        let fields = [("surrogate-key", "user-17"), ("cache-tag", "acme")];
        respond(status, &fields, call.to_string())
    });
    let routes = Routes::new()
        .route("/never", Policy::bypass())
        .route("/on", Policy::ttl(MINUTE));
    let bench = Bench::with_routes(routes, origin);
    for (method, uri, fields) in [
        ("GET", "/on", &[][..]),
        ("GET", "/on", &[("authorization", "a")]),
        ("GET", "/on", &[("upgrade", "x")]),
        ("GET", "/on", &[("cache-control", "no-store")]),
        ("GET", "/on?101", &[("x-status", "101"), ("upgrade", "x")]),
        ("GET", "/on?102", &[("x-status", "101")]),
        ("GET", "/on?500", &[("x-status", "500")]),
        ("HEAD", "/on?head", &[]),
        ("GET", "/never", &[]),
        ("GET", "/no-route", &[]),
        ("OPTIONS", "/on", &[]),
        ("POST", "/on", &[]),
        ("POST", "/on", &[("x-status", "500")]),
        ("CONNECT", "/on", &[]),
    ] {
        let answer = bench.ask(request(method, uri, fields)).await;
        let what = format!("{method} {uri} {fields:?}");
        assert_eq!(answer.field("surrogate-key"), "(absent)", "{what}");
        assert_eq!(answer.field("cache-tag"), "(absent)", "{what}");
    }
    bench.handle.set_bypass(true);
    assert_eq!(bench.get("/on").await.field("cache-tag"), "(absent)");
}
