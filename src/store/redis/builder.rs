//! The settings of a [`RedisStore`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, Server,
    TcpConfig, UnresponsiveConfig,
};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::RedisStore;
use super::client::{Fred, channel};
use super::node::Node;
use super::notifications::Listener;
use super::reconnect::Connected;
use crate::error::Error;
use crate::invalidate::Log;

/// A reason why there is no connection is told again after so long, another one sooner.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);
const BETWEEN_REASONS: Duration = Duration::from_secs(1);

/// Sets up a [`RedisStore`]; made by [`RedisStore::builder`].
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[derive(Clone)]
#[must_use]
pub struct RedisStoreBuilder {
    server: Source,
    namespace: String,
    deadline: Duration,
    connections: usize,
    log_capacity: usize,
    collapse: Option<Duration>,
}

/// What a store is part of.
#[derive(Debug, Default)]
pub(in crate::store) struct Place {
    /// How long each write waits after it was recorded.
    pub(in crate::store) wait: Duration,
    /// Whether to listen for news of invalidations.
    pub(in crate::store) listens: bool,
}

#[derive(Clone)]
enum Source {
    Url(String),
    Clients(Vec<Client>),
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            server: Source::Url("redis://127.0.0.1:6379".into()),
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
        self.server = Source::Url(url.into());
        self
    }

    /// Takes a client of fred's that is connected, or connecting, in place of a URL.
    ///
    /// Its own settings count; only the deadline of each operation is this store's. Give it a
    /// reconnect policy without a limit of attempts and a bounded command buffer: fred's defaults
    /// give up after one disconnect, and queue without a bound.
    pub fn client(mut self, client: Client) -> Self {
        self.server = Source::Clients(vec![client]);
        self
    }

    /// Sets the name under which nodes share what they store. By default `tower-response-cache`.
    ///
    /// It is the beginning of every key in Redis: `{name}:L` is the log of invalidations, `name:e:…`
    /// are the entries. Services that must not see each other's responses need names of their own.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// Bounds the time that an operation may take. By default 50 ms: far more than a well Redis
    /// needs, and little beside the handlers that are worth caching.
    ///
    /// A request waits no longer than this, or than the layer's own
    /// [`store_deadline`](crate::CacheLayerBuilder::store_deadline), before it goes to its handler.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many connections are used in turn. By default one: requests are pipelined, and one
    /// connection carries some 50,000 lookups of 1 KiB a second. More help with large bodies, which
    /// others have to wait behind.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets how many different invalidations the log in Redis tells apart, at some 150 bytes each.
    /// By default 10,000.
    ///
    /// When more than that are recorded within the lifetime of a stored response, it is taken for
    /// invalidated before its time; never the other way round. The greatest value that any node
    /// gives counts.
    pub fn log_capacity(mut self, invalidations: usize) -> Self {
        self.log_capacity = invalidations;
        self
    }

    /// Has one node call the handler when several miss the same response at the same time; the
    /// others wait for what it stores, for so long at the most. By default each node makes its own
    /// call.
    ///
    /// Worth it where a handler is much slower than Redis: a miss takes two round trips more. Whatever
    /// fails, the call is made; a response that turns out not to be for others frees those who wait,
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
    /// outside of a tokio runtime; the message names the setting.
    pub fn build(self) -> Result<RedisStore, Error> {
        self.start(&Place::default())
    }

    pub(in crate::store) fn start(self, place: &Place) -> Result<RedisStore, Error> {
        self.check()?;
        let runtime = Handle::try_current().map_err(|error| {
            Error::config("a Redis store needs a tokio runtime: build it inside of one")
                .with_source(error)
        })?;
        let (clients, subscriber) = self.clients(place.listens)?;
        if let Some(client) = clients.first() {
            // Ends with the client.
            runtime.spawn(tell_of_errors(client.error_rx()));
        }
        let connected = match &self.server {
            Source::Url(_) => clients.iter(),
            // It is its owner's to connect.
            Source::Clients(_) => [].iter(),
        };
        let connected = connected.map(|client| Connected::keep(client.clone(), &runtime));
        let connected = connected.collect();
        let (namespace, capacity) = (&self.namespace, self.log_capacity);
        let backend = Fred::new(&clients, connected, self.deadline, namespace, capacity);
        // The node's own copy may hold what the shared log has trimmed since.
        let log = Log::with_capacity(self.log_capacity.saturating_mul(2));
        let node = Node::start(Box::new(backend), &self.namespace, log, runtime);
        let listener = subscriber.map(|subscriber| {
            let news = channel(&self.namespace);
            Listener::start(subscriber, news, Arc::downgrade(&node), &node.runtime)
        });
        Ok(RedisStore {
            node,
            wait: place.wait,
            collapse: self.collapse,
            _listener: listener.map(Arc::new),
        })
    }

    /// Makes the clients, and one more to listen for news.
    fn clients(&self, listens: bool) -> Result<(Vec<Client>, Option<SubscriberClient>), Error> {
        let settings = match &self.server {
            Source::Url(url) => Settings::new(config(url)?, self.deadline),
            Source::Clients(clients) => {
                let one = clients.first().filter(|_| listens);
                let subscriber = one.map(|client| Settings::of(client).subscriber());
                return Ok((clients.clone(), subscriber));
            }
        };
        let clients = (0..self.connections).map(|_| settings.client()).collect();
        Ok((clients, listens.then(|| settings.subscriber())))
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

/// Reads a URL, with an error that never repeats a password.
fn config(url: &str) -> Result<Config, Error> {
    let refuse = |why: &str| {
        Err(Error::config(format!(
            "url `{}`: {why}",
            without_credentials(url)
        )))
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse("expected a URL such as redis://localhost:6379");
    };
    if scheme.starts_with("rediss") && !cfg!(feature = "redis-tls") {
        return refuse("TLS comes with the feature `redis-tls`, which this build does not have");
    }
    let url = match scheme {
        "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
        | "rediss-sentinel" => url.to_owned(),
        "unix" | "redis+unix" => format!("redis+unix://{rest}"),
        _ => {
            return refuse(
                "the scheme is not one of redis, rediss, redis-cluster, redis-sentinel and unix",
            );
        }
    };
    match Config::from_url(&url) {
        Ok(mut config) => {
            // Connects in the background, also where Redis is not there yet.
            config.fail_fast = false;
            Ok(config)
        }
        Err(error) => refuse(error.details()),
    }
}

/// Replaces what stands before the `@` of a URL, and passwords in its query.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    match (rest.rsplit_once('@'), scheme) {
        (Some((_, host)), _) => format!("{scheme}://…@{host}"),
        (None, "") => rest.to_owned(),
        (None, _) => format!("{scheme}://{rest}"),
    }
}

