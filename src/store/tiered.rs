//! Memory over Redis.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::memory::{MemoryStore, MemoryStoreBuilder};
use super::redis::{Node, Place, RedisStore, RedisStoreBuilder};
use super::{
    CounterStore, FillLease, MaybeReady, SharedLog, Store, StoreHealth, StoreState, Stored, Usage,
};
use crate::entry::StoredResponse;
use crate::error::Error;
use crate::invalidate::{Invalidation, Log};
use crate::key::{Key, KeyRef};
use crate::mutant::{self, Mutant};

/// Memory over Redis: what this node has seen is answered from its own memory, without moving the
/// body again.
///
/// How far the near cache may lag behind what other nodes invalidate is the
/// [`NearCache`] mode's to say; what this node itself invalidates, it holds to at once. By default
/// that is [`NearCache::Lease`] with 100 ms.
///
/// # When Redis is not well
///
/// As with a [`RedisStore`]; and in the modes with a lease, memory goes on answering until the lease
/// ends. Then requests go to their handlers, unless
/// [`serve_unsynchronised_while_redis_is_down`](TieredStoreBuilder::serve_unsynchronised_while_redis_is_down)
/// is set.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> Result<(), tower_response_cache::Error> {
/// use tower_response_cache::{CacheLayer, MemoryStore, NearCache, RedisStore, TieredStore};
///
/// let redis = RedisStore::builder().url("redis://cache.internal").namespace("shop");
/// let store = TieredStore::builder()
///     .memory(MemoryStore::builder().max_bytes(256 << 20))
///     .redis(redis)
///     .near_cache(NearCache::Strict)
///     .build()?;
/// let cache = CacheLayer::builder().store(store).build()?;
/// # Ok(())
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[derive(Debug)]
pub struct TieredStore {
    near: Arc<MemoryStore>,
    far: RedisStore,
    mode: NearCache,
    alone: bool,
}

/// How far a near cache may lag behind the invalidations of other nodes.
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NearCache {
    /// Not at all. Every hit asks Redis whether anything has been invalidated: one small round trip,
    /// shared by all requests that wait at the time.
    Strict,
    /// At the most so long, whatever fails. A hit takes no round trip as long as an answer from Redis
    /// is no older than this; from half of it on, the next question is asked in the background. A
    /// node that is not used asks nothing.
    Lease(Duration),
    /// Not at all, like `Strict`, and hits are as cheap as with `Lease`: instead, every write waits
    /// so long, until no node's lease can be from before it. All nodes that share a namespace must
    /// have the same mode and duration.
    LeaseAndWait(Duration),
}

impl Default for NearCache {
    fn default() -> Self {
        Self::Lease(Duration::from_millis(100))
    }
}

impl NearCache {
    fn lease(self) -> Option<Duration> {
        match self {
            Self::Strict => None,
            Self::Lease(lease) | Self::LeaseAndWait(lease) => Some(lease),
        }
    }

    /// How long a write waits: a hundredth more than the lease, for clocks that do not run alike.
    fn wait(self) -> Duration {
        match self {
            Self::LeaseAndWait(_) if mutant::is(Mutant::WritersDoNotWait) => Duration::ZERO,
            Self::LeaseAndWait(lease) => lease + lease / 100 + Duration::from_millis(1),
            Self::Strict | Self::Lease(_) => Duration::ZERO,
        }
    }
}

/// Sets up a [`TieredStore`]; made by [`TieredStore::builder`].
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[derive(Clone, Debug)]
#[must_use]
pub struct TieredStoreBuilder {
    memory: MemoryStoreBuilder,
    redis: RedisStoreBuilder,
    mode: NearCache,
    alone: bool,
}

impl TieredStoreBuilder {
    /// Sets up the memory. By default 64 MiB. Its log of invalidations is the one of the Redis store.
    pub fn memory(mut self, memory: MemoryStoreBuilder) -> Self {
        self.memory = memory;
        self
    }

