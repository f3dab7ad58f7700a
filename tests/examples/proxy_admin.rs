//! `reverse_proxy --admin`, and its switch in the environment.

use std::net::SocketAddr;

use axum::Router;
use axum::http::Uri;
use axum::routing::any;
use http::Method;
use tokio::net::TcpListener;

use crate::support::programs::{Answer, Program, origin, run, run_with, send};

const TOKEN: &str = "tests-only-0123456789";

async fn proxy(options: &[&str], env: &[(&str, &str)]) -> Program {
    let echo = |uri: Uri| async move { uri.to_string() };
    let url = origin(Router::new().fallback(any(echo))).await;
    let mut args = vec!["--origin", &url, "--ttl", "/**=60"];
    args.extend(options);
    Program::start_with("reverse_proxy", &args, env)
}

fn admin_of(proxy: &Program) -> SocketAddr {
    let line = proxy
        .said
        .iter()
        .find_map(|line| line.strip_prefix("admin on http://"));
    line.unwrap().parse().unwrap()
}

async fn ask(admin: SocketAddr, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
    send(admin, method, path, fields, "").await
}

#[tokio::test]
async fn whoever_is_on_this_machine_has_access_to_a_loopback_address() {
    let proxy = proxy(&["--admin", "127.0.0.1:0"], &[]).await;
    let admin = admin_of(&proxy);
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(proxy.get("/a").await.x_cache(), x_cache);
    }
    let stats = ask(admin, Method::GET, "/stats", &[]).await.json();
    assert_eq!(stats["requests"]["hit"], 1);
    let page = ask(admin, Method::GET, "/", &[]).await;
    assert!(page.body().starts_with("<!doctype html>"));
    for path in ["/health", "/metrics", "/entries", "/explain?url=/a"] {
        assert_eq!(
            ask(admin, Method::GET, path, &[]).await.status(),
            200,
            "{path}"
        );
    }
    // A name that somebody else made resolve to this machine, and another program's page.
    let port = admin.port();
    for fields in [
        &[("host", "evil.example")][..],
        &[("host", &format!("evil.example:{port}"))],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://localhost:3000")],
    ] {
        let answer = ask(admin, Method::POST, "/purge?all", fields).await;
        assert_eq!(answer.status(), 403, "{fields:?}");
    }
    assert_eq!(proxy.get("/a").await.x_cache(), "HIT");
    let local = ("host", &*format!("localhost:{port}"));
    for (query, body) in [
        ("?pattern=/a/**", ""),
        ("?url=/a", ""),
        ("?all", ""),
        ("", r#"{"pattern": "/a"}"#),
    ] {
        let answer = send(
            admin,
            Method::POST,
            &format!("/purge{query}"),
            &[local],
            body,
        )
        .await;
        assert_eq!(answer.json()["purged"], true, "{query}{body}");
        assert_eq!(proxy.get("/a").await.x_cache(), "MISS", "{query}{body}");
    }
    assert!(proxy.stop().success());
}

#[tokio::test]
async fn with_a_token_nobody_has_access_without() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let proxy = proxy(&["--admin", address, "--admin-token", TOKEN], &[]).await;
        let admin = SocketAddr::from(([127, 0, 0, 1], admin_of(&proxy).port()));
        assert_eq!(ask(admin, Method::GET, "/stats", &[]).await.status(), 401);
        let token = format!("Bearer {TOKEN}");
        let fields = [("authorization", &*token), ("host", "cache.example")];
        assert_eq!(
            ask(admin, Method::GET, "/stats", &fields).await.status(),
            200
        );
        assert_eq!(proxy.get("/a").await.x_cache(), "MISS");
        let purged = ask(admin, Method::POST, "/purge?tag=none", &fields).await;
        assert_eq!(purged.json()["target"], "tag \"none\"");
    }
}

#[tokio::test]
async fn what_cannot_be_safe_or_cannot_work_is_said_at_the_start() {
    let base = ["--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:9"];
    for (options, hint) in [
        (&["--admin", "0.0.0.0:0"][..], "--admin-token"),
        (&["--admin", "[::]:0"], "--admin-token"),
        (&["--admin", "192.0.2.1:0"], "--admin-token"),
        (&["--admin", "127.0.0.1:0", "--admin-token", ""], "16"),
        (&["--admin", "127.0.0.1:0", "--admin-token", "short"], "16"),
        (&["--admin-token", TOKEN], "--admin"),
    ] {
        let output = run("reverse_proxy", &[&base[..], options].concat());
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(hint), "{options:?}: {error}");
    }
    let occupied = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let output = run(
        "reverse_proxy",
        &[&base[..], &["--admin", &address]].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&address) && said.contains("--admin"),
        "{said}"
    );
}

#[tokio::test]
async fn cache_bypass_begins_with_the_cache_switched_off() {
    let proxy = proxy(&[], &[("CACHE_BYPASS", "true")]).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/a").await.x_cache(), "BYPASS");
    }
    let args = ["--listen", "127.0.0.1:0", "--origin", "http://127.0.0.1:9"];
    let output = run_with("reverse_proxy", &args, &[("CACHE_BYPASS", "perhaps")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected true or false"));
}
