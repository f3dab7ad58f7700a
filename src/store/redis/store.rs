//! The store in Redis, and its settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::client::FredBackend;
use super::connect::{Client, RedisSource};
use super::entries::{Entries, Retention};
use super::fill_claims::FillClaims;
use super::follower::Follower;
use super::names::Names;
use super::notifications::NewsListener;
use crate::error::Error;
use crate::invalidate::Log;
use crate::key::{Key, KeyRef};
use crate::store::{
    CounterStore, FillLease, MaybeReady, SharedLog, Store, StoreHealth, Stored, Usage,
};

/// A store in Redis: standalone, behind Sentinel, or a Cluster.
///
/// All nodes with the same namespace share what is stored, and every invalidation that one of them
/// has acknowledged applies to all of them at once: no request that begins after that is given what
/// was made before. See [`running_redis`](crate::running_redis) for how to run Redis for it, and what
/// each choice does to that promise.
///
/// A lookup is one round trip (one more where a response with `Vary` is looked up by this node for the
/// first time, or selected by other fields than the last time). What is found is not copied. To answer
/// from memory instead, put a [`TieredStore`](crate::TieredStore) over it.
///
/// # When Redis fails
///
/// No request fails. One that has to wait waits no longer than the
/// [deadline](RedisStoreBuilder::deadline). After five failures in a row none waits at all: requests
/// go to the handlers (`X-Cache: BYPASS`) until Redis answers again, which is tried in the background
/// several times a second, forever. It may be down when the service starts.
///
/// A write whose invalidation cannot be recorded reports it (`Cache-Status` with
/// `detail=invalidation-pending`). This node applies it at once, and records it before anything else
/// when Redis is back. A node that was without Redis for a second or more then drops whatever was
/// stored before, for all nodes.
///
/// # Clocks
///
/// Ages are counted by the Redis server's clock and each node's monotonic one. Wall clocks of nodes
/// may disagree.
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
    follower: Arc<Follower>,
    entries: Arc<Entries>,
    /// Where nodes wait for one of them to make a fetch.
    claims: Option<FillClaims>,
    /// Ends with the last clone.
    _listener: Option<Arc<NewsListener>>,
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
        self.follower.is_up().await;
    }

    /// Makes a store of a follower. Nodes wait for each other's fetches for `max_wait`, if at all.
    pub(super) fn over(
        follower: Arc<Follower>,
        names: Names,
        max_wait: Option<Duration>,
        listener: Option<NewsListener>,
    ) -> Self {
        let entries = Arc::new(Entries::new(follower.clone(), names));
        Self {
            claims: max_wait.map(|max_wait| FillClaims::new(entries.clone(), max_wait)),
            follower,
            entries,
            _listener: listener.map(Arc::new),
        }
    }

    pub(in crate::store) fn follower(&self) -> &Arc<Follower> {
        &self.follower
    }

    pub(in crate::store) fn entries(&self) -> &Arc<Entries> {
        &self.entries
    }

    /// Reports how it goes. `bound` is how far this node may lag behind others.
    pub(in crate::store) fn health_within(&self, bound: Duration) -> StoreHealth {
        self.entries.add_to(self.follower.health(bound))
    }
}

impl Store for RedisStore {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.entries.get(key, Retention::Brief)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.entries.put(key.borrow(), &stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.entries.remove(key)
    }

    fn log(&self) -> &Log {
        self.follower.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        &self.follower
    }

    fn counters(&self) -> Option<&dyn CounterStore> {
        Some(&self.entries)
    }

    fn claim(&self, key: KeyRef<'_>) -> MaybeReady<FillLease> {
        match &self.claims {
            Some(claims) if !self.follower.is_down() => {
                let (claims, key) = (claims.clone(), key.to_owned());
                MaybeReady::Later(Box::pin(claims.claim(key)))
            }
            _ => MaybeReady::Now(FillLease::Unshared),
        }
    }

    fn health(&self) -> StoreHealth {
        self.health_within(Duration::ZERO)
    }

