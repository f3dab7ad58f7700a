//! Asking the handler about what is stored, and what its answer changes: other variants' validators,
//! answers about something else, HEAD, tags made by the cache, and origins that are gone.

use http::Response;
use tower_response_cache::{CacheDirective, OriginUnreachable, Policy};

use crate::support::{
    self, Answer, Bench, MINUTE, Origin, TestBody, request, respond, seconds, sent, settle,
};

type Fields = &'static [(&'static str, &'static str)];

/// An origin that has one representation for all languages, in the given coding.
fn one_for_all(etag: &'static str, coding: Option<&'static str>, vary: &'static str) -> Origin {
    Origin::new(move |request, _| {
        let known = sent(&request, "if-none-match");
        async move {
            let fresh = ("cache-control", "max-age=60");
            let mut fields = vec![("etag", etag), ("vary", vary), fresh];
            fields.extend(coding.map(|coding| ("content-encoding", coding)));
            match known.contains(etag) {
                true => respond(304, &fields, ""),
                false => respond(200, &fields, "text"),
            }
        }
    })
}

#[tokio::test]
async fn another_variant_that_the_handler_confirms_is_stored_for_this_one() {
    let bench = Bench::new(
        Policy::origin_decides(),
        one_for_all("\"v1\"", None, "accept-language"),
    );
    assert_eq!(
        bench
            .get_with("/", &[("accept-language", "en")])
            .await
            .x_cache(),
        "MISS"
    );
    let german = [("accept-language", "de")];
    let answer = bench.get_with("/", &german).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "text"));
    assert_eq!(answer.x_cache(), "REVALIDATED");
    assert_eq!(bench.origin.seen()[1]["if-none-match"], "\"v1\"");
    assert_eq!(bench.origin.seen()[1]["accept-language"], "de");
    assert_eq!(bench.get_with("/", &german).await.x_cache(), "HIT");
    assert_eq!(
        bench
            .get_with("/", &[("accept-language", "en")])
            .await
            .x_cache(),
        "HIT"
    );
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn another_variant_that_is_not_the_one_is_left_alone() {
    let origin = Origin::new(|request, _| async move {
        let language = sent(&request, "accept-language");
        let etag = format!("\"{language}\"");
        let fresh = ("cache-control", "max-age=60");
        let fields = [("etag", &*etag), ("vary", "accept-language"), fresh];
        match sent(&request, "if-none-match") == etag {
            true => respond(304, &fields, ""),
            false => respond(200, &fields, language),
        }
    });
    let bench = Bench::new(Policy::origin_decides(), origin);
    for language in ["en", "de", "fr"] {
        let answer = bench.get_with("/", &[("accept-language", language)]).await;
        assert_eq!((answer.text(), answer.x_cache()), (language, "MISS"));
    }
    for language in ["en", "de", "fr"] {
        let answer = bench.get_with("/", &[("accept-language", language)]).await;
        assert_eq!((answer.text(), answer.x_cache()), (language, "HIT"));
    }
}

#[tokio::test]
async fn a_variant_is_not_offered_where_its_coding_is_not_acceptable_or_its_tag_is_weak() {
    let cases = [
        ("\"v1\"", Some("gzip"), false),
        ("\"v1\"", None, true),
        ("W/\"v1\"", None, false),
    ];
    for (etag, coding, offered) in cases {
        let bench = Bench::new(
            Policy::origin_decides(),
            one_for_all(etag, coding, "accept-encoding"),
        );
        bench.get_with("/", &[("accept-encoding", "gzip")]).await;
        let answer = bench.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "text"));
        let asked = bench.origin.seen()[1].contains_key("if-none-match");
        assert_eq!(asked, offered, "{etag} {coding:?}");
    }
}

#[tokio::test]
async fn a_variant_that_was_invalidated_is_not_offered() {
    let bench = Bench::new(
        Policy::origin_decides(),
        one_for_all("\"v1\"", None, "accept-language"),
    );
    bench.get_with("/", &[("accept-language", "en")]).await;
    bench.handle.invalidate_uri("/").await.unwrap();
    bench.get_with("/", &[("accept-language", "de")]).await;
    assert!(!bench.origin.seen()[1].contains_key("if-none-match"));
}

