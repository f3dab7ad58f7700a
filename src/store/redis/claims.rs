//! One handler call for all nodes: who is to make it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::backend::Name;
use super::node::{Node, now};
use crate::key::Key;
use crate::store::{FillLease, GrantedLease, Stored};

/// What stands where a node is making the call.
const CALLING: &[u8] = b"calling";

/// What stands where a response was of no use to others: they make their own calls, at once.
const NOT_FOR_OTHERS: &[u8] = b"alone";

/// For how long that is remembered.
const ALONE: Duration = Duration::from_secs(10);

/// The pauses between two looks at whether another node has done: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// The right to make the call. Dropped, it goes to the next.
#[derive(Debug)]
struct Right {
    node: Arc<Node>,
    name: Name,
    not_for_others: AtomicBool,
}

impl Node {
    /// Asks for the right to make the call, or waits until another node has made it: for no longer
    /// than `most`. Whatever fails, the call is made.
    pub(super) async fn claim(self: &Arc<Self>, key: Key, most: Duration) -> FillLease {
        let name = self.name(key.borrow(), 'f');
        let (began, mut pause) = (now(), FIRST_LOOK);
        loop {
            let calling = Bytes::from_static(CALLING);
            match self.noted(self.backend.claim(name.clone(), calling, most).await) {
                // Who had the right may have done since this node looked.
                Ok(true) => {
                    let right = self.granted(name);
                    return match self.has_fresh(&key).await {
                        true => FillLease::Elsewhere,
                        false => right,
                    };
                }
                Ok(false) => {}
                Err(_) => return FillLease::Unshared,
            }
            match self.noted(self.backend.get(name.clone()).await) {
                Ok(Some(found)) if found == CALLING => {}
                // Given up between the two questions.
                Ok(None) => continue,
                Ok(Some(_)) | Err(_) => return FillLease::Unshared,
            }
            if now().saturating_duration_since(began) >= most {
                return FillLease::Unshared;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BETWEEN_LOOKS);
            if let Ok(Some(_)) = self.find(&key, false).await {
                return FillLease::Elsewhere;
            }
        }
    }

    async fn has_fresh(self: &Arc<Self>, key: &Key) -> bool {
        match self.find(key, false).await {
            // Of variants it takes more to tell, and the right is not for one alone.
            Ok(Some(Stored::Variants(_)) | None) | Err(_) => false,
            Ok(Some(found)) => found.is_servable(self.log(), now()),
        }
    }

    fn granted(self: &Arc<Self>, name: Name) -> FillLease {
        FillLease::Granted(Box::new(Right {
            node: self.clone(),
            name,
            not_for_others: AtomicBool::new(false),
        }))
    }
}

impl GrantedLease for Right {
    fn not_for_others(&self) {
        // Relaxed: looked at when the last who has it drops it.
        self.not_for_others.store(true, Ordering::Relaxed);
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        let (node, name) = (self.node.clone(), self.name.clone());
        let alone = self.not_for_others.load(Ordering::Relaxed);
        self.node.runtime.spawn(async move {
            let given_up = match alone {
                true => {
                    let note = Bytes::from_static(NOT_FOR_OTHERS);
                    node.backend.set(name, note, ALONE).await
                }
                false => node.backend.remove(name).await,
            };
            // It ends by itself as well.
            let _ = node.noted(given_up);
        });
    }
}
