//! Stored responses in this process's memory, within a bound of bytes.
//!
//! A store is cut into shards of a few megabytes. Each is a `quick_cache` of its own: a hash table
//! whose eviction withstands scans (Clock-Pro), chosen by the measurements in `benches/engines`.
//! Because a shard is bounded in bytes, so is everything that happens under its lock, however large
//! the store: growing its table, making room for an entry, listing what it holds.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use self::shard::Shard;
use self::sweep::{Sweep, Swept};
use super::{CounterStore, MaybeReady, Store, Stored, Usage};
use crate::clock::Clock;
use crate::entry::StoredResponse;
use crate::error::Error;
use crate::invalidate::Log;
use crate::key::{Key, KeyRef};

mod shard;
mod sweep;
#[cfg(test)]
mod tests;

const MIB: usize = 1 << 20;

/// A store in memory, bounded in bytes.
///
/// The bound covers keys, headers, bodies and the overhead of the allocator and the tables, so that the
/// process grows by the bound and a few percent. Only the log of invalidations takes some
/// [3 MB](MemoryStoreBuilder::log_capacity) besides. Not covered is memory that was freed and that the
/// allocator cannot use again: where bodies of very different sizes replace each other all the time, from
/// several threads, glibc's malloc was seen to hold half of the bound more, and after whole shifts from
/// small to large bodies and back more than the bound once more (`benches/engines`, `storm`;
/// `MALLOC_ARENA_MAX=1` in the environment helps).
///
/// A full store evicts the entries that are used least. A flood of keys that are asked for once does not
/// displace those that are asked for repeatedly.
///
/// An entry that takes more than an eighth of the store is not kept, nor one larger than
/// [`largest_entry`](MemoryStoreBuilder::largest_entry).
///
/// A lookup neither copies nor allocates: entries are shared. No call waits for anything but a lock that
/// is held for less than a millisecond.
///
/// # Examples
///
/// ```
/// use tower_response_cache::{MemoryStore, Store};
///
/// let store = MemoryStore::new(256 << 20);
/// assert_eq!(store.usage().capacity, 256 << 20);
/// assert_eq!(store.usage().entries, 0);
/// ```
pub struct MemoryStore {
    shards: Box<[Shard]>,
    max_bytes: usize,
    largest_entry: usize,
    evictions: AtomicU64,
    swept: Swept,
    log: Log,
    clock: Clock,
    sweep: Mutex<Sweep>,
}

/// Sets up a [`MemoryStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryStoreBuilder {
    max_bytes: usize,
    largest_entry: Option<usize>,
    log_capacity: Option<usize>,
    clock: Clock,
}

impl MemoryStore {
    /// Returns an empty store that takes at most `max_bytes`.
    ///
    /// It takes memory as entries come, not at once.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let builder = Self::builder().max_bytes(max_bytes);
        let log = builder.log();
        builder.with_largest_entry(DEFAULT_LARGEST_ENTRY, log)
    }

    /// Returns a builder, for more settings than the number of bytes.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            max_bytes: 64 * MIB,
            largest_entry: None,
            log_capacity: None,
            clock: Clock::default(),
        }
    }

    fn shard(&self, key: KeyRef<'_>) -> &Shard {
        shard::of(&self.shards, key)
    }
}

/// The least that a shard takes when there is more than one.
const SHARD_BYTES: usize = 8 * MIB;

/// An entry of this size fits into the smallest of several shards.
const DEFAULT_LARGEST_ENTRY: usize = 7 * MIB;

impl MemoryStoreBuilder {
    /// Sets the number of bytes that the store takes at most. Default: 64 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the size of the largest entry: key, headers, body and overhead together.
    /// Default: 7 MiB, or an eighth of the store if that is less.
    ///
    /// An entry has to fit into one shard, so a larger one means larger and fewer shards, and
    /// longer, if rarer, waits while a shard's table grows.
    pub fn largest_entry(mut self, bytes: usize) -> Self {
        self.largest_entry = Some(bytes);
        self
    }

    /// Sets how many different invalidations the [`Log`] tells apart, at about 100 bytes each.
    /// Default: 32,768. See [`Log::with_capacity`].
    pub fn log_capacity(mut self, invalidations: usize) -> Self {
        self.log_capacity = Some(invalidations);
        self
    }

    /// Sets the clock by which responses and counters end. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the store.
    ///
    /// # Errors
    ///
    /// Fails where the largest entry would take more than an eighth of the store.
    pub fn build(self) -> Result<MemoryStore, Error> {
        let log = self.log();
        self.build_with(log)
    }

