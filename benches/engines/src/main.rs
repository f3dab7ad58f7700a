//! Compares engines on which the memory store could be built.
//!
//! `cargo run --release -- [FOLDER]` in this folder prints the table below in about a minute; `FOLDER`
//! holds further traces (see `traces/README.md`). Instructions need valgrind. `cargo run --release --bin
//! store` measures the resulting store.
//!
//! An engine maps a key (hashed beforehand, 82 bytes, compared in full) to a shared value and is
//! bounded by weight. quick_cache 0.7.0, moka 0.12.16 (`sync`) and foyer 0.22.6 (memory only), two
//! cores of an x86-64 Linux machine with other work on it, Rust 1.95: the nanoseconds are hints.
//!
//! | | quick_cache | moka | foyer-lru | foyer-s3fifo | foyer-tinylfu | LRU | optimum |
//! |---|---|---|---|---|---|---|---|
//! | hit: instructions | 165 | 752 | 383 | 261 | 811 | | |
//! | hit: ns, allocations | 32, 0.0 | 187, 0.0 | 212, 0.0 | 139, 0.0 | 176, 0.0 | | |
//! | insert + evict: instructions | 611 | 4234 | 1303 | 1754 | 2834 | | |
//! | insert + evict: ns, allocations | 131, 0.0 | 1277, 6.3 | 385, 2.0 | 405, 2.0 | 649, 2.0 | | |
//! | hit, 2 threads on one key: ns | 116 | 379 | 350 | 189 | 268 | | |
//! | bytes per entry beyond key and value | 83 | 254 | 127 | 127 | 127 | | |
//! | 1 M writes of 1 KiB to one key: peak KiB | 2 | 87 | 2 | 2 | 2 | | |
//! | 1 M unique keys of 1 KiB: peak / limit | 1.17 | 1.30 | 1.18 | 1.24 | 1.19 | | |
//! | weight kept after the TTL | 100 % | 0 % | 100 % | 100 % | 100 % | | |
//! | web07, 204 | 0.411 | 0.331 | 0.388 | 0.423 | 0.435 | 0.391 | 0.534 |
//! | web07, 1024 | 0.536 | 0.461 | 0.503 | 0.535 | 0.529 | 0.506 | 0.637 |
//! | web07, 4096 | 0.624 | 0.573 | 0.608 | 0.629 | 0.621 | 0.610 | 0.717 |
//! | web12, 137 | 0.376 | 0.306 | 0.394 | 0.403 | 0.405 | 0.397 | 0.585 |
//! | web12, 687 | 0.635 | 0.559 | 0.596 | 0.634 | 0.645 | 0.600 | 0.747 |
//! | web12, 2751 | 0.774 | 0.738 | 0.754 | 0.776 | 0.774 | 0.757 | 0.840 |
//! | multi3, 74 | 0.091 | 0.223 | 0.053 | 0.157 | 0.216 | 0.051 | 0.287 |
//! | multi3, 372 | 0.328 | 0.359 | 0.257 | 0.356 | 0.365 | 0.266 | 0.468 |
//! | multi3, 1490 | 0.563 | 0.544 | 0.440 | 0.513 | 0.462 | 0.441 | 0.628 |
//! | loop, 10 | 0.009 | 0.009 | 0.000 | 0.000 | 0.000 | 0.000 | 0.010 |
//! | loop, 50 | 0.047 | 0.048 | 0.000 | 0.000 | 0.000 | 0.000 | 0.049 |
//! | loop, 202 | 0.191 | 0.197 | 0.000 | 0.000 | 0.000 | 0.000 | 0.198 |
//! | Zipf 0.9, 1000 | 0.451 | 0.386 | 0.336 | 0.444 | 0.435 | 0.340 | 0.529 |
//! | Zipf 0.9, 10000 | 0.647 | 0.625 | 0.593 | 0.646 | 0.631 | 0.597 | 0.741 |
//! | Zipf 0.9 + scans, 1000 | 0.297 | 0.228 | 0.208 | 0.294 | 0.285 | 0.209 | 0.351 |
//! | Zipf 0.9 + scans, 10000 | 0.393 | 0.386 | 0.344 | 0.408 | 0.385 | 0.347 | 0.483 |
//! | cdn, 4 MiB | 0.274 | 0.288 | 0.261 | 0.279 | 0.280 | 0.263 | |
//! | cdn, 16 MiB | 0.358 | 0.344 | 0.321 | 0.363 | 0.359 | 0.323 | |
//! | cdn, 64 MiB | 0.415 | 0.384 | 0.394 | 0.417 | 0.412 | 0.397 | |
//!
//! Instructions are the difference between 40,000 operations and 20,000 under callgrind, including the
//! freeing of the evicted key. Hit ratios are for one shard each; moka does its pending work after every
//! access. LRU and the optimum, which sees the future and may decline to admit, are simulated here.
//!
//! # Decision: quick_cache
//!
//! - A hit costs the least, and so does an insertion; neither allocates. moka keeps buffers of reads
//!   and writes, and pays for them at every step. With two threads on one key the times of one
//!   engine differ more from run to run (quick_cache: 57 to 283 ns) than the engines do.
//! - It takes the least memory beyond the entry: 44 bytes per entry less than foyer, 171 less than moka.
//! - On the web shop's and the CDN's requests its hit ratio is within 0.01 of the best, except at very
//!   small capacities, where foyer's S3-FIFO and TinyLFU and moka reach up to 0.03 more (and on
//!   `multi3` with 74 entries twice as much). It is above LRU in all lines but one, and the only engine
//!   that fails at none of scans, loops and web requests.
//! - Only moka can expire entries by age. That does not outweigh the rest: an invalidation needs a sweep
//!   in any case, because the engine cannot know what it hits, and the same sweep finds expired entries.
//!   Until then an expired entry takes room, but only until the engine needs that room for another:
//!   entries that nobody requests go first.
//! - Every process that links foyer spends some 10 ms on calibrating the processor's clock before `main`.
//!
//! Also tried, with quick_cache:
//!
//! - Remembering fewer evicted keys (its ghosts; above, half as many as entries that fit): a quarter
//!   costs up to 0.005 of the hit ratio on the web traces, none at all up to 0.037. So the store expects
//!   entries of 2 KiB, which is rather less than they take.
//! - 8 or 16 shards instead of one for 64 MiB of the CDN's objects: no difference above 0.003. So
//!   shards may be as small as the largest entry allows, which keeps everything done under a shard's
//!   lock short.
//! - `parking_lot` instead of the standard library's lock: 166 instead of 165 instructions per hit and
//!   587 instead of 611 per insertion; the times differ no more than those of two runs.

