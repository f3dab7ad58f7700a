//! Hints at the variants behind a key, so that the list and a variant can be looked up at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::variants::Variants;
use crate::key::{Key, KeyHasher};

/// Above this all are forgotten: the next lookup of each takes two turns again.
const MOST: usize = 1024;

/// The variants that were known of keys when they were last looked up in a store that takes its time.
///
/// Only ever a guess at which variant will be selected, looked up beside the list of them: what the
/// store says of the list decides, and another turn is taken where the guess was wrong.
#[derive(Debug, Default)]
pub(crate) struct VariantHints(Mutex<HashMap<Key, Arc<Variants>, KeyHasher>>);

impl VariantHints {
    pub(crate) fn of(&self, key: &Key) -> Option<Arc<Variants>> {
        self.lock().get(key).cloned()
    }

    pub(crate) fn learn(&self, key: Key, variants: &Arc<Variants>) {
        let mut known = self.lock();
        if known.len() >= MOST && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, variants.clone());
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Variants>, KeyHasher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
