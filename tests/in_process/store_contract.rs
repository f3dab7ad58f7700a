//! One contract for every store: those of this crate, and one as a user might write it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tower_response_cache::testing::store_contract;
use tower_response_cache::{
    CounterStore, Error, Invalidation, Key, KeyRef, Log, MaybeReady, MemoryStore, NoStore,
    SharedLog, Store, Stored, Usage,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_to_the_contract() {
    let store = async || MemoryStore::new(64 << 20);
    let report = store_contract::run(store).await;
    assert!(report.found > report.lookups / 2, "{report:?}");
    assert!(report.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_store_with_hardly_any_room_keeps_to_the_contract() {
    for bytes in [0, 1, 4_096, 100_000] {
        store_contract::run(async || MemoryStore::new(bytes)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_nothing_keeps_to_the_contract() {
    let store = async || NoStore::new();
    assert_eq!(store_contract::run(store).await.found, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_ones_own_keeps_to_the_contract() {
    let store = async || Shelf::default();
    let report = store_contract::run(store).await;
    assert_eq!(report.found, report.lookups);
    assert!(!report.counts, "counters are left out there");
}

/// The plainest store there is: without a bound, and slow to answer.
#[derive(Debug, Default)]
struct Shelf {
    shelf: Mutex<HashMap<Box<[u8]>, Stored>>,
    log: Log,
}

impl Shelf {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Box<[u8]>, Stored>) -> T) -> T {
        act(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for Shelf {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        let found = self.with(|shelf| shelf.get(key.as_bytes()).cloned());
        MaybeReady::Later(Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(found)
        }))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.with(|shelf| shelf.insert(key.as_bytes().into(), stored));
        MaybeReady::Now(Ok(()))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.with(|shelf| shelf.remove(key.as_bytes()));
        MaybeReady::Now(Ok(()))
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "under another key of the same hash")]
async fn the_contract_catches_a_store_that_trusts_hashes() {
    store_contract::run(async || Careless::with(Fault::TrustsHashes)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "another body than was put")]
async fn the_contract_catches_a_store_that_keeps_the_first_of_two() {
    store_contract::run(async || Careless::with(Fault::KeepsTheFirst)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "found after it was removed")]
async fn the_contract_catches_a_store_that_does_not_remove() {
    store_contract::run(async || Careless::with(Fault::DoesNotRemove)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "does not hold an invalidation")]
async fn the_contract_catches_a_store_that_forgets_invalidations() {
    store_contract::run(async || Careless::with(Fault::ForgetsInvalidations)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "additions at the same time were lost")]
async fn the_contract_catches_a_store_that_counts_in_two_steps() {
    store_contract::run(async || Careless::with(Fault::CountsInTwoSteps)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "a counter that ends at once")]
async fn the_contract_catches_a_store_whose_counters_never_end() {
    store_contract::run(async || Careless::with(Fault::CountersNeverEnd)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "another body than was put")]
async fn the_contract_catches_a_store_that_answers_many_out_of_order() {
    store_contract::run(async || Careless::with(Fault::AnswersManyOutOfOrder)).await;
}

/// A store with one fault.
#[derive(Debug)]
struct Careless {
    fault: Fault,
    shelf: Mutex<HashMap<Box<[u8]>, Stored>>,
    counters: Arc<Mutex<HashMap<Box<[u8]>, i64>>>,
    log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    TrustsHashes,
    KeepsTheFirst,
    DoesNotRemove,
    ForgetsInvalidations,
    CountsInTwoSteps,
    CountersNeverEnd,
    AnswersManyOutOfOrder,
}

impl Careless {
    fn with(fault: Fault) -> Self {
        Self {
            fault,
            shelf: Mutex::default(),
            counters: Arc::default(),
            log: Log::default(),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Stored>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, key: KeyRef<'_>) -> Box<[u8]> {
        match self.fault {
            Fault::TrustsHashes => key.hash64().to_le_bytes().into(),
            _ => key.as_bytes().into(),
        }
    }
}

impl Store for Careless {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        MaybeReady::Now(Ok(self.shelf().get(&self.name(key)).cloned()))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        let name = self.name(key.borrow());
        if self.fault == Fault::KeepsTheFirst {
            self.shelf().entry(name).or_insert(stored);
        } else {
            self.shelf().insert(name, stored);
        }
        MaybeReady::Now(Ok(()))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        if self.fault != Fault::DoesNotRemove {
            self.shelf().remove(&self.name(key));
        }
        MaybeReady::Now(Ok(()))
    }

    fn get_many(&self, keys: &[KeyRef<'_>]) -> MaybeReady<Result<Vec<Option<Stored>>, Error>> {
        let mut found: Vec<_> = {
            let shelf = self.shelf();
            let get = |key: &KeyRef<'_>| shelf.get(&self.name(*key)).cloned();
            keys.iter().map(get).collect()
        };
        if self.fault == Fault::AnswersManyOutOfOrder {
            found.reverse();
        }
        MaybeReady::Now(Ok(found))
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn counters(&self) -> Option<&dyn CounterStore> {
        Some(self)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl SharedLog for Careless {
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        if self.fault != Fault::ForgetsInvalidations {
            self.log.append(invalidations);
        }
        MaybeReady::Now(Ok(()))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}

impl CounterStore for Careless {
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>> {
        let (counters, key): (_, Box<[u8]>) = (self.counters.clone(), key.as_bytes().into());
        let mut held = self.counters.lock().unwrap();
        let count = held.get(&key).copied().unwrap_or(0);
        let Some(sum) = count.checked_add(by) else {
            return MaybeReady::Now(Err(Error::store("too much")));
        };
        let ends_at_once = ttl.is_zero() && count == 0 && self.fault != Fault::CountersNeverEnd;
        if by != 0 && !ends_at_once && self.fault != Fault::CountsInTwoSteps {
            held.insert(key, sum);
            return MaybeReady::Now(Ok(sum));
        }
        drop(held);
        MaybeReady::Later(Box::pin(async move {
            tokio::task::yield_now().await;
            if by != 0 && !ends_at_once {
                counters.lock().unwrap().insert(key, sum);
            }
            Ok(sum)
        }))
    }

    fn reset(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.counters.lock().unwrap().remove(key.as_bytes());
        MaybeReady::Now(Ok(()))
    }
}