    /// Returns a store that goes by a log of its owner's.
    pub(super) fn build_with(self, log: Log) -> Result<MemoryStore, Error> {
        let eighth = self.max_bytes / 8;
        match self.largest_entry {
            Some(largest) if largest > eighth => Err(Error::config(format!(
                "an entry of {largest} bytes would take more than an eighth of a memory store of {} \
                 bytes: allow at most {eighth} or enlarge the store",
                self.max_bytes
            ))),
            Some(largest) => Ok(self.with_largest_entry(largest, log)),
            None => Ok(self.with_largest_entry(DEFAULT_LARGEST_ENTRY, log)),
        }
    }

    fn log(&self) -> Log {
        self.log_capacity
            .map_or_else(Log::default, Log::with_capacity)
    }

    fn with_largest_entry(self, largest: usize, log: Log) -> MemoryStore {
        let largest_entry = largest.min(self.max_bytes / 8);
        // A seventh more: a shard's own overhead is far less.
        let shard_bytes = SHARD_BYTES.max(largest_entry.saturating_add(largest_entry / 7));
        let shards = (self.max_bytes / shard_bytes).max(1);
        MemoryStore {
            shards: (0..shards)
                .map(|_| Shard::new(self.max_bytes / shards))
                .collect(),
            max_bytes: self.max_bytes,
            largest_entry,
            evictions: AtomicU64::new(0),
            log,
            swept: Swept::default(),
            clock: self.clock,
            sweep: Mutex::default(),
        }
    }
}

impl Default for MemoryStore {
    /// Returns a store of 64 MiB: some 40,000 responses of 1 KiB, and little beside what a service
    /// takes anyway, so that it is safe in a small container.
    fn default() -> Self {
        Self::new(64 * MIB)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        MaybeReady::Now(Ok(self.shard(key).get(key)))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        let shard = self.shard(key.borrow());
        if shard::weight(&key, &stored) > self.largest_entry {
            // The entry that was there is older. It must not outlive its replacement.
            shard.remove(key.borrow());
        } else {
            let evicted = shard.put(key, stored);
            self.evictions.fetch_add(evicted, Ordering::Relaxed);
        }
        MaybeReady::Now(Ok(()))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.shard(key).remove(key);
        MaybeReady::Now(Ok(()))
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn counters(&self) -> Option<&dyn CounterStore> {
        Some(self)
    }

    /// Looks at no more than 256 entries, which takes some 50 µs, or 150 when something has been
    /// invalidated. A round over the whole store is complete when this returns `false`. An
    /// invalidation begins a new one.
    ///
    /// Removes entries that were invalidated, and those past use: no longer fresh, nor servable stale,
    /// nor worth validating. Counters that have ended, too.
    fn sweep(&self) -> bool {
        let mut sweep = match self.sweep.try_lock() {
            Ok(sweep) => sweep,
            // The progress of a round is only a hint, and any hint will do.
            Err(TryLockError::Poisoned(sweep)) => sweep.into_inner(),
            // Another thread is at it, and finds out whether there is more to do.
            Err(TryLockError::WouldBlock) => return false,
        };
        let now = self.clock.instant();
        sweep.step(&self.shards, &self.log, now, &self.swept)
    }

    fn visit(&self, visitor: &mut dyn FnMut(KeyRef<'_>, &StoredResponse)) -> bool {
        for (key, stored) in self.shards.iter().flat_map(Shard::iter) {
            if let Stored::Response(stored) = stored {
                visitor(key.borrow(), &stored);
            }
        }
        true
    }

    fn usage(&self) -> Usage {
        Usage {
            entries: self.shards.iter().map(Shard::entries).sum(),
            bytes: self.shards.iter().map(Shard::bytes).sum(),
            capacity: self.max_bytes as u64,
            largest_entry: self.largest_entry as u64,
            evictions: self.evictions.load(Ordering::Relaxed),
            swept_invalidated: self.swept.invalidated.load(Ordering::Relaxed),
            swept_expired: self.swept.expired.load(Ordering::Relaxed),
        }
    }
}

/// Counters take room as entries do, and end by the store's own
/// [`clock`](MemoryStoreBuilder::clock).
impl CounterStore for MemoryStore {
    /// Adds under the lock of the counter's shard.
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>> {
        let (shard, now) = (self.shard(key), self.clock.instant());
        if by == 0 {
            return MaybeReady::Now(Ok(shard.count(key, now)));
        }
        let (count, evicted) = shard.increment(key, by, now.checked_add(ttl), now);
        self.evictions.fetch_add(evicted, Ordering::Relaxed);
        MaybeReady::Now(count.ok_or_else(|| Error::store("the count would not fit into 64 bits")))
    }

    fn reset(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.remove(key)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}
