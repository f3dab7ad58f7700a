//! One call of a closure for everyone who lacks a value.

use std::sync::Arc;
use std::time::Instant;

use super::space::Address;
use super::{Codec, Values};
use crate::entry::StoredValue;
use crate::flight::{Flight, Join, Leader, NoResult};
use crate::mutant::{self, Mutant};
use crate::telemetry::ValueEvent;

/// How often a caller looks for a call to join before it makes its own. Each turn means that the one
/// it had joined was overtaken by an invalidation, or given up by its caller.
const TURNS: usize = 4;

type ValueFlight = Flight<Arc<StoredValue>>;
type ValueLeader = Leader<Arc<StoredValue>>;

/// What looking for another's call came to.
enum Shared<T> {
    Value(T),
    /// Call the closure.
    Lead(ValueLeader),
}

/// What waiting for another's call came to.
enum Waited<T> {
    Value(T),
    /// Look for another.
    Again,
    /// Call the closure, whoever else does.
    Alone,
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
        let leader = match self.share(&address, came).await {
            Shared::Value(value) => return Ok(value),
            Shared::Lead(leader) => leader,
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

    /// Waits for another's call, or begins one.
    async fn share(&self, address: &Address, came: Instant) -> Shared<T> {
        let space = &*self.space;
        let (flights, key) = (&space.cache.value_flights, &address.key);
        let give_up = tokio::time::Instant::now().checked_add(self.max_wait);
        for _ in 0..TURNS {
            let joinable = |flight: &ValueFlight| self.may_join(flight, address, came);
            match flights.join(key, space.now(), || space.position(), joinable) {
                Join::Wait(flight) => match self.wait_for(&flight, address, came, give_up).await {
                    Waited::Value(value) => return Shared::Value(value),
                    Waited::Again => {}
                    Waited::Alone => break,
                },
                Join::Lead(leader) => return self.look_again(leader, address),
                Join::Alone => break,
            }
        }
        Shared::Lead(flights.lead(key, space.now(), || space.position()))
    }

    /// Looks a value up as the one who is to make it: another call may have ended since.
    fn look_again(&self, leader: ValueLeader, address: &Address) -> Shared<T> {
        let key = address.key.borrow();
        let Some(stored) = self.space.find_at_once(key) else {
            return Shared::Lead(leader);
        };
        match self.decode(key, &stored) {
            Some(value) => {
                leader.publish(stored);
                Shared::Value(value)
            }
            None => Shared::Lead(leader),
        }
    }

    /// Judges a call under way as a stored value is judged, by the tags that are known.
    fn may_join(&self, flight: &ValueFlight, address: &Address, came: Instant) -> bool {
        let space = &*self.space;
        let may_share = |subject| space.may_share(flight.position, flight.began, subject, came);
        match flight.published() {
            Some(stored) => {
                stored.age(space.now()) < stored.lifetime() && may_share(stored.subject())
            }
            None => may_share(address.subject.borrow()),
        }
    }

    async fn wait_for(
        &self,
        flight: &ValueFlight,
        address: &Address,
        came: Instant,
        give_up: Option<tokio::time::Instant>,
    ) -> Waited<T> {
        let space = &*self.space;
        space.counts.add(ValueEvent::Collapsed, 1);
        let result = match give_up {
            Some(give_up) => tokio::time::timeout_at(give_up, flight.result()).await,
            None => Ok(flight.result().await),
        };
        let stored = match result {
            Ok(Ok(stored)) => stored,
            Ok(Err(NoResult::Abandoned)) => return Waited::Again,
            Ok(Err(NoResult::NotForOthers)) | Err(_) => return Waited::Alone,
        };
        // By all of its tags now; its own caller's were not known before.
        let subject = match mutant::is(Mutant::HandlerTagsIgnoredAtLanding) {
            true => address.subject.borrow(),
            false => stored.subject(),
        };
        if !space.may_share(flight.position, flight.began, subject, came) {
            return Waited::Again;
        }
        match self.decode(address.key.borrow(), &stored) {
            Some(value) => Waited::Value(value),
            None => Waited::Alone,
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
