//! One call of a closure for everyone who lacks a value.

use std::sync::Arc;
use std::time::Instant;

use super::space::Address;
use super::{Codec, Values};
use crate::entry::StoredValue;
use crate::flight::{Flight, Leader, Shared, Sharer, Taken, join_or_lead};
use crate::invalidate::Position;
use crate::mutant::{self, Mutant};
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
    /// Looks a value up, or else calls `make` and stores what that returns.
    ///
    /// However many callers in this process lack the same key at the same time, one of them calls its
    /// closure and the others wait for it, for at most [`max_wait`](Self::max_wait). What it returns
    /// is given to all of them, under the TTL and the tags of the one who called. Nobody is given it
    /// who came after an invalidation that it was overtaken by: whoever does makes another call, and
    /// the first is not stored. The caller itself gets what its closure returned in any case.
    ///
    /// The store cannot make this fail: if it does not answer, `make` is called, by each caller for
    /// itself, for none can know what was invalidated elsewhere in the meantime.
    ///
    /// A closure that asks for its own key, or two that ask for each other's, wait until `max_wait`
    /// has passed.
    ///
    /// # Errors
    ///
    /// Returns the error of `make`, which is neither stored nor given to others: an error belongs to
    /// the call that met it. Those who waited call their own closures then, all at once, so that no
    /// one waits for a row of failures. A panic of `make` is met in the same way.
    ///
    /// What `make` returned is not lost where it cannot be encoded or is too large to be stored: that
    /// is [counted](crate::ValueStats::refused).
    ///
    /// # Cancel safety
    ///
    /// Dropped while `make` runs, it drops that, and one of those who wait calls its own.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer enabled, where another's call has to be waited for.
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
        let space = &*self.space;
        if space.cache.is_bypassed() {
            return make().await;
        }
        let came = space.now();
        let address = space.address(key, &self.tags);
        let Ok(found) = space.find(address.key.borrow()).await else {
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

    /// Takes the value from another's call, or begins one.
    async fn value_or_lead(&self, address: &Address, came: Instant) -> Result<T, ValueLeader> {
        let space = &*self.space;
        let (flights, key) = (&space.cache.value_flights, &address.key);
        let mut caller = Caller {
            values: self,
            address,
            came,
        };
        match join_or_lead(flights, key, self.max_wait, &mut caller).await {
            Shared::Answer(value) => Ok(value),
            Shared::Lead(leader) => self.look_again(leader, address),
            // A flight all the same: what is set meanwhile overtakes it.
            Shared::Alone => Err(flights.lead(key, space.now(), || space.position())),
        }
    }

    /// Looks a value up as the one who is to make it: another call may have ended since.
    fn look_again(&self, leader: ValueLeader, address: &Address) -> Result<T, ValueLeader> {
        let key = address.key.borrow();
        let Some(stored) = self.space.find_at_once(key) else {
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

    /// Gives what was made to those who wait, and to the store.
    fn publish(&self, leader: ValueLeader, address: Address, value: &T, came: Instant) {
        let position = match mutant::is(Mutant::PositionAtCommit) {
            true => self.space.position(),
            false => leader.position(),
        };
        let Ok(stored) = self.make(&address, value, position) else {
            leader.not_for_others();
            return;
        };
        let stored = Arc::new(stored);
        leader.publish(stored.clone());
        if self.check(&stored).is_ok() {
            self.space.record(leader, address.key, &stored, came);
        }
    }
}

impl<T, C: Codec<T>> Caller<'_, T, C> {
    fn may_share(&self, flight: &ValueFlight, subject: SubjectRef<'_>) -> bool {
        let cache = &self.values.space.cache;
        cache.may_share(flight.position, flight.began, subject, self.came)
    }
}

impl<T, C: Codec<T>> Sharer<Arc<StoredValue>> for Caller<'_, T, C> {
    type Answer = T;
    type Waiting = ();

    fn now(&self) -> Instant {
        self.values.space.now()
    }

    fn position(&self) -> Position {
        self.values.space.position()
    }

    /// Judges a call under way as a stored value is judged, by the tags that are known.
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
        self.values.space.counts.add(ValueEvent::Collapsed, 1);
    }

    fn take(&self, flight: &ValueFlight, stored: Arc<StoredValue>) -> Taken<T> {
        // By all of its tags now; its own caller's were not known before.
        let subject = match mutant::is(Mutant::HandlerTagsIgnoredAtLanding) {
            true => self.address.subject.borrow(),
            false => stored.subject(),
        };
        if !self.may_share(flight, subject) {
            return Taken::Again;
        }
        match self.values.decode(self.address.key.borrow(), &stored) {
            Some(value) => Taken::Answer(value),
            None => Taken::Alone,
        }
    }
}
