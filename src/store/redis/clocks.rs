//! This node's clocks, and the server's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use crate::clock;

/// Returns the time of the monotonic clock, which tests can pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One reading of both clocks that a lease goes by.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct ClockReading {
    pub(in crate::store) monotonic: Instant,
    pub(in crate::store) wall: SystemTime,
}

impl ClockReading {
    pub(in crate::store) fn now() -> Self {
        Self {
            monotonic: now(),
            wall: SystemTime::now(),
        }
    }
}

/// The server's clock, by which all nodes count ages.
#[derive(Debug)]
pub(super) struct ServerClock {
    /// By how many milliseconds it is ahead of this node's; `i64::MIN` before the first answer.
    ahead_ms: AtomicI64,
}

impl ServerClock {
    pub(super) fn new() -> Self {
        Self {
            ahead_ms: AtomicI64::new(i64::MIN),
        }
    }

    /// Sets what the clock showed when a question sent at `sent` was answered.
    ///
    /// It counts from sending: by so much the server's clock may have been behind what it says.
    pub(super) fn set(&self, now_ms: i64, sent: Instant) {
        let ahead = now_ms.saturating_sub(milliseconds(sent));
        self.ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// Returns what the clock shows at a time of this node's, in milliseconds; `None` before the
    /// server has ever answered.
    pub(super) fn at(&self, instant: Instant) -> Option<i64> {
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| ahead.saturating_add(milliseconds(instant)))
    }
}

fn milliseconds(instant: Instant) -> i64 {
    let since = instant.saturating_duration_since(clock::origin());
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
