//! What a client's `Cache-Control` changes, by default and where the policy honours it.

use tower_response_cache::Policy;

use super::validating;
use crate::support::{Bench, MINUTE, Origin, seconds};

#[tokio::test]
async fn only_if_cached_is_answered_from_the_store_or_with_504() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).stale_while_revalidate(seconds(1)),
        Origin::counting(),
    );
    let only = [("cache-control", "Only-If-Cached")];
    let nothing = bench.get_with("/", &only).await;
    assert_eq!((nothing.status.as_u16(), nothing.x_cache()), (504, "MISS"));
    assert_eq!(bench.origin.calls(), 0);
    bench.get("/").await;
    assert_eq!(bench.get_with("/", &only).await.x_cache(), "HIT");
    bench.clock.advance(MINUTE + seconds(1));
    let stale = bench.get_with("/", &only).await;
    assert_eq!((stale.status.as_u16(), bench.origin.calls()), (504, 1));
}

#[tokio::test]
async fn no_store_in_a_request_keeps_its_response_out_and_still_takes_from_the_store() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let no_store = [("cache-control", "no-store")];
    assert_eq!(bench.get_with("/", &no_store).await.text(), "1");
    assert_eq!(bench.get("/").await.text(), "2");
    let hit = bench.get_with("/", &no_store).await;
    assert_eq!((hit.x_cache(), hit.text()), ("HIT", "2"));
}

#[tokio::test]
async fn a_browsers_reload_does_not_reach_the_handler() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    bench.get("/").await;
    bench.clock.advance(seconds(30));
    for line in ["no-cache", "max-age=0", "min-fresh=1000", "max-stale=0"] {
        let fields = [("cache-control", line), ("pragma", "no-cache")];
        assert_eq!(
            bench.get_with("/", &fields).await.x_cache(),
            "HIT",
            "{line}"
        );
    }
    bench.clock.advance(seconds(31));
    let stale = bench.get_with("/", &[("cache-control", "max-stale")]).await;
    assert_eq!(stale.x_cache(), "MISS");
}

#[tokio::test]
async fn request_directives_are_honoured_where_the_policy_says_so() {
    // Half a minute before or after the end of the lifetime, or 5 seconds behind it.
    for (line, at, expected) in [
        ("no-cache", 30, "REVALIDATED"),
        ("max-age=0", 30, "REVALIDATED"),
        ("max-age=29", 30, "REVALIDATED"),
        ("max-age=30", 30, "HIT"),
        ("min-fresh=30", 30, "HIT"),
        ("min-fresh=31", 30, "REVALIDATED"),
        ("max-stale", 90, "STALE"),
        ("max-stale=30", 90, "STALE"),
        ("max-stale=29", 90, "REVALIDATED"),
        ("max-stale=30, max-age=60", 90, "REVALIDATED"),
        ("no-transform", 30, "HIT"),
        ("foo", 90, "REVALIDATED"),
    ] {
        let bench = Bench::new(
            Policy::ttl(MINUTE).honour_request_directives(),
            validating(&[]),
        );
        bench.get("/").await;
        bench.clock.advance(seconds(at));
        let answer = bench.get_with("/", &[("cache-control", line)]).await;
        assert_eq!(answer.x_cache(), expected, "{line}");
        assert_eq!(answer.text(), "1");
    }
}

#[tokio::test]
async fn a_client_that_wants_validation_gets_it_within_the_window_too() {
    for (line, expected) in [
        ("no-cache", "REVALIDATED"),
        ("max-age=60", "REVALIDATED"),
        ("min-fresh=1", "REVALIDATED"),
        ("no-transform", "STALE"),
    ] {
        let policy = Policy::ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .honour_request_directives();
        let bench = Bench::new(policy, validating(&[]));
        bench.get("/").await;
        bench.clock.advance(seconds(61));
        let answer = bench.get_with("/", &[("cache-control", line)]).await;
        assert_eq!(answer.x_cache(), expected, "{line}");
    }
}

#[tokio::test]
async fn max_stale_does_not_revive_what_must_be_validated_or_was_invalidated() {
    let stale = [("cache-control", "max-stale")];
    for fields in [
        &[("cache-control", "max-age=60, must-revalidate")],
        &[("cache-control", "s-maxage=60")],
        &[("cache-control", "no-cache")],
    ] {
        let policy = Policy::ttl(MINUTE).honour_request_directives();
        let bench = Bench::new(policy, validating(fields));
        bench.get("/").await;
        bench.clock.advance(seconds(61));
        assert_eq!(bench.get_with("/", &stale).await.x_cache(), "REVALIDATED");
    }
    let policy = Policy::ttl(MINUTE).honour_request_directives();
    let bench = Bench::new(policy, Origin::counting());
    bench.get("/").await;
    bench.handle.invalidate_uri("/").await.unwrap();
    assert_eq!(bench.get_with("/", &stale).await.text(), "2");
}
