//! One shard: a `quick_cache` that counts bytes.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use super::super::Stored;
use crate::entry::{StoredResponse, StoredValue, Variants};
use crate::key::{Key, KeyHasher, KeyRef};

pub(super) struct Shard(Cache<Key, Slot, Weighed, KeyHasher, Evicting>);

/// [`Stored`], or a counter, with its weight where the enum has room to spare.
///
/// The weight is taken once: the engine asks for it at every step of an eviction, and its sums rest
/// on getting the same answer as before.
#[derive(Clone)]
enum Slot {
    Response(u32, Arc<StoredResponse>),
    Variants(u32, Arc<Variants>),
    Value(u32, Arc<StoredValue>),
    /// Boxed, for few entries are one. Never handed out.
    Counter(u32, Box<Counter>),
}

/// A slot of the engine's slab; its documentation adds 21 bytes to key and value.
const SLAB_SLOT: usize = (size_of::<Key>() + size_of::<Slot>() + 21).next_multiple_of(8);

/// A place in the engine's hash table: five bytes, at most 7/8 and at least 7/16 in use.
const TABLE_SLOT: usize = 8;

/// The bytes that an entry takes beyond its key and the stored value's own size.
///
/// The slab doubles as it grows, so that a slot costs one and a half on average; shared keys and values
/// have two counts each; and an allocator adds some 16 bytes to each of the key, the value and its buffer, and
/// to a long body.
const ENTRY_OVERHEAD: usize = SLAB_SLOT * 3 / 2 + TABLE_SLOT + 4 * size_of::<usize>() + 4 * 16;

/// The engine remembers the hashes of some keys it evicted: half as many as it expects entries. At
/// this size for the expected entry they take less than 2 % of a shard.
const EXPECTED_ENTRY: usize = 2 << 10;

/// Returns the bytes an entry takes.
pub(super) fn weight(key: &Key, stored: &Stored) -> usize {
    key.as_bytes().len() + stored.size() + ENTRY_OVERHEAD
}

/// Returns the shard that a key belongs to.
pub(super) fn of<'a>(shards: &'a [Shard], key: KeyRef<'_>) -> &'a Shard {
    &shards[index(key.hash64(), shards.len())]
}

/// Returns which of `shards` shards a hash belongs to.
pub(super) fn index(hash: u64, shards: usize) -> usize {
    // The engine's table goes by the seven highest bits and by the lowest.
    let middle = (hash >> 24) & u64::from(u32::MAX);
    ((middle * shards as u64) >> 32) as usize
}

