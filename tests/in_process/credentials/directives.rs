//! `private`, `no-store`, and fields that are not replayed.

use tower_response_cache::Policy;

use crate::support::{Bench, MINUTE, Origin, respond};

#[tokio::test]
async fn private_and_no_store_are_heard_in_any_case_on_any_line_and_quoted() {
    for lines in [
        &["private"][..],
        &["PRIVATE"],
        &["Private, max-age=60"],
        &["public, private"],
        &["max-age=60", "private"],
        &["private", "max-age=60"],
        &["private=\"X-User\""],
        &["private=\"X-User, set-cookie\", max-age=60"],
        &["private=x-user"],
        &["private=\"\""],
        &["private=\"never closed, max-age=60"],
        &["x=\"a, b\", private"],
        &["x=\"a\\\", b\", private"],
        &["max-age=\"60\", private"],
        &[" ,, private ,"],
        &["private ;foo, max-age=60", "no-store"],
        &["no-store"],
        &["NO-STORE"],
        &["No-Store, max-age=60"],
        &["max-age=60", "s-maxage=60", "no-store"],
        &["no-store=1"],
        &["no-store =x"],
        &["x=\"never closed, no-store"],
        &["no-cache"],
        &["No-Cache, max-age=60"],
        &["no-cache=\"\", max-age=60"],
    ] {
        for policy in [
            Policy::ttl(MINUTE),
            Policy::ttl(MINUTE).ttl_overrides(),
            Policy::ttl(MINUTE).shared_with_everyone(),
            Policy::origin_decides(),
        ] {
            let origin = Origin::new(move |_, call| {
                let mut response = respond(200, &[], call.to_string());
                for line in lines {
                    let line = http::HeaderValue::from_static(line);
                    response.headers_mut().append("cache-control", line);
                }
                async move { response }
            });
            let bench = Bench::new(policy, origin);
            bench.get("/").await;
            let again = bench.get("/").await;
            assert_eq!((again.x_cache(), again.text()), ("MISS", "2"), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn a_word_that_only_contains_private_or_no_store_is_not_one() {
    for line in [
        "x=\"private, no-store\"",
        "privately",
        "x-no-store",
        "no-store-x",
    ] {
        let origin = Origin::new(move |_, call| async move {
            respond(200, &[("cache-control", line)], call.to_string())
        });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        bench.get("/").await;
        assert_eq!(bench.get("/").await.x_cache(), "HIT", "{line}");
    }
}

#[tokio::test]
async fn connection_does_not_take_the_directives_away() {
    let origin = Origin::with_fields(&[
        ("connection", "close, Cache-Control, Set-Cookie"),
        ("cache-control", "no-store"),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    assert_eq!(bench.get("/").await.text(), "2");
}

#[tokio::test]
async fn fields_of_one_connection_and_those_it_names_are_not_replayed() {
    let origin = Origin::with_fields(&[
        ("connection", "close, X-Secret"),
        ("x-secret", "alice"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("x-kept", "1"),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.field("x-kept")), ("HIT", "1"));
    for name in ["connection", "x-secret", "keep-alive", "proxy-authenticate"] {
        assert_eq!(hit.field(name), "(absent)", "{name}");
    }
}

#[tokio::test]
async fn no_cache_with_field_names_keeps_those_fields_from_being_replayed() {
    let origin = Origin::with_fields(&[
        ("cache-control", "no-cache=\"X-User, x-other\", max-age=60"),
        ("x-user", "alice"),
        ("x-other", "alice"),
        ("x-kept", "1"),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    assert_eq!(bench.get("/").await.field("x-user"), "alice");
    let hit = bench.get("/").await;
    assert_eq!((hit.x_cache(), hit.field("x-kept")), ("HIT", "1"));
    assert_eq!(hit.field("x-user"), "(absent)");
    assert_eq!(hit.field("x-other"), "(absent)");
}

#[tokio::test]
async fn requests_that_say_no_store_leave_nothing_behind() {
    for line in ["no-store", "No-Store", "max-age=0, no-store"] {
        let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
        let answer = bench.get_with("/", &[("cache-control", line)]).await;
        assert_eq!((answer.x_cache(), answer.text()), ("MISS", "1"));
        let next = bench.get("/").await;
        assert_eq!((next.x_cache(), next.text()), ("MISS", "2"), "{line}");
    }
}

#[tokio::test]
async fn a_file_name_in_the_path_is_no_reason_to_store() {
    // Web cache deception: the handler routes by prefix and answers /account for it.
    for uri in [
        "/account/x.css",
        "/account/x.js",
        "/account;x.css",
        "/account%2Fx.png",
    ] {
        let bench = Bench::new(Policy::origin_decides(), Origin::counting());
        bench.get(uri).await;
        assert_eq!(bench.get(uri).await.text(), "2", "{uri}");
        // Under a TTL it is the credentials that keep it out.
        let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
        bench.get_with(uri, &[("cookie", "alice")]).await;
        assert_eq!(bench.get(uri).await.x_cache(), "MISS", "{uri}");
    }
}
