//! Who may come in, and what the answers and the page allow a browser.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use tower_response_cache::ErrorKind;
use tower_response_cache::admin::Access;

use super::{ADDRESSES, Bench, TOKEN, authorized, plain, send};

#[test]
fn a_token_that_can_be_guessed_or_not_be_sent_is_refused_at_once() {
    for (token, hint) in [
        ("", "0 characters"),
        ("short", "5 characters"),
        ("fifteen-letters", "15 characters"),
        ("sixteen letters!", "cannot be sent"),
        ("sixteen-létters!", "cannot be sent"),
        ("sixteen-letters\n", "cannot be sent"),
    ] {
        let error = Access::token(token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let error = error.to_string();
        assert!(error.contains(hint), "{error}");
        assert!(token.is_empty() || !error.contains(token), "{error}");
    }
    let access = Access::token("sixteen-letters!").unwrap();
    assert!(!format!("{access:?}").contains("sixteen"));
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let bench = Bench::filled().await;
    let with = |value: &str| plain("GET", "/", &[("authorization", value)]);
    for (method, uri) in ADDRESSES {
        for authorization in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(TOKEN.into()),
            Some(format!("Basic {TOKEN}")),
            Some(format!("Bearer {TOKEN}0")),
            Some(format!("Bearer {}", &TOKEN[..TOKEN.len() - 1])),
            Some(format!("Bearer {}", TOKEN.to_uppercase())),
            Some("Bearer another-token-of-that-length".into()),
        ] {
            let mut request = match &authorization {
                Some(value) => with(value),
                None => plain("GET", "/", &[]),
            };
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = uri.parse().unwrap();
            let answer = send(&bench.admin, request).await;
            assert_eq!(answer.status, 401, "{method} {uri} {authorization:?}");
            assert!(
                answer
                    .field("www-authenticate")
                    .starts_with("Bearer realm=")
            );
            assert!(answer.error().contains("token"));
        }
    }
    assert!(!bench.handle.is_bypassed());
    assert_eq!(bench.buy("/products/1").await, "HIT");
}

#[tokio::test]
async fn two_authorizations_are_none() {
    let bench = Bench::new();
    let both = format!("Bearer {TOKEN}");
    let request = plain(
        "GET",
        "/stats",
        &[("authorization", &both), ("authorization", &both)],
    );
    assert_eq!(send(&bench.admin, request).await.status, 401);
}

#[tokio::test]
async fn the_token_lets_in_however_the_scheme_is_spelt() {
    let bench = Bench::new();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {TOKEN}");
        let request = plain("GET", "/stats", &[("authorization", &value)]);
        assert_eq!(send(&bench.admin, request).await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn a_predicate_decides_for_each_request() {
    let access = Access::predicate(|parts| {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        peer.is_some_and(|ConnectInfo(peer)| peer.ip().is_loopback())
    });
    let bench = Bench::with_access(access);
    for (method, uri) in ADDRESSES {
        let from = |peer: Option<&str>| {
            let mut request = plain(method, uri, &[]);
            if let Some(peer) = peer {
                let peer: SocketAddr = peer.parse().unwrap();
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            request
        };
        let near = send(&bench.admin, from(Some("127.0.0.1:1"))).await;
        assert_ne!(near.status, 403, "{method} {uri}");
        for peer in [None, Some("192.0.2.1:1")] {
            let far = send(&bench.admin, from(peer)).await;
            assert_eq!(far.status, 403, "{method} {uri} {peer:?}");
            assert_eq!(far.error(), "you have no access");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_whatever_access_says() {
    let bench = Bench::with_access(Access::predicate(|_| true));
    let host = ("host", "localhost:9901");
    for (fields, status) in [
        (&[host][..], 200),
        (&[host, ("sec-fetch-site", "same-origin")], 200),
        (&[host, ("sec-fetch-site", "none")], 200),
        (&[host, ("sec-fetch-site", "same-site")], 403),
        (&[host, ("sec-fetch-site", "cross-site")], 403),
        (&[host, ("origin", "http://localhost:9901")], 200),
        (&[host, ("origin", "https://LOCALHOST:9901")], 200),
        (&[host, ("origin", "http://localhost:3000")], 403),
        (&[host, ("origin", "http://evil.example")], 403),
        (&[host, ("origin", "null")], 403),
        (&[host, ("origin", "")], 403),
        (&[("origin", "http://localhost:9901")], 403),
    ] {
        let answer = send(&bench.admin, plain("POST", "/bypass?on=false", fields)).await;
        assert_eq!(answer.status, status, "{fields:?}");
    }
    let request = plain(
        "POST",
        "http://localhost:9901/bypass?on=false",
        &[("origin", "http://localhost:9901")],
    );
    assert_eq!(
        send(&bench.admin, request).await.status,
        200,
        "HTTP/2 has no Host"
    );
}

#[tokio::test]
async fn every_answer_is_marked_as_nobody_elses_business() {
    let bench = Bench::new();
    let mut answers = Vec::new();
    for (method, uri) in ADDRESSES {
        answers.push(send(&bench.admin, plain(method, uri, &[])).await);
        let request = authorized(method.parse().unwrap(), uri);
        answers.push(send(&bench.admin, request.body(Body::empty()).unwrap()).await);
    }
    answers.push(bench.get("/").await);
    answers.push(bench.get("/purge").await);
    for answer in answers {
        assert_eq!(answer.field("cache-control"), "no-store");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        assert_eq!(answer.field("x-frame-options"), "DENY");
        assert_eq!(answer.field("referrer-policy"), "no-referrer");
        assert_eq!(answer.field("cross-origin-resource-policy"), "same-origin");
        let policy = answer.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let cors = |name: &http::HeaderName| name.as_str().starts_with("access-control");
        assert!(!answer.headers.keys().any(cors));
    }
}

#[tokio::test]
async fn a_preflight_gets_no_leave() {
    let bench = Bench::new();
    let request = plain(
        "OPTIONS",
        "/purge",
        &[
            ("origin", "https://evil.example"),
            ("access-control-request-method", "POST"),
        ],
    );
    let answer = send(&bench.admin, request).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_page_is_shown_to_everyone_and_may_do_little() {
    let bench = Bench::new();
    let answer = send(
        &bench.admin,
        plain("GET", "/", &[("sec-fetch-site", "cross-site")]),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
    let policy = answer.field("content-security-policy");
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(answer.body.len() < 60 << 10, "{} bytes", answer.body.len());
    for outside in [
        "src=",
        "@import",
        "url(",
        "import(",
        "href=\"http",
        "action=",
    ] {
        assert!(!answer.body.contains(outside), "{outside} in the page");
    }
    for markup in [
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
    ] {
        assert!(!answer.body.contains(markup), "{markup} in the page");
    }
    assert_eq!(bench.post("/").await.status, 405);
}
