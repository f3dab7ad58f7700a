//! When and under which epoch a value was made.

use std::time::Duration;

/// The epoch, the position and the time that a value was made at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryStamp {
    /// The epoch of the log of invalidations.
    pub(crate) epoch: [u8; 16],
    /// The position in that log that was known before the handler was called.
    pub(crate) position: u64,
    /// When the age was zero, in milliseconds of the clock that the nodes share.
    pub(crate) made: i64,
}

impl EntryStamp {
    /// Makes the stamp of a value that has this age when the shared clock shows `now_ms`.
    ///
    /// The age is rounded up, so that no response becomes younger on its way.
    pub(crate) fn new(epoch: [u8; 16], position: u64, age: Duration, now_ms: i64) -> Self {
        let age = age.as_nanos().div_ceil(1_000_000);
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        Self {
            epoch,
            position,
            made: now_ms.saturating_sub(age),
        }
    }

    /// Returns the age when the shared clock shows `now_ms`; zero for a value from the future.
    pub(crate) fn age(&self, now_ms: i64) -> Duration {
        let age = now_ms.saturating_sub(self.made);
        Duration::from_millis(u64::try_from(age).unwrap_or_default())
    }
}
