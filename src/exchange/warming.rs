//! A request that is made to fill the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A note that goes with a request, and reports whether its response was stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Warming(Arc<AtomicBool>);

impl Warming {
    /// Notes that it was.
    pub(super) fn is_stored(&self) {
        // Relaxed: whoever asks has read the response to its end, which orders the two.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was.
    pub(crate) fn was_stored(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
