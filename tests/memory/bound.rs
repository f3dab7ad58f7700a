//! The bound of the memory store is one of the process, not only of its own sums.

use std::fs;

use bytes::Bytes;
use tower_response_cache::testing::store_contract::sample;
use tower_response_cache::{MaybeReady, MemoryStore, Store};

use crate::alone;

const LIMIT: usize = 32 << 20;

/// Puts three times what fits: small bodies and large, under new keys and under old ones.
#[test]
fn the_process_grows_by_no_more_than_the_bound_and_a_tenth() {
    alone!(the_process_grows_by_no_more_than_the_bound_and_a_tenth);
    let store = MemoryStore::new(LIMIT);
    let before = high_water_mark();
    let (mut put, mut n) = (0, 0);
    while put < 3 * LIMIT {
        let path = match n % 4 {
            0 => format!("/catalog/items/{}", n % 1_000),
            _ => format!("/catalog/items/{n}"),
        };
        let body = match n % 100 {
            0 => 100 << 10,
            1..50 => 1 << 10,
            _ => 100,
        };
        let (key, stored) = sample(store.log(), &path, Bytes::from(vec![7; body]));
        assert!(matches!(store.put(key, stored), MaybeReady::Now(Ok(()))));
        put += body + 500;
        n += 1;
    }
    let usage = store.usage();
    assert!(usage.bytes <= usage.capacity, "{usage:?}");
    assert!(usage.bytes > usage.capacity * 9 / 10, "{usage:?}");
    let grown = high_water_mark() - before;
    assert!(grown <= LIMIT / 10 * 11, "grown by {grown} bytes");
}

/// The most this process has had in memory, in bytes.
fn high_water_mark() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}
