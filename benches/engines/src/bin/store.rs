//! Measures the memory of the memory store, and how long it holds others up, from outside.
//!
//! `cargo run --release --bin store` in this folder takes half a minute. Each store is offered three
//! times what fits; a sample has 251 bytes of headers, a key of 51 and a path of 36 bytes.
//!
//! | bodies | limit, MiB | peak / limit, as requested | with malloc's overhead | resident | kept | bytes per entry beyond headers and body, with malloc's overhead |
//! |---|---|---|---|---|---|---|
//! | 100 B | 64 | 0.893 | 1.036 | 1.008 | 69912 | 643 |
//! | 1024 B | 64 | 0.942 | 1.016 | 1.012 | 35312 | 656 |
//! | 10240 B | 64 | 0.994 | 1.006 | 1.011 | 5944 | 869 |
//! | 102400 B | 64 | 0.974 | 0.976 | 0.977 | 632 | 768 |
//! | 1 KiB under 1,000 keys again and again | 64 | 0.026 | 0.029 | 0.029 | 1000 | 636 |
//! | 1 KiB under one key | 64 | 0.000 | 0.000 | 0.002 | 1 | 821 |
//!
//! At 8 and 256 MiB the shares are the same. Of the 656 bytes of an entry with 1 KiB, 272 are the
//! stored response itself, and 130 its slot and those of the evicted keys.
//!
//! With a million entries (of 100 bytes, in 256 shards), on two cores with other work on them:
//!
//! | | steps | whole round | longest step |
//! |---|---|---|---|
//! | sweep, nothing invalidated | 4,057 | 0.16 s | 0.09 ms |
//! | sweep, a path that is not stored was invalidated | 4,057 | 0.71 s | 0.23 ms |
//!
//! A step includes the only work that a sweep does under a shard's lock for longer than one entry takes:
//! listing the shard. Concurrent lookups wait longer than 0.1 ms in 1 to 5 of 6 million cases, as they
//! do beside a thread that sleeps, if the machine has a core for each. If not, the waits are multiples
//! of the scheduler's 4 ms, on both sides.

#[path = "../alloc.rs"]
mod alloc;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tower_response_cache::testing::store_contract::sample;
use tower_response_cache::{
    Invalidation, Key, MaybeReady, MemoryStore, Store, Stored, StoredResponse,
};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const MIB: usize = 1 << 20;

fn main() {
    if let Some([limit, body, keys]) = arguments() {
        // A process of its own, so that memory left behind by other runs is not counted.
        return println!("{}", resident(limit, body, keys));
    }
    println!("A stored response: {} bytes\n", size_of::<StoredResponse>());
    println!(
        "| bodies | limit, MiB | peak / limit, asked for | with malloc's own | resident | kept | \
         bytes per entry beyond headers and body, with malloc's overhead |"
    );
    println!("|---|---|---|---|---|---|---|");
    for limit in [8, 64, 256] {
        for body in [100, 1 << 10, 10 << 10, 100 << 10] {
            memory(&format!("{body} B"), limit * MIB, body, usize::MAX);
        }
        let name = "1 KiB under 1,000 keys again and again";
        memory(name, limit * MIB, 1 << 10, 1_000);
        memory("1 KiB under one key", limit * MIB, 1 << 10, 1);
    }
    pauses();
}

fn entry(store: &MemoryStore, n: usize, body: usize) -> (Key, Stored) {
    let path = format!("/catalog/books/items/{n:010}");
    sample(store.log(), &path, vec![7; body].into())
}

fn put(store: &MemoryStore, n: usize, body: usize) {
    let (key, stored) = entry(store, n, body);
    assert!(matches!(store.put(key, stored), MaybeReady::Now(Ok(()))));
}

/// Puts three times what fits, and prints the peak of memory in use.
fn memory(name: &str, limit: usize, body: usize, keys: usize) {
    let store = MemoryStore::new(limit);
    // The store without its log, which is allocated at once and has a bound of its own.
    let before = (alloc::live(), alloc::live_rounded());
    alloc::take_peak();
    overfill(&store, limit, body, keys);
    let usage = store.usage();
    let live = (alloc::live_rounded() - before.1) as f64;
    let rounded = (alloc::peak_rounded() - before.1) as f64 / limit as f64;
    let peak = (alloc::take_peak() - before.0) as f64 / limit as f64;
    let beyond = live / usage.entries as f64 - (body + HEAD) as f64;
    let resident = resident_elsewhere(limit, body, keys).map(|bytes| bytes / limit as f64);
    println!(
        "| {name} | {} | {peak:.3} | {rounded:.3} | {:.3} | {} | {beyond:.0} |",
        limit / MIB,
        resident.unwrap_or(f64::NAN),
        usage.entries
    );
}

fn overfill(store: &MemoryStore, limit: usize, body: usize, keys: usize) {
    for n in 0..limit / (body + 500) * 3 {
        put(store, n % keys, body);
    }
}

fn arguments() -> Option<[usize; 3]> {
    let arguments = env::args().skip(1).map(|argument| argument.parse().ok());
    arguments.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// Returns the largest growth of the resident set in bytes.
fn resident(limit: usize, body: usize, keys: usize) -> usize {
    let store = MemoryStore::new(limit);
    let before = high_water_mark();
    overfill(&store, limit, body, keys);
    high_water_mark() - before
}

fn resident_elsewhere(limit: usize, body: usize, keys: usize) -> Option<f64> {
    let arguments = [limit, body, keys].map(|number| number.to_string());
    let output = Command::new(env::current_exe().ok()?)
        .args(arguments)
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Returns `VmHWM` of this process in bytes, from Linux.
fn high_water_mark() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}

/// The bytes of the names and values in a sample's headers.
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
    undisturbed("nothing invalidated", &store, || ());
    undisturbed("a path not stored", &store, || {
        store.log().append(&[Invalidation::uri("/elsewhere")]);
    });
    // First the waits that the machine itself causes.
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
        store.log().append(&invalidations);
        sweep(name, &store, &keys, || store.sweep());
    }
}

/// Sweeps seven whole rounds, each after `before`, and prints the duration of the longest step without
/// interruptions: each step does the same in every round, so its shortest duration counts.
fn undisturbed(name: &str, store: &MemoryStore, before: impl Fn()) {
    let mut steps: Vec<Duration> = Vec::new();
    for round in 0..7 {
        before();
        for at in 0.. {
            let start = Instant::now();
            let more = store.sweep();
            let took = start.elapsed();
            match steps.get_mut(at) {
                Some(least) => *least = took.min(*least),
                None if round == 0 => steps.push(took),
                None => break,
            }
            if !more {
                break;
            }
        }
    }
    let longest = steps.iter().max().copied().unwrap_or_default();
    let whole: Duration = steps.iter().sum();
    println!(
        "sweep alone, {name}: {} steps, {whole:?}, the longest {longest:?}",
        steps.len()
    );
}

/// Sweeps a whole round while another thread looks keys up, and prints the longest wait of each.
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
