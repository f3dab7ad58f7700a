//! What every [`Store`] must keep to, as checks to run against your own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use tower_response_cache::MemoryStore;
//! use tower_response_cache::testing::store_contract;
//!
//! let report = store_contract::run(async || MemoryStore::new(16 << 20)).await;
//! assert!(report.found > 0, "a store that finds nothing is no cache");
//! # }
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::StatusCode;
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue};

use crate::clock::Clock;
use crate::entry::{Reuse, StoredResponse, StoredValue, Times, Variant, Variants};
use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::key::{Key, KeyBuilder, KeyRef};
use crate::pattern::Namespace;
use crate::store::{CounterStore, MaybeReady, Store, Stored};
use crate::target::Subject;

/// What a store did while it was checked.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Lookups of keys that something had been put under.
    pub lookups: u64,
    /// Those of them that found it. A store may lose anything at any time, so that one which finds
    /// nothing keeps to the contract too.
    pub found: u64,
    /// Whether it counts. A store that has no counters keeps to the contract too.
    pub counts: bool,
}

/// Checks that a store keeps to the contract of [`Store`].
///
/// `make` is called for every check and returns a store that is empty. The checks are random, but
/// the same in every run. A store that answers later is spared most of the repetitions. Run this on
/// a runtime of several threads, or the check of concurrent calls has only one to offer.
///
/// # Panics
///
/// If the store breaks the contract. The message says which rule.
pub async fn run<S: Store>(make: impl AsyncFn() -> S) -> Report {
    let mut run = Run::default();
    run.every_part_of_a_response_comes_back(&make().await).await;
    run.lists_of_variants_come_back(&make().await).await;
    run.bodies_of_any_size_come_back(&make().await).await;
    run.keys_of_equal_hash_are_kept_apart(&make().await).await;
    run.a_put_replaces_and_a_remove_removes(&make().await).await;
    run.values_come_back(&make().await).await;
    run.many_keys_are_answered_in_their_order(&make().await)
        .await;
    run.random_operations_agree_with_a_plain_map(&make().await)
        .await;
    run.counters_count(&make().await).await;
    Run::concurrent_additions_add_up(Arc::new(make().await)).await;
    Run::concurrent_calls_never_mix_entries(Arc::new(make().await)).await;
    Run::usage_stays_within_the_capacity(&make().await).await;
    Run::an_invalidation_is_in_the_log_at_once(&make().await).await;
    run.sweeping_comes_to_an_end(&make().await).await;
    run.0
}

