//! The promise that no response is older than an acknowledged write, put to the test: the whole
//! cache over a scripted origin, under many thousand random schedules.
//!
//! Every step of a handler, a body, a client and a slow store waits until the schedule lets it be
//! taken. Which request goes on next, who goes away, and when time passes is decided by dice whose
//! seed is printed when something goes wrong. To see that schedule again, step by step:
//!
//!     SEED=1234 cargo test --test simulation -- --nocapture
//!
//! `SCHEDULES` sets how many are run, `FIRST_SEED` where they begin. This folder is a package of its
//! own besides, which is quick to build optimized: `tests/mutants/run` runs the schedules there, and
//! shows that each guard of the promise is missed when it is taken away.
//!
//! What is checked, of every answer: that its version is no older than the last that was
//! acknowledged before the request began; that its body is whole, of one version, resource and
//! variant, and that of its head. Of every request: that it ends. Of every task in the background:
//! that it ends too. And of all together: that enough was answered from the store for all this to
//! mean anything.

#![allow(missing_docs, unreachable_pub)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/ledger.rs"]
mod ledger;
mod origin;
mod schedule;
mod site;
mod store;
mod world;

use schedule::{Tally, Violation};

/// In an unoptimized build a schedule takes some ten times as long.
const SCHEDULES: u64 = if cfg!(debug_assertions) {
    5_000
} else {
    100_000
};

/// Less than this share of the reads answered from the store would say that hardly anything was
/// tried.
const LEAST_HIT_RATIO: f64 = 0.12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_response_is_older_than_an_acknowledged_write() {
    if let Some(seed) = number("SEED") {
        match schedule::run(seed, true) {
            Ok(tally) => println!("seed {seed}: {tally:?}"),
            Err(violation) => fail(seed, &violation),
        }
        return;
    }
    let first = number("FIRST_SEED").unwrap_or(1);
    let schedules = number("SCHEDULES").unwrap_or(SCHEDULES);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Tally::default());
    let found = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut tally = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= schedules {
                        break;
                    }
                    match schedule::run(first + number, false) {
                        Ok(came) => tally += came,
                        Err(violation) => {
                            stop.store(true, Ordering::Relaxed);
                            found
                                .lock()
                                .unwrap()
                                .get_or_insert((number, violation.what));
                        }
                    }
                }
                *total.lock().unwrap() += tally;
            });
        }
    });
    let taken = began.elapsed().as_secs_f64();
    if let Some((number, what)) = found.into_inner().unwrap() {
        let seed = first + number;
        println!("violated after {number} schedules, {taken:.1} s, seed {seed}: {what}");
        match schedule::run(seed, true) {
            Err(violation) => fail(seed, &violation),
            Ok(_) => panic!("seed {seed} shows nothing the second time: {what}"),
        }
    }
    let total = total.into_inner().unwrap();
    let ratio = (total.hits + total.stale) as f64 / total.reads.max(1) as f64;
    println!("{schedules} schedules in {taken:.1} s, hit ratio {ratio:.3}: {total:?}");
    assert!(
        schedules < 1_000 || ratio > LEAST_HIT_RATIO,
        "hit ratio {ratio}"
    );
}

fn fail(seed: u64, violation: &Violation) -> ! {
    panic!("{}\nseed {seed}: {}", violation.trace, violation.what);
}
