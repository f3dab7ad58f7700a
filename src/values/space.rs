//! One namespace, as far as bytes go: keys, lookups, and what is stored and removed.

use std::sync::Arc;
use std::time::Instant;

use crate::entry::StoredValue;
use crate::error::Error;
use crate::flight::Leader;
use crate::invalidate::{Invalidation, Position};
use crate::key::{Key, KeyBuilder, KeyRef};
use crate::mutant::{self, Mutant};
use crate::pattern::Namespace;
use crate::state::CacheState;
use crate::store::{MaybeReady, Stored};
use crate::target::Subject;
use crate::telemetry::{Operation, ValueCounts, ValueEvent, ValueStats};

/// How many keys a store is asked to change or to find at a time. It may have a bound of its own on what
/// is under way, and leave out what is over it.
pub(super) const TURN: usize = 128;

/// What the key of a counter begins with: it is another than that of a value.
const COUNTER: &str = "counter";

/// One namespace of a cache.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) cache: Arc<CacheState>,
    pub(super) name: Box<str>,
    pub(super) counts: Arc<ValueCounts>,
    namespace: Namespace,
}

/// What a value is stored under, and what it is invalidated by.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) key: Key,
    pub(super) subject: Subject,
}

impl Space {
    pub(super) fn new(cache: Arc<CacheState>, name: &str) -> Self {
        Self {
            counts: cache.value_counts.counts(name),
            namespace: Namespace::new(name),
            name: name.into(),
            cache,
        }
    }

    pub(super) fn address(&self, key: &str, tags: &[Box<str>]) -> Address {
        Address {
            key: self.key(key),
            subject: Subject::of_value(&self.namespace, key, tags),
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

    /// Asks for what other nodes have invalidated, and returns the position behind it.
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

    /// Has something changed in the store.
    pub(super) async fn change<T>(&self, answer: MaybeReady<Result<T, Error>>) -> Result<T, Error> {
        self.answer(Operation::Change, answer).await
    }

    pub(super) async fn find(&self, key: KeyRef<'_>) -> Result<Option<Arc<StoredValue>>, Error> {
        let found = self
            .answer(Operation::Get, self.cache.store.get(key))
            .await?;
        Ok(self.usable(found))
    }

    /// Looks several values up, and answers with one for each key.
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

    /// Looks a value up where that costs no waiting.
    pub(super) fn find_at_once(&self, key: KeyRef<'_>) -> Option<Arc<StoredValue>> {
        match self.cache.store.get(key) {
            MaybeReady::Now(Ok(found)) => self.usable(found),
            MaybeReady::Now(Err(_)) | MaybeReady::Later(_) => None,
        }
    }

    /// Takes what was found if it may be used now.
    pub(super) fn usable(&self, found: Option<Stored>) -> Option<Arc<StoredValue>> {
        match found? {
            Stored::Value(value)
                if mutant::is(Mutant::LookupVerdictSkipped)
                    || value.is_usable(self.cache.store.log(), self.now()) =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// Returns whether a value made since `position`, by a call that began at `began`, may be stored.
    pub(super) fn may_store(&self, stored: &StoredValue, began: Instant) -> bool {
        let log = self.cache.store.log();
        log.may_store(stored.position(), stored.subject(), began)
    }

    /// Stores values. What is useless at once takes the place of what was there by removing it.
    pub(super) async fn put(&self, entries: Vec<(Key, StoredValue)>) -> Result<(), Error> {
        for (key, _) in &entries {
            // A call that began before must not store what it brings over this.
            self.cache.value_flights.overtake(key);
        }
        let (useful, useless): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(_, value)| !value.lifetime().is_zero());
        self.counts.add(ValueEvent::Set, useful.len());
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

    /// Removes what is stored under some keys.
    async fn clear(&self, keys: &[KeyRef<'_>]) -> Result<(), Error> {
        for turn in keys.chunks(TURN) {
            self.change(self.cache.store.remove_many(turn)).await?;
        }
        Ok(())
    }

    /// Stores what a flight brought, unless another value has come since, or an invalidation.
    pub(super) fn record(
        &self,
        leader: Leader<Arc<StoredValue>>,
        key: Key,
        stored: &Arc<StoredValue>,
        began: Instant,
    ) {
        if stored.lifetime().is_zero()
            || mutant::is(Mutant::NothingStored)
            || !self.may_store(stored, began)
        {
            return;
        }
        let put = || self.cache.store.put(key, Stored::Value(stored.clone()));
        let Some(answer) = leader.record(put) else {
            return;
        };
        self.counts.add(ValueEvent::Set, 1);
        // Until then the flight is found, and can be joined.
        self.cache.in_background_with(answer, leader);
    }

    /// Has the values of some keys used no more, and gives back their room.
    pub(super) async fn remove(&self, keys: &[&str]) -> Result<(), Error> {
        let invalidations: Vec<_> = keys
            .iter()
            .map(|key| Invalidation::value(&self.namespace, key))
            .collect();
        self.invalidate(&invalidations).await?;
        let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let keys: Vec<_> = keys.iter().map(Key::borrow).collect();
        // A failure is counted, and no matter: what is left there is of no use to anyone.
        let _ = self.clear(&keys).await;
        Ok(())
    }

    pub(super) async fn remove_matching(&self, pattern: &str) -> Result<(), Error> {
        let invalidation = Invalidation::values(&self.namespace, pattern)?;
        self.invalidate(&[invalidation]).await
    }

    async fn invalidate(&self, what: &[Invalidation]) -> Result<(), Error> {
        let recorded = self.cache.invalidate(what).await;
        if recorded.is_err() {
            self.counts.add(ValueEvent::StoreError, 1);
        }
        recorded
    }

    /// Removes what could not be read.
    pub(super) fn discard(&self, key: KeyRef<'_>) {
        self.counts.add(ValueEvent::Unreadable, 1);
        self.cache.in_background(self.cache.store.remove(key));
    }
}