#[tokio::test]
async fn a_variant_offered_keeps_the_clients_own_condition_answered() {
    let bench = Bench::new(
        Policy::origin_decides(),
        one_for_all("\"v1\"", None, "accept-language"),
    );
    bench.get_with("/", &[("accept-language", "en")]).await;
    let fields = [("accept-language", "de"), ("if-none-match", "\"v1\"")];
    let answer = bench.get_with("/", &fields).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
    let fields = [("accept-language", "fr"), ("if-none-match", "\"v0\"")];
    let answer = bench.get_with("/", &fields).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "text"));
}

/// Pages that name whom they are for, under an entity tag that is the version of what they show.
fn one_tag_for_all(fields: Fields) -> Origin {
    Origin::new(move |request, _| {
        let page = format!(
            "{}+{}",
            sent(&request, "x-group"),
            sent(&request, "accept-language")
        );
        let known = sent(&request, "if-none-match") == "\"v7\"";
        async move {
            match known {
                true => respond(304, fields, ""),
                false => respond(200, fields, page),
            }
        }
    })
}

#[tokio::test]
async fn a_tag_that_several_pages_share_confirms_none_but_its_own() {
    const TAG: (&str, &str) = ("etag", "\"v7\"");
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const BY_GROUP: Fields = &[TAG, FRESH, ("vary", "x-group")];
    const BY_BOTH: Fields = &[TAG, FRESH, ("vary", "x-group, accept-language")];
    const BY_LANGUAGE: Fields = &[TAG, FRESH, ("vary", "accept-language")];
    for (policy, fields) in [
        (Policy::origin_decides(), BY_GROUP),
        (Policy::origin_decides(), BY_BOTH),
        (Policy::ttl(MINUTE), BY_GROUP),
        // Under a TTL the handler need not know that it is cached at all.
        (Policy::ttl(MINUTE), BY_LANGUAGE),
        (Policy::ttl(MINUTE).ttl_overrides(), BY_LANGUAGE),
    ] {
        let bench = Bench::new(policy, one_tag_for_all(fields));
        for expected in ["MISS", "HIT"] {
            for who in ["ada", "ben"] {
                let asked = [("x-group", who), ("accept-language", who)];
                let answer = bench.get_with("/", &asked).await;
                assert_eq!(answer.text(), format!("{who}+{who}"), "{fields:?}");
                assert_eq!(answer.x_cache(), expected, "{fields:?}");
            }
        }
        for asked in bench.origin.seen() {
            assert!(!asked.contains_key("if-none-match"), "{fields:?}");
        }
    }
}

#[tokio::test]
async fn a_page_for_a_cookie_is_not_confirmed_by_the_tag_of_anothers() {
    let origin = Origin::new(|request, _| {
        let (page, known) = (sent(&request, "cookie"), sent(&request, "if-none-match"));
        async move {
            let fields = [("etag", "\"v7\""), ("vary", "cookie")];
            match known == "\"v7\"" {
                true => respond(304, &fields, ""),
                false => respond(200, &fields, page),
            }
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE).shared_with_everyone(), origin);
    for who in ["sid=ann", "sid=bob", "sid=ann"] {
        assert_eq!(bench.get_with("/", &[("cookie", who)]).await.text(), who);
    }
}

/// A stale response with this tag, and what the handler then answers.
async fn stale_then(answers: impl IntoIterator<Item = Response<TestBody>>) -> Bench {
    let first = respond(200, &[("etag", "\"v1\"")], "old");
    let bench = Bench::new(
        Policy::ttl(MINUTE),
        Origin::script([first].into_iter().chain(answers)),
    );
    assert_eq!(bench.get("/").await.text(), "old");
    bench.clock.advance(MINUTE);
    bench
}

#[tokio::test]
async fn a_304_about_something_else_is_asked_again_without_conditions() {
    for about in ["\"v2\"", "W/\"v2\""] {
        let bench = stale_then([
            respond(304, &[("etag", about)], ""),
            respond(200, &[("etag", "\"v2\"")], "new"),
        ])
        .await;
        let answer = bench.get("/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, "new"),
            "{about}"
        );
        let seen = bench.origin.seen();
        assert_eq!(seen.len(), 3, "{about}");
        assert!(seen[1].contains_key("if-none-match") && !seen[2].contains_key("if-none-match"));
        let again = bench.get("/").await;
        assert_eq!((again.text(), again.x_cache()), ("new", "HIT"), "{about}");
    }
}

#[tokio::test]
async fn an_update_of_too_many_fields_is_none() {
    // More lines than a header map can have names, and as many names as it can have.
    let one_name = |status, body| {
        let mut response = respond(status, &[("etag", "\"v1\"")], body);
        for _ in 0..40_000 {
            let value = http::HeaderValue::from_static("1");
            response.headers_mut().append("x-many", value);
        }
        response
    };
    let many_names = |status, body| {
        let mut response = respond(status, &[("etag", "\"v1\"")], body);
        let headers = response.headers_mut();
        while headers.len() < 24_576 {
            let name = http::HeaderName::try_from(format!("x-{}", headers.len())).unwrap();
            headers.insert(name, http::HeaderValue::from_static("1"));
        }
        response
    };
    for many in [&one_name as &dyn Fn(u16, &'static str) -> _, &many_names] {
        let new = respond(200, &[("etag", "\"v2\"")], "new");
        let bench = stale_then([many(304, ""), new]).await;
        assert_eq!(bench.get("/").await.text(), "new");
        assert_eq!(bench.get("/").await.x_cache(), "HIT");

        let bench = stale_then([many(200, ""), respond(304, &[("etag", "\"v1\"")], "")]).await;
        assert_eq!(bench.ask(request("HEAD", "/", &[])).await.status, 200);
        assert_eq!(bench.get("/").await.x_cache(), "REVALIDATED");

        // Nor is it stored.
        let bench = stale_then([many(200, "new"), many(200, "newer")]).await;
        assert_eq!(bench.get("/").await.text(), "new");
        assert_eq!(bench.get("/").await.text(), "newer");
    }
}

#[tokio::test]
async fn a_handler_that_answers_304_to_no_condition_fills_nothing() {
    let bench = stale_then([
        respond(304, &[("etag", "\"v2\"")], ""),
        respond(304, &[("etag", "\"v2\"")], ""),
        respond(200, &[("etag", "\"v2\"")], "new"),
    ])
    .await;
    assert_eq!(bench.get("/").await.status, 304);
    let answer = bench.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "new"));
}