    /// Sets up Redis.
    pub fn redis(mut self, redis: RedisStoreBuilder) -> Self {
        self.redis = redis;
        self
    }

    /// Sets how far memory may lag behind other nodes. By default [`NearCache::Lease`] of 100 ms.
    pub fn near_cache(mut self, mode: NearCache) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether memory goes on by itself while Redis is down. By default it does not: then every
    /// request goes to its handler.
    ///
    /// With this, a node serves what it has and stores what its handlers answer. It holds to its own
    /// writes, whose targets go to their handlers until Redis is back; but *knows nothing of the writes of other nodes* until Redis is back: for that long, what
    /// it serves may be older than a write that another node has acknowledged, up to the lifetimes of
    /// the routes. Right for one node, or where that is better than the load.
    pub fn serve_unsynchronised_while_redis_is_down(mut self, on: bool) -> Self {
        self.alone = on;
        self
    }

    /// Makes the store, which connects in the background.
    ///
    /// # Errors
    ///
    /// As [`RedisStoreBuilder::build`] and [`MemoryStoreBuilder::build`], and where a lease is longer
    /// than a minute or shorter than a millisecond.
    pub fn build(self) -> Result<TieredStore, Error> {
        let lease = self.mode.lease();
        if lease.is_some_and(|lease| lease < SHORTEST_LEASE || lease > LONGEST_LEASE) {
            return Err(Error::config(format!(
                "near_cache of {:?}: a lease takes 1 ms to 60 s; `Strict` is without one",
                self.mode
            )));
        }
        let far = self.redis.clone().start(&self.place())?;
        self.over(far)
    }

    pub(in crate::store) fn place(&self) -> Place {
        Place {
            wait: self.mode.wait(),
            listens: self.mode.lease().is_some(),
        }
    }

    pub(in crate::store) fn over(self, far: RedisStore) -> Result<TieredStore, Error> {
        let near = self.memory.build_with(far.log().share())?;
        Ok(TieredStore {
            near: Arc::new(near),
            far,
            mode: self.mode,
            alone: self.alone,
        })
    }
}

const SHORTEST_LEASE: Duration = Duration::from_millis(1);
const LONGEST_LEASE: Duration = Duration::from_secs(60);

impl TieredStore {
    /// Returns a builder.
    pub fn builder() -> TieredStoreBuilder {
        TieredStoreBuilder {
            memory: MemoryStore::builder(),
            redis: RedisStore::builder(),
            mode: NearCache::default(),
            alone: false,
        }
    }

    /// Waits until Redis has answered for the first time, or again after an outage.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn ready(&self) {
        self.far.ready().await;
    }

    /// Whether what this node knows is so new that memory may answer by itself.
    fn holds_a_lease(&self, now: (Instant, SystemTime)) -> bool {
        let Some(lease) = self.mode.lease() else {
            return false;
        };
        let age = self.far.node().lease.age(now);
        if age.is_some_and(|age| age > lease / 2) && !self.far.node().is_down() {
            self.far.node().follow_soon();
        }
        age.is_some_and(|age| age <= lease)
    }

    fn near(&self, key: KeyRef<'_>) -> Option<Stored> {
        near(&self.near, key)
    }

    /// Asks the log alone, and lets memory answer if nothing is held against what it has.
    fn confirm(&self, key: KeyRef<'_>, stored: Stored) -> Found {
        let permit = match self.far.permit_to_look_up() {
            Ok(permit) => permit,
            Err(error) => return MaybeReady::Now(Err(error)),
        };
        let (node, memory, key) = (self.far.node().clone(), self.near.clone(), key.to_owned());
        MaybeReady::Later(Box::pin(async move {
            let _until_it_is_found = permit;
            node.follow().await?;
            if stored.is_valid(memory.log()) {
                return Ok(Some(stored));
            }
            let found = node.find(&key, true).await?;
            Ok(promoted(&memory, key, found))
        }))
    }

    /// Looks in Redis, and keeps what is found there in memory.
    fn fetch(&self, key: KeyRef<'_>) -> Found {
        let (memory, owned) = (self.near.clone(), key.to_owned());
        match self.far.find(key, true) {
            MaybeReady::Now(answer) => MaybeReady::Now(answer),
            MaybeReady::Later(found) => MaybeReady::Later(Box::pin(async move {
                Ok(promoted(&memory, owned, found.await?))
            })),
        }
    }
}

