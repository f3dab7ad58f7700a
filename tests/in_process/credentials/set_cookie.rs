//! Responses that set a cookie.

use tower_response_cache::Policy;

use crate::support::{Bench, MINUTE, Origin, respond};

#[tokio::test]
async fn a_response_that_sets_a_cookie_is_not_stored() {
    let origin = Origin::with_fields(&[
        ("set-cookie", "session=secret"),
        ("cache-control", "public, max-age=60"),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for call in ["1", "2"] {
        let answer = bench.get("/").await;
        assert_eq!((answer.x_cache(), answer.text()), ("MISS", call));
        assert_eq!(answer.field("set-cookie"), "session=secret");
        assert!(answer.field("cache-status").contains("detail=set-cookie"));
    }
}

#[tokio::test]
async fn set_cookie_is_stored_or_left_out_where_the_policy_says_so() {
    let origin = || Origin::with_fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]);
    let bench = Bench::new(Policy::ttl(MINUTE).store_set_cookie(), origin());
    bench.get("/").await;
    let hit = bench.get("/").await;
    assert_eq!(hit.x_cache(), "HIT");
    assert_eq!(hit.headers.get_all("set-cookie").iter().count(), 2);

    let bench = Bench::new(Policy::ttl(MINUTE).store_without_set_cookie(), origin());
    let miss = bench.get("/").await;
    assert_eq!(miss.headers.get_all("set-cookie").iter().count(), 2);
    let hit = bench.get("/").await;
    assert_eq!(
        (hit.x_cache(), hit.field("set-cookie")),
        ("HIT", "(absent)")
    );
}

#[tokio::test]
async fn a_cookie_set_by_a_validation_is_not_given_to_others() {
    let origin = Origin::new(|request, call| async move {
        let etag = ("etag", "\"v1\"");
        match request.headers().contains_key("if-none-match") {
            true => respond(304, &[etag, ("set-cookie", "session=alice")], ""),
            false => respond(200, &[etag], call.to_string()),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    assert_eq!(confirmed.x_cache(), "REVALIDATED");
    assert_eq!(confirmed.field("set-cookie"), "session=alice");
    for _ in 0..2 {
        let next = bench.get("/").await;
        assert_ne!(next.field("set-cookie"), "session=alice");
    }
}
