//! The processes under test.

use std::net::SocketAddr;
use std::time::Duration;

use crate::examples::Program;
use crate::world::EVICTIONS;

/// How far behind a node may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Not at all.
    Strict,
    /// By so much.
    Within(Duration),
}

/// A node: how it stores, and what it promises for that.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) promise: Promise,
    /// How much longer its writes may take.
    pub(crate) waits: Duration,
    options: Vec<String>,
}

/// The lease of those that have one.
pub(crate) const LEASE: Duration = Duration::from_millis(100);

impl Node {
    fn new(name: &'static str, promise: Promise, options: &[&str]) -> Self {
        Self {
            name,
            promise,
            waits: Duration::ZERO,
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

    pub(crate) fn redis(url: &str) -> Self {
        Self::new("redis", Promise::Strict, &["--store", url])
    }

    fn tiered(name: &'static str, promise: Promise, url: &str, near: &str) -> Self {
        let url = format!("tiered+{url}");
        Self::new(name, promise, &["--store", &url, "--near-cache", near])
    }

    pub(crate) fn strict(url: &str) -> Self {
        Self::tiered("strict", Promise::Strict, url, "strict")
    }

    pub(crate) fn lease(url: &str) -> Self {
        let near = format!("lease:{}", LEASE.as_millis());
        Self::tiered("lease", Promise::Within(LEASE), url, &near)
    }

    pub(crate) fn lease_wait(url: &str) -> Self {
        let near = format!("lease-wait:{}", LEASE.as_millis());
        Self {
            // Clocks may differ by so much in their rates.
            waits: LEASE + LEASE / 100,
            ..Self::tiered("lease-wait", Promise::Strict, url, &near)
        }
    }

    /// One node of each kind that can share a Redis with any other.
    pub(crate) fn mixed(url: &str) -> Vec<Self> {
        vec![Self::redis(url), Self::strict(url), Self::lease(url)]
    }

    /// Three that hold leases, and wait for those of others when they write.
    pub(crate) fn waiting(url: &str) -> Vec<Self> {
        vec![Self::lease_wait(url); 3]
    }

    pub(crate) fn start(&self, origin: SocketAddr) -> Program {
        let origin = format!("http://{origin}");
        let mut options = vec!["--origin", &origin, "--origin-decides", "--threads", "2"];
        for rule in EVICTIONS {
            options.extend(["--on-write", rule]);
        }
        options.extend(self.options.iter().map(String::as_str));
        Program::start_with("reverse_proxy", &options, &[("RUST_LOG", "error")])
    }
}
