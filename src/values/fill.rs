//! One call of a closure for all callers that lack the same value.

use std::sync::Arc;
use std::time::Instant;

use super::namespace::Address;
use super::{Codec, Values};
use crate::entry::StoredValue;
use crate::flight::{Flight, Leader, Shared, Sharer, Taken, join_or_lead};
use crate::invalidate::Position;
use crate::target::SubjectRef;
use crate::telemetry::ValueEvent;

type ValueFlight = Flight<Arc<StoredValue>>;
type ValueLeader = Leader<Arc<StoredValue>>;

/// A caller that lacks a value, and may share the call that another makes for it.
struct Caller<'a, T, C> {
    values: &'a Values<T, C>,
    address: &'a Address,
    came: Instant,
}

impl<T, C: Codec<T>> Values<T, C> {
    /// Looks a value up, or calls `make` and stores the value that it returns.
    ///
    /// When several callers in this process lack the same key at the same time, one of them calls its
    /// closure and the others wait for it; when that takes longer than [`max_wait`](Self::max_wait),
    /// one more of them calls its own: request coalescing, or single-flight. All of them get its value, which is stored under the TTL and the
    /// tags of the caller that made it. A caller that comes after an invalidation which overtook the
    /// call does not get that value: it makes a call of its own, and the first value is not stored.
    /// The caller that made the value gets it in any case.
    ///
    /// The store cannot make this fail. If it does not answer, every caller calls its own `make`,
    /// because none can know what other nodes have invalidated in the meantime.
    ///
    /// A closure that looks up its own key, or two that look up each other's, wait until `max_wait`
    /// has passed.
    ///
    /// # Errors
    ///
    /// Returns the error of `make`, which is neither stored nor given to other callers: an error
    /// belongs to the call that met it. The callers that waited then call their own closures, all at
    /// once, so that none waits for one failure after another. A panic of `make` has the same effect.
    ///
    /// A value that cannot be encoded, or is too large to be stored, is still returned. It is
    /// [counted](crate::ValueStats::refused).
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with its timer enabled, if it has to wait for another caller.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped while `make` runs, it drops `make`, and one of the callers that wait calls its
    /// own.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_response_cache::CacheLayer;
    /// # let handle = CacheLayer::builder().build()?.handle();
    /// # async fn count() -> Result<u64, std::io::Error> { Ok(3) }
    /// let totals = handle.values::<u64>("totals");
    /// let total = totals.get_or_insert_with("today", async || count().await).await?;
    /// assert_eq!((total, totals.stats().misses), (3, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_insert_with<E>(
        &self,
        key: &str,
        make: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let namespace = &*self.namespace;
        if namespace.cache.is_bypassed() {
            return make().await;
        }
        let came = namespace.now();
        let address = namespace.address(key, &self.tags);
        let Ok(found) = namespace.find(address.key.borrow()).await else {
            return make().await;
        };
        if let Some(value) = self.read(address.key.borrow(), found) {
            return Ok(value);
        }
        let leader = match self.value_or_lead(&address, came).await {
            Ok(value) => return Ok(value),
            Err(leader) => leader,
        };
        match make().await {
            Ok(value) => {
                self.publish(leader, address, &value, came);
                Ok(value)
            }
            Err(error) => {
                leader.not_for_others();
                Err(error)
            }
        }
    }

    /// Takes the value from another caller's closure, or leads a call of its own.
    async fn value_or_lead(&self, address: &Address, came: Instant) -> Result<T, ValueLeader> {
        let namespace = &*self.namespace;
        let (flights, key) = (&namespace.cache.value_flights, &address.key);
        let mut caller = Caller {
            values: self,
            address,
            came,
        };
        match join_or_lead(flights, key, self.max_wait, &mut caller).await {
            Shared::Answer(value) => Ok(value),
            Shared::Lead(leader) => self.look_again(leader, address),
            // It still becomes a flight, so that a value set meanwhile overtakes it.
            Shared::Alone => Err(flights.lead(key, namespace.now(), || namespace.position())),
        }
    }

    /// Looks a value up once more before making it: another call may have ended since.
    fn look_again(&self, leader: ValueLeader, address: &Address) -> Result<T, ValueLeader> {
        let key = address.key.borrow();
        let Some(stored) = self.namespace.find_at_once(key) else {
            return Err(leader);
        };
        match self.decode(key, &stored) {
            Some(value) => {
                leader.publish(stored);
                Ok(value)
            }
            None => Err(leader),
        }
    }

    /// Publishes a new value to the callers that wait, and stores it.
    fn publish(&self, leader: ValueLeader, address: Address, value: &T, came: Instant) {
        let position = leader.position();
        let Ok(stored) = self.make(&address, value, position) else {
            leader.not_for_others();
            return;
        };
        let stored = Arc::new(stored);
        leader.publish(stored.clone());
        if self.check(&stored).is_ok() {
            self.namespace.record(leader, address.key, &stored, came);
        }
    }
}

impl<T, C: Codec<T>> Caller<'_, T, C> {
    fn may_share(&self, flight: &ValueFlight, subject: SubjectRef<'_>) -> bool {
        let cache = &self.values.namespace.cache;
        cache.may_share(flight.position, flight.began, subject, self.came)
    }
}

impl<T, C: Codec<T>> Sharer<Arc<StoredValue>> for Caller<'_, T, C> {
    type Answer = T;
    type Waiting = ();

    fn now(&self) -> Instant {
        self.values.namespace.now()
    }

    fn position(&self) -> Position {
        self.values.namespace.position()
    }

    /// Judges a call under way as a stored value is judged, by the tags known so far.
    fn may_join(&self, flight: &ValueFlight) -> bool {
        match flight.published() {
            Some(stored) => {
                stored.age(self.now()) < stored.lifetime()
                    && self.may_share(flight, stored.subject())
            }
            None => self.may_share(flight, self.address.subject.borrow()),
        }
    }

    fn wait(&mut self) {
        self.values.namespace.counts.add(ValueEvent::Collapsed, 1);
    }

    fn take(&self, flight: &ValueFlight, stored: Arc<StoredValue>) -> Taken<T> {
        // Now by all of its tags: those of the caller that made it were not known before.
        let subject = stored.subject();
        if !self.may_share(flight, subject) {
            return Taken::Again;
        }
        match self.values.decode(self.address.key.borrow(), &stored) {
            Some(value) => Taken::Answer(value),
            None => Taken::Alone,
        }
    }
}