/// How fred is set up: to connect, and reconnect, for ever, and to wait for nothing longer than it has
/// to.
struct Settings {
    config: Config,
    performance: PerformanceConfig,
    connection: ConnectionConfig,
    policy: Option<ReconnectPolicy>,
}

impl Settings {
    fn new(config: Config, deadline: Duration) -> Self {
        let attempt = Duration::from_millis(500);
        Self {
            config,
            performance: PerformanceConfig {
                // By default fred waits for ever.
                default_command_timeout: deadline,
                ..PerformanceConfig::default()
            },
            connection: ConnectionConfig {
                connection_timeout: attempt,
                internal_command_timeout: attempt,
                max_command_attempts: 2,
                // By default commands queue without a bound while there is no connection.
                max_command_buffer_len: 1024,
                unresponsive: UnresponsiveConfig {
                    max_timeout: Some(Duration::from_secs(1)),
                    interval: Duration::from_millis(250),
                },
                tcp: TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                },
                reconnect_errors: vec![
                    ReconnectError::ClusterDown,
                    ReconnectError::Loading,
                    ReconnectError::ReadOnly,
                    ReconnectError::MasterDown,
                ],
                ..ConnectionConfig::default()
            },
            policy: Some(reconnect_policy()),
        }
    }

    /// Those of a client that somebody else has set up.
    fn of(client: &Client) -> Self {
        Self {
            config: client.client_config(),
            performance: client.perf_config(),
            connection: client.connection_config().clone(),
            policy: Some(reconnect_policy()),
        }
    }

    fn client(&self) -> Client {
        Client::new(
            self.config.clone(),
            Some(self.performance.clone()),
            Some(self.connection.clone()),
            self.policy.clone(),
        )
    }

    fn subscriber(self) -> SubscriberClient {
        SubscriberClient::new(
            self.config,
            Some(self.performance),
            Some(self.connection),
            self.policy,
        )
    }
}

/// Tells why there is no connection, each reason once in a while: operations only learn that
/// there is none, and not that the password is wrong.
async fn tell_of_errors(mut errors: Receiver<(fred::error::Error, Option<Server>)>) {
    let mut told: Option<(String, Instant)> = None;
    loop {
        let error = match errors.recv().await {
            Ok((error, _)) => error,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let is_news = |(told, at): &(String, Instant)| {
            let pause = match told == error.details() {
                true => BETWEEN_REPORTS,
                false => BETWEEN_REASONS,
            };
            at.elapsed() >= pause
        };
        if told.as_ref().is_none_or(is_news) {
            tracing::warn!(%error, "no connection to Redis");
            told = Some((error.details().to_owned(), Instant::now()));
        }
    }
}

fn reconnect_policy() -> ReconnectPolicy {
    ReconnectPolicy::Exponential {
        attempts: 0,
        // For ever: a policy that is exhausted leaves a client that never works again.
        max_attempts: 0,
        min_delay: 1,
        max_delay: 500,
        base: 4,
        jitter: 20,
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = match &self.server {
            Source::Url(url) => without_credentials(url),
            Source::Clients(_) => "a client of fred's".to_owned(),
        };
        f.debug_struct("RedisStoreBuilder")
            .field("server", &server)
            .field("namespace", &self.namespace)
            .field("deadline", &self.deadline)
            .field("connections", &self.connections)
            .field("log_capacity", &self.log_capacity)
            .field("collapse", &self.collapse)
            .finish()
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
