//! One namespace of encoded values: its keys, its lookups, and its changes in the store.

use std::sync::Arc;
use std::time::Instant;

use crate::entry::StoredValue;
use crate::error::Error;
use crate::flight::Leader;
use crate::invalidate::{Invalidation, Position};
use crate::key::{Key, KeyBuilder, KeyRef};
use crate::pattern::Namespace;
use crate::state::CacheState;
use crate::store::{MaybeReady, Stored};
use crate::target::Subject;
use crate::telemetry::{Operation, ValueCounts, ValueEvent, ValueStats};

/// The most keys that one call to the store finds or changes. A store may bound the operations under way,
/// and drop those beyond it.
pub(super) const TURN: usize = 128;

/// The first part of a counter's key, which keeps it apart from a value's.
const COUNTER: &str = "counter";

/// One namespace of values in a cache.
#[derive(Debug)]
pub(super) struct ValueNamespace {
    pub(super) cache: Arc<CacheState>,
    pub(super) name: Box<str>,
    pub(super) counts: Arc<ValueCounts>,
    /// The name as patterns and invalidations spell it.
    name_in_patterns: Namespace,
}

/// The key of a value, and the subject by which it is invalidated.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) key: Key,
    pub(super) subject: Subject,
}

impl ValueNamespace {
    pub(super) fn new(cache: Arc<CacheState>, name: &str) -> Self {
        Self {
            counts: cache.value_counts.counts(name),
            name_in_patterns: Namespace::new(name),
            name: name.into(),
            cache,
        }
    }

    pub(super) fn address(&self, key: &str, tags: &[Box<str>]) -> Address {
        Address {
            key: self.key(key),
            subject: Subject::of_value(&self.name_in_patterns, key, tags),
        }
    }

    pub(super) fn key(&self, key: &str) -> Key {
        self.key_of(Namespace::KIND, key)
    }

    pub(super) fn counter_key(&self, key: &str) -> Key {
        self.key_of(COUNTER, key)
    }

    fn key_of(&self, kind: &str, key: &str) -> Key {
        let mut builder = KeyBuilder::default();
        builder
            .part(kind.as_bytes())
            .part(self.name.as_bytes())
            .part(key.as_bytes());
        builder.key().to_owned()
    }

    pub(super) fn stats(&self) -> ValueStats {
        self.counts.snapshot()
    }

    pub(super) fn now(&self) -> Instant {
        self.cache.clock.instant()
    }

    pub(super) fn position(&self) -> Position {
        self.cache.store.log().position()
    }

    /// Catches up with what other nodes have invalidated, and returns the position after it.
    pub(super) async fn latest_position(&self) -> Result<Position, Error> {
        self.answer(Operation::Get, self.cache.store.shared_log().catch_up())
            .await?;
        Ok(self.position())
    }

    /// Waits for the store, no longer than its deadline.
    pub(super) async fn answer<T>(
        &self,
        operation: Operation,
        answer: MaybeReady<Result<T, Error>>,
    ) -> Result<T, Error> {
        let answered = self.cache.bounded(operation, answer).await;
        if let Err(error) = &answered {
            self.counts.add(ValueEvent::StoreError, 1);
            self.cache.store_failed(operation, error);
        }
        answered
    }

    /// Waits for a change in the store.
    pub(super) async fn change<T>(&self, answer: MaybeReady<Result<T, Error>>) -> Result<T, Error> {
        self.answer(Operation::Change, answer).await
    }

    pub(super) async fn find(&self, key: KeyRef<'_>) -> Result<Option<Arc<StoredValue>>, Error> {
        let found = self
            .answer(Operation::Get, self.cache.store.get(key))
            .await?;
        Ok(self.usable(found))
    }

