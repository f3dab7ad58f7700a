//! A store without any room.

use std::time::Duration;

use super::{CounterStore, MaybeReady, Store, Stored, Usage};
use crate::error::Error;
use crate::invalidate::Log;
use crate::key::{Key, KeyRef};

/// A store that keeps nothing.
///
/// Every request is a miss. Misses for the same key at the same time still share one handler call, and
/// invalidations still end such sharing.
#[derive(Debug, Default)]
pub struct NoStore {
    log: Log,
}

impl NoStore {
    /// Returns a store that keeps nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for NoStore {
    fn get(&self, _key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        MaybeReady::Now(Ok(None))
    }

    fn put(&self, _key: Key, _stored: Stored) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }

    fn remove(&self, _key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn counters(&self) -> Option<&dyn CounterStore> {
        Some(self)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Counters that are lost at once: each addition counts from zero.
impl CounterStore for NoStore {
    fn increment(&self, _: KeyRef<'_>, by: i64, _: Duration) -> MaybeReady<Result<i64, Error>> {
        MaybeReady::Now(Ok(by))
    }

    fn reset(&self, _: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}
