//! What a user's request leaves behind for others: stale responses, refreshes and HEAD.

use tower_response_cache::Policy;

use super::personal;
use crate::support::{Bench, MINUTE, Origin, request, respond, seconds, sent, settle};

#[tokio::test]
async fn what_is_served_stale_is_still_only_for_those_it_is_for() {
    let policy = || {
        Policy::ttl(MINUTE)
            .stale_while_revalidate(MINUTE)
            .stale_if_error(MINUTE)
    };
    let origin = Origin::new(|request, call| async move {
        match call {
            1 => respond(200, &[], "everyone's"),
            _ => respond(500, &[], sent(&request, "cookie")),
        }
    });
    let bench = Bench::new(policy(), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE + seconds(1));
    let alice = bench.get_with("/", &[("cookie", "alice")]).await;
    assert_eq!((alice.status.as_u16(), alice.text()), (500, "alice"));
    assert_eq!(bench.get("/").await.x_cache(), "STALE");
}

#[tokio::test]
async fn a_users_request_does_not_refresh_for_others_what_is_not_theirs_to_see() {
    // Stored as public, refreshed in the background by Alice's request, and personal this time.
    let origin = Origin::new(|request, call| async move {
        let public = (
            "cache-control",
            "public, max-age=60, stale-while-revalidate=60",
        );
        match call {
            1 => respond(200, &[public], "public"),
            _ => respond(200, &[], sent(&request, "authorization")),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE + seconds(1));
    let alice = bench.get_with("/", &[("authorization", "alice")]).await;
    assert_eq!((alice.x_cache(), alice.text()), ("STALE", "public"));
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    for _ in 0..2 {
        assert_ne!(bench.get("/").await.text(), "alice");
    }
}

#[tokio::test]
async fn a_head_of_a_user_leaves_nothing_behind() {
    let bench = Bench::new(Policy::ttl(MINUTE), personal(&[]));
    bench
        .ask(request("HEAD", "/me", &[("authorization", "alice")]))
        .await;
    assert_eq!(bench.get("/me").await.text(), "-+-");
}
