//! Where stored responses and values live: the [`Store`] trait and its homes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "redis")]
use std::time::Instant;

use futures_util::future::join_all;

use crate::entry::{StoredResponse, StoredValue, Variants};
use crate::error::Error;
#[cfg(feature = "redis")]
use crate::invalidate::Verdict;
use crate::invalidate::{Invalidation, Log};
use crate::key::{Key, KeyRef};

mod health;
mod memory;
mod noop;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "redis")]
mod tiered;

pub use health::{StoreHealth, StoreState};
pub use memory::{MemoryStore, MemoryStoreBuilder};
pub use noop::NoStore;
#[cfg(feature = "redis")]
pub use redis::{RedisStore, RedisStoreBuilder};
#[cfg(feature = "redis")]
pub use tiered::{NearCache, TieredStore, TieredStoreBuilder};

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

/// What a store keeps under one key.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A response.
    Response(Arc<StoredResponse>),
    /// The names of the request fields that select among several responses, each of which is
    /// stored under a key of its own
    /// ([RFC 9111 §4.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.1)).
    Variants(Arc<Variants>),
    /// A value of a handler's own, which is not an HTTP response. Its key is never a request's.
    Value(Arc<StoredValue>),
}

impl Stored {
    /// Returns about how many bytes this takes in memory, headers, body and overhead together,
    /// without its key.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Response(response) => response.size(),
            Self::Variants(variants) => variants.size(),
            Self::Value(value) => value.size(),
        }
    }

    /// Whether no invalidation stands against this.
    #[cfg(feature = "redis")]
    fn is_valid(&self, log: &Log) -> bool {
        match self {
            Self::Response(response) => response.verdict(log) != Verdict::Invalid,
            Self::Value(value) => value.verdict(log) == Verdict::Valid,
            Self::Variants(_) => true,
        }
    }

    /// Whether there is no need to look for a newer one, such as another node may have stored.
    #[cfg(feature = "redis")]
    fn is_of_use(&self, log: &Log, now: Instant) -> bool {
        let fresh = match self {
            Self::Response(response) => response.stale_by(now).is_none(),
            Self::Value(value) => value.is_fresh(now),
            Self::Variants(_) => true,
        };
        fresh && self.is_valid(log)
    }
}

/// How much a store holds, and what it gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Values stored now.
    pub entries: u64,
    /// Bytes they take, keys and overhead included.
    pub bytes: u64,
    /// The most bytes the store will take; zero where it has no such bound of its own.
    pub capacity: u64,
    /// Values given up for lack of room since the store was made.
    pub evictions: u64,
    /// Values removed because they had been invalidated, since the store was made.
    pub swept_invalidated: u64,
    /// Values removed because they were past any use, since the store was made.
    pub swept_expired: u64,
}

/// Who is to call the handler.
#[derive(Debug)]
pub enum Claim {
    /// This node. What is in the box is dropped when the response has been stored, or is not going to
    /// be.
    Granted(Option<Box<dyn Granted>>),
    /// Another node has called it: what it stored can be looked up.
    Elsewhere,
}

/// The right to call the handler on behalf of other nodes, until it is dropped.
pub trait Granted: fmt::Debug + Send + Sync {
    /// Says that the response is not for others: whoever waits had better call the handler itself.
    fn not_for_others(&self);
}

/// A store's answer: at once, as memory's, or after some waiting.
///
/// A memory store answers without a future, so that a hit allocates nothing for it.
pub enum MaybeReady<T> {
    /// The answer.
    Now(T),
    /// A future of the answer.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> MaybeReady<T> {
    /// Waits for the answer.
    pub async fn get(self) -> T {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

impl<T: Send + 'static> MaybeReady<Result<T, Error>> {
    /// Gathers answers: at once, if all of them came at once.
    fn all(answers: impl Iterator<Item = Self>) -> MaybeReady<Result<Vec<T>, Error>> {
        let answers: Vec<Self> = answers.collect();
        if answers.iter().all(|answer| matches!(answer, Self::Now(_))) {
            let now = answers.into_iter().filter_map(|answer| match answer {
                Self::Now(answer) => Some(answer),
                Self::Later(_) => None,
            });
            return MaybeReady::Now(now.collect());
        }
        MaybeReady::Later(Box::pin(async move {
            // What comes behind a failure is done all the same.
            let answers = join_all(answers.into_iter().map(Self::get)).await;
            answers.into_iter().collect()
        }))
    }
}

impl MaybeReady<Result<Vec<()>, Error>> {
    fn done(self) -> MaybeReady<Result<(), Error>> {
        match self {
            Self::Now(done) => MaybeReady::Now(done.map(drop)),
            Self::Later(done) => MaybeReady::Later(Box::pin(async move { done.await.map(drop) })),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for MaybeReady<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.debug_tuple("Later").finish_non_exhaustive(),
        }
    }
}
