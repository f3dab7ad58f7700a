//! Having the store reclaim the room of what nothing may serve any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::CacheState;

/// Invalidations that come together are swept up together.
const GATHER: Duration = Duration::from_millis(200);

/// Between two steps hits go on undisturbed.
const PAUSE: Duration = Duration::from_millis(2);

/// Starts a sweep in the background, unless one is under way.
pub(super) fn soon(cache: &Arc<CacheState>) {
    // AcqRel: pairs with the release at a sweep's end, so that one of two sweeps sees this.
    if cache.sweeping.swap(true, Ordering::AcqRel) {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        // Nothing is lost but time: what is invalidated is never served, swept up or not.
        cache.sweeping.store(false, Ordering::Release);
        return;
    };
    // Weak: a sweep keeps no cache alive.
    let cache = Arc::downgrade(cache);
    runtime.spawn(async move {
        tokio::time::sleep(GATHER).await;
        while cache.upgrade().is_some_and(|cache| {
            let more = cache.store.sweep();
            if !more {
                cache.sweeping.store(false, Ordering::Release);
            }
            more
        }) {
            tokio::time::sleep(PAUSE).await;
        }
    });
}