#[tokio::test]
async fn a_304_without_validators_is_about_the_only_one_it_was_asked_about() {
    let bench = stale_then([respond(304, &[], "")]).await;
    let answer = bench.get("/").await;
    assert_eq!((answer.text(), answer.x_cache()), ("old", "REVALIDATED"));
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_304_that_sets_what_must_not_be_stored_ends_what_is_stored() {
    let fields: Fields = &[("etag", "\"v1\""), ("cache-control", "no-store")];
    let bench = stale_then([respond(304, fields, "")]).await;
    let answer = bench.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "old"));
    assert_eq!(bench.get("/").await.text(), "3");
}

#[tokio::test]
async fn the_age_of_a_304_counts_as_that_of_any_response() {
    // RFC 9111 §4.2.3: a cache on the way may answer for the origin, and has for a while.
    for (age, left) in [("0", 60), ("50", 10), ("50, 0", 10)] {
        let fields = [("etag", "\"v1\""), ("age", age)];
        let bench = stale_then([respond(304, &fields, "")]).await;
        let confirmed = bench.get("/").await;
        assert_eq!(confirmed.x_cache(), "REVALIDATED", "{age}");
        assert_eq!(confirmed.headers.get_all("age").iter().count(), 1, "{age}");
        bench.clock.advance(seconds(left - 1));
        assert_eq!(bench.get("/").await.x_cache(), "HIT", "{age}");
        bench.clock.advance(seconds(1));
        assert_eq!(bench.get("/").await.text(), "3", "{age}");
    }
    // Nor is it left over where the 304 ends what is stored.
    let fields = [
        ("etag", "\"v1\""),
        ("age", "50"),
        ("cache-control", "no-store"),
    ];
    let bench = stale_then([respond(304, &fields, "")]).await;
    assert_eq!(bench.get("/").await.field("age"), "0");
}

#[tokio::test]
async fn a_304_need_not_repeat_the_lifetime_that_the_handler_set() {
    let with_ttl = |status, ttl| {
        let mut response = respond(status, &[("etag", "\"v1\"")], "text");
        let directive = CacheDirective::new().ttl(seconds(ttl));
        response.extensions_mut().insert(directive);
        response
    };
    let confirmed = || respond(304, &[("etag", "\"v1\"")], "");
    let answers = [
        with_ttl(200, 10),
        confirmed(),
        confirmed(),
        with_ttl(304, 20),
        confirmed(),
    ];
    let policy = Policy::ttl(MINUTE).jitter(10);
    let bench = Bench::new(policy, Origin::script(answers));
    bench.get("/").await;
    let mut lifetimes = Vec::new();
    for _ in 0..4 {
        bench.clock.advance(seconds(20));
        let answer = bench.get("/").await;
        assert_eq!(answer.x_cache(), "REVALIDATED");
        let ttl = answer.field("cache-status").split("ttl=").nth(1).unwrap();
        lifetimes.push(ttl.split(';').next().unwrap().parse::<u64>().unwrap());
    }
    assert!((8..=10).contains(&lifetimes[0]), "{lifetimes:?}");
    assert_eq!(lifetimes[1], lifetimes[0], "not jittered again");
    assert!((17..=20).contains(&lifetimes[2]), "{lifetimes:?}");
    assert_eq!(lifetimes[3], lifetimes[2]);
}

