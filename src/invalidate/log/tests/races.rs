//! Real threads: fills, writes and lookups that overlap as they please.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::*;

const ROUNDS: u64 = 20_000;

/// A database row with a cache in front of it.
#[derive(Default)]
struct Row {
    /// What the handler reads.
    version: AtomicU64,
    /// The latest version whose invalidation was acknowledged.
    acknowledged: AtomicU64,
    /// What is stored: a version, the position of its fill, and where it was found valid.
    stored: Mutex<(u64, Position)>,
}

impl Row {
    fn fill(&self, log: &Log) {
        let position = log.position();
        let version = self.version.load(Ordering::SeqCst);
        *lock(&self.stored) = (version, position);
    }

    fn look_up(&self, log: &Log, subject: SubjectRef<'_>) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let (version, position) = *lock(&self.stored);
        let (verdict, head) = log.verdict_at(position, subject);
        if verdict == Verdict::Valid {
            assert!(version >= acknowledged, "{version} after {acknowledged}");
            let mut stored = lock(&self.stored);
            if *stored == (version, position) {
                stored.1 = head;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one writer beside fills and lookups.
fn race(write: impl Fn(&Log, &Row, u64) + Sync) {
    let log = Log::with_capacity(8);
    let row = Row::default();
    let subject = subject("/row");
    thread::scope(|scope| {
        scope.spawn(|| (1..=ROUNDS).for_each(|version| write(&log, &row, version)));
        scope.spawn(|| (0..ROUNDS).for_each(|_| row.fill(&log)));
        // Others' invalidations raise the floor meanwhile.
        scope.spawn(|| {
            for n in 0..ROUNDS {
                log.append(&[Invalidation::tag((n % 32).to_string())]);
            }
        });
        scope.spawn(|| (0..ROUNDS).for_each(|_| row.look_up(&log, subject.borrow())));
    });
    row.fill(&log);
    assert_eq!(
        log.verdict(lock(&row.stored).1, subject.borrow()),
        Verdict::Valid
    );
}

#[test]
fn no_lookup_after_an_acknowledged_write_finds_what_was_read_before_it() {
    race(|log, row, version| {
        row.version.store(version, Ordering::SeqCst);
        log.append(&[Invalidation::uri("/row")]);
        row.acknowledged.store(version, Ordering::SeqCst);
    });
}

#[test]
fn no_lookup_finds_what_an_announced_write_is_about_to_change() {
    race(|log, row, version| {
        let intent = log.begin_write(&[Pattern::parse("/row/**").expect("a pattern").into()]);
        // Nothing older may be used from here on, before the write as after it.
        row.acknowledged.store(version, Ordering::SeqCst);
        row.version.store(version, Ordering::SeqCst);
        match version % 3 {
            0 => drop(intent),
            _ => _ = intent.commit(),
        }
    });
}
