//! What the operator adds to a key or puts in its place, and that nobody can read it.

use http::header::HeaderName;
use tower_response_cache::Policy;

use super::{assert_apart, assert_together, echoing};
use crate::support::{Bench, MINUTE, Origin, respond};

#[tokio::test]
async fn a_key_header_keeps_its_values_apart() {
    let policy = Policy::ttl(MINUTE).key_header(HeaderName::from_static("x-part"));
    assert_apart(
        &echoing(policy),
        &[
            ("/", &[]),
            ("/", &[("x-part", "")]),
            ("/", &[("x-part", "a")]),
            ("/", &[("x-part", "b")]),
            ("/", &[("x-part", "a"), ("x-part", "b")]),
            ("/", &[("x-part", "b"), ("x-part", "a")]),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_values_of_one_key_header_never_pass_for_those_of_another() {
    let policy = Policy::ttl(MINUTE)
        .key_header(HeaderName::from_static("x-a"))
        .key_header(HeaderName::from_static("x-b"));
    assert_apart(
        &Bench::new(policy, Origin::counting()),
        &[
            ("/", &[("x-a", "1"), ("x-b", "2")]),
            ("/", &[("x-a", "1"), ("x-a", "x-b"), ("x-a", "2")]),
            ("/", &[("x-a", "1"), ("x-a", "2")]),
            ("/", &[("x-b", "1"), ("x-a", "2")]),
            (
                "/",
                &[("x-a", "1"), ("x-a", "x-b"), ("x-a", "2"), ("x-b", "3")],
            ),
            (
                "/",
                &[("x-a", "1"), ("x-b", "2"), ("x-b", "x-b"), ("x-b", "3")],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_variant_is_never_found_under_the_key_of_another_request() {
    // Stored for `x-a: 1`, selected by `x-v: 2`; asked for by one whose key spells the same.
    let origin = Origin::new(|request, call| {
        let varies = request.headers().contains_key("x-v");
        let vary: &[(&str, &str)] = if varies { &[("vary", "x-v")] } else { &[] };
        let response = respond(200, vary, call.to_string());
        async move { response }
    });
    let policy = Policy::ttl(MINUTE).key_header(HeaderName::from_static("x-a"));
    let bench = Bench::new(policy, origin);
    let varying = [("x-a", "1"), ("x-v", "2")];
    assert_eq!(bench.get_with("/", &varying).await.text(), "1");
    assert_eq!(bench.get_with("/", &varying).await.x_cache(), "HIT");
    let spelled = [("x-a", "1"), ("x-a", "x-v"), ("x-a", "2")];
    let other = bench.get_with("/", &spelled).await;
    assert_eq!((other.x_cache(), other.text()), ("MISS", "2"));
}

#[tokio::test]
async fn a_key_part_is_added_and_none_differs_from_empty() {
    let policy = Policy::ttl(MINUTE).key_part(|parts| {
        let value = parts.headers.get("x-part")?;
        value.to_str().ok().map(str::to_lowercase)
    });
    let bench = echoing(policy.clone());
    assert_apart(
        &bench,
        &[
            ("/", &[]),
            ("/", &[("x-part", "")]),
            ("/", &[("x-part", "a")]),
            ("/other", &[("x-part", "a")]),
        ],
    )
    .await;
    assert_together(&bench, ("/", &[("x-part", "a")]), ("/", &[("x-part", "A")])).await;
}

#[tokio::test]
async fn a_replaced_key_is_the_whole_key_where_the_function_gives_one() {
    let policy = Policy::ttl(MINUTE).replace_key_with(|parts| {
        let id = parts.uri.path().strip_prefix("/by-any-name/")?;
        Some(id.split('-').next_back()?.to_owned())
    });
    let bench = echoing(policy);
    assert_together(
        &bench,
        ("/by-any-name/red-chair-7?x=1", &[("host", "a.example")]),
        ("/by-any-name/chair-7", &[("host", "b.example")]),
    )
    .await;
    assert_apart(
        &bench,
        &[
            ("/by-any-name/chair-8", &[]),
            ("/by-any-name/chair-7", &[("x-forwarded-host", "e.example")]),
            ("/8", &[]),
            ("/8?x", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn debug_output_of_the_key_and_our_fields_show_nothing_of_it() {
    let bench = echoing(Policy::ttl(MINUTE));
    let answer = bench.get("/secret-path?token=secret").await;
    assert!(answer.headers.get("x-cache-key").is_none());
    assert!(!answer.field("cache-status").contains("secret"));
}
