//! Stored responses that the origin is asked to confirm.

use std::time::Duration;

use http::StatusCode;
use tower_response_cache::{CacheDirective, Policy};

use super::validating;
use crate::support::{Bench, MINUTE, Origin, respond, seconds, sent};

#[tokio::test]
async fn no_cache_is_validated_each_time() {
    for fields in [
        &[("cache-control", "no-cache")],
        &[("cache-control", "no-cache, max-age=60")],
        &[("cache-control", "max-age=0")],
    ] {
        let bench = Bench::new(
            Policy::ttl(MINUTE).stale_while_revalidate(Duration::ZERO),
            validating(fields),
        );
        assert_eq!(bench.get("/").await.x_cache(), "MISS");
        for calls in 2..5 {
            let answer = bench.get("/").await;
            assert_eq!((answer.x_cache(), answer.text()), ("REVALIDATED", "1"));
            assert_eq!(
                (answer.status, bench.origin.calls()),
                (StatusCode::OK, calls)
            );
        }
    }
}

#[tokio::test]
async fn a_stale_response_is_validated_by_its_entity_tag_and_freshened() {
    let bench = Bench::new(Policy::ttl(MINUTE), validating(&[("x-kept", "1")]));
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    assert_eq!(
        (confirmed.x_cache(), confirmed.text()),
        ("REVALIDATED", "1")
    );
    assert_eq!(confirmed.status, StatusCode::OK);
    assert_eq!(confirmed.field("x-kept"), "1");
    assert_eq!(confirmed.field("x-call"), "2", "the 304's fields count");
    let seen = &bench.origin.seen()[1];
    assert_eq!(seen["if-none-match"], "\"v1\"");
    assert!(!seen.contains_key("if-modified-since"));
    bench.clock.advance(MINUTE - seconds(1));
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.field("x-call")), ("HIT", "2"));
    bench.clock.advance(seconds(1));
    assert_eq!(bench.get("/").await.x_cache(), "REVALIDATED");
}

#[tokio::test]
async fn a_stale_response_is_validated_by_its_last_modified() {
    const MODIFIED: &str = "Fri, 31 Dec 1999 23:59:59 GMT";
    let origin = Origin::new(|request, call| async move {
        match sent(&request, "if-modified-since").as_str() {
            MODIFIED => respond(304, &[], ""),
            _ => respond(200, &[("last-modified", MODIFIED)], call.to_string()),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    assert_eq!(
        (confirmed.x_cache(), confirmed.text()),
        ("REVALIDATED", "1")
    );
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_a_validation_confirmed_keeps_the_tags_it_was_stored_with() {
    let origin = Origin::new(|request, call| async move {
        let etag = ("etag", "\"v\"");
        if sent(&request, "if-none-match") == "\"v\"" {
            return respond(304, &[etag], "");
        }
        let fields = [
            etag,
            ("surrogate-key", "by-field"),
            ("cache-groups", "\"by-group\""),
        ];
        let mut response = respond(200, &fields, call.to_string());
        let directive = CacheDirective::new().tag("by-handler");
        response.extensions_mut().insert(directive);
        response
    });
    for tag in ["by-field", "by-group", "by-handler", "by-route"] {
        let bench = Bench::new(Policy::ttl(MINUTE).tag("by-route"), origin.clone());
        bench.get("/").await;
        bench.clock.advance(MINUTE);
        assert_eq!(bench.get("/").await.x_cache(), "REVALIDATED");
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        bench.handle.invalidate_tag(tag).await.unwrap();
        assert_eq!(bench.get("/").await.x_cache(), "MISS", "{tag}");
    }
}

#[tokio::test]
async fn a_changed_response_replaces_the_stale_one() {
    let origin = Origin::new(|_, call| async move {
        respond(200, &[("etag", &format!("\"v{call}\""))], call.to_string())
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let changed = bench.get("/").await;
    assert_eq!((changed.x_cache(), changed.text()), ("MISS", "2"));
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "2"));
    assert_eq!(hit.field("etag"), "\"v2\"");
}
