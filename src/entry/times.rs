//! The times of a stored response.

use std::time::{Duration, Instant};

use crate::clock;

/// When a response was made, and for how long it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the response's head arrived, on our own monotonic clock.
    pub(crate) received: Instant,
    /// The corrected initial age (RFC 9111 §4.2.3).
    pub(crate) initial_age: Duration,
    /// The freshness lifetime (RFC 9111 §4.2.1), after the policy had its say.
    pub(crate) lifetime: Duration,
    /// For how long after that it may be served while it is refreshed (RFC 5861 §3).
    pub(crate) stale_while_revalidate: Duration,
    /// For how long after that it may be served in place of an error (RFC 5861 §4).
    pub(crate) stale_if_error: Duration,
}

/// [`Times`] in less room: whole nanoseconds, which last for 292 years either way. Longer ones last
/// forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedTimes {
    /// When the age was zero, after the clock's origin.
    made: i64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
}

impl From<Times> for PackedTimes {
    fn from(times: Times) -> Self {
        Self {
            made: since_origin(times.received).saturating_sub(signed(times.initial_age)),
            lifetime: packed(times.lifetime),
            stale_while_revalidate: packed(times.stale_while_revalidate),
            stale_if_error: packed(times.stale_if_error),
        }
    }
}

impl PackedTimes {
    /// Returns the current age (RFC 9111 §4.2.3).
    pub(super) fn age(self, now: Instant) -> Duration {
        let age = since_origin(now).saturating_sub(self.made);
        Duration::from_nanos(u64::try_from(age).unwrap_or_default())
    }

    pub(super) fn lifetime(self) -> Duration {
        unpacked(self.lifetime)
    }

    pub(super) fn stale_while_revalidate(self) -> Duration {
        unpacked(self.stale_while_revalidate)
    }

    pub(super) fn stale_if_error(self) -> Duration {
        unpacked(self.stale_if_error)
    }
}

/// Counts from the clock's origin; negative before it, where a manual clock may stand.
fn since_origin(instant: Instant) -> i64 {
    let origin = clock::origin();
    match instant.checked_duration_since(origin) {
        Some(after) => signed(after),
        None => -signed(origin - instant),
    }
}

fn signed(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn packed(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn unpacked(nanoseconds: u64) -> Duration {
    match nanoseconds {
        u64::MAX => Duration::MAX,
        _ => Duration::from_nanos(nanoseconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times(received: Instant, initial_age: Duration) -> PackedTimes {
        let lifetime = Duration::new(5, 1);
        PackedTimes::from(Times {
            received,
            initial_age,
            lifetime,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::MAX,
        })
    }

    #[test]
    fn nothing_is_lost_but_what_lasts_for_ever() {
        let now = clock::origin() + Duration::new(3, 7);
        let times = times(now, Duration::new(1, 2));
        assert_eq!(times.lifetime(), Duration::new(5, 1));
        assert_eq!(times.stale_while_revalidate(), Duration::ZERO);
        assert_eq!(times.stale_if_error(), Duration::MAX);
        assert_eq!(times.age(now), Duration::new(1, 2));
        assert_eq!(times.age(now + SECOND), Duration::new(2, 2));
    }

    #[test]
    fn what_is_older_than_the_clock_has_its_age() {
        let origin = clock::origin();
        for received in [origin, origin + SECOND] {
            let times = times(received, Duration::from_secs(1 << 31));
            assert_eq!(times.age(received), Duration::from_secs(1 << 31));
        }
    }

    #[test]
    fn no_time_makes_it_panic() {
        let now = clock::origin() + SECOND;
        let times = times(now, Duration::MAX);
        assert!(times.age(now) > Duration::from_secs(1 << 32));
        assert!(times.age(now - SECOND * 2) <= times.age(clock::origin()));
    }
}
