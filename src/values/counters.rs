//! Counters, which handlers increment atomically.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::TTL;
use super::namespace::ValueNamespace;
use crate::error::Error;
use crate::state::CacheState;
use crate::store::CounterStore;

/// A namespace of counters, numbers that many callers add to at the same time; made by
/// [`CacheHandle::counters`](crate::CacheHandle::counters).
///
/// A counter ends five minutes, or its [`ttl`](Self::ttl), after it was first added to, by the
/// store's clock. No invalidation ends it, but the store may evict it for capacity. So counters suit
/// rates and limits, but not sums that must be exact.
///
/// Cheap to clone. Clones, and all `Counters` of the same namespace, count together. A counter and a
/// [value](crate::Values) of the same namespace and key are independent, but their store errors are
/// counted together.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_response_cache::Error> {
/// # use std::time::Duration;
/// # use tower_response_cache::CacheLayer;
/// # let handle = CacheLayer::builder().build()?.handle();
/// let logins = handle.counters("logins")?.ttl(Duration::from_secs(60));
/// assert_eq!(logins.increment("203.0.113.7", 1).await?, 1);
/// assert_eq!(logins.increment("203.0.113.7", 1).await?, 2);
/// # Ok(())
/// # }
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "values")))]
#[derive(Clone)]
pub struct Counters {
    namespace: Arc<ValueNamespace>,
    ttl: Duration,
}

impl Counters {
    /// Makes the counters of a namespace; fails if the store has none.
    pub(crate) fn new(cache: Arc<CacheState>, namespace: &str) -> Result<Self, Error> {
        let namespace = ValueNamespace::new(cache, namespace);
        counter_store(&namespace)?;
        Ok(Self {
            namespace: Arc::new(namespace),
            ttl: TTL,
        })
    }

    /// Returns the same namespace with another TTL: its counters end this long after their first
    /// addition. The default is five minutes.
    ///
    /// [`Duration::MAX`] is forever. Counters that have begun keep their end.
    #[must_use]
    pub fn ttl(&self, ttl: Duration) -> Self {
        Self {
            ttl,
            ..self.clone()
        }
    }

    /// Adds to the counter of a key in one atomic step, and returns its new count.
    ///
    /// A missing counter counts from zero. Adding zero returns the count and changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the store did. Also fails if the count would not fit into 64 bits, and leaves it
    /// unchanged. If the store did not answer in time, the addition may have been made.
    pub async fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        let key = self.namespace.counter_key(key);
        let counters = counter_store(&self.namespace)?;
        self.namespace
            .change(counters.increment(key.borrow(), by, self.ttl))
            .await
    }

    /// Resets the counter of a key: the next addition counts from zero.
    ///
    /// # Errors
    ///
    /// Fails if the store did.
    pub async fn reset(&self, key: &str) -> Result<(), Error> {
        let key = self.namespace.counter_key(key);
        let counters = counter_store(&self.namespace)?;
        self.namespace.change(counters.reset(key.borrow())).await
    }
}

fn counter_store(namespace: &ValueNamespace) -> Result<&dyn CounterStore, Error> {
    let counters = namespace.cache.store.counters();
    counters.ok_or_else(|| Error::config("this store has no counters"))
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters")
            .field("namespace", &self.namespace.name)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