/// Makes a key for a path, and a response of 200 with eight header fields and the given body to
/// put under it: for further tests of your own store.
///
/// The response is made at the log's present position, fresh for ten minutes, and carries the tag
/// `sample`.
#[must_use]
pub fn sample(log: &Log, path: &str, body: Bytes) -> (Key, Stored) {
    let fields = [
        ("cache-control", "max-age=600"),
        ("content-language", "en"),
        ("content-type", "application/json; charset=utf-8"),
        ("etag", "\"5f2b6d1c-0a9e\""),
        ("last-modified", "Tue, 15 Nov 1994 12:45:26 GMT"),
        ("server", "example"),
        ("vary", "accept-encoding"),
        ("x-request-id", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ];
    let fields = fields.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    let times = Times {
        received: Clock::default().instant(),
        initial_age: Duration::ZERO,
        lifetime: Duration::from_secs(600),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    };
    let stored = StoredResponse::new(
        StatusCode::OK,
        &HeaderMap::from_iter(fields),
        body,
        None,
        times,
        Reuse::default(),
        Subject::new(path, None, [Box::from("sample")]),
        log.position(),
    );
    (key(path), Stored::Response(Arc::new(stored)))
}

#[derive(Default)]
struct Run(Report);

impl Run {
    async fn every_part_of_a_response_comes_back(&mut self, store: &dyn Store) {
        let (one, other) = (key("one"), key("other"));
        let response = response(store, "one", Bytes::from_static(b"a body"));
        put(store, &one, &Stored::Response(response.clone())).await;
        self.expect(store, &one, &Stored::Response(response)).await;
        let found = get(store, other.borrow()).await;
        assert!(
            found.is_none(),
            "found under a key that nothing was put under: {found:?}"
        );
    }

    async fn lists_of_variants_come_back(&mut self, store: &dyn Store) {
        let key_of = |language| variant_key(&key("page"), language);
        let known = ["de", "fr"].map(|language| Variant {
            key: key_of(language),
            any_language: None,
            etag: Some(HeaderValue::from_static("\"1\"")),
            content_language: HeaderValue::from_str(language).ok(),
        });
        let variants = Variants {
            names: vec![HeaderName::from_static("accept-language")],
            known: known.into(),
        };
        let variants = Stored::Variants(Arc::new(variants));
        put(store, &key("page"), &variants).await;
        self.expect(store, &key("page"), &variants).await;
        let found = get(store, key_of("de").borrow()).await;
        assert!(
            found.is_none(),
            "a variant was found that only its list was put: {found:?}"
        );
    }

    async fn values_come_back(&mut self, store: &dyn Store) {
        for bytes in [&b""[..], b"{\"name\":\"Ada\"}", b"\xff\0", &[7; 100_000]] {
            let (key, stored) = value(store, bytes);
            put(store, &key, &stored).await;
            self.expect(store, &key, &stored).await;
        }
    }

    async fn many_keys_are_answered_in_their_order(&mut self, store: &dyn Store) {
        let entries: Vec<_> = (0..50)
            .map(|at| (key(&at.to_string()), marked(store, at, at as u64)))
            .map(|(key, response)| (key, Stored::Response(response)))
            .collect();
        answer(store.put_many(entries.clone())).await;
        let mut keys: Vec<_> = entries.iter().map(|(key, _)| key.clone()).collect();
        keys.insert(20, key("none"));
        keys.reverse();
        self.expect_many(store, &keys, &entries).await;
        let gone: Vec<_> = keys.iter().take(10).map(Key::borrow).collect();
        answer(store.remove_many(&gone)).await;
        self.expect_many(store, &keys, &entries[..40]).await;
    }

    /// Looks up `keys`, of which those among `entries` have to give that or nothing, and the others
    /// nothing.
    async fn expect_many(&mut self, store: &dyn Store, keys: &[Key], entries: &[(Key, Stored)]) {
        let borrowed: Vec<_> = keys.iter().map(Key::borrow).collect();
        let found = answer(store.get_many(&borrowed)).await;
        assert_eq!(found.len(), keys.len(), "one answer for each key");
        for (key, found) in keys.iter().zip(found) {
            let stored = entries.iter().find(|(known, _)| known == key);
            self.0.lookups += u64::from(stored.is_some());
            match (found, stored) {
                (Some(found), Some((_, stored))) => {
                    self.0.found += 1;
                    assert_same(&found, stored);
                }
                (Some(found), None) => {
                    panic!("found among many under a key that has nothing: {found:?}")
                }
                (None, _) => {}
            }
        }
    }

    async fn counters_count(&mut self, store: &dyn Store) {
        let Some(counters) = store.counters() else {
            return;
        };
        self.0.counts = true;
        let key = counter_key("counter");
        let count = add(counters, &key, 0, FOREVER).await;
        assert_eq!(count, 0, "a counter that nothing was added to");
        let mut expected = 0;
        for by in [5, -7, i64::MAX, 1] {
            expected = match counters.increment(key.borrow(), by, FOREVER).get().await {
                // It may have been evicted.
                Ok(count) if count == by => by,
                Ok(count) => {
                    assert_eq!(Some(count), expected.checked_add(by), "{expected} and {by}");
                    count
                }
                Err(error) => panic!("{expected} and {by} could not be added: {error:?}"),
            };
        }
        let too_much = counters.increment(key.borrow(), i64::MAX, FOREVER);
        let too_much = too_much.get().await;
        let count = add(counters, &key, 0, FOREVER).await;
        assert!(
            too_much.is_err() && count == expected || [0, i64::MAX].contains(&count),
            "a count that does not fit became {too_much:?}, and then {count}"
        );
        let found = get(store, key.borrow()).await;
        assert!(found.is_none(), "a counter was found as {found:?}");
        answer(counters.reset(key.borrow())).await;
        let count = add(counters, &key, 0, FOREVER).await;
        assert_eq!(count, 0, "a counter that was reset");
        Self::counters_end(store, counters, &key).await;
    }

    async fn counters_end(store: &dyn Store, counters: &dyn CounterStore, key: &Key) {
        for _ in 0..3 {
            let count = add(counters, key, 1, Duration::ZERO).await;
            assert_eq!(count, 1, "a counter that ends at once");
        }
        add(counters, key, 4, FOREVER).await;
        invalidate_everything(store).await;
        let count = add(counters, key, 1, Duration::ZERO).await;
        assert!(
            [5, 1].contains(&count),
            "an invalidation has nothing to do with counters: {count}"
        );
    }

    async fn concurrent_additions_add_up(store: Arc<dyn Store>) {
        let Some(counters) = store.counters() else {
            return;
        };
        let key = counter_key("shared");
        // A count of one afterwards then means that the counter was evicted.
        add(counters, &key, 1, FOREVER).await;
        let (each, workers) = (repetitions(&*store, 2_000), 4);
        let add_up = |_| tokio::spawn(count_up(store.clone(), key.clone(), each));
        let adding: Vec<_> = (0..workers).map(add_up).collect();
        let mut counts = Vec::new();
        for worker in adding {
            counts.extend(worker.await.expect("an addition failed"));
        }
        counts.sort_unstable();
        let expected = 2..=(each * workers) as i64 + 1;
        assert!(
            counts.first() == Some(&1) || counts.into_iter().eq(expected),
            "additions at the same time were lost, or two got the same count"
        );
    }

    async fn bodies_of_any_size_come_back(&mut self, store: &dyn Store) {
        for size in [0, 1, 1_000, 65_536, 1 << 20] {
            let key = key(&size.to_string());
            let body: Vec<u8> = (0..size).map(|at: u32| (at ^ (at >> 8)) as u8).collect();
            let stored = Stored::Response(response(store, "/sizes", body.into()));
            put(store, &key, &stored).await;
            self.expect(store, &key, &stored).await;
        }
    }

    async fn keys_of_equal_hash_are_kept_apart(&mut self, store: &dyn Store) {
        let one = KeyRef::with_hash(b"one", 1).to_owned();
        let two = KeyRef::with_hash(b"two", 1).to_owned();
        let stored = |body| Stored::Response(response(store, "/", Bytes::from_static(body)));
        let (first, second) = (stored(b"first"), stored(b"second"));
        put(store, &one, &first).await;
        let found = get(store, two.borrow()).await;
        assert!(
            found.is_none(),
            "found under another key of the same hash: {found:?}"
        );
        put(store, &two, &second).await;
        self.expect(store, &one, &first).await;
        self.expect(store, &two, &second).await;
        remove(store, one.borrow()).await;
        self.expect(store, &two, &second).await;
    }

    async fn a_put_replaces_and_a_remove_removes(&mut self, store: &dyn Store) {
        let key = key("changing");
        for body in ["first", "second, and longer", ""] {
            let stored =
                Stored::Response(response(store, "/", Bytes::from_static(body.as_bytes())));
            put(store, &key, &stored).await;
            self.expect(store, &key, &stored).await;
        }
        remove(store, key.borrow()).await;
        let found = get(store, key.borrow()).await;
        assert!(found.is_none(), "found after it was removed: {found:?}");
        remove(store, key.borrow()).await;
    }

    async fn random_operations_agree_with_a_plain_map(&mut self, store: &dyn Store) {
        let keys: Vec<Key> = (0..500).map(|n| key(&format!("/items/{n}"))).collect();
        let mut map = HashMap::new();
        let mut random = Rng::with_seed(1);
        for serial in 0..repetitions(store, 100_000) {
            let at = random.usize(..keys.len());
            match random.u8(..10) {
                0..4 => {
                    let stored = Stored::Response(marked(store, at, serial));
                    put(store, &keys[at], &stored).await;
                    map.insert(at, stored);
                }
                4 => {
                    remove(store, keys[at].borrow()).await;
                    map.remove(&at);
                }
                _ => match map.get(&at) {
                    Some(stored) => self.expect(store, &keys[at], stored).await,
                    None => {
                        let found = get(store, keys[at].borrow()).await;
                        assert!(found.is_none(), "found after it was removed: {found:?}");
                    }
                },
            }
        }
    }

    async fn concurrent_calls_never_mix_entries(store: Arc<dyn Store>) {
        let workers: Vec<_> = (1..5)
            .map(|seed| tokio::spawn(work(store.clone(), Rng::with_seed(seed))))
            .collect();
        for worker in workers {
            worker.await.expect("concurrent calls broke the contract");
        }
    }

    async fn usage_stays_within_the_capacity(store: &dyn Store) {
        for n in 0..repetitions(store, 20_000) {
            let body = vec![n as u8; (n % 7 * 700) as usize];
            let stored = Stored::Response(response(store, "/", body.into()));
            put(store, &key(&n.to_string()), &stored).await;
            let usage = store.usage();
            assert!(
                usage.capacity == 0 || usage.bytes <= usage.capacity,
                "more in use than there is room: {usage:?}"
            );
        }
    }

    async fn an_invalidation_is_in_the_log_at_once(store: &dyn Store) {
        let subject = Subject::new("/products/7", None, []);
        let before = store.log().position();
        assert!(
            is_valid(store, before, &subject),
            "nothing was invalidated yet"
        );
        invalidate_everything(store).await;
        assert!(
            !is_valid(store, before, &subject),
            "the log does not hold an invalidation that was acknowledged"
        );
        answer(store.shared_log().catch_up()).await;
        let behind = store.log().position();
        assert!(behind > before, "an invalidation takes a position");
        assert!(
            is_valid(store, behind, &subject),
            "an invalidation ended what was begun after it"
        );
    }

    async fn sweeping_comes_to_an_end(&mut self, store: &dyn Store) {
        for n in 0..repetitions(store, 2_000) {
            let stored = Stored::Response(marked(store, n as usize, n));
            put(store, &key(&n.to_string()), &stored).await;
        }
        invalidate_everything(store).await;
        let fresh = Stored::Response(response(store, "/", Bytes::from_static(b"made since")));
        put(store, &key("made since"), &fresh).await;
        let steps = (0..100_000).take_while(|_| store.sweep()).count();
        assert!(
            steps < 100_000,
            "sweep always says that there is more to do"
        );
        self.expect(store, &key("made since"), &fresh).await;
    }

    /// Looks up `key`, which has to give `stored` or nothing.
    async fn expect(&mut self, store: &dyn Store, key: &Key, stored: &Stored) {
        self.0.lookups += 1;
        if let Some(found) = get(store, key.borrow()).await {
            self.0.found += 1;
            assert_same(&found, stored);
        }
    }
}

/// Puts, gets and removes what says itself which key it belongs to.
async fn work(store: Arc<dyn Store>, mut random: Rng) {
    for serial in 0..repetitions(&*store, 20_000) {
        let at = random.usize(..50);
        let key = key(&at.to_string());
        match random.u8(..10) {
            0..3 => {
                put(
                    &*store,
                    &key,
                    &Stored::Response(marked(&*store, at, serial)),
                )
                .await
            }
            3 => remove(&*store, key.borrow()).await,
            _ => match get(&*store, key.borrow()).await {
                Some(Stored::Response(found)) => assert!(
                    is_marked(&found, at),
                    "found under key {at} what belongs to another, or what was never put"
                ),
                Some(found) => panic!("a response came back as {found:?}"),
                None => {}
            },
        }
    }
}

/// Adds one, again and again, and returns the counts that came back.
async fn count_up(store: Arc<dyn Store>, key: Key, times: u64) -> Vec<i64> {
    let mut counts = Vec::new();
    if let Some(counters) = store.counters() {
        for _ in 0..times {
            counts.push(add(counters, &key, 1, FOREVER).await);
        }
    }
    counts
}

/// A response whose body tells its key, its serial number, and its own length.
fn marked(store: &dyn Store, at: usize, serial: u64) -> Arc<StoredResponse> {
    let line = format!("{at} {serial};");
    response(
        store,
        "/marked",
        line.repeat((serial % 50) as usize + 1).into(),
    )
}

fn is_marked(response: &StoredResponse, at: usize) -> bool {
    let body = response.body();
    let body = str::from_utf8(&body).unwrap_or_default();
    let line = body.split_inclusive(';').next().unwrap_or_default();
    let number = |text: &str| text.parse().ok();
    let Some((key, serial)) = line.trim_end_matches(';').split_once(' ') else {
        return false;
    };
    let serial: u64 = number(serial).unwrap_or_default();
    number(key) == Some(at as u64) && body == line.repeat((serial % 50) as usize + 1)
}

fn response(store: &dyn Store, path: &str, body: Bytes) -> Arc<StoredResponse> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(ETAG, HeaderValue::from_static("W/\"an \\ etag\""));
    headers.append(CONTENT_LANGUAGE, HeaderValue::from_static("de"));
    headers.append(CONTENT_LANGUAGE, HeaderValue::from_static("fr"));
    headers.insert("x-empty", HeaderValue::from_static(""));
    if let Ok(value) = HeaderValue::from_bytes(b"obs-text \xff") {
        headers.insert("x-bytes", value);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1234"));
    let times = Times {
        received: Clock::default().instant(),
        initial_age: Duration::from_secs(2),
        lifetime: Duration::from_secs(600),
        stale_while_revalidate: Duration::from_secs(30),
        stale_if_error: Duration::from_secs(3_600),
    };
    let reuse = Reuse {
        never_stale: true,
        with_cookie: true,
        ..Reuse::default()
    };
    let subject = Subject::new(path, Some("page=2"), [Box::from("catalog")]);
    let position = store.log().position();
    let (status, trailers) = (StatusCode::NON_AUTHORITATIVE_INFORMATION, Some(trailers));
    Arc::new(StoredResponse::new(
        status, &headers, body, trailers, times, reuse, subject, position,
    ))
}

fn key(name: &str) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"https").part(name.as_bytes()).optional(None);
    key.key().to_owned()
}

