//! Hints at the variants behind a key, so that the list and a variant can be looked up at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::variants::Variants;
use crate::key::{Key, KeyHasher};

/// Above either of these all are forgotten: the next lookup of each takes two turns again.
const MOST: usize = 1024;
const MOST_BYTES: usize = 1 << 20;

/// The variants that were known of keys when they were last looked up in a store that takes its time.
///
/// Only ever a guess at which variant will be selected, looked up beside the list of them: what the
/// store says of the list decides, and another turn is taken where the guess was wrong. So it is by
/// their hashes that keys are remembered: two of one hash cost each other a turn.
#[derive(Debug, Default)]
pub(crate) struct VariantHints(Mutex<Hints>);

#[derive(Debug, Default)]
struct Hints {
    known: HashMap<u64, Arc<Variants>, KeyHasher>,
    /// The bytes that the known variants take.
    bytes: usize,
}

impl VariantHints {
    pub(crate) fn of(&self, key: &Key) -> Option<Arc<Variants>> {
        self.lock().known.get(&key.borrow().hash64()).cloned()
    }

    pub(crate) fn learn(&self, key: &Key, variants: &Arc<Variants>) {
        let (hash, bytes) = (key.borrow().hash64(), variants.size());
        let mut hints = self.lock();
        hints.forget(hash);
        if hints.known.len() >= MOST || hints.bytes + bytes > MOST_BYTES {
            *hints = Hints::default();
        }
        if bytes <= MOST_BYTES {
            hints.bytes += bytes;
            hints.known.insert(hash, variants.clone());
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.lock().forget(key.borrow().hash64());
    }

    fn lock(&self) -> MutexGuard<'_, Hints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hints {
    fn forget(&mut self, hash: u64) {
        if let Some(variants) = self.known.remove(&hash) {
            self.bytes -= variants.size();
        }
    }
}