async fn head(bench: &Bench) -> Answer {
    bench.ask(request("HEAD", "/", &[])).await
}

#[tokio::test]
async fn a_head_that_agrees_freshens_what_is_stored() {
    for fields in [
        &[("etag", "\"v1\"")][..],
        &[("etag", "\"v1\""), ("content-length", "3")],
        &[("etag", "\"v1\""), ("x-new", "yes")],
    ] {
        let bench = stale_then([respond(200, fields, "")]).await;
        head(&bench).await;
        let answer = bench.get("/").await;
        assert_eq!(
            (answer.text(), answer.x_cache()),
            ("old", "HIT"),
            "{fields:?}"
        );
        let new = fields.iter().find(|(name, _)| *name == "x-new");
        assert_eq!(answer.headers.contains_key("x-new"), new.is_some());
        assert_eq!(bench.origin.calls(), 2);
    }
}

#[tokio::test]
async fn a_head_that_contradicts_ends_what_is_stored() {
    for fields in [
        &[("etag", "\"v2\"")][..],
        &[("etag", "\"v1\""), ("content-length", "4")],
        &[("content-length", "4")],
        &[("last-modified", "Sun, 06 Nov 2022 08:49:37 GMT")],
    ] {
        let bench = stale_then([respond(200, fields, "")]).await;
        head(&bench).await;
        let answer = bench.get("/").await;
        assert_eq!(
            (answer.text(), answer.x_cache()),
            ("3", "MISS"),
            "{fields:?}"
        );
        assert!(
            !bench.origin.seen()[2].contains_key("if-none-match"),
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn a_head_that_says_nothing_of_it_leaves_what_is_stored() {
    for (status, fields) in [(200, &[][..]), (404, &[("etag", "\"v2\"")]), (500, &[])] {
        let bench = stale_then([
            respond(status, fields, ""),
            respond(304, &[("etag", "\"v1\"")], ""),
        ])
        .await;
        head(&bench).await;
        let answer = bench.get("/").await;
        assert_eq!(
            (answer.text(), answer.x_cache()),
            ("old", "REVALIDATED"),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_head_under_way_while_a_write_is_made_revives_nothing() {
    let gate = support::Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |request, call| {
        let gate = held.clone();
        async move {
            if request.method() == "HEAD" {
                gate.wait().await;
                return respond(200, &[("etag", "\"v1\"")], "");
            }
            respond(200, &[("etag", "\"v1\"")], call.to_string())
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let asked = bench.spawn(request("HEAD", "/", &[]));
    settle().await;
    bench.handle.invalidate_uri("/").await.unwrap();
    gate.open();
    asked.await.unwrap();
    assert_eq!(bench.get("/").await.text(), "3");
}

#[tokio::test]
async fn a_stored_response_without_a_tag_is_given_a_strong_one() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).generate_etag(),
        Origin::with_fields(&[]),
    );
    let first = bench.get("/").await;
    assert_eq!(first.field("etag"), "(absent)");
    let second = bench.get("/").await;
    let etag = second.field("etag").to_owned();
    assert!(
        etag.starts_with('"') && etag.ends_with('"') && etag.len() > 20,
        "{etag}"
    );
    let known = bench.get_with("/", &[("if-none-match", &etag)]).await;
    assert_eq!((known.status.as_u16(), known.field("etag")), (304, &*etag));
    let part = [("range", "bytes=0-0"), ("if-range", &*etag)];
    assert_eq!(bench.get_with("/", &part).await.status, 206);
    // Of the same bytes it is the same, and of others another.
    bench.get("/other").await;
    assert_ne!(bench.get("/other").await.field("etag"), etag);
    let same = Bench::new(
        Policy::ttl(MINUTE).generate_etag(),
        Origin::with_fields(&[]),
    );
    same.get("/").await;
    assert_eq!(same.get("/").await.field("etag"), etag);
}

#[tokio::test]
async fn a_tag_is_made_only_for_a_200_that_has_none() {
    let origin = Origin::new(|request, _| async move {
        match request.uri().path() {
            "/gone" => respond(404, &[], "gone"),
            "/tagged" => respond(200, &[("etag", "W/\"own\"")], "tagged"),
            _ => respond(206, &[("content-range", "bytes 0-3/9")], "part"),
        }
    });
    let policy = Policy::ttl(MINUTE).negative_ttl(MINUTE).generate_etag();
    let bench = Bench::new(policy, origin);
    for (path, fields, etag) in [
        ("/gone", &[][..], "(absent)"),
        ("/tagged", &[], "W/\"own\""),
        ("/part", &[("range", "bytes=0-3")], "(absent)"),
    ] {
        bench.get_with(path, fields).await;
        let answer = bench.get_with(path, fields).await;
        assert_eq!(
            (answer.field("etag"), answer.x_cache()),
            (etag, "HIT"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_tag_the_cache_made_saves_the_client_a_body_but_not_the_handler_its_work() {
    let origin = Origin::new(|_, _| async move { respond(200, &[], "same") });
    let bench = Bench::new(Policy::ttl(MINUTE).generate_etag(), origin);
    bench.get("/").await;
    let etag = bench.get("/").await.field("etag").to_owned();
    bench.clock.advance(MINUTE);
    // The handler knows nothing of the tag, and answers in full: the cache takes that in.
    let answer = bench.get_with("/", &[("if-none-match", &etag)]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "same"));
    let known = bench.get_with("/", &[("if-none-match", &etag)]).await;
    assert_eq!((known.status.as_u16(), known.x_cache()), (304, "HIT"));
}

/// An origin that answers once, and is gone from then on.
fn gone_after_one(status: u16, fields: Fields) -> Origin {
    Origin::new(move |_, call| async move {
        if call == 1 {
            return respond(200, fields, "old");
        }
        let mut response = respond(status, &[], "unreachable");
        response.extensions_mut().insert(OriginUnreachable);
        response
    })
}

#[tokio::test]
async fn what_is_stale_stands_in_for_an_origin_that_cannot_be_reached() {
    // Whatever status the inner service makes of it.
    for status in [502, 504, 500, 404, 200] {
        let policy = Policy::ttl(MINUTE).stale_if_error(MINUTE);
        let bench = Bench::new(policy, gone_after_one(status, &[]));
        bench.get("/").await;
        bench.clock.advance(seconds(119));
        let answer = bench.get("/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (200, "old"),
            "{status}"
        );
        assert_eq!(answer.x_cache(), "STALE", "{status}");
        bench.clock.advance(seconds(1));
        let answer = bench.get("/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text()),
            (status, "unreachable")
        );
    }
}

#[tokio::test]
async fn what_must_not_be_used_without_its_origin_is_answered_504() {
    for directive in [
        "max-age=60, must-revalidate",
        "max-age=60, proxy-revalidate",
        "s-maxage=60",
        "no-cache",
    ] {
        let fields: Fields = match directive {
            "max-age=60, must-revalidate" => &[
                ("cache-control", "max-age=60, must-revalidate"),
                ("etag", "\"v1\""),
            ],
            "max-age=60, proxy-revalidate" => &[
                ("cache-control", "max-age=60, proxy-revalidate"),
                ("etag", "\"v1\""),
            ],
            "s-maxage=60" => &[("cache-control", "s-maxage=60"), ("etag", "\"v1\"")],
            _ => &[("cache-control", "no-cache"), ("etag", "\"v1\"")],
        };
        let policy = Policy::ttl(MINUTE).stale_if_error(MINUTE);
        let bench = Bench::new(policy, gone_after_one(502, fields));
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        let answer = bench.get("/").await;
        assert_eq!(answer.status, 504, "{directive}");
        assert!(
            answer.field("cache-status").contains("origin-unreachable"),
            "{directive}"
        );
        // Nothing was stored of that.
        assert_eq!(bench.get("/").await.status, 504, "{directive}");
        assert_eq!(bench.origin.calls(), 3);
    }
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_says_nothing_where_nothing_is_stored() {
    let origin = Origin::new(|_, _| async move {
        let mut response = respond(502, &[("cache-control", "max-age=60")], "unreachable");
        response.extensions_mut().insert(OriginUnreachable);
        response
    });
    let bench = Bench::new(Policy::ttl(MINUTE).stale_if_error(MINUTE), origin);
    for _ in 0..2 {
        let answer = bench.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.x_cache()), (502, "MISS"));
    }
}
