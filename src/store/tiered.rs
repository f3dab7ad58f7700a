//! Memory over Redis.

use std::sync::Arc;
use std::time::Duration;

use super::memory::{MemoryStore, MemoryStoreBuilder};
use super::redis::{ClockReading, NearCacheNeeds, RedisStore, RedisStoreBuilder, Retention};
use super::{
    CounterStore, FillLease, MaybeReady, SharedLog, Store, StoreHealth, StoreState, Stored, Usage,
};
use crate::entry::StoredResponse;
use crate::error::Error;
use crate::invalidate::{Invalidation, Log};
use crate::key::{Key, KeyRef};

/// Memory over Redis: this node answers from its own memory what it has seen before, without moving the
/// body again.
///
/// The [`NearCache`] mode bounds how far the near cache may lag behind what other nodes invalidate. What
/// this node itself invalidates applies at once. The default is [`NearCache::Lease`] with 100 ms.
///
/// # When Redis fails
///
/// As with a [`RedisStore`]. In the modes with a lease, memory goes on answering until the lease
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
    /// At most this long, whatever fails. A hit takes no round trip as long as the latest answer from
    /// Redis is no older than this. From half of it on, the next question is asked in the background.
    /// A node that is not used asks nothing.
    Lease(Duration),
    /// Not at all, like `Strict`, with hits as cheap as with `Lease`. Instead every write waits this
    /// long, until no node's lease can be from before it. All nodes that share a namespace must have
    /// the same mode and duration.
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

    /// Returns how long a write waits: a hundredth more than the lease, for clocks that run at
    /// different rates.
    fn ack_delay(self) -> Duration {
        match self {
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
    /// Sets up the memory. By default 64 MiB. It goes by the Redis store's log of invalidations.
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
    /// With this, a node serves what it has and stores what its handlers answer. It honours its own
    /// writes, whose targets go to their handlers until Redis is back. But it *knows nothing of the
    /// writes of other nodes* until then: what it serves may be older than a write that another node
    /// has acknowledged, up to the lifetimes of the routes. Right for one node, or where that is better
    /// than the load.
    pub fn serve_unsynchronised_while_redis_is_down(mut self, on: bool) -> Self {
        self.alone = on;
        self
    }

    /// Makes the store, which connects in the background: Redis need not be there yet.
    ///
    /// # Errors
    ///
    /// Fails as [`RedisStoreBuilder::build`] and [`MemoryStoreBuilder::build`] do, and where a lease
    /// is longer than a minute or shorter than a millisecond.
    pub fn build(self) -> Result<TieredStore, Error> {
        let lease = self.mode.lease();
        if lease.is_some_and(|lease| lease < SHORTEST_LEASE || lease > LONGEST_LEASE) {
            return Err(Error::config(format!(
                "near_cache of {:?}: a lease takes 1 ms to 60 s; `Strict` is without one",
                self.mode
            )));
        }
        let far = self.redis.clone().start(&self.needs())?;
        self.over(far)
    }

    /// Returns what the near cache asks of the store under it.
    pub(in crate::store) fn needs(&self) -> NearCacheNeeds {
        NearCacheNeeds {
            ack_delay: self.mode.ack_delay(),
            listens: self.mode.lease().is_some(),
        }
    }

    /// Makes the store over one in Redis, whose log the memory goes by.
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

    /// Returns whether what this node knows is so new that memory may answer by itself. From half of
    /// the lease on, asks the log in the background.
    fn holds_a_lease(&self, now: ClockReading) -> bool {
        let Some(lease) = self.mode.lease() else {
            return false;
        };
        let follower = self.far.follower();
        let age = follower.lease().age(now);
        if age.is_some_and(|age| age > lease / 2) && !follower.is_down() {
            follower.follow_soon();
        }
        age.is_some_and(|age| age <= lease)
    }

    /// Returns whether memory goes on by itself, because Redis is down.
    fn is_alone(&self) -> bool {
        self.alone && self.far.follower().is_down()
    }

    /// Asks the log alone, and answers from memory if what it has is still valid.
    fn confirm(
        &self,
        key: KeyRef<'_>,
        stored: Stored,
    ) -> MaybeReady<Result<Option<Stored>, Error>> {
        let permit = match self.far.entries().permit_lookup() {
            Ok(permit) => permit,
            Err(error) => return MaybeReady::Now(Err(error)),
        };
        let (entries, memory) = (self.far.entries().clone(), self.near.clone());
        let key = key.to_owned();
        MaybeReady::Later(Box::pin(async move {
            let _until_it_is_found = permit;
            entries.follower().follow().await?;
            if stored.is_valid(memory.log()) {
                return Ok(Some(stored));
            }
            let found = entries.find(&key, Retention::Long).await?;
            Ok(promote(&memory, key, found))
        }))
    }

    /// Looks in Redis, and keeps what is found there in memory.
    fn get_far(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        let (memory, owned) = (self.near.clone(), key.to_owned());
        match self.far.entries().get(key, Retention::Long) {
            MaybeReady::Now(answer) => MaybeReady::Now(answer),
            MaybeReady::Later(found) => MaybeReady::Later(Box::pin(async move {
                Ok(promote(&memory, owned, found.await?))
            })),
        }
    }
}

fn near(memory: &MemoryStore, key: KeyRef<'_>) -> Option<Stored> {
    match memory.get(key) {
        MaybeReady::Now(Ok(stored)) => stored,
        MaybeReady::Now(Err(_)) | MaybeReady::Later(_) => None,
    }
}

/// Keeps what was found in Redis in memory. Where nothing was found, what memory has may still be of
/// use, to be validated.
fn promote(memory: &MemoryStore, key: Key, found: Option<Stored>) -> Option<Stored> {
    let Some(found) = found else {
        return near(memory, key.borrow()).filter(|stored| stored.is_valid(memory.log()));
    };
    // Memory answers at once, and cannot fail.
    let _ = memory.put(key, found.clone());
    Some(found)
}

impl Store for TieredStore {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        let now = ClockReading::now();
        let near = near(&self.near, key);
        let servable = near
            .as_ref()
            .is_some_and(|stored| stored.is_servable(self.log(), now.monotonic));
        if servable && self.holds_a_lease(now) {
            return MaybeReady::Now(Ok(near));
        }
        if self.is_alone() {
            return MaybeReady::Now(Ok(near));
        }
        match near {
            Some(stored) if servable => self.confirm(key, stored),
            _ => self.get_far(key),
        }
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        let far = self.far.put(key.clone(), stored.clone());
        // Memory answers at once, and cannot fail.
        let _ = self.near.put(key, stored);
        far
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        // As above.
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
        let health = self.far.health_within(bound);
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
        Usage {
            // What is too large for the near cache is served from Redis.
            largest_entry: 0,
            ..self.near.usage()
        }
    }
}

impl SharedLog for TieredStore {
    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        match self.is_alone() || self.holds_a_lease(ClockReading::now()) {
            true => MaybeReady::Now(Ok(())),
            false => self.far.shared_log().catch_up(),
        }
    }

    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        self.far.shared_log().invalidate(invalidations)
    }

    fn ack_delay(&self) -> Duration {
        self.far.shared_log().ack_delay()
    }
}
