//! Measures the memory of a stored response.

use std::fs;

use crate::cases;

const ENTRIES: u64 = 20_000;

/// Returns the bytes that an entry takes beyond its headers and body. `None` if the system does not
/// report the memory of the process.
pub(crate) fn per_entry() -> Option<f64> {
    let (mut client, stored) = cases::storing();
    // Now the tables have their first size, and the allocator has its first pages.
    client.send(1_000);
    let before = resident()?;
    client.send(ENTRIES);
    let grown = resident()?.saturating_sub(before);
    drop(client);
    Some(grown as f64 / ENTRIES as f64 - stored as f64)
}

/// Returns the memory this process takes now.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
