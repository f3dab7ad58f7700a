//! Clients that have the response already, and are answered 304.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_response_cache::Policy;

use super::validating;
use crate::support::{Bench, MINUTE, Origin, request, respond, seconds, sent, settle};

#[tokio::test]
async fn a_client_that_has_the_response_is_told_so_on_a_hit() {
    let bench = Bench::new(
        Policy::ttl(MINUTE),
        validating(&[("content-type", "text/plain")]),
    );
    bench.get("/").await;
    for (tags, status) in [
        ("\"v1\"", 304),
        ("W/\"v1\"", 304),
        ("*", 304),
        ("\"a\", \"v1\"", 304),
        ("\"a\",W/\"v1\" , \"b\"", 304),
        ("\"a, \\\", \"v1\"", 304),
        ("\"v2\"", 200),
        ("\"v\", \"v11\"", 200),
        ("v1", 200),
        ("", 200),
    ] {
        let answer = bench.get_with("/", &[("if-none-match", tags)]).await;
        assert_eq!(answer.status.as_u16(), status, "{tags}");
        assert_eq!(answer.x_cache(), "HIT");
        assert_eq!(answer.field("etag"), "\"v1\"");
        let body = if status == 304 { "" } else { "1" };
        assert_eq!(answer.text(), body);
        if status == 304 {
            assert_eq!(answer.field("content-length"), "(absent)");
            assert_eq!(answer.field("age"), "0");
        }
    }
    let lines = [("if-none-match", "\"a\""), ("if-none-match", "\"v1\"")];
    assert_eq!(bench.get_with("/", &lines).await.status, 304);
    let thousand = vec!["\"x\""; 1000].join(", ") + ", \"v1\"";
    let answer = bench.get_with("/", &[("if-none-match", &thousand)]).await;
    assert_eq!(answer.status, 304);
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_client_that_has_the_response_is_told_so_on_a_miss_and_the_whole_is_stored() {
    let bench = Bench::new(Policy::ttl(MINUTE), validating(&[]));
    let has = [("if-none-match", "\"v1\"")];
    let miss = bench.get_with("/", &has).await;
    assert_eq!((miss.status.as_u16(), miss.x_cache()), (304, "MISS"));
    assert!(miss.body.is_empty());
    assert!(!bench.origin.seen()[0].contains_key("if-none-match"));
    settle().await;
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "1"));
    // And on a validation.
    bench.clock.advance(MINUTE);
    let confirmed = bench.get_with("/", &has).await;
    let found = (confirmed.status.as_u16(), confirmed.x_cache());
    assert_eq!(found, (304, "REVALIDATED"));
}

#[tokio::test]
async fn last_modified_answers_if_modified_since_unless_there_are_tags() {
    let fields = &[("last-modified", "Fri, 31 Dec 1999 23:59:59 GMT")];
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::with_fields(fields));
    bench.get("/").await;
    for (since, status) in [
        ("Fri, 31 Dec 1999 23:59:59 GMT", 304),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 304),
        ("Fri, 31 Dec 1999 23:59:58 GMT", 200),
        ("garbage", 200),
    ] {
        let since = ("if-modified-since", since);
        let answer = bench.get_with("/", &[since]).await;
        assert_eq!(answer.status.as_u16(), status, "{since:?}");
        let with_tag = [since, ("if-none-match", "\"x\"")];
        assert_eq!(bench.get_with("/", &with_tag).await.status, 200);
    }
}

#[tokio::test]
async fn a_304_for_which_nothing_is_stored_is_passed_on_and_not_stored() {
    // Uncacheable, so the client's conditions go through; the handler answers them.
    let origin = Origin::new(|request, call| async move {
        match sent(&request, "if-none-match").as_str() {
            "-" => respond(200, &[("cache-control", "private")], call.to_string()),
            tag => respond(304, &[("etag", tag)], ""),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    let answer = bench.get_with("/", &[("if-none-match", "\"v\"")]).await;
    assert_eq!(answer.status, 304);
    let next = bench.get("/").await;
    assert_eq!((next.status.as_u16(), next.text()), (200, "3"));
}

/// An origin whose page has this many versions behind it, and that answers `If-Match` or ignores it.
fn versioned(version: &Arc<AtomicUsize>, obeys: bool) -> Origin {
    let version = version.clone();
    Origin::new(move |request, _| {
        let etag = format!("\"v{}\"", version.load(Ordering::SeqCst));
        let named = |name| {
            request
                .headers()
                .get(name)
                .is_some_and(|value| value == &*etag)
        };
        let fields = [("etag", &*etag)];
        let refused = obeys && request.headers().contains_key("if-match") && !named("if-match");
        let response = match (refused, named("if-none-match")) {
            (true, _) => respond(412, &[], "the handler's own"),
            (false, true) => respond(304, &fields, ""),
            (false, false) => respond(200, &fields, "page"),
        };
        async move { response }
    })
}

#[tokio::test]
async fn head_with_a_condition_gets_its_304_from_a_stored_response_and_from_a_new_one() {
    let version = Arc::new(AtomicUsize::new(1));
    let bench = Bench::new(Policy::ttl(MINUTE), versioned(&version, true));
    let head = async |etag: &str| {
        let asked = request("HEAD", "/", &[("if-none-match", etag)]);
        let answer = bench.ask(asked).await;
        (answer.status.as_u16(), answer.field("etag").to_owned())
    };
    assert_eq!(
        head("\"v1\"").await,
        (304, "\"v1\"".into()),
        "nothing stored"
    );
    bench.get("/").await;
    assert_eq!(head("\"v1\"").await, (304, "\"v1\"".into()), "fresh");
    assert_eq!(head("\"v2\"").await, (200, "\"v1\"".into()), "fresh");
    bench.clock.advance(MINUTE);
    assert_eq!(head("\"v1\"").await, (304, "\"v1\"".into()), "stale");
    version.store(2, Ordering::SeqCst);
    bench.clock.advance(MINUTE);
    assert_eq!(
        head("\"v2\"").await,
        (304, "\"v2\"".into()),
        "stale and changed"
    );
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    version.store(3, Ordering::SeqCst);
    assert_eq!(
        head("\"v2\"").await,
        (200, "\"v3\"".into()),
        "stale and changed"
    );
}

#[tokio::test]
async fn whether_if_match_fails_is_for_the_handler_to_say() {
    for (obeys, status, body) in [(false, 200, "page"), (true, 412, "the handler's own")] {
        let version = Arc::new(AtomicUsize::new(1));
        let policy = Policy::ttl(MINUTE).stale_while_revalidate(MINUTE);
        let bench = Bench::new(policy, versioned(&version, obeys));
        let ask = async |etag: &str| bench.get_with("/", &[("if-match", etag)]).await;
        let missed = ask("\"v0\"").await;
        assert_eq!((missed.status.as_u16(), missed.text()), (status, body));
        bench.get("/").await;
        let held = ask("\"v1\"").await;
        assert_eq!((held.x_cache(), held.text()), ("HIT", "page"));
        for age in [0, 70] {
            bench.clock.advance(seconds(age));
            let refused = ask("\"v0\"").await;
            assert_eq!((refused.x_cache(), refused.text()), ("MISS", body), "{age}");
            assert_eq!(refused.status.as_u16(), status, "{age}");
        }
        let unmodified = [("if-unmodified-since", "Fri, 31 Dec 1999 23:59:59 GMT")];
        let dated = bench.get_with("/", &unmodified).await;
        assert_eq!(dated.status, 200);
    }
}
