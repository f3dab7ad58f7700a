//! Queries and bodies that are refused with what to change.

use axum::body::Body;
use http::Method;
use serde_json::json;

use super::{Bench, authorized, send};

#[tokio::test]
async fn bad_input_is_refused_with_what_to_change() {
    let bench = Bench::filled().await;
    for (method, uri, status, hint) in [
        ("GET", "/entries?limit=201", 400, "up to 200"),
        ("GET", "/entries?limit=many", 400, "up to 200"),
        ("GET", "/entries?offset=10001", 400, "narrow"),
        (
            "GET",
            "/entries?offset=99999999999999999999",
            400,
            "up to 10000",
        ),
        ("GET", "/entries?status=abc", 400, "status code"),
        (
            "GET",
            "/entries?state=old",
            400,
            "fresh, stale, invalidated",
        ),
        ("GET", "/entries?order=size", 400, "largest"),
        (
            "GET",
            "/entries?order=path&order=path",
            400,
            "more than once",
        ),
        ("GET", "/entries?pattern=products", 400, "/"),
        ("GET", "/entries?pth=/a", 400, "path, pattern, tag"),
        ("GET", "/explain", 400, "`url` is missing"),
        ("GET", "/explain?url=", 400, "`url` is missing"),
        ("GET", "/explain?url=%20", 400, "`url`"),
        ("GET", "/explain?url=shop.example:80", 400, "http://host"),
        (
            "GET",
            "/explain?url=/a&header=Accept",
            400,
            "a name and a value",
        ),
        (
            "GET",
            "/explain?url=/a&header=Accept:a%0ab",
            400,
            "a name and a value",
        ),
        (
            "GET",
            "/explain?url=/a&header=%20:x",
            400,
            "a name and a value",
        ),
        ("GET", "/explain?url=/a&version=3", 400, "1, 2"),
        ("GET", "/explain?url=/a&method=A%20B", 400, "GET"),
        ("POST", "/purge", 400, "one of url, pattern, tag and all"),
        (
            "POST",
            "/purge?all=false",
            400,
            "one of url, pattern, tag and all",
        ),
        (
            "POST",
            "/purge?url=/a&tag=b",
            400,
            "one of url, pattern, tag and all",
        ),
        (
            "POST",
            "/purge?all&tag=b",
            400,
            "one of url, pattern, tag and all",
        ),
        ("POST", "/purge?all=yes", 400, "true or false"),
        ("POST", "/purge?all&dryrun=true", 400, "dry_run"),
        ("POST", "/purge?pattern=/a/***", 400, "**"),
        ("POST", "/purge?url=products", 400, "such as `/products/7`"),
        ("POST", "/bypass", 400, "on=true"),
        ("POST", "/bypass?on=perhaps", 400, "true or false"),
        ("GET", "/purge?all", 405, "takes POST"),
        ("PUT", "/stats", 405, "takes GET"),
        ("GET", "/stats/", 404, "/stats"),
        ("GET", "/favicon.ico", 404, "/entries"),
    ] {
        let request = authorized(method.parse().unwrap(), uri)
            .body(Body::empty())
            .unwrap();
        let answer = send(&bench.admin, request).await;
        assert_eq!(answer.status, status, "{method} {uri}: {}", answer.body);
        let error = answer.error();
        assert!(error.contains(hint), "{method} {uri}: {error}");
        // RFC 9110 §15.5.6.
        assert_eq!(
            status == 405,
            answer.headers.contains_key("allow"),
            "{method} {uri}"
        );
    }
    assert_eq!(bench.handle.stats().invalidations, 0);
    assert!(!bench.handle.is_bypassed());
}

#[tokio::test]
async fn bad_bodies_are_refused_with_what_to_change() {
    let bench = Bench::filled().await;
    let long = "x".repeat(17 << 10);
    for (content_type, body, status, hint) in [
        ("application/json", "{", 400, "not JSON"),
        ("application/json", "[]", 400, "not an object"),
        ("application/json", r#"{"tag": {"a": 1}}"#, 400, "\"tag\""),
        (
            "application/json",
            r#"{"tag": ["a", "b"]}"#,
            400,
            "more than once",
        ),
        ("application/json", r#"{"tag": "a", "x": 1}"#, 400, "\"x\""),
        (
            "application/json; charset=utf-8",
            "nonsense",
            400,
            "not JSON",
        ),
        ("text/plain", "all", 415, "application/json"),
        ("application/x-www-form-urlencoded", "al", 400, "\"al\""),
        ("application/json", &long, 413, "16384"),
    ] {
        let request = authorized(Method::POST, "/purge").header("content-type", content_type);
        let answer = send(&bench.admin, request.body(body.to_owned().into()).unwrap()).await;
        assert_eq!(answer.status, status, "{body:.40}: {}", answer.body);
        assert!(answer.error().contains(hint), "{body:.40}: {}", answer.body);
    }
    // Given in two places is given twice.
    let twice = bench
        .post_json("/purge?tag=a", &json!({ "tag": "a" }))
        .await;
    assert!(twice.error().contains("more than once"));
    assert_eq!(bench.handle.stats().invalidations, 0);
}
