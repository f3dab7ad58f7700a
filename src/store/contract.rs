//! The trait of every store.

use std::fmt;
use std::time::Duration;

use super::fill_lease::Claim;
use super::health::StoreHealth;
use super::maybe_ready::MaybeReady;
use super::stored::Stored;
use super::usage::Usage;
use crate::entry::StoredResponse;
use crate::error::Error;
use crate::invalidate::{Invalidation, Log};
use crate::key::{Key, KeyRef};

/// A home for stored responses, and for the handlers' own values.
///
/// A store is a map from [`Key`] to [`Stored`] beside a [`Log`] of invalidations. It decides what to
/// keep and for how long at the most, but never whether a response is too old: that is judged by
/// the layer, for every store alike, from the position each stored response carries and the log.
///
/// What a store must keep to:
///
/// - [`get`](Self::get) answers with what was [`put`](Self::put) under exactly that key, or with
///   nothing. Losing entries is always allowed; changing or mixing them never is.
/// - When [`invalidate`](Self::invalidate) has answered `Ok`, the log that [`log`](Self::log)
///   returns holds the invalidation, and so does the log of every other node once a `get` that
///   began later has answered there.
/// - No call blocks the thread. What takes time answers [`MaybeReady::Later`]. The layer bounds the
///   time it waits for a store.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Looks up what is stored under a key, and brings [`log`](Self::log) up to date with every
    /// invalidation that was acknowledged before the call.
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>>;

    /// Stores a value under a key, in place of what was there.
    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>>;

    /// Removes what is stored under a key.
    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>>;

    /// Looks up several keys, and answers in their order.
    ///
    /// The default looks all of them up at the same time, which is one turn for a store that sends what
    /// it is asked together on one connection.
    fn get_many(&self, keys: &[KeyRef<'_>]) -> MaybeReady<Result<Vec<Option<Stored>>, Error>> {
        MaybeReady::all(keys.iter().map(|key| self.get(*key)))
    }

    /// Stores several values. Where this fails, some of them may have been stored.
    ///
    /// The default stores all of them at the same time.
    fn put_many(&self, entries: Vec<(Key, Stored)>) -> MaybeReady<Result<(), Error>> {
        let put = |(key, stored)| self.put(key, stored);
        MaybeReady::all(entries.into_iter().map(put)).done()
    }

    /// Removes what is stored under several keys. Where this fails, some of them may be left.
    ///
    /// The default removes all of them at the same time.
    fn remove_many(&self, keys: &[KeyRef<'_>]) -> MaybeReady<Result<(), Error>> {
        MaybeReady::all(keys.iter().map(|key| self.remove(*key))).done()
    }

    /// Adds to the counter of a key, in one step that no other can come between, and returns its new
    /// count.
    ///
    /// A counter that is not there, or has ended, counts from zero, and then ends after `ttl`, which
    /// later additions do not prolong; [`Duration::MAX`] is for ever. Adding zero stores nothing: it
    /// tells the count, or zero. The time is the store's own. A counter is no [`Stored`]:
    /// [`get`](Self::get) does not find it, no invalidation ends it, [`remove`](Self::remove) removes
    /// it, and like everything else it may be given up for lack of room.
    ///
    /// With Redis this is, under the name that the key's digest gives it, one script of `INCRBY` and,
    /// for a counter that was not there before, `PEXPIRE`; and for zero a `GET`. What an answer did not
    /// come for may have been added all the same.
    ///
    /// # Errors
    ///
    /// The default fails: this store does not count. So does what would not fit into 64 bits, and
    /// leaves the counter as it was.
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>> {
        let _ = (key, by, ttl);
        MaybeReady::Now(Err(Error::store("this store has no counters")))
    }

    /// Returns this node's copy of the log of invalidations.
    fn log(&self) -> &Log;

    /// Brings [`log`](Self::log) up to date with every invalidation that was acknowledged before the
    /// call, as [`get`](Self::get) does, without looking anything up.
    ///
    /// The default is right for a store that no other process shares.
    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }

    /// Records invalidations: in the log of this node and, where the store is shared, in the log
    /// that the other nodes read.
    ///
    /// From this call on, and also if it fails in the end, nothing that they match is used on this
    /// node: a store that takes its time has its [`log`](Self::log) record them first.
    ///
    /// The default is right for a store that no other process shares.
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        self.log().append(invalidations);
        MaybeReady::Now(Ok(()))
    }

    /// Returns how long [`invalidate`](Self::invalidate) takes its time on purpose, after all is
    /// recorded: for so much longer than its deadline the layer waits for it. By default not at all.
    fn ack_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Asks for the right to call the handler for a key, where several nodes agree on one that does.
    ///
    /// The layer asks once for each handler call that others may wait for. The default is right for a
    /// store that no other process shares.
    fn claim(&self, key: KeyRef<'_>) -> MaybeReady<Claim> {
        let _ = key;
        MaybeReady::Now(Claim::Granted(None))
    }

    /// Reclaims the room of stored responses that nothing may serve any more. The layer calls this
    /// from a background task soon after an invalidation, and now and then besides.
    ///
    /// Does a bounded piece of work and returns whether there is more to do.
    fn sweep(&self) -> bool {
        false
    }

    /// Shows every stored response with its key to a visitor, and returns whether this store can do
    /// that.
    ///
    /// For inspection by hand: it may take long, and what is stored or removed meanwhile may be shown
    /// or not. The default shows nothing and returns `false`.
    fn visit(&self, visitor: &mut dyn FnMut(KeyRef<'_>, &StoredResponse)) -> bool {
        let _ = visitor;
        false
    }

    /// Returns how much is stored.
    fn usage(&self) -> Usage;

    /// Returns how this store is, at once: from what it knows already, without asking anybody.
    ///
    /// The default is right for a store that cannot fail.
    fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }
}
