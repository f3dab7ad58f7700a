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

/// The leases of fills that one node asks for.
#[derive(Clone, Debug)]
pub(super) struct FillClaims {
    entries: Arc<Entries>,
    /// How long a lease lasts whose node does not end it.
    longest: Duration,
}

/// The lease of a node that makes the fetch. Dropped, it goes to the next node that asks.
#[derive(Debug)]
struct RedisFillLease {
    follower: Arc<Follower>,
    name: Name,
    not_for_others: AtomicBool,
}

impl FillClaims {
    pub(super) fn new(entries: Arc<Entries>, longest: Duration) -> Self {
        Self { entries, longest }
    }

    /// Asks for the lease of a fill. Whatever fails, the fetch is made.
    pub(super) async fn claim(self, key: Key) -> FillLease {
        let follower = self.entries.follower().clone();
        let backend = follower.backend();
        let name = self.entries.names().fill(key.borrow());
        let calling = Bytes::from_static(CALLING);
        let claimed = backend.claim(name.clone(), calling, self.longest).await;
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
        match follower.noted(backend.get(name).await) {
            // Without a value, the lease ended between the two questions.
            Ok(Some(found)) if found != CALLING => FillLease::Unshared,
            Ok(_) => FillLease::Pending,
            Err(_) => FillLease::Unshared,
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
