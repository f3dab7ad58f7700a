//! What is kept apart by partition, variant or cookie, and that no key shows a credential.

use std::sync::{Arc, Mutex};

use http::header::HeaderName;
use tower_response_cache::{
    CacheLayer, Error, Key, KeyRef, Log, MaybeReady, MemoryStore, Policy, Routes, Store, Stored,
    Usage,
};

use super::{CREDENTIALS, assert_never_mixed, personal};
use crate::support::{Bench, MINUTE, Origin, sent};

fn tenant(parts: &http::request::Parts) -> Option<String> {
    let tenant = parts.headers.get("x-tenant")?;
    tenant.to_str().ok().map(str::to_owned)
}

#[tokio::test]
async fn partitions_are_kept_apart_and_share_within() {
    let bench = Bench::new(
        Policy::ttl(MINUTE).partition_by(tenant),
        Origin::showing(&[], |request| sent(request, "x-tenant")),
    );
    for name in ["a", "b", ""] {
        let field = [("x-tenant", name), ("authorization", "alice")];
        let answer = bench.get_with("/", &field).await;
        assert_eq!((answer.x_cache(), answer.text()), ("MISS", name));
    }
    for name in ["a", "b", ""] {
        let field = [("x-tenant", name), ("cookie", "bob")];
        let answer = bench.get_with("/", &field).await;
        assert_eq!((answer.x_cache(), answer.text()), ("HIT", name));
    }
    for _ in 0..2 {
        let stranger = bench.get_with("/", &[("authorization", "a")]).await;
        assert_eq!((stranger.x_cache(), stranger.text()), ("BYPASS", "-"));
        assert!(stranger.field("cache-status").contains("detail=partition"));
    }
}

#[tokio::test]
async fn a_partition_does_not_run_into_the_rest_of_the_key() {
    let policy = Policy::ttl(MINUTE)
        .key_part(|parts| Some(parts.headers.get("x-a")?.to_str().ok()?.to_owned()))
        .partition_by(tenant);
    let bench = Bench::new(policy, Origin::counting());
    let keys = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")];
    for (part, tenant) in keys {
        let answer = bench
            .get_with("/", &[("x-a", part), ("x-tenant", tenant)])
            .await;
        assert_eq!(answer.x_cache(), "MISS", "{part} {tenant}");
    }
}

#[tokio::test]
async fn responses_that_vary_by_credentials_are_kept_apart_where_they_are_stored() {
    for name in CREDENTIALS {
        let vary: &'static [(&str, &str)] = match name {
            "cookie" => &[("vary", "Cookie"), ("cache-control", "public, max-age=60")],
            _ => &[
                ("vary", "accept, AUTHORIZATION"),
                ("cache-control", "public, max-age=60"),
            ],
        };
        for policy in [
            Policy::ttl(MINUTE),
            Policy::origin_decides(),
            Policy::ttl(MINUTE).shared_with_everyone(),
        ] {
            let bench = Bench::new(policy, personal(vary));
            assert_never_mixed(&bench, name).await;
            assert_eq!(
                bench.origin.calls(),
                3,
                "the second round comes from the store"
            );
        }
    }
}

/// A memory store that notes the bytes of all keys.
#[derive(Debug)]
struct Noting {
    store: MemoryStore,
    keys: Arc<Mutex<Vec<u8>>>,
}

impl Store for Noting {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.keys.lock().unwrap().extend_from_slice(key.as_bytes());
        self.store.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.keys.lock().unwrap().extend_from_slice(key.as_bytes());
        self.store.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.store.remove(key)
    }

    fn log(&self) -> &Log {
        self.store.log()
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

#[tokio::test]
async fn no_credential_can_be_read_in_a_key() {
    let policies = [
        Policy::ttl(MINUTE).shared_with_everyone(),
        Policy::ttl(MINUTE)
            .shared_with_everyone()
            .key_cookie("session")
            .key_header(http::header::AUTHORIZATION),
    ];
    for policy in policies {
        let keys = Arc::new(Mutex::new(Vec::new()));
        let store = Noting {
            store: MemoryStore::default(),
            keys: keys.clone(),
        };
        let builder = CacheLayer::builder()
            .store(store)
            .also_key(HeaderName::from_static("proxy-authorization"))
            .routes(Routes::new().otherwise(policy));
        let bench = Bench::with_builder(
            builder,
            personal(&[("vary", "authorization, cookie"), ("vary", "accept")]),
        );
        let fields = [
            ("authorization", "Bearer s3cret"),
            ("cookie", "session=s3cret"),
            ("proxy-authorization", "s3cret"),
            ("accept", "text/plain"),
        ];
        for expected in ["MISS", "HIT"] {
            assert_eq!(bench.get_with("/", &fields).await.x_cache(), expected);
        }
        let keys = keys.lock().unwrap();
        let contains = |text: &[u8]| keys.windows(text.len()).any(|at| at == text);
        assert!(
            contains(b"text/plain"),
            "the store sees the selecting fields"
        );
        assert!(!contains(b"s3cret"));
    }
}

#[tokio::test]
async fn a_key_cookie_keeps_its_values_apart_and_ignores_the_others() {
    let policy = Policy::ttl(MINUTE)
        .shared_with_everyone()
        .key_cookie("theme");
    let bench = Bench::new(policy, Origin::counting());
    let mut calls = Vec::new();
    for cookie in [
        "theme=dark",
        "theme=light",
        "session=1; theme=dark",
        "theme=dark; session=2",
        "xtheme=light",
        "theme=",
        "session=3",
    ] {
        calls.push(
            bench
                .get_with("/", &[("cookie", cookie)])
                .await
                .text()
                .to_owned(),
        );
    }
    assert_eq!(calls, ["1", "2", "1", "1", "3", "4", "3"]);
    // Which of two counts, and whether names are trimmed or decoded, is for the handler to say.
    for (call, cookie) in [
        "theme=dark; theme=evil",
        "theme=evil; theme=dark",
        "theme =evil",
        "th%65me=evil",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = bench.get_with("/", &[("cookie", cookie)]).await;
        assert_eq!(answer.text(), (call + 5).to_string(), "{cookie}");
    }
    // Cookies alone do not make a policy share.
    let cautious = Bench::new(Policy::ttl(MINUTE).key_cookie("theme"), Origin::counting());
    cautious.get_with("/", &[("cookie", "theme=dark")]).await;
    let again = cautious.get_with("/", &[("cookie", "theme=dark")]).await;
    assert_eq!(again.x_cache(), "BYPASS");
}
