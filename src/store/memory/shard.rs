//! One shard: a `quick_cache` that counts bytes.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use super::super::Stored;
use crate::entry::{StoredResponse, Variants};
use crate::key::{Key, KeyHasher, KeyRef};

pub(super) struct Shard(Cache<Key, Slot, Weighed, KeyHasher, Evicting>);

/// [`Stored`], with its weight where the enum has room to spare.
///
/// The weight is taken once: the engine asks for it at every step of an eviction, and its sums rest
/// on getting the same answer as before.
#[derive(Clone)]
enum Slot {
    Response(u32, Arc<StoredResponse>),
    Variants(u32, Arc<Variants>),
}

/// A slot of the engine's slab; its documentation adds 21 bytes to key and value.
const SLAB_SLOT: usize = (size_of::<Key>() + size_of::<Slot>() + 21).next_multiple_of(8);

/// A place in the engine's hash table: five bytes, at most 7/8 and at least 7/16 in use.
const TABLE_SLOT: usize = 8;

/// What an entry takes beyond its key and the stored value's own size.
///
/// The slab doubles as it grows, so that a slot costs one and a half on average; shared values have
/// two counts; and an allocator adds some 16 bytes to each of the key, the value and its buffer, and
/// to a long body.
const ENTRY_OVERHEAD: usize = SLAB_SLOT * 3 / 2 + TABLE_SLOT + 2 * size_of::<usize>() + 4 * 16;

/// The engine remembers the hashes of some keys it gave up: half as many as it expects entries. At
/// this size for the expected entry they take less than 2 % of a shard.
const EXPECTED_ENTRY: usize = 2 << 10;

/// Returns the bytes an entry takes.
pub(super) fn weight(key: &Key, stored: &Stored) -> usize {
    key.as_bytes().len() + stored.size() + ENTRY_OVERHEAD
}

/// Returns which of `shards` shards a hash belongs to.
pub(super) fn index(hash: u64, shards: usize) -> usize {
    // The engine's table goes by the seven highest bits and by the lowest.
    let middle = (hash >> 24) & u64::from(u32::MAX);
    ((middle * shards as u64) >> 32) as usize
}

impl Shard {
    pub(super) fn new(max_bytes: usize) -> Self {
        let expected = max_bytes / EXPECTED_ENTRY;
        let remembered = expected / 2 * (SLAB_SLOT + TABLE_SLOT);
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(expected)
            .ghost_allocation(0.5)
            .weight_capacity((max_bytes - remembered) as u64)
            .build()
            .expect("both capacities are set");
        Self(Cache::with_options(options, Weighed, KeyHasher, Evicting))
    }

    pub(super) fn get(&self, key: KeyRef<'_>) -> Option<Stored> {
        self.0.get(&key).map(Stored::from)
    }

    /// Stores a value and returns how many others were given up for it.
    pub(super) fn put(&self, key: Key, stored: Stored) -> u64 {
        let hash = key.borrow().hash64();
        let slot = Slot::new(weight(&key, &stored), stored);
        // Dropped, with all it holds, when no lock is held any more.
        let mut evicted = Evicted::default();
        self.0.insert_with_lifecycle(key, slot, &mut evicted);
        let others = evicted
            .iter()
            .filter(|(key, _)| key.borrow().hash64() != hash);
        others.count() as u64
    }

    pub(super) fn remove(&self, key: KeyRef<'_>) {
        self.0.remove(&key);
    }

    pub(super) fn contains(&self, key: KeyRef<'_>) -> bool {
        self.0.contains_key(&key)
    }

    pub(super) fn entries(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    /// Appends the hashes of all keys.
    pub(super) fn list(&self, hashes: &mut Vec<u64>) {
        hashes.reserve(self.0.len());
        let hashes = RefCell::new(hashes);
        // The engine's iterator would clone, and so allocate, every key.
        self.0.retain(|key, _| {
            hashes.borrow_mut().push(key.borrow().hash64());
            true
        });
    }

    /// Goes over all that is stored, without counting that as a use. The lock is taken for each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Stored)> {
        self.0.iter().map(|(key, slot)| (key, slot.into()))
    }

    /// Returns what is stored under a hash, without counting that as a use.
    fn peek(&self, hash: u64) -> Option<Stored> {
        self.0.peek(&ByHash(hash)).map(Stored::from)
    }

    /// Removes what is stored under a hash if `useless` says so, which is asked without any lock.
    /// Returns whether it did.
    pub(super) fn remove_if(&self, hash: u64, useless: impl FnOnce(&Stored) -> bool) -> bool {
        let Some(stored) = self.peek(hash) else {
            return false;
        };
        if !useless(&stored) {
            return false;
        }
        // It may have been replaced since.
        let removed = self.0.remove_if(&ByHash(hash), |slot| slot.holds(&stored));
        removed.is_some()
    }
}

impl Slot {
    fn new(weight: usize, stored: Stored) -> Self {
        // Nothing over 4 GiB gets here in one piece; if it did, the sums would still hold.
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        match stored {
            Stored::Response(response) => Self::Response(weight, response),
            Stored::Variants(variants) => Self::Variants(weight, variants),
        }
    }

    fn holds(&self, stored: &Stored) -> bool {
        match (self, stored) {
            (Self::Response(_, ours), Stored::Response(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Variants(_, ours), Stored::Variants(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }
}

impl From<Slot> for Stored {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Response(_, response) => Self::Response(response),
            Slot::Variants(_, variants) => Self::Variants(variants),
        }
    }
}

#[derive(Clone)]
struct Weighed;

impl Weighter<Key, Slot> for Weighed {
    fn weight(&self, _key: &Key, slot: &Slot) -> u64 {
        match slot {
            Slot::Response(weight, _) | Slot::Variants(weight, _) => (*weight).into(),
        }
    }
}

#[derive(Clone)]
struct Evicting;

/// What an insertion displaced: what was evicted, what it replaced, or itself if it was too large.
type Evicted = SmallVec<[(Key, Slot); 2]>;

impl Lifecycle<Key, Slot> for Evicting {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: Key, slot: Slot) {
        evicted.push((key, slot));
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self == key
    }
}

/// Finds a key by its hash alone; of two with the same hash, either.
struct ByHash(u64);

impl Hash for ByHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl Equivalent<Key> for ByHash {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.borrow().hash64()
    }
}
