//! A bounded map from hashes that forgets what was recorded longest ago.
//!
//! A `HashMap` that is full, and takes each new key in place of an old one, wears out: erased keys
//! leave marks behind, and now and then it is built anew while every lookup waits. This table is
//! made for just that use. Its places are found by linear probing, an erased one is closed again
//! by moving up what follows it, and no operation takes time that grows with the table.

use super::order::Order;

/// A stamp that is kept beside a hash. Recorded twice, it is the later of both.
pub(super) trait Merge: Copy + Default {
    /// Makes this the later of the two.
    fn absorb(&mut self, other: Self);

    /// Returns whether this matters to some for whom the other does not.
    fn is_later_than(self, other: Self) -> bool;
}

/// A map that holds at most `capacity` stamps, by keys that are hashes already.
#[derive(Debug)]
pub(super) struct StampTable<S> {
    /// Zero where free; else the number of a record plus one, below the upper half of its key.
    /// Twice as many as there can be records, and a power of two.
    slots: Box<[u64]>,
    records: Vec<StampRecord<S>>,
    order: Order,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct StampRecord<S> {
    key: u64,
    stamp: S,
}

const FREE: u64 = 0;

impl<S: Merge> StampTable<S> {
    /// Sets aside all the room at once. It becomes resident as it is used.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: vec![FREE; (2 * capacity).next_power_of_two()].into(),
            records: Vec::with_capacity(capacity),
            order: Order::with_capacity(capacity),
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn get(&self, key: u64) -> Option<S> {
        let (_, record) = self.find(key)?;
        Some(self.records[record].stamp)
    }

    /// Records a stamp. Returns the one that was dropped for it, recorded longest ago.
    #[must_use]
    pub(super) fn record(&mut self, key: u64, stamp: S) -> Option<S> {
        if let Some((_, known)) = self.find(key) {
            self.records[known].stamp.absorb(stamp);
            self.order.touch(known as u32);
            return None;
        }
        if self.records.len() < self.capacity {
            self.records.push(StampRecord { key, stamp });
            let number = self.order.push();
            self.occupy(key, number);
            return None;
        }
        let Some(oldest) = self.order.oldest() else {
            return Some(stamp);
        };
        Some(self.replace(oldest, StampRecord { key, stamp }))
    }

    /// Puts one record in the place of another, and returns the other's stamp.
    fn replace(&mut self, number: u32, record: StampRecord<S>) -> S {
        let old = self.records[number as usize];
        if let Some((slot, _)) = self.find(old.key) {
            self.free(slot);
        }
        self.records[number as usize] = record;
        self.order.touch(number);
        self.occupy(record.key, number);
        old.stamp
    }

    /// Returns the slot and the number of a key's record.
    fn find(&self, key: u64) -> Option<(usize, usize)> {
        let mut slot = self.home(key);
        loop {
            let content = self.slots[slot];
            if content == FREE {
                return None;
            }
            let record = record_of(content);
            // Comparing the upper halves first saves most visits to the records.
            if upper_half(content) == upper_half(key) && self.records[record].key == key {
                return Some((slot, record));
            }
            slot = self.behind(slot);
        }
    }

    fn occupy(&mut self, key: u64, number: u32) {
        let mut slot = self.home(key);
        while self.slots[slot] != FREE {
            slot = self.behind(slot);
        }
        self.slots[slot] = upper_half(key) | (u64::from(number) + 1);
    }

    /// Frees a slot, and moves up what would no longer be found behind the hole.
    fn free(&mut self, mut hole: usize) {
        let mut slot = self.behind(hole);
        while self.slots[slot] != FREE {
            let home = self.home(self.records[record_of(self.slots[slot])].key);
            if self.distance(home, slot) >= self.distance(hole, slot) {
                self.slots[hole] = self.slots[slot];
                hole = slot;
            }
            slot = self.behind(slot);
        }
        self.slots[hole] = FREE;
    }

    fn home(&self, key: u64) -> usize {
        key as usize & (self.slots.len() - 1)
    }

    fn behind(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

fn upper_half(word: u64) -> u64 {
    word & !u64::from(u32::MAX)
}

/// Returns the number of the record that a slot which is not free leads to.
fn record_of(content: u64) -> usize {
    (content as u32 - 1) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Merge for u64 {
        fn absorb(&mut self, other: Self) {
            *self = (*self).max(other);
        }

        fn is_later_than(self, other: Self) -> bool {
            self > other
        }
    }

    #[test]
    fn what_was_recorded_longest_ago_is_given_up() {
        let mut table = StampTable::new(2);
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
        let mut table = StampTable::new(0);
        assert_eq!(table.get(1), None::<u64>);
        assert_eq!(table.record(1, 10u64), Some(10));
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn keys_that_differ_in_either_half_are_told_apart() {
        let mut table = StampTable::new(4);
        for (stamp, key) in [(1u64, 0), (2, 1 << 32), (3, 1), (4, u64::MAX)] {
            assert_eq!(table.record(key, stamp), None);
        }
        let stamps = [0, 1 << 32, 1, u64::MAX].map(|key| table.get(key));
        assert_eq!(stamps, [Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(table.get(1 << 33), None);
    }

    /// Keys whose homes collide, wrap around the end, or lie side by side.
    fn key() -> impl Strategy<Value = u64> {
        (0u64..20, 0u64..4).prop_map(|(home, upper)| home | upper << 32)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_table_keeps_the_latest_keys(
            capacity in 0usize..10,
            keys in prop::collection::vec(key(), 0..120),
        ) {
            let mut table = StampTable::new(capacity);
            let mut model: Vec<(u64, u64)> = Vec::new();
            for (stamp, key) in (1..).zip(keys) {
                model.retain(|(known, _)| *known != key);
                model.push((key, stamp));
                let dropped = (model.len() > capacity).then(|| model.remove(0).1);
                prop_assert_eq!(table.record(key, stamp), dropped);
                prop_assert_eq!(table.len(), model.len());
                for (key, stamp) in &model {
                    prop_assert_eq!(table.get(*key), Some(*stamp));
                }
                let taken = table.slots.iter().filter(|slot| **slot != FREE).count();
                prop_assert_eq!(taken, model.len());
            }
        }
    }
}
