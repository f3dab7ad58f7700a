//! Paths that mean harm.

use bytes::Bytes;
use http::Uri;
use tower_response_cache::{Evict, Policy, Routes};

use super::echoing;
use crate::support::{Bench, MINUTE, Origin, request};

#[tokio::test]
async fn hostile_paths_get_a_key_of_their_own_and_leave_nothing_in_our_fields() {
    let bench = echoing(Policy::ttl(MINUTE));
    let mut raw = Vec::from(&b"/caf\xc3\xa9"[..]);
    raw.extend(std::iter::repeat_n(b'x', 60_000));
    let hostile: Vec<Vec<u8>> = vec![
        b"/a%00b".to_vec(),
        b"/a%0d%0aSet-Cookie:%20x=1".to_vec(),
        b"/a%0".to_vec(),
        b"/a%".to_vec(),
        b"/a%zz".to_vec(),
        b"/%ff%fe".to_vec(),
        b"/\"\"".to_vec(),
        b"/caf\xc3\xa9".to_vec(),
        raw,
        [&b"/"[..], &b"../".repeat(2_000)[..]].concat(),
        [&b"/"[..], &b"%2e%2e/".repeat(2_000)[..]].concat(),
        [&b"/?"[..], &b"a&".repeat(20_000)[..]].concat(),
    ];
    for path in hostile {
        // What `http` does not let in never comes to us.
        let Ok(uri) = Uri::from_maybe_shared(Bytes::from(path)) else {
            continue;
        };
        for expected in ["MISS", "HIT"] {
            let mut request = request("GET", "/", &[]);
            *request.uri_mut() = uri.clone();
            let answer = bench.ask(request).await;
            assert_eq!(answer.x_cache(), expected, "{uri}");
            assert!(answer.headers.get("set-cookie").is_none());
            assert!(answer.field("cache-status").len() < 100);
        }
    }
}

#[tokio::test]
async fn a_target_of_an_asterisk_and_an_empty_path_do_no_harm() {
    let bench = echoing(Policy::ttl(MINUTE));
    bench.ask(request("OPTIONS", "*", &[])).await;
    bench.get("*").await;
    bench.get("http://example.com").await;
    assert_eq!(bench.get("/").await.x_cache(), "MISS");
}

#[tokio::test]
async fn an_evicting_capture_is_taken_literally() {
    for (hostile, own) in [
        ("*", "/conversations/*/messages"),
        ("**", "/conversations/**/messages"),
        ("%2A", "/conversations/%2A/messages"),
        ("[a-z]", "/conversations/[a-z]/messages"),
        ("%5Ba-z%5D", "/conversations/%5Ba-z%5D/messages"),
        ("{id}", "/conversations/{id}/messages"),
        ("%7Bid%7D", "/conversations/%7Bid%7D/messages"),
        ("%3F", "/conversations/%3F/messages"),
        ("%2E%2E", "/conversations/%2E%2E/messages"),
        ("%5C", "/conversations/%5C/messages"),
    ] {
        let write = format!("/conversations/{hostile}/post");
        if write.parse::<Uri>().is_err() {
            continue;
        }
        let routes = Routes::new().otherwise(Policy::ttl(MINUTE)).on_write(
            "/conversations/{id}/post",
            Evict::pattern("/conversations/{id}/messages"),
        );
        let bench = Bench::with_routes(routes, Origin::counting());
        let others = [
            "/conversations/1/messages",
            "/conversations/a/messages",
            "/conversations/1/messages?page=2",
            "/conversations/ab/messages",
            "/conversations/1/2/messages",
        ];
        for uri in others.iter().chain([&own]) {
            bench.get(uri).await;
        }
        bench.ask(request("POST", &write, &[])).await;
        for uri in others {
            assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{hostile}: {uri}");
        }
        assert_eq!(bench.get(own).await.x_cache(), "MISS", "{hostile}");
    }
}

#[tokio::test]
async fn a_write_with_a_question_mark_in_a_capture_evicts_its_own_conversation() {
    // `/conversations/?/post` is a write to `/conversations/`, with a query.
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE)).on_write(
        "/conversations/{id}/post",
        Evict::pattern("/conversations/{id}/messages"),
    );
    let bench = Bench::with_routes(routes, Origin::counting());
    bench.get("/conversations/1/messages").await;
    bench
        .ask(request("POST", "/conversations/?/post", &[]))
        .await;
    let other = bench.get("/conversations/1/messages").await;
    assert_eq!(other.x_cache(), "HIT");
}

#[tokio::test]
async fn a_hostile_path_does_not_choose_the_tags_of_others() {
    let routes = Routes::new().route("/users/{id}", Policy::ttl(MINUTE).tag("user:{id}"));
    let bench = Bench::with_routes(routes, Origin::counting());
    for uri in ["/users/7", "/users/8", "/users/7,user:8", "/users/%37"] {
        bench.get(uri).await;
    }
    bench.handle.invalidate_tag("user:8").await.unwrap();
    assert_eq!(bench.get("/users/7").await.x_cache(), "HIT");
    assert_eq!(bench.get("/users/7,user:8").await.x_cache(), "HIT");
    assert_eq!(bench.get("/users/8").await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_path_that_reads_in_two_ways_does_not_slip_past_a_bypassed_route() {
    let routes = Routes::new()
        .route("/me", Policy::bypass())
        .otherwise(Policy::ttl(MINUTE));
    let bench = Bench::with_routes(routes, Origin::counting());
    for uri in [
        "/me",
        "/%6de",
        "/%6D%65",
        "/x/../me",
        "/./me",
        "/x/%2e%2e/me",
    ] {
        for _ in 0..2 {
            assert_eq!(bench.get(uri).await.x_cache(), "BYPASS", "{uri}");
        }
    }
}