type Found = MaybeReady<Result<Option<Stored>, Error>>;

fn near(memory: &MemoryStore, key: KeyRef<'_>) -> Option<Stored> {
    match memory.get(key) {
        MaybeReady::Now(Ok(stored)) => stored,
        MaybeReady::Now(Err(_)) | MaybeReady::Later(_) => None,
    }
}

/// Keeps what was found in Redis; where nothing was, what memory has may be of use yet, to be
/// validated.
fn promoted(memory: &MemoryStore, key: Key, found: Option<Stored>) -> Option<Stored> {
    let Some(found) = found else {
        return near(memory, key.borrow()).filter(|stored| stored.is_valid(memory.log()));
    };
    // Memory answers at once, and has no error to tell of.
    let _ = memory.put(key, found.clone());
    Some(found)
}

impl Store for TieredStore {
    fn get(&self, key: KeyRef<'_>) -> Found {
        let now = Node::times();
        let near = self.near(key);
        let of_use = near
            .as_ref()
            .is_some_and(|stored| stored.is_servable(self.log(), now.0));
        if of_use && self.holds_a_lease(now) {
            return MaybeReady::Now(Ok(near));
        }
        if self.alone && self.far.node().is_down() {
            return MaybeReady::Now(Ok(near));
        }
        match near {
            Some(stored) if of_use => self.confirm(key, stored),
            _ => self.fetch(key),
        }
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        let far = self.far.put(key.clone(), stored.clone());
        // Memory answers at once, and has no error to tell of.
        let _ = self.near.put(key, stored);
        far
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        let _ = self.near.remove(key);
        self.far.remove(key)
    }

    fn log(&self) -> &Log {
        self.far.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    /// Counts in Redis alone: a count in memory would be one node's.
    fn counters(&self) -> Option<&dyn CounterStore> {
        self.far.counters()
    }

    fn claim(&self, key: KeyRef<'_>) -> MaybeReady<FillLease> {
        self.far.claim(key)
    }

    fn sweep(&self) -> bool {
        self.near.sweep()
    }

    /// Shows what is in memory.
    fn visit(&self, visitor: &mut dyn FnMut(KeyRef<'_>, &StoredResponse)) -> bool {
        self.near.visit(visitor)
    }

    fn health(&self) -> StoreHealth {
        let bound = match self.mode {
            NearCache::Lease(lease) => lease,
            NearCache::Strict | NearCache::LeaseAndWait(_) => Duration::ZERO,
        };
        let health = self.far.node().health(bound);
        match (health.state, self.alone) {
            (StoreState::Down, true) => StoreHealth {
                state: StoreState::Degraded,
                detail: Some("Redis does not answer: memory goes on alone".to_owned()),
                staleness_bound: Duration::MAX,
                ..health
            },
            _ => health,
        }
    }

    /// Returns how much is in memory.
    fn usage(&self) -> Usage {
        self.near.usage()
    }
}

impl SharedLog for TieredStore {
    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        let alone = self.alone && self.far.node().is_down();
        match alone || self.holds_a_lease(Node::times()) {
            true => MaybeReady::Now(Ok(())),
            false => self.far.catch_up(),
        }
    }

    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        self.far.invalidate(invalidations)
    }

    fn ack_delay(&self) -> Duration {
        self.far.ack_delay()
    }
}
