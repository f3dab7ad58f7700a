//! Counters, for stores that have them.

use std::fmt;
use std::time::Duration;

use super::maybe_ready::MaybeReady;
use crate::error::Error;
use crate::key::KeyRef;

/// The counters of a store, from [`Store::counters`](crate::Store::counters).
///
/// A counter is no [`Stored`](crate::Stored): [`Store::get`](crate::Store::get) does not find it, and
/// no invalidation ends it. Like everything in a store it may be lost at any time, as by eviction for
/// capacity, and then counts from zero.
pub trait CounterStore: fmt::Debug + Send + Sync {
    /// Adds to the counter of a key in one atomic step, and returns its new count.
    ///
    /// A counter that is missing, or has ended, counts from zero and ends after `ttl`, by the store's
    /// clock. Later additions do not prolong it. [`Duration::MAX`] is forever. Adding zero stores
    /// nothing and returns the count, or zero.
    ///
    /// With Redis this is one script of `INCRBY` and, for a new counter, `PEXPIRE`, under the name
    /// that the key's digest gives it. Adding zero is a `GET`.
    ///
    /// # Errors
    ///
    /// Fails where the new count would not fit into 64 bits, and leaves the counter as it was. Where
    /// no answer came in time, the addition may have been made.
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>>;

    /// Ends the counter of a key. The next addition counts from zero.
    ///
    /// # Errors
    ///
    /// Fails where the store does. The counter may be left as it was.
    fn reset(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>>;
}
