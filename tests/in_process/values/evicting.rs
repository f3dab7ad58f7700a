//! What ends a value before its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_response_cache::{
    CacheHandle, CacheLayer, ErrorKind, Evict, Invalidation, Pattern, Policy, Routes, Values,
};

use super::{User, cache, found, made, user};
use crate::support::{Gate, MINUTE, settle};

async fn call(app: &Router, method: &str, uri: &str) -> (String, String) {
    let request = Request::builder().method(method).uri(uri);
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response: Response<_> = app.clone().oneshot(request).await.unwrap();
    let x_cache = response.headers()["x-cache"].to_str().unwrap().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (x_cache, String::from_utf8(body.into()).unwrap())
}

/// A database of one number, which knows how often it was asked.
#[derive(Clone, Default)]
struct Database {
    version: Arc<AtomicU32>,
    reads: Arc<AtomicU32>,
}

impl Database {
    async fn read(&self) -> Result<User, std::io::Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(user(self.version.load(Ordering::SeqCst), "Ada"))
    }
}

#[derive(Clone)]
struct App {
    database: Database,
    users: Values<User>,
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> String {
    let users = app.users.tags([format!("user:{id}")]);
    let read = async || app.database.read().await;
    let user = users.get_or_insert_with(&id, read).await.unwrap();
    format!("{} {}", user.name, user.id)
}

async fn change(State(app): State<App>) {
    app.database.version.fetch_add(1, Ordering::SeqCst);
}

fn app() -> (Router, Database, CacheHandle) {
    let routes = Routes::new()
        .route("/users/{id}", Policy::ttl(MINUTE).tag("user:{id}"))
        .route("/users/{id}/card", Policy::ttl(MINUTE))
        .on_write("/admin/{id}", Evict::tag("user:{id}"));
    let layer = CacheLayer::builder().routes(routes).build().unwrap();
    let (handle, database) = (layer.handle(), Database::default());
    let app = App {
        database: database.clone(),
        users: handle.values("users"),
    };
    let router = Router::new()
        .route("/users/{id}", get(show))
        .route("/users/{id}/card", get(show))
        .route("/admin/{id}", put(change))
        .with_state(app)
        .layer(layer);
    (router, database, handle)
}

#[tokio::test]
async fn one_write_evicts_a_response_and_the_value_it_was_made_from() {
    let (app, database, _) = app();
    let reads = || database.reads.load(Ordering::SeqCst);
    let said = |x_cache: &str, body: &str| (x_cache.to_owned(), body.to_owned());
    assert_eq!(call(&app, "GET", "/users/1").await, said("MISS", "Ada 0"));
    assert_eq!(call(&app, "GET", "/users/1").await, said("HIT", "Ada 0"));
    // Another response, made from the value that is kept.
    let card = "/users/1/card";
    assert_eq!(call(&app, "GET", card).await, said("MISS", "Ada 0"));
    assert_eq!(reads(), 1);
    call(&app, "PUT", "/admin/2").await;
    assert_eq!(call(&app, "GET", "/users/1").await, said("HIT", "Ada 0"));
    call(&app, "PUT", "/admin/1").await;
    assert_eq!(call(&app, "GET", "/users/1").await, said("MISS", "Ada 2"));
    assert_eq!(reads(), 2);
}

#[tokio::test]
async fn a_tag_invalidated_by_hand_ends_both_as_well() {
    let (app, database, handle) = app();
    call(&app, "GET", "/users/1").await;
    handle.invalidate_tag("user:1").await.unwrap();
    assert_eq!(call(&app, "GET", "/users/1").await.0, "MISS");
    assert_eq!(database.reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn everything_includes_values_and_other_paths_do_not() {
    let (handle, _) = cache();
    let users = handle.values::<u32>("users");
    for pattern in ["/users/**", "/*", "/**/1", "/**?*1*", "/users?1"] {
        users.set("1", &1).await.unwrap();
        handle.invalidate_pattern(pattern).await.unwrap();
        assert_eq!(found(&users, "1").await, Some(1), "{pattern}");
    }
    handle.invalidate_uri("/users?1").await.unwrap();
    assert!(handle.invalidate_uri("values:users?1").await.is_err());
    assert_eq!(found(&users, "1").await, Some(1));
    for pattern in ["/**", "**", "values:users", "values:users?*"] {
        users.set("1", &1).await.unwrap();
        handle.invalidate_pattern(pattern).await.unwrap();
        assert_eq!(found(&users, "1").await, None, "{pattern}");
    }
    users.set("1", &1).await.unwrap();
    handle.invalidate_all().await.unwrap();
    assert_eq!(found(&users, "1").await, None);
}

#[tokio::test]
async fn what_is_removed_is_gone_and_gives_back_its_room() {
    let (handle, _) = cache();
    let users = handle.values::<u32>("users");
    users.set_many([("1", 1), ("2", 2)]).await.unwrap();
    users.remove("1").await.unwrap();
    assert_eq!(users.get_many(["1", "2"]).await.unwrap(), [None, Some(2)]);
    assert_eq!(handle.stats().usage.entries, 1);
    users.remove("1").await.unwrap();
    users.set("1", &3).await.unwrap();
    assert_eq!(
        found(&users, "1").await,
        Some(3),
        "set after it was removed"
    );
    users.remove_many([""; 0]).await.unwrap();
    let others = handle.values::<u32>("others");
    others.remove_many(["1", "2"]).await.unwrap();
    assert_eq!(found(&users, "2").await, Some(2), "of another namespace");
}

#[tokio::test]
async fn a_pattern_removes_the_keys_it_matches() {
    let (handle, _) = cache();
    let pages = handle.values::<u32>("history");
    let keys = ["42:1", "42:2", "421:1", "7:42:1", "*:1", "a?b"];
    let store = async || {
        for key in keys {
            pages.set(key, &1).await.unwrap();
        }
    };
    let left = async || {
        let found = pages.get_many(keys).await.unwrap();
        let left = keys.iter().zip(found).filter(|(_, found)| found.is_some());
        left.map(|(key, _)| *key).collect::<Vec<_>>()
    };
    for (pattern, expected) in [
        ("42:*", &["421:1", "7:42:1", "*:1", "a?b"][..]),
        ("*:1", &["42:2", "a?b"]),
        (r"\*:*", &["42:1", "42:2", "421:1", "7:42:1", "a?b"]),
        (r"a\?*", &["42:1", "42:2", "421:1", "7:42:1", "*:1"]),
        ("42*", &["7:42:1", "*:1", "a?b"]),
        ("*", &[]),
    ] {
        store().await;
        pages.remove_matching(pattern).await.unwrap();
        assert_eq!(left().await, expected, "{pattern}");
    }
    let refused = pages.remove_matching("42:?").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Pattern);
}

#[tokio::test]
async fn text_from_elsewhere_is_no_wildcard() {
    let (handle, _) = cache();
    let pages = handle.values::<u32>("history");
    pages.set_many([("42:1", 1), ("*:1", 2)]).await.unwrap();
    let id = "*"; // from a request
    let pattern = format!("{}:*", Pattern::escape(id));
    pages.remove_matching(&pattern).await.unwrap();
    let got = pages.get_many(["42:1", "*:1"]).await.unwrap();
    assert_eq!(got, [Some(1), None]);
}

#[tokio::test]
async fn a_write_evicts_values_by_what_its_route_captured() {
    let rule = "/conversations/{id}/messages";
    let routes = Routes::new().on_write(rule, Evict::pattern("values:history?{id}:*"));
    let layer = CacheLayer::builder().routes(routes).build().unwrap();
    let pages = layer.handle().values::<u32>("history");
    let app = Router::new().route(rule, post(|| async {})).layer(layer);
    let keys = ["42:1", "*:1", "a/b:1", "ü:1", "100%:1"];
    let written = [
        ("42", "42:1"),
        ("*", "*:1"),
        ("a%2Fb", "a/b:1"),
        ("%C3%BC", "ü:1"),
        ("100%25", "100%:1"),
    ];
    for (id, evicted) in written {
        pages.set_many(keys.map(|key| (key, 1))).await.unwrap();
        call(&app, "POST", &format!("/conversations/{id}/messages")).await;
        for key in keys {
            let expected = (key != evicted).then_some(1);
            assert_eq!(found(&pages, key).await, expected, "{key} after {id}");
        }
    }
}

#[tokio::test]
async fn a_soft_invalidation_ends_a_value_all_the_same() {
    let (handle, _) = cache();
    let users = handle.values::<u32>("users").tags(["u"]);
    users.set("1", &1).await.unwrap();
    handle
        .invalidate(Invalidation::tag("u").soft())
        .await
        .unwrap();
    assert_eq!(found(&users, "1").await, None);
}

#[tokio::test]
async fn what_an_announced_write_is_about_to_change_is_not_used() {
    let gate = Gate::shut();
    let waits = gate.clone();
    let handler = move || async move { waits.wait().await };
    let routes = Routes::new().on_write("/users/{id}", Evict::tag("user:{id}").two_phase());
    let layer = CacheLayer::builder().routes(routes).build().unwrap();
    let users = layer.handle().values::<u32>("users");
    let app = Router::new()
        .route("/users/{id}", put(handler))
        .layer(layer);
    users.tags(["user:1"]).set("1", &1).await.unwrap();
    let write = tokio::spawn(async move { call(&app, "PUT", "/users/1").await });
    settle().await;
    assert_eq!(found(&users, "1").await, None);
    users.tags(["user:1"]).set("1", &2).await.unwrap();
    gate.open();
    write.await.unwrap();
    assert_eq!(found(&users, "1").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_write_is_held_for_is_not_stored_in_that_while() {
    let rule = Evict::tag("u").hold_after(MINUTE);
    let routes = Routes::new().on_write("/users", rule);
    let layer = CacheLayer::builder().routes(routes).build().unwrap();
    let users = layer.handle().values::<u32>("users").tags(["u"]);
    let app = Router::new().route("/users", put(|| async {})).layer(layer);
    call(&app, "PUT", "/users").await;
    users.set("1", &1).await.unwrap();
    let read = async || Ok::<_, ()>(2);
    assert_eq!(users.get_or_insert_with("2", read).await, Ok(2));
    assert_eq!(users.get_many(["1", "2"]).await.unwrap(), [None, None]);
    // A call that began in that while may have read from the replica.
    let gate = Gate::shut();
    let slow = tokio::spawn({
        let (users, gate) = (users.clone(), gate.clone());
        async move {
            users
                .get_or_insert_with("3", async || made(3, &gate).await)
                .await
        }
    });
    settle().await;
    tokio::time::advance(MINUTE).await;
    let later = users.get_or_insert_with("3", async || Ok::<_, ()>(4));
    assert_eq!(
        later.now_or_never(),
        Some(Ok(4)),
        "who came later waits for no such call"
    );
    gate.open();
    assert_eq!(slow.await.unwrap(), Ok(3));
    assert_eq!(found(&users, "3").await, Some(4));
}

#[tokio::test]
async fn a_value_counts_from_when_it_was_read() {
    let (handle, _) = cache();
    let users = handle.values::<u32>("users").tags(["u"]);
    let before = users.position().await.unwrap();
    handle.invalidate_tag("u").await.unwrap();
    users.as_of(before).set("1", &1).await.unwrap();
    assert_eq!(found(&users, "1").await, None);
    users.set("1", &2).await.unwrap();
    users.as_of(before).set("1", &1).await.unwrap();
    assert_eq!(found(&users, "1").await, Some(2), "the older is dropped");
    users
        .as_of(users.position().await.unwrap())
        .set("1", &3)
        .await
        .unwrap();
    assert_eq!(found(&users, "1").await, Some(3));
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_is_swept_up() {
    let handle = CacheLayer::builder().build().unwrap().handle();
    let users = handle.values::<u32>("users");
    for at in 0..500 {
        users.set(&format!("{}:{at}", at % 2), &at).await.unwrap();
    }
    users.remove_matching("1:*").await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(handle.stats().usage.entries, 250);
}
