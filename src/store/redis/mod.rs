//! Stored responses in Redis, shared by several nodes.
//!
//! Two things are kept there. A *log of invalidations* for each namespace, in one key: every node
//! follows it, and no lookup is answered before the node knows of all that was recorded when the
//! lookup began. And the *entries*, each under a name made of its key's digest, with the log's
//! position at which its handler was called. Whether an entry may be used is judged by the node,
//! with the same predicate as for the memory store; Redis itself never searches or compares
//! anything, and an invalidation is one round trip however many entries it hits.
//!
//! From the outside in:
//!
//! - `builder` reads the settings and makes fred's clients;
//! - `node` keeps this node in step with the log: `rounds` shares the questions, `breaker` says when
//!   not to ask, `lease` how old the answers are;
//! - `push` has it look at the log when there is news;
//! - `claims` has one node call a handler for all;
//! - `entries` looks up and stores, in the form of `wire`;
//! - `backend` says what is asked of Redis, and `client` asks it, through fred.

use std::sync::Arc;
use std::time::Duration;

use super::{CounterStore, FillLease, MaybeReady, SharedLog, Store, StoreHealth, Stored, Usage};
use crate::error::Error;
use crate::invalidate::{Invalidation, Log};
use crate::key::{Key, KeyRef};

mod backend;
mod batches;
mod breaker;
mod builder;
mod claims;
mod client;
mod entries;
mod lease;
mod node;
mod notifications;
mod reconnect;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(super) use builder::Place;
pub use builder::RedisStoreBuilder;

use backend::Failure;
use entries::InFlightPermit;
use node::Counts;
pub(super) use node::Node;
use notifications::Listener;

/// A store in Redis: standalone, behind Sentinel, or a Cluster.
///
/// All nodes with the same namespace share what is stored, and every invalidation that one of them
/// has acknowledged holds for all of them at once: no request that begins after that is given what
/// was made before. See [`running_redis`](crate::running_redis) for how to run Redis for it, and what
/// each choice does to that promise.
///
/// A lookup is one round trip (one more where a response with `Vary` is looked up by this node for the
/// first time, or selected by other fields than the last time); what is found takes no copy. To answer
/// from memory instead, put a [`TieredStore`](super::TieredStore) over it.
///
/// # When Redis is not well
///
/// No request fails. One that has to wait waits no longer than the
/// [deadline](RedisStoreBuilder::deadline); after five failures in a row none waits at all: requests
/// go to the handlers (`X-Cache: BYPASS`) until Redis answers again, which is tried in the background
/// several times a second, for ever. It may be down when the service starts.
///
/// A write whose invalidation cannot be recorded says so (`Cache-Status` with
/// `detail=invalidation-pending`). This node holds to it at once, and records it before anything else
/// when Redis is back; and a node that was without Redis for a second or more then gives up whatever
/// was stored before, for all nodes.
///
/// # Clocks
///
/// Ages are counted by the Redis server's clock and each node's monotonic one. Wall clocks of nodes
/// that disagree change nothing.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), tower_response_cache::Error> {
/// use tower_response_cache::{CacheLayer, RedisStore};
///
/// let store = RedisStore::builder()
///     .url("redis://:secret@cache.internal:6379/0")
///     .namespace("shop")
///     .build()?;
/// let cache = CacheLayer::builder().store(store).build()?;
/// # Ok(())
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[derive(Clone, Debug)]
pub struct RedisStore {
    node: Arc<Node>,
    /// How long a write waits for other nodes' near caches.
    wait: Duration,
    /// How long nodes wait for one of them to call a handler.
    collapse: Option<Duration>,
    /// Ends with the last clone.
    _listener: Option<Arc<Listener>>,
}

