//! What a process takes of memory, and for how long.
//!
//! Apart from all other tests, because the allocator is this program's, and each in a process of its
//! own (`support::alone`), because whatever else went on there would be counted.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
#[cfg(target_os = "linux")]
mod bound;
mod long_keys;
mod redis_log;
