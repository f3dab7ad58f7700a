//! The stored responses that keep a header map ready: so many at a time, those in use first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use http::HeaderMap;

use super::prepared::ReplayStamp;
use super::response::StoredResponse;

/// The stored responses that keep a header map ready.
#[derive(Debug)]
pub(crate) struct PreparedList {
    /// Tells the caches apart that share a store, and may add other fields.
    id: u32,
    most: usize,
    /// The oldest first.
    listed: Mutex<VecDeque<Weak<StoredResponse>>>,
}

/// Maps of more headers are not kept ready: each header takes some hundred bytes.
const MOST_FIELDS: usize = 24;

/// So many bytes of a store's capacity for each header map that is kept ready, which at this
/// rate take about 4 % of it.
const BYTES_PER_MAP: usize = 32 << 10;

impl PreparedList {
    /// Makes the list for a cache whose store takes `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            most: (capacity / BYTES_PER_MAP).clamp(16, 16_384),
            listed: Mutex::default(),
        }
    }

    /// Returns what the fields of a replay depend on; `None` where the figures are beyond reason.
    pub(crate) fn stamp(&self, age: u64, ttl: i64) -> Option<ReplayStamp> {
        ReplayStamp::new(age, ttl, self.id)
    }

    /// Takes note of a replay made now, and keeps its header map if it is the second for this
    /// moment.
    pub(crate) fn note(
        &self,
        stored: &Arc<StoredResponse>,
        stamp: ReplayStamp,
        headers: &HeaderMap,
        now: Instant,
    ) {
        if !stored.prepared.is_again(stamp) || headers.len() > MOST_FIELDS {
            return;
        }
        match self.lists(stored, now) {
            true => stored.prepared.keep(stamp, headers.clone()),
            false => stored.prepared.refuse(stamp),
        }
    }

    /// Puts a stored response on the list, if it is not there. Where the list is full the oldest
    /// leaves it, unless that is in use: then it becomes the youngest.
    fn lists(&self, stored: &Arc<StoredResponse>, now: Instant) -> bool {
        if stored.prepared.is_listed() {
            return true;
        }
        let Ok(mut listed) = self.listed.try_lock() else {
            return false;
        };
        let oldest = match listed.len() >= self.most {
            true => listed.pop_front().and_then(|oldest| oldest.upgrade()),
            false => None,
        };
        let stays = oldest
            .as_ref()
            .filter(|oldest| oldest.prepared.is_in_use(oldest.age(now)));
        listed.push_back(Arc::downgrade(stays.unwrap_or(stored)));
        if stays.is_some() {
            return false;
        }
        stored.prepared.enlist();
        drop(listed);
        if let Some(leaving) = oldest {
            leaving.prepared.clear();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::entry::Kept;
    use crate::entry::prepared::IN_USE;
    use crate::testing::store_contract::sample;
    use http::HeaderValue;
    use http::header::AGE;

    fn response() -> Arc<StoredResponse> {
        let store = crate::store::MemoryStore::new(1 << 20);
        let (_, stored) = sample(crate::store::Store::log(&store), "/", bytes::Bytes::new());
        match stored {
            crate::store::Stored::Response(response) => response,
            _ => unreachable!("a sample is a response"),
        }
    }

    fn aged(seconds: u64) -> HeaderMap {
        [(AGE, HeaderValue::from(seconds))].into_iter().collect()
    }

    #[test]
    fn the_second_replay_of_a_moment_is_kept_for_that_moment_alone() {
        let list = PreparedList::new(0);
        let stored = response();
        let at = |age| list.stamp(age, 9).unwrap();
        let now = Instant::now();
        list.note(&stored, at(1), &aged(1), now);
        assert_eq!(stored.prepared.get(at(1)), Kept::Nothing);
        list.note(&stored, at(1), &aged(1), now);
        assert_eq!(stored.prepared.get(at(1)), Kept::Right(aged(1)));
        assert_eq!(stored.prepared.get(at(2)), Kept::Earlier(aged(1)));
        list.note(&stored, at(2), &aged(2), now);
        assert_eq!(stored.prepared.get(at(2)), Kept::Earlier(aged(1)));
        list.note(&stored, at(2), &aged(2), now);
        assert_eq!(stored.prepared.get(at(2)), Kept::Right(aged(2)));
        assert_eq!(stored.prepared.get(at(1)), Kept::Earlier(aged(2)));
    }

    #[test]
    fn another_cache_is_given_nothing() {
        let (one, other) = (PreparedList::new(0), PreparedList::new(0));
        let stored = response();
        let now = Instant::now();
        let stamp = one.stamp(1, 9).unwrap();
        one.note(&stored, stamp, &aged(1), now);
        one.note(&stored, stamp, &aged(1), now);
        assert_eq!(stored.prepared.get(stamp), Kept::Right(aged(1)));
        let of_other = other.stamp(1, 9).unwrap();
        assert_eq!(stored.prepared.get(of_other), Kept::Nothing);
        other.note(&stored, of_other, &aged(1), now);
        other.note(&stored, of_other, &aged(1), now);
        assert_eq!(stored.prepared.get(of_other), Kept::Right(aged(1)));
    }

    #[test]
    fn only_so_many_responses_keep_one_and_those_in_use_keep_theirs() {
        let list = PreparedList::new(0);
        let stamp = list.stamp(0, 9).unwrap();
        let all: Vec<_> = (0..list.most + 5).map(|_| response()).collect();
        let hit_twice = |stored: &Arc<StoredResponse>, now| {
            list.note(stored, stamp, &aged(0), now);
            list.note(stored, stamp, &aged(0), now);
        };
        let is_ready = |stored: &Arc<StoredResponse>| stored.prepared.get(stamp) != Kept::Nothing;
        let now = Instant::now();
        for stored in &all {
            hit_twice(stored, now);
        }
        assert!(all[..list.most].iter().all(is_ready));
        assert!(!all[list.most..].iter().any(is_ready));

        let later = now + Duration::from_secs(IN_USE + 2);
        let newcomer = list.stamp(1, 9).unwrap();
        let last = &all[list.most];
        list.note(last, newcomer, &aged(1), later);
        list.note(last, newcomer, &aged(1), later);
        assert_ne!(last.prepared.get(newcomer), Kept::Nothing);
        assert_eq!(
            all.iter().filter(|stored| is_ready(stored)).count(),
            list.most
        );
        // One that had to leave may come back.
        let left = all.iter().find(|stored| !is_ready(stored)).unwrap();
        hit_twice(left, later);
        assert!(is_ready(left));
    }

    #[test]
    fn figures_beyond_reason_are_not_kept() {
        let list = PreparedList::new(0);
        assert_eq!(list.stamp(1 << 32, 0), None);
        assert_eq!(list.stamp(0, i64::MIN), None);
    }
}
