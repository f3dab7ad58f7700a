//! The most requested keys, in bounded memory.
//!
//! It runs Space-Saving (Metwally, Agrawal, El Abbadi 2005) over a sample of the requests. Every key
//! with more requests than one slot's share has a slot, and no count is too low except by chance.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;

use crate::target::SubjectRef;

/// A frequently requested key; from [`CacheHandle::hot_keys`](crate::CacheHandle::hot_keys).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HotKey {
    /// Path and query in canonical form, cut off after 256 bytes. Keys that differ only in something
    /// else, such as a field or a partition, are counted together.
    pub uri: String,
    /// The approximate number of requests for it; recent ones weigh more.
    pub requests: u64,
    /// The most by which `requests` may be too high, apart from chance: that many requests may have
    /// been for another key.
    pub error: u64,
    /// The share of its requests that the store answered, from 0 to 1.
    pub hit_ratio: f64,
}

/// The sampling rate: one request in so many is sampled.
const SAMPLED: u64 = 16;

/// The number of samples after which all counts are halved, so that keys that were hot long ago make
/// room.
const HALVED: u64 = 1 << 16;

/// The most keys reported.
const MOST: usize = 256;

/// The longest URI kept, in bytes.
const LONGEST: usize = 256;

#[derive(Debug)]
pub(crate) struct HotKeys {
    most: usize,
    seen: AtomicU64,
    sketch: Mutex<HotKeySketch>,
    hasher: RandomState,
}

#[derive(Debug)]
struct HotKeySketch {
    slots: Vec<KeySlot>,
    /// The index of each key's slot, by the hash of its URI.
    places: HashMap<u64, usize, RandomState>,
    /// The most slots.
    room: usize,
    samples: u64,
}

#[derive(Debug)]
struct KeySlot {
    hash: u64,
    uri: Box<str>,
    count: u64,
    error: u64,
    hits: u64,
}

impl HotKeys {
    /// Makes a watch for up to `most` keys.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(MOST);
        let sketch = HotKeySketch {
            slots: Vec::new(),
            places: HashMap::default(),
            room: (most * 4).max(64),
            samples: 0,
        };
        Self {
            most,
            seen: AtomicU64::new(0),
            sketch: Mutex::new(sketch),
            hasher: RandomState::default(),
        }
    }

    /// Notes a request if it belongs to the sample.
    pub(crate) fn note<'a>(&self, subject: impl FnOnce() -> Option<SubjectRef<'a>>, hit: bool) {
        if !is_sampled(self.seen.fetch_add(1, Ordering::Relaxed)) {
            return;
        }
        let Some((path, query)) = subject().map(|asked| (asked.path(), asked.query())) else {
            return;
        };
        let hash = self.hasher.hash_one((path, query));
        // Nobody waits for the lock: one sample more or less does not matter.
        if let Ok(mut sketch) = self.sketch.try_lock() {
            sketch.note(hash, path, query, hit);
        }
    }

    /// Returns the most requested keys, the hottest first.
    pub(crate) fn top(&self) -> Vec<HotKey> {
        let Ok(sketch) = self.sketch.lock() else {
            return Vec::new();
        };
        let mut slots: Vec<&KeySlot> = sketch.slots.iter().collect();
        slots.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.uri.cmp(&b.uri)));
        slots.truncate(self.most);
        slots.into_iter().map(HotKey::from).collect()
    }
}

/// Returns whether the request of this number belongs to the sample. The choice is pseudo-random, so
/// that no rhythm of the requests coincides with it.
fn is_sampled(number: u64) -> bool {
    // SplitMix64's finalizer, shortened.
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 40).is_multiple_of(SAMPLED)
}

impl From<&KeySlot> for HotKey {
    fn from(slot: &KeySlot) -> Self {
        let own = (slot.count - slot.error).max(1);
        Self {
            uri: slot.uri.to_string(),
            requests: slot.count * SAMPLED,
            error: slot.error * SAMPLED,
            hit_ratio: slot.hits as f64 / own as f64,
        }
    }
}

impl HotKeySketch {
    fn note(&mut self, hash: u64, path: &str, query: Option<&str>, hit: bool) {
        self.samples += 1;
        if self.samples.is_multiple_of(HALVED) {
            self.halve();
        }
        let place = match self.places.get(&hash) {
            Some(place) => *place,
            None => self.place(hash, shown(path, query)),
        };
        let slot = &mut self.slots[place];
        slot.count += 1;
        slot.hits += u64::from(hit);
    }

