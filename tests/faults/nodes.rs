//! The processes under test.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::programs::Program;
use crate::world::EVICTIONS;

/// How far behind a node may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Not at all.
    Strict,
    /// By so much, as to writes through nodes that do not wait for it.
    Within(Duration),
}

/// A node: how it stores, and what it promises for that.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) promise: Promise,
    /// Whether its writes wait until no lease is from before them.
    pub(crate) waits: bool,
    options: Vec<String>,
}

/// The lease of those that have one.
pub(crate) const LEASE: Duration = Duration::from_millis(100);

impl Node {
    fn new(name: &'static str, promise: Promise, options: &[&str]) -> Self {
        Self {
            name,
            promise,
            waits: false,
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    /// What is in one process.
    pub(crate) fn memory() -> Self {
        Self::new("memory", Promise::Strict, &["--store", "memory"])
    }

    /// Stores nothing: what a request takes without a cache.
    pub(crate) fn bare() -> Self {
        Self::new("bare", Promise::Strict, &["--store", "none"])
    }

    /// One node of each kind over the same Redis.
    pub(crate) fn every_kind(url: &str) -> Vec<Self> {
        let (tiered, lease) = (format!("tiered+{url}"), LEASE.as_millis());
        let near = |name, promise, mode: &str| {
            Self::new(name, promise, &["--store", &tiered, "--near-cache", mode])
        };
        let within = Promise::Within(LEASE);
        let waiting = near("lease-wait", within, &format!("lease-wait:{lease}"));
        vec![
            Self::new("redis", Promise::Strict, &["--store", url]),
            near("strict", Promise::Strict, "strict"),
            near("lease", within, &format!("lease:{lease}")),
            Self {
                waits: true,
                ..waiting
            },
        ]
    }

    pub(crate) fn start(&self, origin: SocketAddr) -> Program {
        let origin = format!("http://{origin}");
        let mut options = vec!["--origin", &origin, "--origin-decides", "--threads", "2"];
        for rule in EVICTIONS {
            options.extend(["--on-write", rule]);
        }
        options.extend(self.options.iter().map(String::as_str));
        let log = std::env::var("RUST_LOG").unwrap_or("error".to_owned());
        Program::start_with("reverse_proxy", &options, &[("RUST_LOG", &log)])
    }
}
