use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};

use super::*;
use crate::entry::{Reuse, StoredResponse, Times, Variant, Variants};
use crate::invalidate::Invalidation;
use crate::key::KeyBuilder;
use crate::target::Subject;

fn key(name: &str) -> Key {
    KeyBuilder::default().part(name.as_bytes()).key().to_owned()
}

fn fresh_for(seconds: u64) -> Times {
    Times {
        received: Instant::now(),
        initial_age: Duration::ZERO,
        lifetime: Duration::from_secs(seconds),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
    }
}

fn response(log: &Log, path: &str, headers: &HeaderMap, times: Times, body: Bytes) -> Stored {
    Stored::Response(Arc::new(StoredResponse::new(
        StatusCode::OK,
        headers,
        body,
        None,
        times,
        Reuse::default(),
        Subject::new(path, None, []),
        log.position(),
    )))
}

fn body_of(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

/// Stores a response under its path.
fn fill(store: &MemoryStore, path: &str, body: usize) {
    let stored = response(
        store.log(),
        path,
        &HeaderMap::new(),
        fresh_for(60),
        body_of(body),
    );
    assert!(matches!(
        store.put(key(path), stored),
        MaybeReady::Now(Ok(()))
    ));
}

fn found(store: &MemoryStore, path: &str) -> bool {
    match store.get(key(path).borrow()) {
        MaybeReady::Now(Ok(found)) => found.is_some(),
        other => panic!("memory answers at once and without an error: {other:?}"),
    }
}

/// Sweeps to the end of the round.
fn sweep(store: &MemoryStore) {
    while store.sweep() {}
}

#[test]
fn what_is_stored_is_counted_until_it_is_removed() {
    let store = MemoryStore::new(MIB);
    fill(&store, "/a", 1_000);
    let usage = store.usage();
    assert_eq!((usage.entries, usage.evictions), (1, 0));
    assert!((1_200..2_000).contains(&usage.bytes), "{usage:?}");
    fill(&store, "/a", 0);
    assert_eq!(store.usage().bytes, usage.bytes - 1_000);
    assert!(matches!(
        store.remove(key("/a").borrow()),
        MaybeReady::Now(Ok(()))
    ));
    assert_eq!((store.usage().entries, store.usage().bytes), (0, 0));
}

/// A million keys that nobody asks for again (ten million show no more): the store stays within its
/// bound, and keeps what is asked for now and then.
#[test]
fn a_flood_of_keys_neither_exceeds_the_bound_nor_displaces_what_is_used() {
    let store = MemoryStore::new(4 * MIB);
    let used: Vec<String> = (0..500).map(|n| format!("/used/{n}")).collect();
    for path in used.iter().cycle().take(2_000) {
        if !found(&store, path) {
            fill(&store, path, 100);
        }
    }
    let flood = 1_000_000;
    for n in 0..flood {
        fill(&store, &format!("/flood/{n}"), 100);
        if n % 100 == 0 {
            found(&store, &used[n / 100 % used.len()]);
        }
        if n % 1_000 == 0 {
            let usage = store.usage();
            assert!(usage.bytes <= usage.capacity, "{usage:?}");
        }
    }
    let usage = store.usage();
    assert_eq!(usage.entries + usage.evictions, flood as u64 + 500);
    let kept = used.iter().filter(|path| found(&store, path)).count();
    assert!(kept > 450, "{kept} of 500 were kept");
}

#[test]
fn an_overwritten_entry_is_not_an_eviction() {
    let store = MemoryStore::new(MIB);
    (0..100_000).for_each(|n| fill(&store, "/a", n % 1_000));
    assert_eq!((store.usage().entries, store.usage().evictions), (1, 0));
}

#[test]
fn an_entry_over_an_eighth_of_the_store_is_not_kept_nor_what_it_replaces() {
    let store = MemoryStore::new(800_000);
    fill(&store, "/a", 99_000);
    assert!(found(&store, "/a"));
    fill(&store, "/a", 100_000);
    assert!(!found(&store, "/a"));
    assert_eq!(store.usage().evictions, 0);
}

#[test]
fn the_largest_entry_fits_into_a_store_of_any_size() {
    for mib in [1, 8, 15, 16, 63, 64, 100, 256] {
        let store = MemoryStore::new(mib * MIB);
        let largest = (mib * MIB / 8).min(7 * MIB) - 1_000;
        fill(&store, "/a", largest);
        assert!(found(&store, "/a"), "{mib} MiB");
    }
    for (mib, largest) in [(256, 32), (256, 10), (100, 9), (64, 1)] {
        let builder = MemoryStore::builder()
            .max_bytes(mib * MIB)
            .largest_entry(largest * MIB);
        let store = builder.build().unwrap();
        fill(&store, "/a", largest * MIB - 1_000);
        assert!(found(&store, "/a"), "{largest} of {mib} MiB");
    }
}

#[test]
fn an_entry_limit_over_an_eighth_of_the_store_is_an_error() {
    let builder = MemoryStore::builder().max_bytes(64 * MIB);
    let error = builder.largest_entry(9 * MIB).build().unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Config);
    assert!(error.to_string().contains("at most 8388608"), "{error}");
}

#[test]
fn keys_spread_evenly_over_shards() {
    let mut shards = [0; 9];
    for n in 0..90_000 {
        let hash = key(&n.to_string()).borrow().hash64();
        shards[shard::index(hash, shards.len())] += 1;
    }
    assert!(
        shards.iter().all(|keys| (9_500..10_500).contains(keys)),
        "{shards:?}"
    );
    assert_eq!(shard::index(u64::MAX, 9), 8);
    assert_eq!(shard::index(0, 9), 0);
}

