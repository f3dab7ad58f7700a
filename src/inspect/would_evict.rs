//! Dry runs of invalidations.

use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::state::CacheState;

/// The result of a dry run of an invalidation; from
/// [`CacheHandle::would_evict`](crate::CacheHandle::would_evict).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WouldEvict {
    /// Stored responses examined.
    pub examined: u64,
    /// Stored responses that the invalidation would hit.
    pub matched: u64,
    /// The paths and queries of some of them, 20 at most.
    pub examples: Vec<String>,
}

/// The most examples given.
const EXAMPLES: usize = 20;

/// Reports what an invalidation would hit; `None` if the store cannot list its entries.
pub(crate) fn would_evict(cache: &CacheState, what: &Invalidation) -> Option<WouldEvict> {
    // A separate log with nothing else in it, so that the one predicate decides here as well.
    let log = Log::with_capacity(1);
    log.append(&cache.routes.covered(std::slice::from_ref(what)));
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