    /// Assigns a slot to a key: a new one, or that of the key with the lowest count.
    fn place(&mut self, hash: u64, uri: Box<str>) -> usize {
        let least = match self.slots.len() < self.room {
            true => None,
            false => {
                let count = |(_, slot): &(usize, &KeySlot)| slot.count;
                self.slots.iter().enumerate().min_by_key(count)
            }
        };
        let error = least.map_or(0, |(_, slot)| slot.count);
        let place = least.map_or(self.slots.len(), |(place, _)| place);
        let slot = KeySlot {
            hash,
            uri,
            count: error,
            error,
            hits: 0,
        };
        match self.slots.get_mut(place) {
            Some(old) => {
                self.places.remove(&old.hash);
                *old = slot;
            }
            None => self.slots.push(slot),
        }
        self.places.insert(hash, place);
        place
    }

    fn halve(&mut self) {
        for slot in &mut self.slots {
            slot.count /= 2;
            slot.error /= 2;
            slot.hits /= 2;
        }
    }
}

fn shown(path: &str, query: Option<&str>) -> Box<str> {
    let mut uri = path.to_owned();
    if let Some(query) = query {
        uri.push('?');
        uri.push_str(query);
    }
    if uri.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| uri.is_char_boundary(*end));
        uri.truncate(end.unwrap_or_default());
        uri.push('…');
    }
    uri.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(most: usize, requests: impl IntoIterator<Item = (String, bool)>) -> Vec<HotKey> {
        let hot = HotKeys::new(most);
        for (path, hit) in requests {
            hot.note(|| Some(SubjectRef::new(&path, None, &[])), hit);
        }
        hot.top()
    }

    #[test]
    fn one_request_in_so_many_is_sampled_whatever_their_rhythm() {
        for (period, phase) in [(1, 0), (2, 1), (13, 5), (16, 0), (21, 20)] {
            let sampled = (0..160_000)
                .filter(|number| number % period == phase && is_sampled(*number))
                .count();
            let expected = 160_000.0 / (SAMPLED * period) as f64;
            let off = (sampled as f64 / expected - 1.0).abs();
            assert!(off < 0.15, "{period}: {sampled} instead of {expected}");
        }
    }

    #[test]
    fn a_hot_key_is_found_in_a_flood_of_others() {
        let flood = (0..200_000).map(|n| match n % 10 {
            0 => ("/hot".to_owned(), true),
            1 if n % 20 == 1 => ("/warm".to_owned(), false),
            _ => (format!("/{n}"), false),
        });
        let keys = keys(2, flood);
        let uris: Vec<_> = keys.iter().map(|key| &*key.uri).collect();
        assert_eq!(uris, ["/hot", "/warm"]);
        let hot = &keys[0];
        let asked = 20_000.0;
        let least = (hot.requests - hot.error) as f64;
        assert!(
            least < asked * 1.15 && hot.requests as f64 > asked * 0.85,
            "{hot:?}"
        );
        assert!(hot.hit_ratio > 0.99 && keys[1].hit_ratio < 0.01);
    }

    #[test]
    fn memory_is_bounded() {
        let hot = HotKeys::new(usize::MAX);
        let long = "é".repeat(10_000);
        for n in 0..100_000 {
            let path = format!("/{n}/{long}");
            hot.note(|| Some(SubjectRef::new(&path, Some(&long), &[])), false);
        }
        let sketch = hot.sketch.lock().unwrap();
        assert_eq!((sketch.slots.len(), sketch.places.len()), (1024, 1024));
        assert!(sketch.slots.iter().all(|slot| slot.uri.len() < LONGEST + 4));
    }

    #[test]
    fn what_was_hot_once_makes_room() {
        let then = (0..HALVED * SAMPLED).map(|_| ("/then".to_owned(), true));
        let now = (0..HALVED * SAMPLED).map(|_| ("/now".to_owned(), true));
        let keys = keys(2, then.chain(now));
        assert_eq!(keys[0].uri, "/now");
        assert!(keys[1].requests < keys[0].requests);
        assert!((keys[0].hit_ratio - 1.0).abs() < 0.01, "{keys:?}");
    }
}
