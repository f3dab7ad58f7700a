//! A bounded map from hashes that forgets what was recorded longest ago.

use std::collections::{BTreeMap, HashMap};

use crate::key::KeyHasher;

/// What is kept beside a hash: recorded twice, it is the later of both.
pub(super) trait Stamp: Copy + Default {
    /// Makes this the later of the two.
    fn absorb(&mut self, other: Self);
}

/// A map that holds at most `capacity` stamps. No operation takes time that grows with it, but for
/// the depth of a tree.
#[derive(Debug)]
pub(super) struct Table<S> {
    entries: HashMap<u64, Entry<S>, KeyHasher>,
    /// The keys in the order in which they were last recorded.
    order: BTreeMap<u64, u64>,
    /// How often anything was recorded.
    turn: u64,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry<S> {
    stamp: S,
    turn: u64,
}

impl<S: Stamp> Table<S> {
    /// Takes all the room at once: growing later would stop every lookup meanwhile.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::with_capacity_and_hasher(capacity + 1, KeyHasher),
            order: BTreeMap::new(),
            turn: 0,
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: u64) -> Option<S> {
        self.entries.get(&key).map(|entry| entry.stamp)
    }

    /// Records a stamp. Returns the one that was given up for it, recorded longest ago.
    #[must_use]
    pub(super) fn record(&mut self, key: u64, stamp: S) -> Option<S> {
        self.turn += 1;
        let turn = self.turn;
        self.entries
            .entry(key)
            .and_modify(|entry| {
                self.order.remove(&entry.turn);
                entry.turn = turn;
                entry.stamp.absorb(stamp);
            })
            .or_insert(Entry { stamp, turn });
        self.order.insert(turn, key);
        if self.entries.len() <= self.capacity {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.entries.remove(&oldest).map(|entry| entry.stamp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Stamp for u64 {
        fn absorb(&mut self, other: Self) {
            *self = (*self).max(other);
        }
    }

    #[test]
    fn what_was_recorded_longest_ago_is_given_up() {
        let mut table = Table::new(2);
        assert_eq!(table.record(1, 10u64), None);
        assert_eq!(table.record(2, 11), None);
        assert_eq!(table.record(1, 12), None);
        assert_eq!(table.record(3, 13), Some(11));
        assert_eq!(
            (table.get(1), table.get(2), table.get(3)),
            (Some(12), None, Some(13))
        );
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_table_without_room_gives_up_everything() {
        let mut table = Table::new(0);
        assert_eq!(table.record(1, 10u64), Some(10));
        assert_eq!(table.len(), 0);
    }

    proptest! {
        #[test]
        fn a_table_keeps_the_latest_keys(keys in prop::collection::vec(0u64..20, 0..80)) {
            let mut table = Table::new(8);
            let mut model: Vec<(u64, u64)> = Vec::new();
            for (stamp, key) in (1..).zip(keys) {
                model.retain(|(known, _)| *known != key);
                model.push((key, stamp));
                let dropped = (model.len() > 8).then(|| model.remove(0).1);
                prop_assert_eq!(table.record(key, stamp), dropped);
            }
            for key in 0..20 {
                let known = model.iter().find(|(known, _)| *known == key);
                prop_assert_eq!(table.get(key), known.map(|(_, stamp)| *stamp));
            }
        }
    }
}
