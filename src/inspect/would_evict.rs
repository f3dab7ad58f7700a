//! Finding out what an invalidation would hit.

use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::state::CacheState;

/// What an invalidation would hit; from
/// [`CacheHandle::would_evict`](crate::CacheHandle::would_evict).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WouldEvict {
    /// Stored responses looked at.
    pub examined: u64,
    /// Stored responses that would not be used any more.
    pub matched: u64,
    /// The paths and queries of some of them, 20 at the most.
    pub examples: Vec<String>,
}

/// How many examples are given.
const EXAMPLES: usize = 20;

/// Shows what an invalidation would hit; `None` where the store cannot list what it holds.
pub(crate) fn would_evict(cache: &CacheState, what: &Invalidation) -> Option<WouldEvict> {
    // A log of its own, with nothing else in it: the one predicate answers here as well.
    let log = Log::with_capacity(1);
    log.append(std::slice::from_ref(what));
    let mut would = WouldEvict::default();
    let listed = cache.store.visit(&mut |_, stored| {
        would.examined += 1;
        let subject = stored.subject();
        if log.verdict(Position::from(0), subject) != Verdict::Valid {
            would.matched += 1;
            if would.examples.len() < EXAMPLES {
                would.examples.push(stored.subject().to_string());
            }
        }
    });
    listed.then_some(would)
}