mod alloc;
mod cost;
mod engines;
mod random;
mod traces;

use std::env;
use std::path::{Path, PathBuf};

use cost::Operation;
use engines::{KINDS, Kind};
use traces::Trace;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["only", kind, operation, times] => only(kind, operation, times),
        [] => report(&Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")),
        [ref folder, ..] => report(&PathBuf::from(folder)),
    }
}

/// Runs one operation this many times and nothing else, under callgrind.
fn only(kind: &str, operation: &str, times: &str) {
    let times = times.parse().expect("a number");
    let kind = KINDS.into_iter().find(|one| one.to_string() == kind);
    let operation = match operation {
        "Hit" => Operation::Hit,
        _ => Operation::InsertAndEvict,
    };
    cost::run(kind.expect("an engine's name"), operation, times);
}

fn report(folder: &Path) {
    print!("| |");
    KINDS.iter().for_each(|kind| print!(" {kind} |"));
    println!(" LRU | optimum |");
    println!("|---|{}", "---|".repeat(KINDS.len() + 2));
    costs();
    hit_ratios(folder);
}

fn row(name: &str, cell: impl Fn(Kind) -> String) {
    print!("| {name} |");
    KINDS.iter().for_each(|kind| print!(" {} |", cell(*kind)));
    println!(" | |");
}

fn costs() {
    for (name, operation) in [
        ("hit", Operation::Hit),
        ("insert + evict", Operation::InsertAndEvict),
    ] {
        row(&format!("{name}: instructions"), |kind| {
            cost::instructions(kind, operation).map_or("–".into(), |count| format!("{count:.0}"))
        });
        row(&format!("{name}: ns, allocations"), |kind| {
            let (ns, allocations) = cost::time(kind, operation);
            format!("{ns:.0}, {allocations:.1}")
        });
    }
    row("hit, 2 threads on one key: ns", |kind| {
        format!("{:.0}", cost::contended(kind))
    });
    row("bytes an entry beyond key and value", |kind| {
        format!("{:.0}", cost::bytes_per_entry(kind))
    });
    row("1 M writes of 1 KiB to one key: peak KiB", |kind| {
        format!("{}", cost::write_storm(kind) / 1024)
    });
    row("1 M unique keys of 1 KiB: peak / limit", |kind| {
        format!("{:.2}", cost::flood(kind))
    });
    row("weight kept after the TTL", |kind| {
        format!("{:.0} %", cost::expired_share(kind) * 100.0)
    });
}

fn hit_ratios(folder: &Path) {
    let read = |name| traces::read(folder, name);
    let by_count: [(&str, Option<Trace>, &[u64]); 6] = [
        ("web07", read("web07"), &[204, 1_024, 4_096]),
        ("web12", read("web12"), &[137, 687, 2_751]),
        ("multi3", read("multi3"), &[74, 372, 1_490]),
        ("loop", read("loop"), &[10, 50, 202]),
        (
            "Zipf 0.9",
            Some(traces::zipf(300_000, false)),
            &[1_000, 10_000],
        ),
        (
            "Zipf 0.9 + scans",
            Some(traces::zipf(300_000, true)),
            &[1_000, 10_000],
        ),
    ];
    for (name, trace, capacities) in by_count {
        let Some(trace) = trace else {
            eprintln!("{name}: no such trace in {}", folder.display());
            continue;
        };
        for entries in capacities {
            ratios(
                &format!("{name}, {entries}"),
                &trace,
                *entries,
                *entries as usize,
            );
            println!(" {:.3} |", traces::optimum(&trace, *entries as usize));
        }
    }
    if let Some(trace) = read("cdn") {
        for mib in [4, 16, 64] {
            let capacity = mib << 20;
            ratios(
                &format!("cdn, {mib} MiB"),
                &trace,
                capacity,
                capacity as usize / 8_192,
            );
            println!(" |");
        }
    }
}

fn ratios(name: &str, trace: &Trace, capacity: u64, items: usize) {
    print!("| {name} |");
    for kind in KINDS {
        print!(" {:.3} |", traces::engine(kind, trace, capacity, items, 1));
    }
    print!(" {:.3} |", traces::lru(trace, capacity));
}