#[test]
fn sweeping_reclaims_what_was_invalidated_and_nothing_else() {
    let store = MemoryStore::new(64 * MIB);
    for n in 0..1_000 {
        fill(&store, &format!("/a/{n}"), 10);
        fill(&store, &format!("/b/{n}"), 10);
    }
    let pattern = Invalidation::pattern("/a/**".parse().unwrap());
    store
        .log()
        .append(&[pattern, Invalidation::uri("/b/7").soft()]);
    fill(&store, "/a/made-since", 10);
    sweep(&store);
    assert_eq!(store.usage().entries, 1_001);
    assert!(found(&store, "/a/made-since") && !found(&store, "/a/1"));
    // It may still be served stale.
    assert!(found(&store, "/b/7"));
    assert_eq!(store.usage().evictions, 0);
}

#[test]
fn an_invalidation_in_the_middle_of_a_round_is_swept_in_the_same() {
    let store = MemoryStore::new(64 * MIB);
    (0..2_000).for_each(|n| fill(&store, &n.to_string(), 10));
    for _ in 0..4 {
        assert!(store.sweep());
    }
    store.log().append(&[Invalidation::everything()]);
    sweep(&store);
    assert_eq!(store.usage().entries, 0);
}

#[test]
fn a_step_of_sweeping_is_bounded() {
    let store = MemoryStore::new(64 * MIB);
    (0..10_000).for_each(|n| fill(&store, &n.to_string(), 10));
    store.log().append(&[Invalidation::everything()]);
    let mut left = store.usage().entries;
    while store.sweep() {
        let now = store.usage().entries;
        assert!(left - now <= 256, "{left} entries became {now}");
        left = now;
    }
}

/// Past use: neither fresh (RFC 9111 §4.2), nor to be served stale (RFC 5861 §3, §4), nor worth
/// validating (RFC 9111 §4.3).
#[test]
fn sweeping_reclaims_what_is_past_use() {
    let (etag, date) = (
        HeaderValue::from_static("\"1\""),
        "Tue, 15 Nov 1994 12:45:26 GMT",
    );
    let with_etag = HeaderMap::from_iter([(ETAG, etag)]);
    let with_date = HeaderMap::from_iter([(LAST_MODIFIED, HeaderValue::from_static(date))]);
    let none = HeaderMap::new();
    let stale = |swr, sie| Times {
        stale_while_revalidate: Duration::from_secs(swr),
        stale_if_error: Duration::from_secs(sie),
        ..fresh_for(100)
    };
    let aged = Times {
        initial_age: Duration::from_secs(90),
        ..fresh_for(100)
    };
    let forever = Times {
        lifetime: Duration::MAX,
        ..stale(60, 60)
    };
    // Headers, times, and the seconds after which the response is past use.
    let cases = [
        (&none, fresh_for(0), Some(0)),
        (&none, fresh_for(100), Some(100)),
        (&none, stale(30, 0), Some(130)),
        (&none, stale(30, 50), Some(150)),
        (&none, aged, Some(10)),
        (&with_etag, fresh_for(100), Some(100 + 600)),
        (&with_date, fresh_for(100), Some(100 + 600)),
        (&with_etag, fresh_for(1_000), Some(1_000 + 1_000)),
        (&with_etag, fresh_for(100_000), Some(100_000 + 86_400)),
        (&with_etag, forever, None),
        (&none, forever, None),
    ];
    for (headers, times, expected) in cases {
        let clock = crate::clock::ManualClock::new();
        let builder = MemoryStore::builder().clock(clock.clock());
        let store = builder.build().unwrap();
        let received = clock.clock().instant();
        let times = Times { received, ..times };
        let stored = response(store.log(), "/a", headers, times, Bytes::new());
        assert!(matches!(
            store.put(key("/a"), stored),
            MaybeReady::Now(Ok(()))
        ));
        let Some(expected) = expected else {
            clock.advance(Duration::from_secs(10_000_000_000));
            sweep(&store);
            assert!(found(&store, "/a"), "{times:?}");
            continue;
        };
        if let Some(before) = Duration::from_secs(expected).checked_sub(Duration::from_nanos(1)) {
            clock.advance(before);
            sweep(&store);
            assert!(found(&store, "/a"), "{times:?} is of use for {expected} s");
            clock.advance(Duration::from_nanos(1));
        }
        sweep(&store);
        assert!(
            !found(&store, "/a"),
            "{times:?} is past use after {expected} s"
        );
    }
}

#[test]
fn a_list_of_variants_goes_when_none_of_them_is_left() {
    let store = MemoryStore::new(64 * MIB);
    let variant = |name| Variant {
        key: key(name),
        any_language: None,
        etag: None,
        content_language: None,
    };
    let variants = Variants {
        names: vec![http::header::ACCEPT_LANGUAGE],
        known: vec![variant("/a de"), variant("/a fr")],
    };
    let put = store.put(key("/a"), Stored::Variants(Arc::new(variants)));
    assert!(matches!(put, MaybeReady::Now(Ok(()))));
    fill(&store, "/a fr", 10);
    sweep(&store);
    assert!(found(&store, "/a"));
    assert!(matches!(
        store.remove(key("/a fr").borrow()),
        MaybeReady::Now(Ok(()))
    ));
    sweep(&store);
    assert!(!found(&store, "/a"));
}

#[test]
fn a_store_without_room_keeps_nothing() {
    for bytes in [0, 1, 500] {
        let store = MemoryStore::new(bytes);
        fill(&store, "/a", 10);
        assert!(!found(&store, "/a"));
        assert!(!store.sweep());
        assert_eq!(store.usage().bytes, 0);
    }
}
