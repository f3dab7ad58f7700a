//! The trait of every store.

use std::fmt;

use super::counter_store::CounterStore;
use super::fill_lease::FillLease;
use super::health::StoreHealth;
use super::maybe_ready::MaybeReady;
use super::shared_log::SharedLog;
use super::stored::Stored;
use super::usage::Usage;
use crate::entry::StoredResponse;
use crate::error::Error;
use crate::invalidate::Log;
use crate::key::{Key, KeyRef};

/// A home for stored responses, and for the handlers' own values.
///
/// A store is a map from [`Key`] to [`Stored`] beside a [`Log`] of invalidations. It decides what to
/// keep and for how long at most. It never decides that a response is too old: the layer judges that
/// for every store alike, from the log and the position that each stored response carries.
///
/// Five methods are required. The others have defaults that are right for a store which no other
/// process shares. A store that several nodes share also implements [`SharedLog`], and returns it
/// from [`shared_log`](Self::shared_log). A store that counts returns a [`CounterStore`].
///
/// # Contract
///
/// - [`get`](Self::get) answers with what was [`put`](Self::put) under exactly that key, or with
///   nothing. Losing entries is always allowed. Changing or mixing them never is.
/// - When [`SharedLog::invalidate`] has answered `Ok`, [`log`](Self::log) holds the invalidation. So
///   does the log of every other node once a `get` that began later has answered there.
/// - No call blocks the thread. A call that takes time answers [`MaybeReady::Later`]. The layer bounds
///   the time it waits for a store.
///
/// `testing::store_contract` checks a store of your own against this.
///
/// # Errors
///
/// A store that fails never fails a request: the layer counts the error and calls the handler. Only
/// calls by hand on a [`CacheHandle`](crate::CacheHandle) report it.
///
/// # Cancel safety
///
/// The layer drops a future when its deadline has passed or the request goes away, and a store must
/// not be the worse for it. Futures of [`SharedLog::invalidate`], and of what the layer stores behind
/// a response, run to their end.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Looks up what is stored under a key, and brings [`log`](Self::log) up to date with every
    /// invalidation that was acknowledged before the call.
    ///
    /// Every request that may be answered from the store makes this call, so its cost is the cost of a
    /// hit.
    ///
    /// # Errors
    ///
    /// Fails where it is unknown what is stored, or what was invalidated.
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>>;

    /// Stores a value under a key, in place of what was there.
    ///
    /// A store that does not keep the value must not keep the old one either, unless it cannot tell.
    ///
    /// # Errors
    ///
    /// Fails where the value may not have been stored. A store that leaves a value out on purpose, for
    /// capacity or because it is too large, answers `Ok`.
    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>>;

    /// Removes what is stored under a key.
    ///
    /// # Errors
    ///
    /// Fails where it may still be stored.
    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>>;

    /// Looks up several keys, and returns what is stored in their order.
    ///
    /// The default looks all of them up at the same time, which is one round trip for a store that
    /// pipelines concurrent calls on one connection.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), for all of them together.
    fn get_many(&self, keys: &[KeyRef<'_>]) -> MaybeReady<Result<Vec<Option<Stored>>, Error>> {
        MaybeReady::all(keys.iter().map(|key| self.get(*key)))
    }

    /// Stores several values.
    ///
    /// The default stores all of them at the same time.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put). Some of the values may have been stored.
    fn put_many(&self, entries: Vec<(Key, Stored)>) -> MaybeReady<Result<(), Error>> {
        let put = |(key, stored)| self.put(key, stored);
        MaybeReady::all(entries.into_iter().map(put)).done()
    }

    /// Removes what is stored under several keys.
    ///
    /// The default removes all of them at the same time.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove). Some of the entries may be left.
    fn remove_many(&self, keys: &[KeyRef<'_>]) -> MaybeReady<Result<(), Error>> {
        MaybeReady::all(keys.iter().map(|key| self.remove(*key))).done()
    }

    /// Returns this node's log of invalidations. Verdicts are read from it.
    ///
    /// It is the same log for as long as the store lives. Every hit asks for it, so it has to be at
    /// hand.
    fn log(&self) -> &Log;

    /// Returns the log that all nodes share: invalidations are recorded through it.
    ///
    /// The default is [`log`](Self::log), which is right for a store that no other process shares.
    /// Another one has to record everything in [`log`](Self::log) as well.
    fn shared_log(&self) -> &dyn SharedLog {
        self.log()
    }

    /// Returns the counters of this store, if it has any.
    ///
    /// The default has none, and making counters over such a store fails.
    fn counters(&self) -> Option<&dyn CounterStore> {
        None
    }

    /// Asks which node makes the fetch for a key.
    ///
    /// The layer asks for each fetch that others may wait for, and again while the answer is
    /// [`FillLease::Pending`], for as long as the policy lets requests
    /// [wait](crate::Policy::max_wait). Each answer has the store's
    /// [deadline](crate::CacheLayerBuilder::store_deadline). The default does not coordinate nodes:
    /// each makes its own fetch. A store that cannot tell answers [`FillLease::Unshared`].
    fn claim(&self, key: KeyRef<'_>) -> MaybeReady<FillLease> {
        let _ = key;
        MaybeReady::Now(FillLease::Unshared)
    }

    /// Reclaims the room of stored responses that nothing may serve any more, and returns whether
    /// there is more to do.
    ///
    /// The layer calls this from a background task soon after an invalidation, and occasionally
    /// besides. Each call does a bounded piece of work. The default does nothing.
    fn sweep(&self) -> bool {
        false
    }

    /// Shows every stored response with its key to a visitor, and returns whether this store can do
    /// that.
    ///
    /// For inspection by hand. It may take long; what is stored or removed meanwhile may be shown or
    /// not. The default shows nothing and returns `false`.
    fn visit(&self, visitor: &mut dyn FnMut(KeyRef<'_>, &StoredResponse)) -> bool {
        let _ = visitor;
        false
    }

    /// Returns how much is stored.
    ///
    /// A store that would have to count returns zeros instead.
    fn usage(&self) -> Usage;

    /// Returns how well this store works, from what it knows already, without asking anybody.
    ///
    /// The default is that of a store that cannot fail.
    fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }
}