/// A handler's own value, and its key.
fn value(store: &dyn Store, bytes: &[u8]) -> (Key, Stored) {
    let now = Clock::default().instant();
    let tags = [Box::from("user:1"), Box::from("team:ä")];
    let subject = Subject::of_value(&Namespace::new("users"), "1: é", tags);
    let (age, lifetime) = (Duration::from_secs(2), Duration::from_secs(600));
    let position = store.log().position();
    let stored = StoredValue::new(bytes, &subject, now, age, lifetime, position);
    let mut key = KeyBuilder::default();
    key.part(b"value").part(b"users").part("1: é".as_bytes());
    (key.key().to_owned(), Stored::Value(Arc::new(stored)))
}

const FOREVER: Duration = Duration::MAX;

fn counter_key(name: &str) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"counter").part(b"users").part(name.as_bytes());
    key.key().to_owned()
}

fn variant_key(key: &Key, language: &str) -> Key {
    let mut variant = KeyBuilder::extend(key.borrow());
    variant.part(language.as_bytes());
    variant.key().to_owned()
}

fn is_valid(store: &dyn Store, position: Position, subject: &Subject) -> bool {
    store.log().verdict(position, subject.borrow()) == Verdict::Valid
}

async fn add(counters: &dyn CounterStore, key: &Key, by: i64, ttl: Duration) -> i64 {
    answer(counters.increment(key.borrow(), by, ttl)).await
}

