//! Whose directives count.

use http::header::HeaderName;
use tower_response_cache::Policy;

use super::{builder, is_stored};
use crate::support::{Bench, MINUTE, Origin, respond, seconds};

#[tokio::test]
async fn the_handlers_cache_control_wins_unless_the_ttl_overrides_it() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), false),
        (Policy::ttl(MINUTE).ttl_overrides(), true),
        (Policy::ttl(MINUTE).ttl_overrides().ttl_as_default(), false),
    ] {
        let bench = Bench::new(
            policy,
            Origin::with_fields(&[("cache-control", "max-age=0")]),
        );
        assert_eq!(is_stored(&bench).await, expected);
    }
    for control in ["no-store", "private", "no-cache"] {
        let origin =
            Origin::new(move |_, _| async move { respond(200, &[("cache-control", control)], "") });
        let bench = Bench::new(Policy::ttl(MINUTE).ttl_overrides(), origin);
        assert!(!is_stored(&bench).await, "{control}");
    }
}

#[tokio::test]
async fn targeted_fields_are_the_operators_choice() {
    let origin = || {
        Origin::with_fields(&[
            ("cdn-cache-control", "max-age=10"),
            ("edge-control", "max-age=20"),
            ("shop-control", "max-age=30"),
        ])
    };
    let named = |name| HeaderName::from_static(name);
    for (names, expected) in [
        (None, "ttl=10"),
        (Some(vec![]), "ttl=60"),
        (Some(vec![named("edge-control")]), "ttl=20"),
        (
            Some(vec![named("x-absent"), named("shop-control")]),
            "ttl=30",
        ),
    ] {
        let builder = builder(Policy::ttl(MINUTE));
        let builder = match names {
            Some(names) => builder.targeted_fields(names),
            None => builder,
        };
        let bench = Bench::with_builder(builder, origin());
        bench.get("/").await;
        let hit = bench.get("/").await;
        assert!(hit.field("cache-status").contains(expected), "{expected}");
    }
}

#[tokio::test]
async fn request_directives_are_ignored_but_for_no_store_and_only_if_cached() {
    for (control, ignoring, honouring) in [
        ("no-cache", "HIT", "MISS"),
        ("max-age=0", "HIT", "MISS"),
        ("min-fresh=100", "HIT", "MISS"),
        ("only-if-cached", "HIT", "HIT"),
        ("no-store", "HIT", "HIT"),
    ] {
        let policy = || Policy::ttl(MINUTE);
        for (policy, expected) in [
            (policy(), ignoring),
            (policy().honour_request_directives(), honouring),
        ] {
            let bench = Bench::new(policy, Origin::counting());
            bench.get("/").await;
            bench.clock.advance(seconds(1));
            let answer = bench.get_with("/", &[("cache-control", control)]).await;
            assert_eq!(answer.x_cache(), expected, "{control}");
        }
    }
}
