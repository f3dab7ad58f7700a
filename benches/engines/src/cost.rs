//! The cost of one operation: instructions, allocations, nanoseconds, bytes.

use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::alloc;
use crate::engines::{Engine, Key, Kind, Setup, Value};

/// The number of entries that an engine has room for here, and of keys to draw from.
const ROOM: usize = 1_000;

fn keys(count: usize) -> Vec<Key> {
    // 82 bytes, like a host, a path and a query.
    let key = |n| {
        format!(
            "GET shop.example.com /catalog/books/items/{n:010}/reviews?page=2&sort=by-date-down"
        )
    };
    (0..count).map(|n| Key::new(key(n).as_bytes())).collect()
}

fn value(bytes: usize) -> Arc<Value> {
    Arc::new(Value {
        weight: bytes as u32,
        body: vec![7; bytes],
    })
}

fn room(entries: usize, weight: usize) -> Setup {
    Setup {
        capacity: (entries * weight) as u64,
        items: entries,
        shards: 4,
        ttl: None,
    }
}

/// The operations that are counted.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Hit,
    InsertAndEvict,
}

/// Sets up, then runs `operation` `times` times, and returns its duration and the number of its
/// allocations, without those of the keys and values themselves.
pub fn run(kind: Kind, operation: Operation, times: usize) -> (Duration, u64) {
    let cache = kind.build(room(ROOM, 1));
    let value = value(1);
    match operation {
        Operation::Hit => {
            let keys = keys(ROOM / 2);
            keys.iter()
                .for_each(|key| cache.insert(key.clone(), value.clone()));
            cache.settle();
            measured(|| {
                for key in keys.iter().cycle().take(times) {
                    assert!(cache.get(key.borrow()).is_some());
                }
            })
        }
        Operation::InsertAndEvict => {
            let mut keys = keys(ROOM * 3 + times);
            let mut rest = keys.split_off(ROOM * 3).into_iter();
            keys.into_iter()
                .for_each(|key| cache.insert(key, value.clone()));
            cache.settle();
            measured(|| {
                rest.by_ref()
                    .for_each(|key| cache.insert(key, value.clone()))
            })
        }
    }
}

fn measured(mut work: impl FnMut()) -> (Duration, u64) {
    let (start, calls) = (Instant::now(), alloc::calls());
    counted(&mut work);
    (start.elapsed(), alloc::calls() - calls)
}

/// The only function that callgrind counts. Outside of it, foyer calibrates the processor's clock when
/// the process starts, which takes a varying number of instructions.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

/// Returns the least time of several runs in nanoseconds per operation, and the allocations per
/// operation.
pub fn time(kind: Kind, operation: Operation) -> (f64, f64) {
    const TIMES: usize = 100_000;
    let runs = (0..7).map(|_| run(kind, operation, TIMES));
    runs.map(|(time, calls)| {
        (
            time.as_nanos() as f64 / TIMES as f64,
            calls as f64 / TIMES as f64,
        )
    })
    .fold((f64::MAX, f64::MAX), |a, b| (a.0.min(b.0), a.1.min(b.1)))
}

/// Returns the instructions per operation: the difference to a run with twice as many, under callgrind.
/// `None` without callgrind.
pub fn instructions(kind: Kind, operation: Operation) -> Option<f64> {
    const TIMES: usize = 20_000;
    let more = collected(kind, operation, TIMES * 2)? - collected(kind, operation, TIMES)?;
    Some(more / TIMES as f64)
}

/// Returns the instructions that callgrind counts in the operations of one run.
fn collected(kind: Kind, operation: Operation, times: usize) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=engines::cost::counted*")
        .arg(env::current_exe().ok()?)
        .args([
            "only",
            &kind.to_string(),
            &format!("{operation:?}"),
            &times.to_string(),
        ])
        .output()
        .ok()?;
    let report = String::from_utf8(output.stderr).ok()?;
    let (_, counted) = report.split_once("Collected :")?;
    counted.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns the bytes per entry beyond key and value, with 100,000 entries that fit.
pub fn bytes_per_entry(kind: Kind) -> f64 {
    const ENTRIES: usize = 100_000;
    let (keys, value) = (keys(ENTRIES), value(1));
    let before = alloc::live();
    // More room than needed, so that an uneven distribution over shards evicts nothing.
    let cache = kind.build(Setup {
        items: ENTRIES,
        ..room(ENTRIES * 2, 1)
    });
    let owned = keys.to_vec();
    let heap: usize = ENTRIES * 82;
    owned
        .into_iter()
        .for_each(|key| cache.insert(key, value.clone()));
    cache.settle();
    assert!(
        cache.len() > ENTRIES * 99 / 100,
        "{kind} kept {}",
        cache.len()
    );
    (alloc::live() - before - heap as u64) as f64 / cache.len() as f64
}

/// Writes 1 KiB to one key a million times, and returns the peak of bytes in use beyond those before.
pub fn write_storm(kind: Kind) -> u64 {
    let cache = kind.build(room(1_000, 1_024));
    let key = &keys(1)[0];
    let before = alloc::live();
    alloc::take_peak();
    for _ in 0..1_000_000 {
        cache.insert(key.clone(), value(1_024));
    }
    alloc::take_peak() - before
}

/// Writes a million unique keys of 1 KiB through 16 MiB, and returns the peak of bytes in use divided by
/// the limit. Ten million keys would take minutes and show the same.
pub fn flood(kind: Kind) -> f64 {
    const LIMIT: usize = 16 << 20;
    let weight = 1_024 + 82;
    let before = alloc::live();
    alloc::take_peak();
    let cache = kind.build(Setup {
        capacity: LIMIT as u64,
        items: LIMIT / weight,
        shards: 4,
        ttl: None,
    });
    for n in 0..1_000_000_u64 {
        let mut bytes = [0; 82];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        cache.insert(
            Key::new(&bytes),
            Arc::new(Value {
                weight: weight as u32,
                body: vec![7; 1_024],
            }),
        );
    }
    (alloc::take_peak() - before) as f64 / LIMIT as f64
}

/// Returns the share of weight that 10,000 entries still take after they have expired, with the engine's
/// own means of expiry if it has any.
pub fn expired_share(kind: Kind) -> f64 {
    let ttl = Duration::from_millis(20);
    let cache = kind.build(Setup {
        ttl: Some(ttl),
        ..room(20_000, 1)
    });
    let keys = keys(10_000);
    keys.iter()
        .for_each(|key| cache.insert(key.clone(), value(1)));
    cache.settle();
    let before = cache.weight();
    thread::sleep(ttl * 3);
    cache.settle();
    cache.weight() as f64 / before as f64
}

/// Returns the nanoseconds per hit while two threads look up the same key.
pub fn contended(kind: Kind) -> f64 {
    const TIMES: u32 = 300_000;
    let cache = kind.build(room(ROOM, 1));
    let key = &keys(1)[0];
    cache.insert(key.clone(), value(1));
    cache.settle();
    let start = Barrier::new(2);
    let hits = |cache: &dyn Engine| {
        start.wait();
        let begun = Instant::now();
        for _ in 0..TIMES {
            assert!(cache.get(key.borrow()).is_some());
        }
        begun.elapsed()
    };
    let once = || {
        thread::scope(|scope| {
            let other = scope.spawn(|| hits(&*cache));
            hits(&*cache).max(other.join().expect("does not panic"))
        })
    };
    let least = (0..5).map(|_| once()).min().unwrap_or_default();
    least.as_nanos() as f64 / f64::from(TIMES)
}
