//! A simulation of several nodes: the whole cache on two or three of them, over a simulated server and
//! network, under many thousand random schedules.
//!
//! Everything above the `Backend` is the real thing: layer, tiered store, follower, batches, breaker,
//! lease, replica. The server does what `follow.lua` does, which is checked against a real one here. It
//! may lose its log, its entries, or both; go on from an earlier state under another replication id;
//! stop taking writes. Messages may be late and overtake each other, be lost, be carried out without an
//! answer, or long after nobody waits for them any more.
//!
//! Every answer is checked: it is no older than any write that was acknowledged before the request
//! began, by whichever node (with `Lease`: that much earlier), nor than any write through the same node,
//! acknowledged or not. And when all is well again: every request ends, every node comes back, and every
//! write is known to all, even if none of the others could be reached at the time.
//!
//! Each guard of the protocol is missed when it is taken away: `tests/mutants/run` shows after how
//! many schedules, a few hundred at the most.
//!
//! `NODE_SCHEDULES` sets how many schedules are run and `FIRST_SEED` where they begin. `SEED` shows one of
//! them step by step.

#[path = "../../../../tests/support/dice.rs"]
mod dice;
#[path = "../../../../tests/support/ledger.rs"]
mod ledger;
mod network;
#[path = "../../../../tests/support/redis/mod.rs"]
mod real;
mod schedule;
mod script;
mod server;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use world::Tally;

use super::follower::Follower;
use crate::invalidate::{Invalidation, Log};

/// In an unoptimized build a schedule takes some 20 ms of one core.
const SCHEDULES: u64 = if cfg!(debug_assertions) { 500 } else { 10_000 };

/// If a smaller share of the reads were answered from the store, hardly anything would be tested.
const LEAST_HIT_RATIO: f64 = 0.12;

#[tokio::test(start_paused = true)]
async fn what_comes_while_the_last_probe_is_under_way_is_recorded_without_being_asked_for() {
    for seed in 0..50 {
        let limits = server::Limits {
            capacity: 100,
            most_reported: 100,
        };
        let network = network::Network::new(2, dice::Dice::new(seed));
        let start = |number| {
            let line = Arc::new(network.line(number, limits));
            Follower::start(line, Log::default(), Duration::ZERO, Handle::current())
        };
        let (one, other) = (start(0), start(1));
        // The first probe is sent, and on its way.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let recorded = one.record(&[Invalidation::tag("t")]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        if recorded.is_none() {
            other.follow().await.unwrap();
            assert_eq!(other.replica().head().unwrap().number, 1, "seed {seed}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_node_serves_what_is_older_than_an_acknowledged_write() {
    if let Some(seed) = number("SEED") {
        match schedule::run(seed, true) {
            Ok(tally) => println!("seed {seed}: {tally:?}"),
            Err(violation) => panic!("{violation}\nseed {seed}"),
        }
        return;
    }
    let first = number("FIRST_SEED").unwrap_or(1);
    let schedules = number("NODE_SCHEDULES").unwrap_or(SCHEDULES);
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let (total, found) = (Mutex::new(Tally::default()), Mutex::new(None));
    let work = || {
        while found.lock().unwrap().is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= schedules {
                return;
            }
            match schedule::run(first + number, false) {
                Ok(tally) => *total.lock().unwrap() += tally,
                Err(violation) => {
                    found.lock().unwrap().get_or_insert((number, violation));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (taken, total) = (began.elapsed().as_secs_f64(), total.into_inner().unwrap());
    if let Some((number, what)) = found.into_inner().unwrap() {
        let seed = first + number;
        println!("violated after {number} schedules, {taken:.1} s, seed {seed}: {what}");
        let again = schedule::run(seed, true).err().unwrap_or(what);
        panic!("{again}\nseed {seed}");
    }
    let ratio = total.hits as f64 / total.reads.max(1) as f64;
    println!("{schedules} schedules in {taken:.1} s, hit ratio {ratio:.3}: {total:?}");
    assert!(
        schedules < 400 || ratio > LEAST_HIT_RATIO,
        "hit ratio {ratio}"
    );
}