impl RedisStore {
    /// Returns a builder.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// Waits until Redis has answered for the first time, or again after an outage.
    ///
    /// There is no need to: until then requests go to their handlers.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, as by a timeout.
    pub async fn ready(&self) {
        self.node.is_up().await;
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Looks up in Redis, whatever else there is. What is `kept` does not pin a read buffer.
    pub(super) fn find(
        &self,
        key: KeyRef<'_>,
        kept: bool,
    ) -> MaybeReady<Result<Option<Stored>, Error>> {
        let permit = match self.permit_to_look_up() {
            Ok(permit) => permit,
            Err(error) => return MaybeReady::Now(Err(error)),
        };
        let (node, key) = (self.node.clone(), key.to_owned());
        MaybeReady::Later(Box::pin(async move {
            let _until_it_is_found = permit;
            Ok(node.find(&key, kept).await?)
        }))
    }

    pub(super) fn permit_to_look_up(&self) -> Result<InFlightPermit, Error> {
        if self.node.is_down() {
            return Err(Failure::NotTried.into());
        }
        InFlightPermit::to_look_up(&self.node)
            .ok_or_else(|| Error::unavailable("too many lookups in Redis are under way"))
    }
}

impl Store for RedisStore {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.find(key, false)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        if self.node.is_down() {
            return MaybeReady::Now(Ok(()));
        }
        let Some(permit) = InFlightPermit::to_store(&self.node) else {
            Counts::add(&self.node.counts.left_out);
            return MaybeReady::Now(Ok(()));
        };
        let Some(parcel) = self.node.parcel(key.borrow(), &stored) else {
            return MaybeReady::Now(Ok(()));
        };
        let node = self.node.clone();
        MaybeReady::Later(Box::pin(async move {
            let _until_it_is_there = permit;
            Ok(node.send(parcel).await?)
        }))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        if self.node.is_down() {
            return MaybeReady::Now(Ok(()));
        }
        let (node, key) = (self.node.clone(), key.to_owned());
        MaybeReady::Later(Box::pin(async move { Ok(node.remove(key).await?) }))
    }

    fn log(&self) -> &Log {
        self.node.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn counters(&self) -> Option<&dyn CounterStore> {
        Some(self)
    }

    fn claim(&self, key: KeyRef<'_>) -> MaybeReady<FillLease> {
        match self.collapse {
            Some(most) if !self.node.is_down() => {
                let (node, key) = (self.node.clone(), key.to_owned());
                MaybeReady::Later(Box::pin(async move { node.claim(key, most).await }))
            }
            _ => MaybeReady::Now(FillLease::Unshared),
        }
    }

    fn health(&self) -> StoreHealth {
        self.node.health(Duration::ZERO)
    }

    /// Returns nothing: counting what is in Redis would mean to look at all of it.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl SharedLog for RedisStore {
    /// Records invalidations in the log that all nodes share: one round trip, however many there
    /// are, and shared with whoever asks the log at the same time.
    ///
    /// From the moment this is called, and even if it fails, this node does not use what they match;
    /// what could not be recorded is recorded before anything else when Redis is back.
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        let Some(batch) = self.node.invalidate(invalidations) else {
            Counts::add(&self.node.counts.unacknowledged);
            return MaybeReady::Now(Err(Failure::NotTried.into()));
        };
        let (node, wait) = (self.node.clone(), self.wait);
        MaybeReady::Later(Box::pin(async move {
            if let Err(failure) = batch.ended().await {
                Counts::add(&node.counts.unacknowledged);
                return Err(failure.into());
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            Ok(())
        }))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        if self.node.is_down() {
            return MaybeReady::Now(Err(Failure::NotTried.into()));
        }
        let node = self.node.clone();
        MaybeReady::Later(Box::pin(async move { Ok(node.follow().await?) }))
    }

    fn ack_delay(&self) -> Duration {
        self.wait
    }
}

impl CounterStore for RedisStore {
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>> {
        if self.node.is_down() {
            return MaybeReady::Now(Err(Failure::NotTried.into()));
        }
        let (node, key) = (self.node.clone(), key.to_owned());
        MaybeReady::Later(Box::pin(
            async move { Ok(node.increment(key, by, ttl).await?) },
        ))
    }

    fn reset(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.remove(key)
    }
}
