//! What the memory store takes and how long it holds others up, measured from outside.
//!
//! `cargo run --release --bin store` in this folder.

#[path = "../alloc.rs"]
mod alloc;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tower_response_cache::testing::store_contract::sample;
use tower_response_cache::{Answer, Invalidation, Key, MemoryStore, Store, Stored};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const MIB: usize = 1 << 20;

fn main() {
    println!(
        "| bodies | limit, MiB | peak / limit, asked for | with malloc's own | kept | bytes an \
         entry over header section and body, with malloc's own |"
    );
    println!("|---|---|---|---|---|---|");
    for limit in [8, 64, 256] {
        for body in [100, 1 << 10, 10 << 10, 100 << 10] {
            memory(&format!("{body} B"), limit * MIB, body, |n| n);
        }
        let name = "1 KiB under 1,000 keys again and again";
        memory(name, limit * MIB, 1 << 10, |n| n % 1_000);
        memory("1 KiB under one key", limit * MIB, 1 << 10, |_| 0);
    }
    pauses();
}

fn entry(store: &MemoryStore, n: usize, body: usize) -> (Key, Stored) {
    let path = format!("/catalog/books/items/{n:010}");
    sample(store.log(), &path, vec![7; body].into())
}

fn put(store: &MemoryStore, n: usize, body: usize) {
    let (key, stored) = entry(store, n, body);
    assert!(matches!(store.put(key, stored), Answer::Now(Ok(()))));
}

/// Puts three times what fits and prints the most that was in use.
fn memory(name: &str, limit: usize, body: usize, key: impl Fn(usize) -> usize) {
    let store = MemoryStore::new(limit);
    // The store without its log, which is set aside at once and has a bound of its own.
    let before = (alloc::live(), alloc::live_rounded());
    alloc::take_peak();
    let puts = limit / (body + 500) * 3;
    for n in 0..puts {
        put(&store, key(n), body);
    }
    let usage = store.usage();
    let live = (alloc::live_rounded() - before.1) as f64;
    let rounded = (alloc::peak_rounded() - before.1) as f64 / limit as f64;
    let peak = (alloc::take_peak() - before.0) as f64 / limit as f64;
    let beyond = live / usage.entries as f64 - (body + HEAD) as f64;
    println!(
        "| {name} | {} | {peak:.3} | {rounded:.3} | {} | {beyond:.0} |",
        limit / MIB,
        usage.entries
    );
}

/// Bytes of the names and values in a sample's header section.
const HEAD: usize = 251;

fn pauses() {
    const ENTRIES: usize = 1_000_000;
    let store = MemoryStore::new(2048 * MIB);
    let grown = (0..ENTRIES).map(|n| {
        let (key, stored) = entry(&store, n, 100);
        let start = Instant::now();
        let _ = store.put(key, stored);
        start.elapsed()
    });
    let (longest, whole) = grown.fold((Duration::ZERO, Duration::ZERO), |(longest, whole), one| {
        (longest.max(one), whole + one)
    });
    let each = whole / ENTRIES as u32;
    println!(
        "\n{ENTRIES} puts: {each:?} each, the longest {longest:?}; {:?}",
        store.usage()
    );
    let keys: Vec<Key> = (0..10_000).map(|n| entry(&store, n * 97, 100).0).collect();
    // What the machine itself makes hits wait for.
    let mut idle = 0;
    sweep("no work at all", &store, &keys, || {
        thread::sleep(Duration::from_micros(200));
        idle += 1;
        idle < 4_000
    });
    for (name, invalidations) in [
        ("nothing invalidated", vec![]),
        ("a path not stored", vec![Invalidation::uri("/elsewhere")]),
        ("everything", vec![Invalidation::everything()]),
    ] {
        let _ = store.invalidate(&invalidations);
        sweep(name, &store, &keys, || store.sweep());
    }
}

/// Sweeps a whole round while another thread looks keys up, and prints both sides' longest wait.
fn sweep(name: &str, store: &MemoryStore, keys: &[Key], mut step: impl FnMut() -> bool) {
    let stop = AtomicBool::new(false);
    let hits = || {
        let (mut waits, mut count) = (Vec::new(), 0_u64);
        for key in keys.iter().cycle() {
            if stop.load(Relaxed) {
                break;
            }
            let start = Instant::now();
            let _ = store.get(key.borrow());
            let wait = start.elapsed();
            if wait > Duration::from_micros(100) {
                waits.push(wait);
            }
            count += 1;
        }
        waits.sort();
        (waits, count)
    };
    thread::scope(|scope| {
        let hits = scope.spawn(hits);
        let (mut steps, start) = (Vec::new(), Instant::now());
        loop {
            let begun = Instant::now();
            let more = step();
            steps.push(begun.elapsed());
            if !more {
                break;
            }
        }
        let whole = start.elapsed();
        stop.store(true, Relaxed);
        let (waits, count) = hits.join().expect("does not panic");
        steps.sort();
        println!(
            "sweep, {name}: {} steps in {whole:?}, median {:?}, p99.9 {:?}, longest {:?}; {count} hits \
             meanwhile, {} over 0.1 ms, the longest {:?}; {} entries left",
            steps.len(),
            steps[steps.len() / 2],
            steps[steps.len() * 999 / 1000],
            steps.last().copied().unwrap_or_default(),
            waits.len(),
            waits.last().copied().unwrap_or_default(),
            store.usage().entries
        );
    });
}
