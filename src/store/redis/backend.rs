//! The seam to Redis: a handful of operations, each of which may fail.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::names::Name;
use super::replica::{Delta, Epoch, SharedPosition};
use crate::error::Error;
use crate::invalidate::Invalidation;

/// A server, or several, that speak Redis. No operation takes longer than the store's deadline.
pub(super) trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Records invalidations in the shared log, and asks what it holds behind a known position.
    fn follow(&self, question: Question) -> Operation<Followed>;

    /// Reads a value.
    fn get(&self, name: Name) -> Operation<Option<Bytes>>;

    /// Writes a value that expires after `ttl`.
    fn set(&self, name: Name, value: Bytes, ttl: Duration) -> Operation<()>;

    /// Removes a value.
    fn remove(&self, name: Name) -> Operation<()>;

    /// Adds to a counter, and returns its count. A counter that is new expires after `ttl`.
    fn increment(&self, name: Name, by: i64, ttl: Duration) -> Operation<i64>;

    /// Writes a value if there is none, and returns whether it did.
    fn claim(&self, name: Name, value: Bytes, ttl: Duration) -> Operation<bool>;

    /// Replaces connections that seem to be dead.
    fn reconnect(&self);
}

/// An operation under way.
pub(super) type Operation<T> = Pin<Box<dyn Future<Output = Result<T, RedisFailure>> + Send>>;

/// A question to the shared log.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// The position that this node knows.
    pub(super) known: Option<SharedPosition>,
    /// An epoch to end.
    pub(super) end: Option<Epoch>,
    /// Invalidations to record. Each group gets a number of its own.
    pub(super) groups: Vec<Box<[Invalidation]>>,
    /// The name of the epoch that begins if one has to.
    pub(super) new_epoch: Epoch,
}

/// The shared log's answer.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) delta: Delta,
    /// The server's clock, in milliseconds.
    pub(super) now_ms: i64,
}

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(in crate::store) enum RedisFailure {
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Unreachable(Box<str>),
    /// The server answered that it cannot do this.
    Refused(Box<str>),
    /// The breaker is open: it was not tried.
    NotTried,
}

impl fmt::Display for RedisFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("Redis did not answer in time"),
            Self::Unreachable(why) => write!(f, "Redis cannot be reached: {why}"),
            Self::Refused(why) => write!(f, "Redis refused: {why}"),
            Self::NotTried => f.write_str("Redis is not asked while it fails"),
        }
    }
}

impl From<RedisFailure> for Error {
    fn from(failure: RedisFailure) -> Self {
        match failure {
            RedisFailure::NotTried => Self::unavailable(failure.to_string()),
            _ => Self::store(failure.to_string()),
        }
    }
}
