//! Counters.

use super::Values;
use crate::error::Error;

/// Counters: numbers that many callers add to at the same time.
///
/// A counter is not a value: [`get`](Self::get) does not find it, and no invalidation ends it. It ends
/// [`ttl`](Self::ttl) after it was first added to, by the store's clock, or when the store lacks room;
/// so it is right for rates and limits, and wrong for what has to add up.
impl<T, C> Values<T, C> {
    /// Adds to the counter of a key, in one step that no other comes between, and returns its new
    /// count. One that is not there counts from zero. Adding zero tells the count.
    ///
    /// # Errors
    ///
    /// Fails where the store did, or where it has no counters; a memory store has. Fails where the
    /// count would not fit, and leaves it as it was. What failed for lack of an answer in time may
    /// have been added all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_response_cache::Error> {
    /// # use std::time::Duration;
    /// # use tower_response_cache::CacheLayer;
    /// # let handle = CacheLayer::builder().build()?.handle();
    /// let logins = handle.values::<()>("logins").ttl(Duration::from_secs(60));
    /// assert_eq!(logins.increment("203.0.113.7", 1).await?, 1);
    /// assert_eq!(logins.increment("203.0.113.7", 1).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        let key = self.space.counter_key(key);
        let store = &self.space.cache.store;
        self.space
            .change(store.increment(key.borrow(), by, self.ttl))
            .await
    }

    /// Has the counter of a key count from zero again.
    ///
    /// # Errors
    ///
    /// Fails where the store did.
    pub async fn reset(&self, key: &str) -> Result<(), Error> {
        let key = self.space.counter_key(key);
        let store = &self.space.cache.store;
        self.space.change(store.remove(key.borrow())).await
    }
}
