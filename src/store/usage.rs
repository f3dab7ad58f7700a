/// How much a store holds, and what it gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Values stored now.
    pub entries: u64,
    /// Bytes they take, keys and overhead included.
    pub bytes: u64,
    /// The most bytes the store will take; zero where it has no such bound of its own.
    pub capacity: u64,
    /// Values given up for lack of room since the store was made.
    pub evictions: u64,
    /// Values removed because they had been invalidated, since the store was made.
    pub swept_invalidated: u64,
    /// Values removed because they were past any use, since the store was made.
    pub swept_expired: u64,
}