async fn invalidate_everything(store: &dyn Store) {
    let everything = [Invalidation::everything()];
    answer(store.shared_log().invalidate(&everything)).await;
}

async fn put(store: &dyn Store, key: &Key, stored: &Stored) {
    answer(store.put(key.clone(), stored.clone())).await;
}

async fn get(store: &dyn Store, key: KeyRef<'_>) -> Option<Stored> {
    answer(store.get(key)).await
}

async fn remove(store: &dyn Store, key: KeyRef<'_>) {
    answer(store.remove(key)).await;
}

/// A store that is out of order cannot be checked.
async fn answer<T>(answer: MaybeReady<Result<T, crate::error::Error>>) -> T {
    match answer.get().await {
        Ok(answer) => answer,
        Err(error) => panic!("the store reports an error: {error:?}"),
    }
}

/// A fiftieth of `times` for a store that has to go and ask somebody else.
fn repetitions(store: &dyn Store, times: u64) -> u64 {
    match store.get(key("how long does it take?").borrow()) {
        MaybeReady::Now(_) => times,
        MaybeReady::Later(_) => times / 50,
    }
}

/// Compares everything that decides what a client is given, and whether.
fn assert_same(found: &Stored, put: &Stored) {
    match (found, put) {
        (Stored::Response(found), Stored::Response(put)) => assert_same_response(found, put),
        (Stored::Variants(found), Stored::Variants(put)) => {
            assert_eq!(
                found.names, put.names,
                "other selecting fields than were put"
            );
            let keys = |variants: &Variants| -> Vec<Key> {
                variants
                    .known
                    .iter()
                    .map(|variant| variant.key.clone())
                    .collect()
            };
            assert_eq!(keys(found), keys(put), "other variants than were put");
        }
        (Stored::Value(found), Stored::Value(put)) => assert_same_value(found, put),
        _ => panic!("{put:?} was put and {found:?} found"),
    }
}

