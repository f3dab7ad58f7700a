//! Listings of stored responses, for operators and not for requests.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::Write as _;

use crate::key::Key;
use crate::state::CacheState;

mod filter;
mod info;
mod key;

pub use filter::{EntryFilter, EntryOrder};
pub use info::{EntryInfo, EntryState};
pub use key::KeyInfo;

/// One page of the stored responses that match a filter; from
/// [`CacheHandle::entries`](crate::CacheHandle::entries).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryPage {
    /// The entries on the page, in the filter's order.
    pub entries: Vec<EntryInfo>,
    /// The number of stored responses that match the filter, on all pages.
    pub matched: u64,
    /// The number of stored responses examined.
    pub examined: u64,
}

/// A candidate for the page: it stays there unless others rank before it.
struct Ranked {
    rank: i64,
    key: Key,
    info: EntryInfo,
}

/// Lists stored responses; `None` if the store cannot list its entries.
///
/// Keeps only the page and what comes before it in memory, however much is stored.
pub(crate) fn entries(cache: &CacheState, filter: &EntryFilter) -> Option<EntryPage> {
    let (now, room) = (cache.clock.instant(), filter.room());
    let mut page = EntryPage::default();
    let mut first: BinaryHeap<Ranked> = BinaryHeap::new();
    let mut uri = String::new();
    let listed = cache.store.visit(&mut |key, stored| {
        page.examined += 1;
        uri.clear();
        // Writing to a `String` does not fail.
        let _ = write!(uri, "{}", stored.subject());
        let state = EntryState::of(stored, cache.verdict(stored), now);
        if !filter.lets_through(&uri, stored, state) {
            return;
        }
        page.matched += 1;
        let rank = filter.order_by().rank(stored, now);
        let place = (rank, &*uri, key.as_bytes());
        if first.len() >= room && first.peek().is_none_or(|last| last.place() <= place) {
            return;
        }
        first.push(Ranked {
            rank,
            key: key.to_owned(),
            info: EntryInfo::new(&uri, stored, state, now),
        });
        if first.len() > room {
            first.pop();
        }
    });
    page.entries = first
        .into_sorted_vec()
        .into_iter()
        .skip(filter.skipped())
        .map(|ranked| ranked.info.with_key(ranked.key.borrow()))
        .collect();
    listed.then_some(page)
}

impl Ranked {
    /// Returns the place in the order. Keys differ, so no two places are equal and pages do not
    /// overlap.
    fn place(&self) -> (i64, &str, &[u8]) {
        (self.rank, self.info.uri(), self.key.as_bytes())
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}