    /// Looks several values up, and returns one result per key.
    pub(super) async fn find_many(
        &self,
        keys: &[Key],
    ) -> Result<impl Iterator<Item = Option<Arc<StoredValue>>> + use<'_>, Error> {
        let asked = {
            let keys: Vec<_> = keys.iter().map(Key::borrow).collect();
            self.cache.store.get_many(&keys)
        };
        let found = self.answer(Operation::Get, asked).await?;
        let found = found.into_iter().chain(std::iter::repeat(None));
        Ok(found.map(|found| self.usable(found)))
    }

    /// Looks a value up if that needs no waiting.
    pub(super) fn find_at_once(&self, key: KeyRef<'_>) -> Option<Arc<StoredValue>> {
        match self.cache.store.get(key) {
            MaybeReady::Now(Ok(found)) => self.usable(found),
            MaybeReady::Now(Err(_)) | MaybeReady::Later(_) => None,
        }
    }

    /// Returns the value that was found if it may be used now.
    pub(super) fn usable(&self, found: Option<Stored>) -> Option<Arc<StoredValue>> {
        match found? {
            Stored::Value(value) if value.is_usable(self.cache.store.log(), self.now()) => {
                Some(value)
            }
            _ => None,
        }
    }

    /// Returns whether a value may be stored that was made by a call which began at `began`.
    pub(super) fn may_store(&self, stored: &StoredValue, began: Instant) -> bool {
        let log = self.cache.store.log();
        log.may_store(stored.position(), stored.subject(), began)
    }

    /// Stores values. A value without a lifetime replaces the previous one by removing it.
    pub(super) async fn put(&self, entries: Vec<(Key, StoredValue)>) -> Result<(), Error> {
        for (key, _) in &entries {
            // A call that began before must not overwrite this with its own value.
            self.cache.value_flights.overtake(key);
        }
        let (useful, useless): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(_, value)| !value.lifetime().is_zero());
        self.counts.add(ValueEvent::Set, useful.len());
        self.cache.keep_swept();
        if !useless.is_empty() {
            let keys: Vec<_> = useless.iter().map(|(key, _)| key.borrow()).collect();
            self.clear(&keys).await?;
        }
        let stored = |(key, value)| (key, Stored::Value(Arc::new(value)));
        let mut useful = useful.into_iter().map(stored);
        loop {
            let turn: Vec<_> = useful.by_ref().take(TURN).collect();
            if turn.is_empty() {
                return Ok(());
            }
            self.change(self.cache.store.put_many(turn)).await?;
        }
    }

    /// Removes the values stored under some keys.
    async fn clear(&self, keys: &[KeyRef<'_>]) -> Result<(), Error> {
        for turn in keys.chunks(TURN) {
            self.change(self.cache.store.remove_many(turn)).await?;
        }
        Ok(())
    }

    /// Stores the value of a flight, unless another value or an invalidation has come since.
    pub(super) fn record(
        &self,
        leader: Leader<Arc<StoredValue>>,
        key: Key,
        stored: &Arc<StoredValue>,
        began: Instant,
    ) {
        if stored.lifetime().is_zero() || !self.may_store(stored, began) {
            return;
        }
        let put = || self.cache.store.put(key, Stored::Value(stored.clone()));
        let Some(answer) = leader.record(put) else {
            return;
        };
        self.counts.add(ValueEvent::Set, 1);
        self.cache.keep_swept();
        // Until it is stored, the flight can be found and joined.
        self.cache.in_background_with(answer, leader);
    }

    /// Removes the values of some keys: invalidates them, then frees their memory.
    pub(super) async fn remove(&self, keys: &[&str]) -> Result<(), Error> {
        let invalidations: Vec<_> = keys
            .iter()
            .map(|key| Invalidation::value(&self.name_in_patterns, key))
            .collect();
        self.invalidate(&invalidations).await?;
        let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let keys: Vec<_> = keys.iter().map(Key::borrow).collect();
        // A failure is counted and does no harm: what remains is invalidated already.
        let _ = self.clear(&keys).await;
        Ok(())
    }

    pub(super) async fn remove_matching(&self, pattern: &str) -> Result<(), Error> {
        let invalidation = Invalidation::values(&self.name_in_patterns, pattern)?;
        self.invalidate(&[invalidation]).await
    }

    async fn invalidate(&self, what: &[Invalidation]) -> Result<(), Error> {
        let recorded = self.cache.invalidate(what).await;
        if recorded.is_err() {
            self.counts.add(ValueEvent::StoreError, 1);
        }
        recorded
    }

    /// Removes a value that could not be read.
    pub(super) fn discard(&self, key: KeyRef<'_>) {
        self.counts.add(ValueEvent::Unreadable, 1);
        self.cache.in_background(self.cache.store.remove(key));
    }
}
