//! A request that is made to fill the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Goes with a request: tells who made it whether what it brought was stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warming(Arc<AtomicBool>);

impl Warming {
    /// Tells that it was.
    pub(super) fn is_stored(&self) {
        // Relaxed: whoever asks has read the response to its end, which orders the two.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was.
    pub(crate) fn was_stored(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
