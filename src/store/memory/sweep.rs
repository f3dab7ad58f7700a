//! Reclaiming the room of entries that nothing may serve any more, a little at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::shard::{self, Shard};
use crate::entry::StoredResponse;
use crate::invalidate::{Log, Position, Verdict};
use crate::store::Stored;

/// Entries looked at in one step: on a runtime of one thread, hits wait for the step.
const STEP: usize = 256;

/// The progress of a round over the store.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The log's position when this round began.
    began_at: Option<Position>,
    /// Shards that this round has not listed yet.
    to_list: usize,
    /// The shard listed last.
    shard: usize,
    /// The hashes of the keys in it that are still to be looked at.
    hashes: Vec<u64>,
}

/// How many values were removed, and why.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) invalidated: AtomicU64,
    pub(super) expired: AtomicU64,
}

/// Why nothing may serve a value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Useless {
    Invalidated,
    Expired,
}

impl Swept {
    fn count(&self, why: Useless) {
        let count = match why {
            Useless::Invalidated => &self.invalidated,
            Useless::Expired => &self.expired,
        };
        // Relaxed: a count, which orders nothing.
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sweep {
    /// Looks at some more entries, and removes those that nothing may serve. Returns whether the round
    /// goes on.
    pub(super) fn step(
        &mut self,
        shards: &[Shard],
        log: &Log,
        now: Instant,
        swept: &Swept,
    ) -> bool {
        self.begin(log.position(), shards.len());
        while self.hashes.is_empty() && self.to_list > 0 {
            self.shard = (self.shard + 1) % shards.len();
            self.to_list -= 1;
            shards[self.shard].list(&mut self.hashes);
        }
        let rest = self.hashes.len().saturating_sub(STEP);
        let shard = &shards[self.shard];
        for hash in self.hashes.drain(rest..) {
            let mut why = Useless::Expired;
            let removed = shard.remove_if(hash, now, |stored| {
                let found = useless(stored, shards, log, now);
                why = found.unwrap_or(why);
                found.is_some()
            });
            if removed {
                swept.count(why);
            }
        }
        self.to_list > 0 || !self.hashes.is_empty()
    }

    /// Begins a round where the last one stopped, if that is complete, or if something has been
    /// invalidated since it began.
    fn begin(&mut self, position: Position, shards: usize) {
        if self.began_at != Some(position) || (self.to_list == 0 && self.hashes.is_empty()) {
            self.began_at = Some(position);
            self.to_list = shards;
        }
    }
}

/// Returns why nothing may serve a value any more, if so.
fn useless(stored: &Stored, shards: &[Shard], log: &Log, now: Instant) -> Option<Useless> {
    match stored {
        Stored::Response(response) if response.verdict(log) == Verdict::Invalid => {
            Some(Useless::Invalidated)
        }
        Stored::Response(response) => is_past_use(response, now).then_some(Useless::Expired),
        Stored::Value(value) if value.verdict(log) != Verdict::Valid => Some(Useless::Invalidated),
        Stored::Value(value) => (!value.is_fresh(now)).then_some(Useless::Expired),
        // A list of variants leads to nothing when none of them is left.
        Stored::Variants(variants) => {
            let is_left = |key| shard::of(shards, key).contains(key);
            let mut keys = variants.known.iter().map(|variant| variant.key.borrow());
            (!keys.any(is_left)).then_some(Useless::Expired)
        }
    }
}

/// How long a response that can be validated is kept after it can no longer be served: for another
/// lifetime, within these bounds. Validating it may then bring a `304` instead of a body.
const VALIDATION: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(86_400));

/// Returns whether nothing will use a response any more.
///
/// A response is used while it is fresh (RFC 9111 §4.2), then while it may be served stale (RFC 5861),
/// and then for conditional requests (RFC 9111 §4.3), if it has a validator. One that must be validated
/// also says that an origin which cannot be reached is a 504 (RFC 9111 §5.2.2.2).
fn is_past_use(response: &StoredResponse, now: Instant) -> bool {
    let lifetime = response.lifetime();
    let stale = response
        .stale_while_revalidate()
        .max(response.stale_if_error());
    let served = lifetime.saturating_add(stale);
    let Some(since) = response.age(now).checked_sub(served) else {
        return false;
    };
    // Looked at last: the headers are somewhere else in memory.
    let has_validator = || {
        let head = response.head();
        head.etag().or(head.last_modified()).is_some()
    };
    match response.reuse.never_stale || has_validator() {
        true => since >= lifetime.clamp(VALIDATION.0, VALIDATION.1),
        false => true,
    }
}