fn assert_same_response(found: &StoredResponse, put: &StoredResponse) {
    assert!(
        found.body() == put.body(),
        "another body than was put under this key last"
    );
    assert_eq!(found.status, put.status, "another status");
    assert_eq!(found.head(), put.head(), "another header section");
    assert_eq!(found.trailers(), put.trailers(), "another trailer section");
    assert_eq!(found.reuse, put.reuse, "other conditions of reuse");
    assert_eq!(found.position, put.position, "another position in the log");
    assert_eq!(found.subject(), put.subject(), "another subject");
    let (now, second) = (Clock::default().instant(), Duration::from_secs(1));
    let close = |one: Duration, other: Duration| one.abs_diff(other) <= second;
    let times = |stored: &StoredResponse| {
        [
            stored.age(now),
            stored.lifetime(),
            stored.stale_while_revalidate(),
            stored.stale_if_error(),
        ]
    };
    let (found, put) = (times(found), times(put));
    let all_close = found.iter().zip(put).all(|(one, other)| close(*one, other));
    assert!(
        all_close,
        "another age or lifetime: {found:?} instead of {put:?}"
    );
}

fn assert_same_value(found: &StoredValue, put: &StoredValue) {
    assert!(
        found.bytes() == put.bytes(),
        "other bytes than were put under this key last"
    );
    assert_eq!(
        found.position(),
        put.position(),
        "another position in the log"
    );
    assert_eq!(found.subject(), put.subject(), "another subject");
    let (now, second) = (Clock::default().instant(), Duration::from_secs(1));
    let close = |one: Duration, other: Duration| one.abs_diff(other) <= second;
    assert!(close(found.age(now), put.age(now)), "another age");
    assert!(close(found.lifetime(), put.lifetime()), "another lifetime");
}