    /// Returns zeros: counting what is in Redis would mean looking at all of it.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Sets up a [`RedisStore`]; made by [`RedisStore::builder`].
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisStoreBuilder {
    source: RedisSource,
    namespace: String,
    deadline: Duration,
    connections: usize,
    log_capacity: usize,
    collapse: Option<Duration>,
}

/// The demands of a near cache on the store under it.
#[derive(Debug, Default)]
pub(in crate::store) struct NearCacheNeeds {
    /// How long each write waits after it was recorded.
    pub(in crate::store) ack_delay: Duration,
    /// Set where the store listens for news of invalidations.
    pub(in crate::store) listens: bool,
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            source: RedisSource::Url("redis://127.0.0.1:6379".into()),
            namespace: "tower-response-cache".into(),
            deadline: Duration::from_millis(50),
            connections: 1,
            log_capacity: 10_000,
            collapse: None,
        }
    }
}

impl RedisStoreBuilder {
    /// Sets where Redis is. By default `redis://127.0.0.1:6379`.
    ///
    /// | form | what it means |
    /// |---|---|
    /// | `redis://[[user:]password@]host[:port][/database]` | one server |
    /// | `rediss://…` | the same over TLS, with the feature `redis-tls` |
    /// | `redis-cluster://[[user:]password@]host:port[?node=host:port]…` | a Cluster, by some of its nodes |
    /// | `redis-sentinel://[[user:]password@]host:port?sentinelServiceName=name[&node=host:port]…` | the master that Sentinels name; `sentinelUsername` and `sentinelPassword` for themselves |
    /// | `unix:///path/to/redis.sock` | a socket on this machine |
    ///
    /// `rediss-cluster://` and `rediss-sentinel://` exist too.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.source = RedisSource::Url(url.into());
        self
    }

    /// Takes a client of fred's that is connected, or connecting, in place of a URL.
    ///
    /// Its own settings apply; only the deadline of each operation is this store's. Give it a
    /// reconnect policy without a limit of attempts and a bounded command buffer: by default fred
    /// stops after one disconnect, and queues without a bound.
    pub fn client(mut self, client: Client) -> Self {
        self.source = RedisSource::Client(client);
        self
    }

    /// Sets the name under which nodes share what they store. By default `tower-response-cache`.
    ///
    /// Every key in Redis begins with it: `{name}:L` is the log of invalidations, `name:e:…` are the
    /// entries. Services that must not see each other's responses need names of their own.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// Bounds the time that an operation may take. By default 50 ms: far more than a healthy
    /// Redis needs, and little beside the handlers that are worth caching.
    ///
    /// A request waits no longer than this, or than the layer's own
    /// [`store_deadline`](crate::CacheLayerBuilder::store_deadline), before it goes to its handler.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many connections are used in turn. By default one: requests are pipelined, and one
    /// connection carries some 50,000 lookups of 1 KiB a second. More of them help with large bodies,
    /// which block what comes behind them.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets how many different invalidations the log in Redis tells apart, at some 150 bytes each.
    /// By default 10,000.
    ///
    /// When more than that are recorded within the lifetime of a stored response, it counts as
    /// invalidated before its time; never the other way round. The greatest value that any node sets
    /// applies.
    pub fn log_capacity(mut self, invalidations: usize) -> Self {
        self.log_capacity = invalidations;
        self
    }

    /// Has one node call the handler when several miss the same response at the same time. The others
    /// wait for what it stores, for at most `max_wait`, and for no longer than the policy lets requests
    /// [wait](crate::Policy::max_wait). By default each node makes its own call.
    ///
    /// Worth it where a handler is much slower than Redis: a miss takes two round trips more. Whatever
    /// fails, the call is made. A response that turns out not to be for others frees those who wait,
    /// and for ten seconds nobody waits for another.
    pub fn collapse_across_nodes(mut self, max_wait: Duration) -> Self {
        self.collapse = Some(max_wait);
        self
    }

    /// Makes the store, which connects in the background: Redis need not be there yet.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::ErrorKind::Config) where a setting cannot work, and
    /// outside of a tokio runtime. The message names the setting.
    pub fn build(self) -> Result<RedisStore, Error> {
        self.start(&NearCacheNeeds::default())
    }

    pub(in crate::store) fn start(self, needs: &NearCacheNeeds) -> Result<RedisStore, Error> {
        self.check()?;
        let runtime = Handle::try_current().map_err(|error| {
            Error::config("a Redis store needs a tokio runtime: build it inside of one")
                .with_source(error)
        })?;
        let names = Names::new(&self.namespace);
        let source = &self.source;
        let mut connections =
            source.connect(self.connections, needs.listens, self.deadline, &runtime)?;
        let subscriber = connections.subscriber.take();
        let backend = FredBackend::new(connections, self.deadline, &names, self.log_capacity);
        // This node's own copy may hold what the shared log has trimmed since.
        let log = Log::with_capacity(self.log_capacity.saturating_mul(2));
        let follower = Follower::start(Arc::new(backend), log, needs.ack_delay, runtime);
        let listener = subscriber.map(|subscriber| {
            let weak = Arc::downgrade(&follower);
            NewsListener::start(subscriber, names.channel(), weak, follower.runtime())
        });
        Ok(RedisStore::over(follower, names, self.collapse, listener))
    }

    fn check(&self) -> Result<(), Error> {
        let name = &self.namespace;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'{' && byte != b'}';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(Error::config(format!(
                "namespace {name:?}: takes 1 to 64 visible ASCII characters without braces, such as \
                 `shop`"
            )));
        }
        if self.deadline < Duration::from_millis(1) {
            return Err(Error::config(format!(
                "deadline of {:?}: Redis needs at least 1 ms to answer",
                self.deadline
            )));
        }
        if !(1..=64).contains(&self.connections) {
            return Err(Error::config(format!(
                "connections: takes 1 to 64, not {}",
                self.connections
            )));
        }
        if !(64..=1_000_000).contains(&self.log_capacity) {
            return Err(Error::config(format!(
                "log_capacity: takes 64 to 1,000,000, not {}",
                self.log_capacity
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn refused(builder: RedisStoreBuilder) -> String {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[tokio::test]
    async fn a_setting_that_cannot_work_is_refused_by_name() {
        let builder = RedisStore::builder;
        let cases = [
            (builder().url("localhost:6379"), "url `localhost:6379`"),
            (builder().url("http://localhost"), "scheme"),
            (builder().url("redis-sentinel://localhost:1"), "url"),
            (builder().url("redis://localhost:port"), "url"),
            (builder().namespace(""), "namespace"),
            (builder().namespace("a{b}"), "namespace"),
            (builder().namespace("a b"), "namespace"),
            (builder().namespace("a".repeat(65)), "namespace"),
            (builder().deadline(Duration::ZERO), "deadline"),
            (builder().connections(0), "connections"),
            (builder().log_capacity(1), "log_capacity"),
        ];
        for (builder, expected) in cases {
            let message = refused(builder);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn outside_a_runtime_it_says_what_is_missing() {
        assert!(refused(RedisStore::builder()).contains("tokio runtime"));
    }

    #[tokio::test]
    async fn no_password_is_repeated() {
        for url in [
            "redis://user:secret@localhost:port",
            "redos://:secret@localhost",
            "redis-sentinel://a:1?sentinelPassword=secret",
            "redis://:sec@secret@localhost:port",
        ] {
            let builder = RedisStore::builder().url(url);
            assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
            let message = refused(builder);
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[tokio::test]
    async fn every_form_of_url_is_taken() {
        for url in [
            "redis://localhost",
            "redis://user:password@localhost:6380/3",
            "redis-cluster://localhost:7000?node=localhost:7001",
            "redis-sentinel://localhost:26379?sentinelServiceName=main&node=localhost:26380",
            "unix:///tmp/redis.sock",
        ] {
            RedisStore::builder().url(url).build().unwrap();
        }
    }
}
