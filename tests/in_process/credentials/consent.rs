//! Requests with credentials, and what counts as consent to share their responses.

use tower_response_cache::Policy;

use super::{CREDENTIALS, alice_and_bob, assert_never_mixed, personal};
use crate::support::{Bench, MINUTE, Origin, respond};

#[tokio::test]
async fn two_users_never_see_each_others_response() {
    for name in CREDENTIALS {
        let bench = Bench::new(Policy::ttl(MINUTE), personal(&[]));
        for field in alice_and_bob(name) {
            for _ in 0..2 {
                let answer = bench.get_with("/me", &[field]).await;
                assert_eq!(answer.x_cache(), "BYPASS");
                let reason = format!("detail={name}");
                assert!(answer.field("cache-status").contains(&reason), "{answer:?}");
            }
        }
        assert_never_mixed(&bench, name).await;
    }
}

#[tokio::test]
async fn a_response_stored_for_nobody_is_not_given_to_a_user() {
    for name in CREDENTIALS {
        let bench = Bench::new(Policy::ttl(MINUTE), personal(&[]));
        assert_eq!(bench.get("/me").await.x_cache(), "MISS");
        let user = bench.get_with("/me", &[(name, "alice")]).await;
        assert!(user.text().contains("alice"));
        // And the other way round: what was stored stays what it was.
        let nobody = bench.get("/me").await;
        assert_eq!((nobody.x_cache(), nobody.text()), ("HIT", "-+-"));
    }
}

#[tokio::test]
async fn an_empty_credential_is_one_all_the_same() {
    for name in CREDENTIALS {
        let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
        bench.get("/me").await;
        assert_eq!(bench.get_with("/me", &[(name, "")]).await.text(), "2");
        assert_eq!(bench.get_with("/me", &[(name, "")]).await.text(), "3");
    }
}

#[tokio::test]
async fn an_explicitly_shared_response_is_stored_and_given_to_all() {
    for (name, directive) in [
        ("authorization", "public"),
        ("authorization", "s-maxage=60"),
        ("authorization", "must-revalidate"),
        ("authorization", "max-age=60, PUBLIC"),
        ("cookie", "public"),
        ("cookie", "s-maxage=60"),
    ] {
        let origin = Origin::new(move |_, call| async move {
            respond(200, &[("cache-control", directive)], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let [alice, bob] = alice_and_bob(name);
        assert_eq!(bench.get_with("/", &[alice]).await.x_cache(), "MISS");
        for fields in [&[bob][..], &[alice], &[]] {
            let answer = bench.get_with("/", fields).await;
            assert_eq!(answer.x_cache(), "HIT", "{name} {directive} {fields:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_said_to_be_shared_is_not() {
    for (name, directive) in [
        ("authorization", "max-age=60"),
        ("authorization", "proxy-revalidate, max-age=60"),
        ("authorization", "no-transform"),
        ("authorization", "publicly"),
        ("authorization", "x=\"public\""),
        ("cookie", "max-age=60"),
        ("cookie", "must-revalidate, max-age=60"),
    ] {
        let origin = Origin::new(move |_, call| async move {
            respond(200, &[("cache-control", directive)], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        for (call, field) in alice_and_bob(name).into_iter().cycle().take(4).enumerate() {
            let answer = bench.get_with("/", &[field]).await;
            let call = (call + 1).to_string();
            assert_eq!(answer.text(), call, "{name} {directive}");
        }
        assert_eq!(bench.get("/").await.x_cache(), "MISS");
    }
}

#[tokio::test]
async fn both_credentials_ask_for_the_consent_that_each_asks_for() {
    // `must-revalidate` is consent for Authorization (RFC 9111 §3.5), and says nothing of cookies.
    let origin = Origin::with_fields(&[("cache-control", "must-revalidate")]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let both = [("authorization", "alice"), ("cookie", "alice")];
    assert_eq!(bench.get_with("/", &both).await.x_cache(), "BYPASS");
    assert_eq!(
        bench.get_with("/", &both[..1]).await.x_cache(),
        "MISS",
        "the first was not stored"
    );
    assert_eq!(bench.get_with("/", &both[..1]).await.x_cache(), "HIT");
    assert_eq!(bench.get_with("/", &both).await.text(), "3");
    assert_eq!(bench.get_with("/", &both[1..]).await.text(), "4");
}

#[tokio::test]
async fn where_the_origin_decides_stated_freshness_is_consent_for_cookies_only() {
    for (name, fields, shared) in [
        ("cookie", &[("cache-control", "max-age=60")], true),
        ("cookie", &[("cache-control", "public, max-age=60")], true),
        (
            "cookie",
            &[("expires", "Fri, 31 Dec 2100 23:59:59 GMT")],
            true,
        ),
        // Heuristic freshness is our guess, not the handler's word.
        (
            "cookie",
            &[("last-modified", "Fri, 31 Dec 1999 23:59:59 GMT")],
            false,
        ),
        ("cookie", &[("cache-control", "must-revalidate")], false),
        ("authorization", &[("cache-control", "max-age=60")], false),
        (
            "authorization",
            &[("expires", "Fri, 31 Dec 2100 23:59:59 GMT")],
            false,
        ),
        (
            "authorization",
            &[("cache-control", "max-age=60, must-revalidate")],
            true,
        ),
        ("authorization", &[("cache-control", "s-maxage=60")], true),
    ] {
        let bench = Bench::new(
            Policy::origin_decides(),
            Origin::new(move |_, call| async move { respond(200, fields, call.to_string()) }),
        );
        let [alice, bob] = alice_and_bob(name);
        bench.get_with("/", &[alice]).await;
        let answer = bench.get_with("/", &[bob]).await;
        let expected = if shared { "HIT" } else { "BYPASS" };
        assert_eq!(answer.x_cache(), expected, "{name} {fields:?}");
    }
}

#[tokio::test]
async fn shared_with_everyone_shares_and_still_obeys_private_and_no_store() {
    for name in CREDENTIALS {
        let bench = Bench::new(
            Policy::ttl(MINUTE).shared_with_everyone(),
            Origin::counting(),
        );
        let [alice, bob] = alice_and_bob(name);
        assert_eq!(bench.get_with("/", &[alice]).await.x_cache(), "MISS");
        assert_eq!(bench.get_with("/", &[bob]).await.x_cache(), "HIT");
        assert_eq!(bench.get("/").await.x_cache(), "HIT");
        for directive in ["private", "no-store", "private=\"x-user\""] {
            let origin = Origin::new(move |_, call| async move {
                respond(200, &[("cache-control", directive)], call.to_string())
            });
            let bench = Bench::new(Policy::ttl(MINUTE).shared_with_everyone(), origin);
            bench.get_with("/", &[alice]).await;
            assert_eq!(bench.get_with("/", &[bob]).await.text(), "2", "{directive}");
        }
    }
}
