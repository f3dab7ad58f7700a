//! The bound of the memory store holds for the process when the same keys are overwritten again and
//! again with bodies of other sizes, from several threads: what the allocator leaves unused between
//! them counts.
//!
//! `cargo test --test memory_storm -- --nocapture` prints what each storm took. Alone in its file,
//! because other tests in the same process would be counted.
#![cfg(target_os = "linux")]

use std::fs;
use std::ops::Range;
use std::thread;

use bytes::Bytes;
use tower_response_cache::testing::store_contract::sample;
use tower_response_cache::{Answer, MemoryStore, Store};

const LIMIT: usize = 64 << 20;
const THREADS: usize = 4;

/// Sizes of bodies by powers of two, and how many bytes of them are written.
const STORMS: [(&str, Range<u32>, usize); 6] = [
    ("100 B to 256 KiB", 7..18, 10 * LIMIT),
    ("small", 7..11, 3 * LIMIT),
    ("large", 16..18, 5 * LIMIT),
    ("small again", 7..11, 3 * LIMIT),
    ("middling", 11..15, 5 * LIMIT),
    ("all again", 7..18, 10 * LIMIT),
];

#[test]
fn overwriting_keys_with_bodies_of_other_sizes_keeps_the_process_within_the_bound_and_a_tenth() {
    let store = MemoryStore::new(LIMIT);
    let before = high_water_mark();
    for (name, sizes, bytes) in STORMS {
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (store, sizes) = (&store, sizes.clone());
                scope.spawn(move || storm(store, sizes, bytes / THREADS, number as u64 + 1));
            }
        });
        let (grown, usage) = (high_water_mark() - before, store.usage());
        println!(
            "{name}: {:.3} of the limit at the most, {} entries",
            grown as f64 / LIMIT as f64,
            usage.entries
        );
        assert!(usage.bytes <= usage.capacity, "{usage:?}");
        assert!(grown <= LIMIT / 10 * 11, "{name}: grown by {grown} bytes");
    }
}

/// Puts so many bytes under 20,000 keys in random order.
fn storm(store: &MemoryStore, sizes: Range<u32>, bytes: usize, mut random: u64) {
    let mut put = 0;
    while put < bytes {
        // Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let power = sizes.start + (random >> 8) as u32 % (sizes.end - sizes.start);
        let size = (1 << power) + (random >> 40) as usize % (1 << power);
        let path = format!("/catalog/items/{}", (random >> 16) % 20_000);
        let (key, stored) = sample(store.log(), &path, Bytes::from(vec![7; size]));
        assert!(matches!(store.put(key, stored), Answer::Now(Ok(()))));
        put += size + 500;
    }
}

/// The most this process has had in memory, in bytes.
fn high_water_mark() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}