fn counter_weight(key: &Key) -> usize {
    key.as_bytes().len() + size_of::<Counter>() + ENTRY_OVERHEAD
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
        self.0.get(&key).and_then(Slot::stored)
    }

    /// Stores a value and returns how many others were evicted for it.
    pub(super) fn put(&self, key: Key, stored: Stored) -> u64 {
        let hash = key.borrow().hash64();
        let slot = Slot::new(weight(&key, &stored), stored);
        // Dropped, with all it holds, when no lock is held any more.
        let mut evicted = Evicted::default();
        self.0.insert_with_lifecycle(key, slot, &mut evicted);
        count_others(&evicted, hash)
    }

    /// Adds to a counter under the shard's lock. Returns its count, and how many entries were evicted
    /// for it.
    pub(super) fn increment(
        &self,
        key: KeyRef<'_>,
        by: i64,
        ends: Option<Instant>,
        now: Instant,
    ) -> (Option<i64>, u64) {
        let fresh = Counter { count: by, ends };
        let key = key.to_owned();
        let entry = self.0.entry(&key, None, |_, slot| {
            EntryAction::Retain(match slot {
                Slot::Counter(_, counter) if !counter.has_ended(now) => counter.add(by),
                // Nothing but a counter is ever put under a counter's key.
                other => {
                    *other = Slot::counter(&key, fresh);
                    Some(by)
                }
            })
        });
        match entry {
            EntryResult::Retained(count) => (count, 0),
            EntryResult::Vacant(place) => {
                let mut evicted = Evicted::default();
                // Refused where it was removed in the meantime, and so counted before that.
                let _ = place.insert_with_lifecycle(Slot::counter(&key, fresh), &mut evicted);
                (Some(by), count_others(&evicted, key.borrow().hash64()))
            }
            // Neither is asked for.
            EntryResult::Removed(..) | EntryResult::Replaced(..) | EntryResult::Timeout => {
                (None, 0)
            }
        }
    }

    /// Returns the count of a counter.
    pub(super) fn count(&self, key: KeyRef<'_>, now: Instant) -> i64 {
        match self.0.get(&key) {
            Some(Slot::Counter(_, counter)) if !counter.has_ended(now) => counter.count,
            _ => 0,
        }
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
        // The engine's iterator would clone every key and value.
        self.0.retain(|key, _| {
            hashes.borrow_mut().push(key.borrow().hash64());
            true
        });
    }

    /// Goes over all that is stored, without counting that as a use. The lock is taken for each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Stored)> {
        self.0
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.stored()?)))
    }

    /// Returns what is stored under a hash, without counting that as a use.
    fn peek(&self, hash: u64) -> Option<Slot> {
        self.0.peek(&ByHash(hash))
    }

    /// Removes what is stored under a hash if `useless` says so, which is asked without any lock, or
    /// if it is a counter that has ended. Returns whether it did.
    pub(super) fn remove_if(
        &self,
        hash: u64,
        now: Instant,
        useless: impl FnOnce(&Stored) -> bool,
    ) -> bool {
        let Some(slot) = self.peek(hash) else {
            return false;
        };
        let has_ended = slot.has_ended(now);
        // It may have been replaced since, or have begun anew.
        let removed = match slot.stored() {
            Some(stored) if useless(&stored) => {
                self.0.remove_if(&ByHash(hash), |slot| slot.holds(&stored))
            }
            None if has_ended => self.0.remove_if(&ByHash(hash), |slot| slot.has_ended(now)),
            _ => None,
        };
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
            Stored::Value(value) => Self::Value(weight, value),
        }
    }

    fn counter(key: &Key, counter: Counter) -> Self {
        let weight = u32::try_from(counter_weight(key)).unwrap_or(u32::MAX);
        Self::Counter(weight, Box::new(counter))
    }

    fn stored(self) -> Option<Stored> {
        match self {
            Self::Response(_, response) => Some(Stored::Response(response)),
            Self::Variants(_, variants) => Some(Stored::Variants(variants)),
            Self::Value(_, value) => Some(Stored::Value(value)),
            Self::Counter(..) => None,
        }
    }

    fn has_ended(&self, now: Instant) -> bool {
        matches!(self, Self::Counter(_, counter) if counter.has_ended(now))
    }

    fn holds(&self, stored: &Stored) -> bool {
        match (self, stored) {
            (Self::Response(_, ours), Stored::Response(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Variants(_, ours), Stored::Variants(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Value(_, ours), Stored::Value(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }
}

/// A count, and when it begins anew.
#[derive(Clone, Copy)]
struct Counter {
    count: i64,
    /// `None` for never.
    ends: Option<Instant>,
}

impl Counter {
    fn has_ended(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// Returns the new count; `None`, and no new count, if it would not fit.
    fn add(&mut self, by: i64) -> Option<i64> {
        self.count = self.count.checked_add(by)?;
        Some(self.count)
    }
}

#[derive(Clone)]
struct Weighed;

impl Weighter<Key, Slot> for Weighed {
    fn weight(&self, _key: &Key, slot: &Slot) -> u64 {
        match slot {
            Slot::Response(weight, _)
            | Slot::Variants(weight, _)
            | Slot::Value(weight, _)
            | Slot::Counter(weight, _) => (*weight).into(),
        }
    }
}

#[derive(Clone)]
struct Evicting;

/// The entries that an insertion displaced: evicted or replaced ones, or itself if it was too large.
type Evicted = SmallVec<[(Key, Slot); 2]>;

impl Lifecycle<Key, Slot> for Evicting {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: Key, slot: Slot) {
        evicted.push((key, slot));
    }
}

/// Counts what was evicted for an entry that has this hash itself.
fn count_others(evicted: &Evicted, hash: u64) -> u64 {
    let others = evicted
        .iter()
        .filter(|(key, _)| key.borrow().hash64() != hash);
    others.count() as u64
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
