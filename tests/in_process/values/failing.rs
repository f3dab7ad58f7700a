//! A store that fails, stalls, or takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tower_response_cache::{
    CacheHandle, CacheLayer, CounterStore, Error, ErrorKind, Invalidation, Key, KeyRef, Log,
    MaybeReady, MemoryStore, SharedLog, Store, Stored, Usage,
};

use super::found;
use crate::support::{Gate, settle};

const DEADLINE: Duration = Duration::from_millis(50);
const WHILE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Mood {
    Prompt,
    Failing,
    FailingLater,
    Stalled,
    Slow,
}

/// A memory store with moods.
#[derive(Clone, Debug)]
struct Moody {
    memory: Arc<MemoryStore>,
    mood: Arc<AtomicU8>,
    calls: Arc<AtomicUsize>,
}

impl Moody {
    fn new() -> Self {
        Self {
            memory: Arc::default(),
            mood: Arc::default(),
            calls: Arc::default(),
        }
    }

    fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn answer<T: Send + 'static>(
        &self,
        act: impl FnOnce(&MemoryStore) -> MaybeReady<Result<T, Error>> + Send + 'static,
    ) -> MaybeReady<Result<T, Error>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let gone = || Err(Error::store("gone"));
        let mood = self.mood.load(Ordering::SeqCst);
        if mood == Mood::Prompt as u8 {
            return act(&self.memory);
        } else if mood == Mood::Failing as u8 {
            return MaybeReady::Now(gone());
        }
        let memory = self.memory.clone();
        MaybeReady::Later(Box::pin(async move {
            if mood == Mood::Stalled as u8 {
                std::future::pending::<()>().await;
            } else if mood == Mood::FailingLater as u8 {
                return gone();
            }
            tokio::time::sleep(WHILE).await;
            act(&memory).get().await
        }))
    }
}

impl Store for Moody {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        let key = key.to_owned();
        self.answer(move |memory| memory.get(key.borrow()))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.answer(move |memory| memory.put(key, stored))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        let key = key.to_owned();
        self.answer(move |memory| memory.remove(key.borrow()))
    }

    fn log(&self) -> &Log {
        self.memory.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn counters(&self) -> Option<&dyn CounterStore> {
        Some(self)
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }
}

impl CounterStore for Moody {
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>> {
        let key = key.to_owned();
        self.answer(move |memory| memory.increment(key.borrow(), by, ttl))
    }

    fn reset(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        let key = key.to_owned();
        self.answer(move |memory| memory.reset(key.borrow()))
    }
}

