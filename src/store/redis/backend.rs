//! What the store asks of Redis: a handful of operations, each of which may fail.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::invalidate::{Delta, Epoch, Invalidation, SharedPosition};

/// A server, or several, that speak Redis. Nothing here waits longer than the store's deadline.
pub(super) trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Records invalidations in the shared log, and asks what it holds behind a known position.
    fn follow(&self, ask: Question) -> Pending<Followed>;

    /// Reads a value.
    fn get(&self, name: Name) -> Pending<Option<Bytes>>;

    /// Writes a value, for a limited time.
    fn set(&self, name: Name, value: Bytes, keep: Duration) -> Pending<()>;

    /// Removes a value.
    fn remove(&self, name: Name) -> Pending<()>;

    /// Adds to a counter, which is kept for so long if it was not there before, and returns its count.
    fn increment(&self, name: Name, by: i64, keep: Duration) -> Pending<i64>;

    /// Writes a value if there is none, and returns whether it did.
    fn claim(&self, name: Name, value: Bytes, keep: Duration) -> Pending<bool>;

    /// Gives up connections that seem to be dead.
    fn reconnect(&self);
}

pub(super) type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// The name of a value in Redis. Made of digests alone: no bytes of a user's get into it.
pub(super) type Name = Box<str>;

/// What is asked of the shared log.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// What this node knows.
    pub(super) known: Option<SharedPosition>,
    /// An epoch to end.
    pub(super) end: Option<Epoch>,
    /// Invalidations to record. Each group gets a number of its own.
    pub(super) groups: Vec<Box<[Invalidation]>>,
    /// The name of the epoch that begins if one has to.
    pub(super) new_epoch: Epoch,
}

/// What the shared log answers.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) delta: Delta,
    /// The server's clock, in milliseconds.
    pub(super) now_ms: i64,
}

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(in crate::store) enum Failure {
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Unreachable(Box<str>),
    /// The server answered that it cannot do this.
    Refused(Box<str>),
    /// The breaker is open: it was not tried.
    NotTried,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("Redis did not answer in time"),
            Self::Unreachable(why) => write!(f, "Redis cannot be reached: {why}"),
            Self::Refused(why) => write!(f, "Redis refused: {why}"),
            Self::NotTried => f.write_str("Redis is not asked while it fails"),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotTried => Self::unavailable(failure.to_string()),
            _ => Self::store(failure.to_string()),
        }
    }
}
