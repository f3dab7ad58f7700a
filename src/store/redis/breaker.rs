//! A circuit breaker: when to stop asking Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// This many failures in a row open the breaker,
const IN_A_ROW: u32 = 5;

/// or this many within a second, if they are half of all operations.
const IN_A_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// OperationCounts failures, and says when requests had better not wait for Redis at all.
///
/// While it is open only probes in the background go to Redis; the first that succeeds closes it.
#[derive(Debug)]
pub(super) struct Breaker {
    open: AtomicBool,
    counts: Mutex<OperationCounts>,
}

#[derive(Debug)]
struct OperationCounts {
    in_a_row: u32,
    /// The beginning of the second that the two below are counted in.
    since: Instant,
    succeeded: u32,
    failed: u32,
    /// When the breaker opened.
    opened: Instant,
}

impl Breaker {
    /// Makes a breaker that is open until the first success.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            open: AtomicBool::new(true),
            counts: Mutex::new(OperationCounts {
                in_a_row: 0,
                since: now,
                succeeded: 0,
                failed: 0,
                opened: now,
            }),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        // Acquire: a thread that sees it closed sees what the successful probe brought.
        self.open.load(Ordering::Acquire)
    }

    /// Returns for how long the breaker has been open.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        let counts = self.lock();
        self.is_open()
            .then(|| now.saturating_duration_since(counts.opened))
    }

    pub(super) fn succeeded(&self, now: Instant) {
        let mut counts = self.lock();
        counts.turn(now);
        counts.in_a_row = 0;
        counts.succeeded = counts.succeeded.saturating_add(1);
    }

    /// Returns whether this failure opened the breaker.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut counts = self.lock();
        counts.turn(now);
        counts.in_a_row = counts.in_a_row.saturating_add(1);
        counts.failed = counts.failed.saturating_add(1);
        let many = counts.failed >= IN_A_SECOND && counts.failed >= counts.succeeded;
        if counts.in_a_row < IN_A_ROW && !many || self.is_open() {
            return false;
        }
        counts.opened = now;
        self.open.store(true, Ordering::Release);
        true
    }

    pub(super) fn close(&self, now: Instant) {
        let mut counts = self.lock();
        counts.since = now;
        (counts.in_a_row, counts.succeeded, counts.failed) = (0, 0, 0);
        self.open.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, OperationCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OperationCounts {
    fn turn(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= SECOND {
            (self.since, self.succeeded, self.failed) = (now, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(now: Instant) -> Breaker {
        let breaker = Breaker::new(now);
        breaker.close(now);
        breaker
    }

    #[test]
    fn the_fifth_failure_in_a_row_opens_it_once() {
        let now = Instant::now();
        let breaker = closed(now);
        for _ in 0..4 {
            assert!(!breaker.failed(now));
        }
        assert!(breaker.failed(now) && breaker.is_open());
        assert!(!breaker.failed(now), "it is open already");
        assert_eq!(breaker.open_for(now + SECOND), Some(SECOND));
        breaker.close(now);
        assert!(!breaker.is_open() && !breaker.failed(now));
        assert_eq!(breaker.open_for(now), None);
    }

    #[test]
    fn a_success_between_starts_the_count_again() {
        let now = Instant::now();
        let breaker = closed(now);
        for _ in 0..4 {
            breaker.failed(now);
        }
        breaker.succeeded(now);
        assert!(!breaker.failed(now));
    }

    #[test]
    fn half_of_a_seconds_operations_failing_opens_it() {
        let now = Instant::now();
        let breaker = closed(now);
        for _ in 0..9 {
            breaker.succeeded(now);
            assert!(!breaker.failed(now));
        }
        breaker.succeeded(now);
        assert!(breaker.failed(now), "ten of twenty");
    }

    #[test]
    fn what_failed_a_second_ago_is_forgotten() {
        let now = Instant::now();
        let breaker = closed(now);
        for second in 0..20 {
            let now = now + SECOND * second;
            assert!(!breaker.failed(now));
            breaker.succeeded(now);
        }
    }

    #[test]
    fn it_begins_open() {
        assert!(Breaker::new(Instant::now()).is_open());
    }
}
