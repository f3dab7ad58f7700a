//! How long ago this node was certain to know every invalidation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::clocks::ClockReading;
use crate::clock;

/// The time at which the latest answered question to the shared log was sent, by two clocks.
///
/// The longer of the two spans since then counts: the monotonic clock stands still while a virtual
/// machine is suspended, and the wall clock can be set back. A time is written in two steps. A reader
/// that sees only one of them takes the lease for older than it is.
#[derive(Debug, Default)]
pub(in crate::store) struct Lease {
    /// Microseconds since the clock's origin; zero before the first answer.
    monotonic: AtomicU64,
    /// Microseconds since 1970.
    wall: AtomicU64,
}

impl Lease {
    /// Renews the lease: a question sent at this time was answered.
    pub(super) fn renew(&self, sent: ClockReading) {
        let monotonic = monotonic(sent.monotonic);
        // Relaxed: the log's own order makes the answer visible.
        if self.monotonic.fetch_max(monotonic, Ordering::Relaxed) < monotonic {
            self.wall.store(wall(sent.wall), Ordering::Relaxed);
        }
    }

    /// Returns how old this node's knowledge is at most; `None` if it never had any.
    pub(in crate::store) fn age(&self, now: ClockReading) -> Option<Duration> {
        let sent = self.monotonic.load(Ordering::Relaxed);
        if sent == 0 {
            return None;
        }
        let by_monotonic = monotonic(now.monotonic).saturating_sub(sent);
        let by_wall = wall(now.wall).saturating_sub(self.wall.load(Ordering::Relaxed));
        Some(Duration::from_micros(by_monotonic.max(by_wall)))
    }
}

fn monotonic(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(clock::origin());
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn wall(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(monotonic: Instant, wall: SystemTime) -> ClockReading {
        ClockReading { monotonic, wall }
    }

    #[test]
    fn a_lease_is_as_old_as_the_later_of_two_clocks_says() {
        let lease = Lease::default();
        let (instant, wall) = (clock::origin() + SECOND, UNIX_EPOCH + 1000 * SECOND);
        assert_eq!(lease.age(reading(instant, wall)), None);
        lease.renew(reading(instant, wall));
        assert_eq!(lease.age(reading(instant, wall)), Some(Duration::ZERO));
        assert_eq!(lease.age(reading(instant + SECOND, wall)), Some(SECOND));
        assert_eq!(
            lease.age(reading(instant, wall + SECOND)),
            Some(SECOND),
            "suspended"
        );
        assert_eq!(
            lease.age(reading(instant, wall - SECOND)),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn an_answer_to_an_earlier_question_does_not_renew_it() {
        let lease = Lease::default();
        let (instant, wall) = (clock::origin() + 9 * SECOND, UNIX_EPOCH + 1000 * SECOND);
        lease.renew(reading(instant, wall));
        lease.renew(reading(instant - SECOND, wall - SECOND));
        assert_eq!(
            lease.age(reading(instant + SECOND, wall + SECOND)),
            Some(SECOND)
        );
    }
}