impl SharedLog for Moody {
    fn invalidate(&self, what: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        let what = what.to_vec();
        self.answer(move |memory| memory.log().invalidate(&what))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}

fn cache() -> (CacheHandle, Moody) {
    let store = Moody::new();
    let layer = CacheLayer::builder().store(store.clone());
    (layer.build().unwrap().handle(), store)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_stalls_makes_no_closure_fail() {
    let (handle, store) = cache();
    let numbers = handle.values::<u32>("numbers");
    numbers.set("n", &1).await.unwrap();
    for mood in [Mood::Failing, Mood::FailingLater, Mood::Stalled] {
        store.set(mood);
        let began = Instant::now();
        let made = numbers
            .get_or_insert_with("n", async || Ok::<_, ()>(2))
            .await;
        assert_eq!(made, Ok(2), "{mood:?}");
        assert!(
            began.elapsed() <= DEADLINE + Duration::from_millis(1),
            "{mood:?}"
        );
        let failed = numbers
            .get_or_insert_with("n", async || Err::<u32, _>("no"))
            .await;
        assert_eq!(failed, Err("no"));
    }
    store.set(Mood::Prompt);
    assert_eq!(found(&numbers, "n").await, Some(1));
    assert_eq!(numbers.stats().store_errors, 6);
    assert_eq!(handle.stats().store_errors, 6);
}

#[tokio::test(start_paused = true)]
async fn all_else_says_that_the_store_failed_and_says_so_in_time() {
    let (handle, store) = cache();
    let numbers = handle.values::<u32>("numbers");
    let counters = handle.counters("numbers").unwrap();
    for mood in [Mood::Failing, Mood::FailingLater, Mood::Stalled] {
        store.set(mood);
        let began = Instant::now();
        let errors = [
            numbers.get("n").await.unwrap_err(),
            numbers.get_many(["n", "m"]).await.unwrap_err(),
            numbers.set("n", &1).await.unwrap_err(),
            numbers.set_many([("n", 1), ("m", 2)]).await.unwrap_err(),
            numbers.remove("n").await.unwrap_err(),
            numbers.remove_matching("n*").await.unwrap_err(),
            counters.increment("n", 1).await.unwrap_err(),
            counters.reset("n").await.unwrap_err(),
        ];
        let most = DEADLINE * errors.len() as u32 + Duration::from_millis(10);
        assert!(began.elapsed() <= most, "{mood:?}: {:?}", began.elapsed());
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Store, "{error:?}");
        }
    }
    assert_eq!(numbers.stats().store_errors, 24);
    assert_eq!(numbers.stats().hits + numbers.stats().misses, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_its_time_keeps_values_all_the_same() {
    let (handle, store) = cache();
    store.set(Mood::Slow);
    let numbers = handle.values::<u32>("numbers");
    numbers.set_many([("a", 1), ("b", 2)]).await.unwrap();
    let got = numbers.get_many(["b", "c", "a"]).await.unwrap();
    assert_eq!(got, [Some(2), None, Some(1)]);
    assert_eq!(found(&numbers, "a").await, Some(1));
    numbers.remove("a").await.unwrap();
    assert_eq!(found(&numbers, "a").await, None);
    let counters = handle.counters("numbers").unwrap();
    assert_eq!(counters.increment("n", 2).await.unwrap(), 2);
    assert_eq!(counters.increment("n", 0).await.unwrap(), 2);
    let made = numbers
        .get_or_insert_with("c", async || Ok::<_, ()>(3))
        .await;
    assert_eq!(made, Ok(3));
    tokio::time::sleep(WHILE * 2).await;
    assert_eq!(found(&numbers, "c").await, Some(3));
}

/// While the store takes its time to store a value, those who come are given it by the flight.
#[tokio::test(start_paused = true)]
async fn a_value_on_its_way_into_the_store_is_not_made_again() {
    let (handle, store) = cache();
    store.set(Mood::Slow);
    let numbers = handle.values::<u32>("numbers");
    let calls = Arc::new(AtomicUsize::new(0));
    let ask = |gate: Gate| {
        let (numbers, calls) = (numbers.clone(), calls.clone());
        tokio::spawn(async move {
            let make = async || {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                gate.wait().await;
                Ok::<_, ()>(call as u32)
            };
            numbers.get_or_insert_with("n", make).await
        })
    };
    let gate = Gate::shut();
    let first = ask(gate.clone());
    tokio::time::sleep(WHILE * 2).await;
    let second = ask(gate.clone());
    // It has looked in vain when the first one's value sets out.
    tokio::time::sleep(WHILE / 2).await;
    gate.open();
    settle().await;
    assert_eq!(first.await.unwrap(), Ok(0));
    assert_eq!(second.await.unwrap(), Ok(0));
    tokio::time::sleep(WHILE * 4).await;
    assert_eq!(found(&numbers, "n").await, Some(0));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// What the store does with an invalidation is done to its end, though nobody waits for that.
#[tokio::test(start_paused = true)]
async fn a_removal_that_nobody_waits_for_is_made_all_the_same() {
    let (handle, store) = cache();
    let numbers = handle.values::<u32>("numbers");
    numbers.set("n", &1).await.unwrap();
    store.set(Mood::Slow);
    let removed = tokio::time::timeout(WHILE / 2, numbers.remove("n")).await;
    assert!(removed.is_err());
    tokio::time::sleep(WHILE).await;
    store.set(Mood::Prompt);
    assert_eq!(found(&numbers, "n").await, None);
}

/// A store by someone who knows neither of counters nor of many keys at once.
#[derive(Debug, Default)]
struct Plain(MemoryStore);

impl Store for Plain {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.0.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.0.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.0.remove(key)
    }

    fn log(&self) -> &Log {
        self.0.log()
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}

#[tokio::test]
async fn a_store_without_counters_says_so_when_they_are_made() {
    let layer = CacheLayer::builder().store(Plain::default());
    let handle = layer.build().unwrap().handle();
    let numbers = handle.values::<u32>("numbers");
    let refused = handle.counters("numbers").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert_eq!(refused.to_string(), "this store has no counters");
    numbers.set_many([("a", 1), ("b", 2)]).await.unwrap();
    let got = numbers.get_many(["a", "b"]).await.unwrap();
    assert_eq!(got, [Some(1), Some(2)]);
}
