//! One contract for every store: those of this crate, and one as a user might write it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tower_response_cache::testing::store_contract;
use tower_response_cache::{
    Answer, Error, Key, KeyRef, Log, MemoryStore, NoStore, Store, Stored, Usage,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_to_the_contract() {
    let store = async || MemoryStore::new(64 << 20);
    let report = store_contract::run(store).await;
    assert!(report.found > report.lookups / 2, "{report:?}");
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
    fn get(&self, key: KeyRef<'_>) -> Answer<Result<Option<Stored>, Error>> {
        let found = self.with(|shelf| shelf.get(key.as_bytes()).cloned());
        Answer::Later(Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(found)
        }))
    }

    fn put(&self, key: Key, stored: Stored) -> Answer<Result<(), Error>> {
        self.with(|shelf| shelf.insert(key.as_bytes().into(), stored));
        Answer::Now(Ok(()))
    }

    fn remove(&self, key: KeyRef<'_>) -> Answer<Result<(), Error>> {
        self.with(|shelf| shelf.remove(key.as_bytes()));
        Answer::Now(Ok(()))
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
