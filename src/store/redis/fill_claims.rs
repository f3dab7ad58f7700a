//! One fetch for all nodes: which of them makes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::clocks::now;
use super::entries::{Entries, Retention};
use super::follower::Follower;
use super::names::Name;
use crate::key::Key;
use crate::store::{FillLease, GrantedLease, Stored};

/// The value of a lease while a node makes the fetch.
const CALLING: &[u8] = b"calling";

/// The value of a lease whose response was not for others: they make their own fetches, at once.
const NOT_FOR_OTHERS: &[u8] = b"alone";

/// How long that is remembered.
const ALONE: Duration = Duration::from_secs(10);

/// The pauses between two looks at whether another node has finished: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// The leases of fills that one node asks for.
#[derive(Clone, Debug)]
pub(super) struct FillClaims {
    entries: Arc<Entries>,
    max_wait: Duration,
}

/// The lease of a node that makes the fetch. Dropped, it goes to the next node that asks.
#[derive(Debug)]
struct RedisFillLease {
    follower: Arc<Follower>,
    name: Name,
    not_for_others: AtomicBool,
}

impl FillClaims {
    pub(super) fn new(entries: Arc<Entries>, max_wait: Duration) -> Self {
        Self { entries, max_wait }
    }

    /// Asks for the lease of a fill, or waits until another node has made the fetch: for no longer
    /// than `max_wait`. Whatever fails, the fetch is made.
    pub(super) async fn claim(self, key: Key) -> FillLease {
        let follower = self.entries.follower().clone();
        let backend = follower.backend();
        let name = self.entries.names().fill(key.borrow());
        let (began, mut pause) = (now(), FIRST_LOOK);
        loop {
            let calling = Bytes::from_static(CALLING);
            let claimed = backend.claim(name.clone(), calling, self.max_wait).await;
            match follower.noted(claimed) {
                // The node that had the lease may have finished since this one looked.
                Ok(true) => {
                    let lease = RedisFillLease::new(follower.clone(), name);
                    return match self.has_servable(&key).await {
                        true => FillLease::Elsewhere,
                        false => FillLease::Granted(Box::new(lease)),
                    };
                }
                Ok(false) => {}
                Err(_) => return FillLease::Unshared,
            }
            match follower.noted(backend.get(name.clone()).await) {
                Ok(Some(found)) if found == CALLING => {}
                // The lease ended between the two questions.
                Ok(None) => continue,
                Ok(Some(_)) | Err(_) => return FillLease::Unshared,
            }
            if now().saturating_duration_since(began) >= self.max_wait {
                return FillLease::Unshared;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BETWEEN_LOOKS);
            if let Ok(Some(_)) = self.entries.find(&key, Retention::Brief).await {
                return FillLease::Elsewhere;
            }
        }
    }

    async fn has_servable(&self, key: &Key) -> bool {
        match self.entries.find(key, Retention::Brief).await {
            // Which variant it takes is not known here, and the lease is not for one alone.
            Ok(Some(Stored::Variants(_)) | None) | Err(_) => false,
            Ok(Some(found)) => found.is_servable(self.entries.follower().log(), now()),
        }
    }
}

impl RedisFillLease {
    fn new(follower: Arc<Follower>, name: Name) -> Self {
        Self {
            follower,
            name,
            not_for_others: AtomicBool::new(false),
        }
    }
}

impl GrantedLease for RedisFillLease {
    fn not_for_others(&self) {
        // Relaxed: read by the drop, which comes after every use.
        self.not_for_others.store(true, Ordering::Relaxed);
    }
}

impl Drop for RedisFillLease {
    fn drop(&mut self) {
        let (follower, name) = (self.follower.clone(), self.name.clone());
        let alone = self.not_for_others.load(Ordering::Relaxed);
        self.follower.runtime().spawn(async move {
            let ended = match alone {
                true => {
                    let note = Bytes::from_static(NOT_FOR_OTHERS);
                    follower.backend().set(name, note, ALONE).await
                }
                false => follower.backend().remove(name).await,
            };
            // The lease expires by itself as well.
            let _ = follower.noted(ended);
        });
    }
}
