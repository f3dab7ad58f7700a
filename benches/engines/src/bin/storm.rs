//! Measures whether the process stays within the store's bound while the same keys are overwritten
//! again and again with bodies of different sizes.
//!
//! `cargo run --release --bin storm` in this folder takes some seconds; `-- 1` uses one thread instead of
//! four. Each line is a process of its own: 64 MiB, 20,000 keys, the bodies of one storm or of several
//! in a row.
//!
//! | bodies | 4 threads: peak in use, of the limit | peak resident | 1 thread: in use | resident |
//! |---|---:|---:|---:|---:|
//! | 128 B to 2 KiB | 0.437 | 0.580 | 0.437 | 0.445 |
//! | 2 to 32 KiB | 0.995 | 1.519 | 0.994 | 1.051 |
//! | 64 to 256 KiB | 0.991 | 1.272 | 0.985 | 1.069 |
//! | 128 B to 256 KiB | 0.997 | 1.430 | 0.990 | 1.135 |
//! | small, then large | 1.016 | 1.752 | 1.011 | 1.486 |
//! | small, large, small, middling, all | 1.019 | 2.629 | 1.012 | 2.523 |
//!
//! *In use* is the memory requested from glibc's malloc, with its rounding: the store stays within its
//! bound. Resident memory beyond that was freed and could not be reused: memory that one thread frees
//! returns to the arena of the thread that allocated it, and the hole of a small body cannot hold a
//! large one. With `MALLOC_ARENA_MAX=1` four threads take as much as one, except in the last line (1.88).
//! jemalloc (preloaded) takes 1.4 to 2.4 in the last five lines, and 1.07 to 1.5 when configured to
//! keep nothing (`MALLOC_CONF=dirty_decay_ms:0,muzzy_decay_ms:0`). From run to run the figures for four
//! threads differ by a tenth.

#[path = "../alloc.rs"]
mod alloc;

use std::ops::Range;
use std::process::Command;
use std::{env, fs, thread};

use fastrand::Rng;
use tower_response_cache::testing::store_contract::sample;
use tower_response_cache::{MaybeReady, MemoryStore, Store};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const LIMIT: usize = 64 << 20;

/// Sizes of bodies, by powers of two.
const SMALL: Range<u32> = 7..11;
const MIDDLING: Range<u32> = 11..15;
const LARGE: Range<u32> = 16..18;
const ALL: Range<u32> = 7..18;

const STORMS: [(&str, &[Range<u32>]); 6] = [
    ("128 B to 2 KiB", &[SMALL]),
    ("2 to 32 KiB", &[MIDDLING]),
    ("64 to 256 KiB", &[LARGE]),
    ("128 B to 256 KiB", &[ALL]),
    ("small, then large", &[SMALL, LARGE]),
    (
        "small, large, small, middling, all",
        &[SMALL, LARGE, SMALL, MIDDLING, ALL],
    ),
];

fn main() {
    let numbers: Vec<usize> = env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if let [which, threads] = numbers[..] {
        return println!("{}", grown(STORMS[which].1, threads));
    }
    let threads = numbers.first().copied().unwrap_or(4);
    println!(
        "| bodies, {threads} threads | in use at the most, of the limit | resident at the most |"
    );
    println!("|---|---:|---:|");
    for (which, (name, _)) in STORMS.into_iter().enumerate() {
        println!(
            "| {name} | {} |",
            elsewhere(which, threads).unwrap_or("–".to_owned())
        );
    }
}

/// Runs one line in a process of its own.
fn elsewhere(which: usize, threads: usize) -> Option<String> {
    let output = Command::new(env::current_exe().ok()?)
        .args([which, threads].map(|number| number.to_string()))
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn grown(storms: &[Range<u32>], threads: usize) -> String {
    let store = MemoryStore::new(LIMIT);
    let before = high_water_mark();
    let used = alloc::live_rounded();
    alloc::take_peak();
    for sizes in storms {
        thread::scope(|scope| {
            for number in 1..=threads as u64 {
                let (store, sizes) = (&store, sizes.clone());
                scope.spawn(move || {
                    storm(store, sizes, 8 * LIMIT / threads, Rng::with_seed(number))
                });
            }
        });
        let usage = store.usage();
        assert!(usage.bytes <= usage.capacity, "{usage:?}");
    }
    let used = (alloc::peak_rounded() - used) as f64 / LIMIT as f64;
    let resident = (high_water_mark() - before) as f64 / LIMIT as f64;
    format!("{used:.3} | {resident:.3}")
}

/// Puts this many bytes under 20,000 keys in random order.
fn storm(store: &MemoryStore, sizes: Range<u32>, bytes: usize, mut random: Rng) {
    let mut put = 0;
    while put < bytes {
        let power = random.u32(sizes.clone());
        let size = (1 << power) + random.usize(..1 << power);
        let path = format!("/catalog/items/{}", random.u32(..20_000));
        let (key, stored) = sample(store.log(), &path, vec![7; size].into());
        assert!(matches!(store.put(key, stored), MaybeReady::Now(Ok(()))));
        put += size + 500;
    }
}

/// Returns `VmHWM` of this process in bytes, from Linux.
fn high_water_mark() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}
