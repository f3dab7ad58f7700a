//! Clients of fred's: how they are configured and kept connected.

use std::fmt;
use std::time::Duration;

pub(super) use fred::clients::Client;
use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, Server,
    TcpConfig, UnresponsiveConfig,
};
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::reconnect::Reconnector;
use crate::error::Error;

/// The same reason why there is no connection is reported again after this long, another one sooner.
const BETWEEN_REPORTS: Duration = Duration::from_secs(60);
const BETWEEN_REASONS: Duration = Duration::from_secs(1);

/// Where the connections of a store come from.
#[derive(Clone)]
pub(super) enum RedisSource {
    Url(String),
    Client(Client),
}

/// The connections of a store.
pub(super) struct Connections {
    pub(super) clients: Vec<Client>,
    /// Listens for news of invalidations.
    pub(super) subscriber: Option<SubscriberClient>,
    /// Keep the clients connected; none where that is their owner's duty.
    pub(super) reconnectors: Vec<Reconnector>,
}

impl RedisSource {
    /// Makes `connections` clients, and one more if the store `listens` for news.
    pub(super) fn connect(
        &self,
        connections: usize,
        listens: bool,
        deadline: Duration,
        runtime: &Handle,
    ) -> Result<Connections, Error> {
        let connections = match self {
            Self::Url(url) => {
                let settings = ClientSettings::new(config(url)?, deadline);
                let clients: Vec<_> = (0..connections).map(|_| settings.client()).collect();
                let keep = |client: &Client| Reconnector::keep(client.clone(), runtime);
                Connections {
                    reconnectors: clients.iter().map(keep).collect(),
                    clients,
                    subscriber: listens.then(|| settings.subscriber()),
                }
            }
            Self::Client(client) => Connections {
                clients: vec![client.clone()],
                subscriber: listens.then(|| ClientSettings::of(client).subscriber()),
                reconnectors: Vec::new(),
            },
        };
        if let Some(client) = connections.clients.first() {
            // Ends with the client.
            runtime.spawn(report_errors(client.error_rx()));
        }
        Ok(connections)
    }
}

/// Shows no credentials.
impl fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => without_credentials(url).fmt(f),
            Self::Client(_) => "a client of fred's".fmt(f),
        }
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

/// The settings of fred: to connect and reconnect forever, and to wait for nothing longer than it has
/// to.
struct ClientSettings {
    config: Config,
    performance: PerformanceConfig,
    connection: ConnectionConfig,
    policy: Option<ReconnectPolicy>,
}

impl ClientSettings {
    fn new(config: Config, deadline: Duration) -> Self {
        let attempt = Duration::from_millis(500);
        Self {
            config,
            performance: PerformanceConfig {
                // By default fred waits forever.
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

    /// Takes those of a client that the user has set up.
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

/// Reports why there is no connection, each reason once in a while: operations only learn that there
/// is none, and not that the password is wrong.
async fn report_errors(mut errors: Receiver<(fred::error::Error, Option<Server>)>) {
    let mut reported: Option<(String, Instant)> = None;
    loop {
        let error = match errors.recv().await {
            Ok((error, _)) => error,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let is_news = |(reason, at): &(String, Instant)| {
            let pause = match reason == error.details() {
                true => BETWEEN_REPORTS,
                false => BETWEEN_REASONS,
            };
            at.elapsed() >= pause
        };
        if reported.as_ref().is_none_or(is_news) {
            tracing::warn!(%error, "no connection to Redis");
            reported = Some((error.details().to_owned(), Instant::now()));
        }
    }
}

fn reconnect_policy() -> ReconnectPolicy {
    ReconnectPolicy::Exponential {
        attempts: 0,
        // Forever: a policy that is exhausted leaves a client that never works again.
        max_attempts: 0,
        min_delay: 1,
        max_delay: 500,
        base: 4,
        jitter: 20,
    }
}
