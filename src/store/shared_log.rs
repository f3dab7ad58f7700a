//! The log of invalidations as all nodes of a store see it.

use std::fmt;
use std::time::Duration;

use super::maybe_ready::MaybeReady;
use crate::error::Error;
use crate::invalidate::{Invalidation, Log};

/// The log of invalidations that all nodes of a store share, from
/// [`Store::shared_log`](crate::Store::shared_log).
///
/// [`Store::log`](crate::Store::log) is this node's copy of it, and what verdicts are read from. A
/// [`Log`] is a `SharedLog` itself: that of a store which no other process shares.
pub trait SharedLog: fmt::Debug + Send + Sync {
    /// Records invalidations in this node's [`Log`] and in the log that the other nodes read.
    ///
    /// From this call on nothing that they match is used on this node, even if the call fails in the
    /// end: a log that takes its time records them in its own copy first. Once the answer is `Ok`,
    /// no node uses what they match for a request that begins later.
    ///
    /// # Errors
    ///
    /// Fails where other nodes may not know of the invalidations. The layer then marks the write's
    /// response with `detail=invalidation-pending`.
    ///
    /// # Cancel safety
    ///
    /// The layer waits no longer than its deadline and [`ack_delay`](Self::ack_delay), and lets the
    /// future run on in the background. It is not dropped before it has ended.
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>>;

    /// Brings this node's [`Log`] up to date with every invalidation that was acknowledged before
    /// the call.
    ///
    /// [`Store::get`](crate::Store::get) does the same for the sake of one lookup. This is for
    /// callers that look nothing up.
    ///
    /// # Errors
    ///
    /// Fails where this node may not know of all of them.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    fn catch_up(&self) -> MaybeReady<Result<(), Error>>;

    /// Returns how long [`invalidate`](Self::invalidate) waits on purpose after everything is
    /// recorded. The layer's deadline for it is longer by that much. By default zero.
    fn ack_delay(&self) -> Duration {
        Duration::ZERO
    }
}

impl SharedLog for Log {
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        self.append(invalidations);
        MaybeReady::Now(Ok(()))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}
