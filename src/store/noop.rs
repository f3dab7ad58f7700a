use std::time::Duration;

use super::{MaybeReady, Store, Stored, Usage};
use crate::error::Error;
use crate::invalidate::Log;
use crate::key::{Key, KeyRef};

/// A store that keeps nothing.
///
/// Every request is a miss, yet misses for the same key at the same time still share one handler
/// call, and invalidations still end such sharing.
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

    /// Every counter is given up at once.
    fn increment(&self, _: KeyRef<'_>, by: i64, _: Duration) -> MaybeReady<Result<i64, Error>> {
        MaybeReady::Now(Ok(by))
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
