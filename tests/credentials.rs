//! Who may see a stored response: by default nobody but those it is the same for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::{Arc, Mutex};

use http::header::HeaderName;
use support::{Answer, Bench, MINUTE, Origin, request, respond, seconds, sent, settle};
use tokio::sync::Semaphore;
use tower_response_cache::{
    Answer as StoreAnswer, CacheLayer, Error, Key, KeyRef, Log, MemoryStore, Policy, Routes, Store,
    Stored, Usage,
};

const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// An origin that answers with what the request says about who sent it.
fn personal(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::showing(fields, |request| {
        format!(
            "{}+{}",
            sent(request, "authorization"),
            sent(request, "cookie")
        )
    })
}

fn alice_and_bob(name: &'static str) -> [(&'static str, &'static str); 2] {
    [(name, "alice"), (name, "bob")]
}

/// Asks as Alice, as Bob and as nobody, twice, and asserts that each sees their own.
async fn assert_never_mixed(bench: &Bench, name: &'static str) {
    for _ in 0..2 {
        for field in alice_and_bob(name) {
            let answer = bench.get_with("/me", &[field]).await;
            assert!(answer.text().contains(field.1), "{field:?}: {answer:?}");
        }
        let nobody = bench.get("/me").await;
        assert_eq!(nobody.text(), "-+-");
    }
}

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

/// Sends one request that waits in the handler, and others that could share its answer; then lets
/// all go.
async fn crowd(
    policy: Policy,
    fields: &'static [(&'static str, &'static str)],
    asking: &[&'static [(&'static str, &'static str)]],
) -> Vec<Answer> {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = gate.clone();
    let origin = Origin::new(move |request, _| {
        let gate = waiting.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            let mut own = fields.to_vec();
            let user = sent(&request, "x-user");
            let cookie = format!("session={user}");
            if fields.contains(&("x-sets", "cookie")) {
                own.push(("set-cookie", &cookie));
            }
            respond(200, &own, user)
        }
    });
    let bench = Arc::new(Bench::new(policy, origin));
    let mut tasks = Vec::new();
    for fields in asking {
        let (bench, fields) = (bench.clone(), *fields);
        tasks.push(tokio::spawn(
            async move { bench.get_with("/", fields).await },
        ));
        settle().await;
    }
    gate.add_permits(100);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn set_cookie_is_not_given_to_those_who_wait() {
    let answers = crowd(
        Policy::ttl(MINUTE),
        &[("x-sets", "cookie")],
        &[&[("x-user", "a")], &[("x-user", "b")], &[("x-user", "c")]],
    )
    .await;
    for (answer, user) in answers.iter().zip(["a", "b", "c"]) {
        assert_eq!(answer.text(), user);
        assert_eq!(answer.field("set-cookie"), format!("session={user}"));
    }
}

#[tokio::test]
async fn stored_without_set_cookie_it_is_given_to_the_one_it_was_set_for() {
    let answers = crowd(
        Policy::ttl(MINUTE).store_without_set_cookie(),
        &[("x-sets", "cookie")],
        &[&[("x-user", "a")], &[("x-user", "b")]],
    )
    .await;
    assert_eq!(answers[0].field("set-cookie"), "session=a");
    assert_eq!(answers[1].text(), "a");
    assert_eq!(answers[1].field("set-cookie"), "(absent)");
}

#[tokio::test]
async fn private_no_store_and_no_cache_are_not_given_to_those_who_wait() {
    for fields in [
        &[("cache-control", "private")],
        &[("cache-control", "no-store")],
        &[("cache-control", "no-cache")],
        &[("vary", "*")],
    ] {
        let answers = crowd(
            Policy::ttl(MINUTE),
            fields,
            &[&[("x-user", "a")], &[("x-user", "b")]],
        )
        .await;
        assert_eq!(answers[1].text(), "b", "{fields:?}");
    }
}

#[tokio::test]
async fn a_user_neither_waits_for_another_nor_is_waited_for() {
    for name in CREDENTIALS {
        let (alice, nobody): (&'static [_], &'static [_]) = match name {
            "cookie" => (&[("cookie", "a"), ("x-user", "a")], &[("x-user", "nobody")]),
            _ => (
                &[("authorization", "a"), ("x-user", "a")],
                &[("x-user", "nobody")],
            ),
        };
        for order in [[alice, nobody], [nobody, alice]] {
            let answers = crowd(Policy::ttl(MINUTE), &[], &order).await;
            assert_eq!(answers[0].text(), order[0][order[0].len() - 1].1);
            assert_eq!(answers[1].text(), order[1][order[1].len() - 1].1);
        }
    }
}

#[tokio::test]
async fn a_response_that_sets_a_cookie_is_not_stored() {
    let origin = Origin::with_fields(&[
        ("set-cookie", "session=secret"),
        ("cache-control", "public, max-age=60"),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for call in ["1", "2"] {
        let answer = bench.get("/").await;
        assert_eq!((answer.x_cache(), answer.text()), ("MISS", call));
        assert_eq!(answer.field("set-cookie"), "session=secret");
        assert!(answer.field("cache-status").contains("detail=set-cookie"));
    }
}

#[tokio::test]
async fn set_cookie_is_stored_or_left_out_where_the_policy_says_so() {
    let origin = || Origin::with_fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]);
    let bench = Bench::new(Policy::ttl(MINUTE).store_set_cookie(), origin());
    bench.get("/").await;
    let hit = bench.get("/").await;
    assert_eq!(hit.x_cache(), "HIT");
    assert_eq!(hit.headers.get_all("set-cookie").iter().count(), 2);

    let bench = Bench::new(Policy::ttl(MINUTE).store_without_set_cookie(), origin());
    let miss = bench.get("/").await;
    assert_eq!(miss.headers.get_all("set-cookie").iter().count(), 2);
    let hit = bench.get("/").await;
    assert_eq!(
        (hit.x_cache(), hit.field("set-cookie")),
        ("HIT", "(absent)")
    );
}

#[tokio::test]
async fn a_cookie_set_by_a_validation_is_not_given_to_others() {
    let origin = Origin::new(|request, call| async move {
        let etag = ("etag", "\"v1\"");
        match request.headers().contains_key("if-none-match") {
            true => respond(304, &[etag, ("set-cookie", "session=alice")], ""),
            false => respond(200, &[etag], call.to_string()),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let confirmed = bench.get("/").await;
    assert_eq!(confirmed.x_cache(), "REVALIDATED");
    assert_eq!(confirmed.field("set-cookie"), "session=alice");
    for _ in 0..2 {
        let next = bench.get("/").await;
        assert_ne!(next.field("set-cookie"), "session=alice");
    }
}

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
    fn get(&self, key: KeyRef<'_>) -> StoreAnswer<Result<Option<Stored>, Error>> {
        self.keys.lock().unwrap().extend_from_slice(key.as_bytes());
        self.store.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> StoreAnswer<Result<(), Error>> {
        self.keys.lock().unwrap().extend_from_slice(key.as_bytes());
        self.store.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> StoreAnswer<Result<(), Error>> {
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
            .keyed_fields([HeaderName::from_static("proxy-authorization")])
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
