//! How much memory a stored response takes.

use std::fs;

use crate::cases;

const ENTRIES: u64 = 20_000;

/// Returns how many bytes an entry takes over its header section and body. `None` where the system
/// does not tell what the process takes.
pub(crate) fn per_entry() -> Option<f64> {
    let (mut client, stored) = cases::storing();
    // The tables have their first size, and the allocator its first pages.
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
