//! Ports for servers that are killed and started again.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};

/// Below what systems hand out to clients: while a server is down, no connection that goes out may
/// take its port, or meet itself there.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns a port that is free and was not returned before.
pub(super) fn take() -> u16 {
    let mut taken = TAKEN
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    // Processes that run side by side begin far from each other.
    let start = std::process::id().wrapping_mul(7919) % u32::from(COUNT);
    for step in 0..COUNT {
        let offset = (start + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + offset as u16;
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no port from {FIRST} up is free");
}
