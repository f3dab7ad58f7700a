//! The built reverse proxy under load, judged from outside: 64 clients over HTTP/1.1, one request in
//! five a write, an origin that is slow, trickles and breaks off, and clients that leave at any
//! moment. No read that began after a write was answered may show what was there before, no body
//! may be other than the origin meant it, nothing may hang, and no failure may be the proxy's own.
//!
//! Nor may that come of not caching. How often the proxy answered by itself is held against a cache
//! that knows all, and, where what is read most is written least, against the same run with writes
//! that the proxy does not hear of (and whose stale answers the judge must see).
//!
//! `READS=1000000 SEED=7 cargo test --release --test blackbox -- --nocapture` is the long run of
//! that seed; `cargo build --release --examples` comes first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod load;
mod origin;
mod world;

use std::sync::atomic::Ordering;

use load::{Mix, Plan, Tally, Writes};

/// By how many points of a hundred a hit ratio may be below what it is held against.
const ALLOWED: f64 = 5.0;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap(),
        Err(_) => default,
    }
}

fn plan(mix: Mix, writes: Writes) -> Plan {
    let (seed, reads) = (number("SEED", 1), number("READS", 20_000));
    Plan {
        seed,
        reads,
        mix,
        writes,
    }
}

fn assert_faultless(plan: Plan, tally: &Tally) {
    let faults = tally.faults.lock().unwrap();
    assert!(faults.is_empty(), "{plan:?}: {faults:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_or_wrong_and_whatever_can_be_a_hit_is_one() {
    let plan = plan(Mix::Contested, Writes::Through);
    let tally = load::run(plan).await;
    assert_faultless(plan, &tally);
    assert!(tally.cut.load(Ordering::Relaxed) > 0 && tally.left.load(Ordering::Relaxed) > 0);
    let (hits, possible) = (tally.hit_ratio(), tally.percent(&tally.possible));
    println!("hit ratio {hits:.1} %, {possible:.1} % possible");
    assert!(hits > possible - ALLOWED, "{plan:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_written_stays_a_hit() {
    let mut tracked = plan(Mix::Skewed, Writes::Through);
    tracked.reads /= 4;
    let mut untracked = tracked;
    untracked.writes = Writes::Beside;
    let mut ratios = Vec::new();
    for plan in [tracked, untracked] {
        let tally = load::run(plan).await;
        assert_faultless(plan, &tally);
        // Whoever does not hear of writes is caught: the judge is not blind.
        let stale = tally.stale.load(Ordering::Relaxed);
        assert_eq!(stale > 0, plan.writes == Writes::Beside, "{plan:?}");
        ratios.push(tally.hit_ratio());
    }
    let (with, without) = (ratios[0], ratios[1]);
    println!("hit ratio {with:.1} %, {without:.1} % where writes are not tracked");
    assert!(with > without - ALLOWED, "{tracked:?}");
}
