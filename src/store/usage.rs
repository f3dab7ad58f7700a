//! How much a store holds.

/// How much a store holds, and what it has removed by itself; from
/// [`Store::usage`](crate::Store::usage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Entries stored now.
    pub entries: u64,
    /// Bytes they take, keys and overhead included.
    pub bytes: u64,
    /// The most bytes the store will take; zero where it has no such bound of its own.
    pub capacity: u64,
    /// The largest entry the store keeps, its key and overhead included; zero where it has no such
    /// bound of its own.
    pub largest_entry: u64,
    /// Entries evicted for capacity since the store was made.
    pub evictions: u64,
    /// Entries removed because they had been invalidated, since the store was made.
    pub swept_invalidated: u64,
    /// Entries removed because they were past any use, since the store was made.
    pub swept_expired: u64,
}
