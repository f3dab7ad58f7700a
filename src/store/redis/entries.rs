//! Stored responses, values and counters in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backend::RedisFailure;
use super::clocks::now;
use super::follower::Follower;
use super::in_flight::{InFlight, InFlightPermit};
use super::names::{Name, Names};
use super::replica::{LocalPosition, SharedPosition};
use super::wire::{self, DecodedEntry, EntryStamp, Unfit};
use crate::error::Error;
use crate::invalidate::Position;
use crate::key::{Key, KeyRef};
use crate::store::{CounterStore, MaybeReady, StoreHealth, Stored};

/// A value of this size has about all of a read buffer to itself.
const FILLS_A_BUFFER: usize = 32 << 10;

/// The entries of a namespace, as one node reads and writes them.
#[derive(Debug)]
pub(in crate::store) struct Entries {
    follower: Arc<Follower>,
    names: Names,
    in_flight: Arc<InFlight>,
    /// Values found in Redis that could not be used, and were removed.
    refused: AtomicU64,
    /// Responses that were not sent, because too many were on their way.
    left_out: AtomicU64,
}

/// For how long a stored value that was looked up stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Retention {
    /// For one request. It is a slice of a connection's read buffer.
    Brief,
    /// In a near cache. It gets memory of its own, for the read buffer would stay for as long.
    Long,
}

/// A value on its way to Redis.
#[derive(Debug)]
struct EncodedEntry {
    name: Name,
    blob: Bytes,
    ttl: Duration,
}

impl Entries {
    pub(super) fn new(follower: Arc<Follower>, names: Names) -> Self {
        Self {
            follower,
            names,
            in_flight: Arc::default(),
            refused: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    pub(in crate::store) fn follower(&self) -> &Arc<Follower> {
        &self.follower
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Adds what happened to entries to what the follower reports.
    pub(super) fn add_to(&self, health: StoreHealth) -> StoreHealth {
        StoreHealth {
            values_refused: self.refused.load(Ordering::Relaxed),
            values_left_out: self.left_out.load(Ordering::Relaxed),
            ..health
        }
    }

    /// Returns a permit for one lookup; fails while Redis is down, and when too many are under way.
    pub(in crate::store) fn permit_lookup(&self) -> Result<InFlightPermit, Error> {
        self.follower.check()?;
        InFlightPermit::to_look_up(&self.in_flight)
            .ok_or_else(|| Error::unavailable("too many lookups in Redis are under way"))
    }

    /// Looks a key up under a permit.
    pub(in crate::store) fn get(
        self: &Arc<Self>,
        key: KeyRef<'_>,
        retention: Retention,
    ) -> MaybeReady<Result<Option<Stored>, Error>> {
        let permit = match self.permit_lookup() {
            Ok(permit) => permit,
            Err(error) => return MaybeReady::Now(Err(error)),
        };
        let (entries, key) = (self.clone(), key.to_owned());
        MaybeReady::Later(Box::pin(async move {
            let _until_it_is_found = permit;
            Ok(entries.find(&key, retention).await?)
        }))
    }

    /// Looks a key up, and brings this node's log up to date meanwhile: one round trip. What is found
    /// may be judged by that log.
    pub(in crate::store) async fn find(
        self: &Arc<Self>,
        key: &Key,
        retention: Retention,
    ) -> Result<Option<Stored>, RedisFailure> {
        let name = self.names.entry(key.borrow());
        let (followed, blob) = tokio::join!(
            self.follower.follow(),
            self.follower.backend().get(name.clone())
        );
        let blob = self.follower.noted(blob)?;
        followed?;
        match blob {
            Some(blob) if retention == Retention::Long && blob.len() < FILLS_A_BUFFER => {
                self.decode(key, name, Bytes::copy_from_slice(&blob)).await
            }
            Some(blob) => self.decode(key, name, blob).await,
            None => Ok(None),
        }
    }

    async fn decode(
        self: &Arc<Self>,
        key: &Key,
        name: Name,
        blob: Bytes,
    ) -> Result<Option<Stored>, RedisFailure> {
        let decoded = match wire::decode(blob, key.borrow()) {
            Ok(decoded) => decoded,
            Err(unfit) => {
                self.discard(name, unfit);
                return Ok(None);
            }
        };
        let stamp = decoded.stamp();
        let made = SharedPosition {
            epoch: stamp.epoch,
            number: stamp.position,
        };
        let local = match self.follower.replica().local(made) {
            // It came to Redis after the log had been asked.
            LocalPosition::Ahead => {
                self.follower.follow().await?;
                self.follower.replica().local(made)
            }
            local => local,
        };
        Ok(self.restore(decoded, local))
    }

    fn restore(&self, decoded: DecodedEntry, local: LocalPosition) -> Option<Stored> {
        let at = now();
        let shared_ms = self.follower.server_clock().at(at)?;
        let place = |position| decoded.into_stored(position, at, shared_ms);
        match local {
            LocalPosition::At(position) => Some(place(position)),
            LocalPosition::Ahead | LocalPosition::Lost => match place(Position::default()) {
                // Names and keys do not become stale.
                variants @ Stored::Variants(_) => Some(variants),
                Stored::Response(_) | Stored::Value(_) => None,
            },
        }
    }

    /// Removes what cannot be used. Whatever it is, it would be found again and again.
    fn discard(self: &Arc<Self>, name: Name, unfit: Unfit) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(?unfit, %name, "what is stored in Redis is of no use and is removed");
        let entries = self.clone();
        self.follower.runtime().spawn(async move {
            // Redis may expire or evict it first.
            let _ = entries.unlink(name).await;
        });
    }

    /// Stores a value. It is left out while Redis is down, and when too many are on their way.
    pub(super) fn put(
        self: &Arc<Self>,
        key: KeyRef<'_>,
        stored: &Stored,
    ) -> MaybeReady<Result<(), Error>> {
        if self.follower.is_down() {
            return MaybeReady::Now(Ok(()));
        }
        let Some(permit) = InFlightPermit::to_put(&self.in_flight) else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return MaybeReady::Now(Ok(()));
        };
        let Some(entry) = self.encode(key, stored) else {
            return MaybeReady::Now(Ok(()));
        };
        let follower = self.follower.clone();
        MaybeReady::Later(Box::pin(async move {
            let _until_it_is_there = permit;
            let EncodedEntry { name, blob, ttl } = entry;
            Ok(follower.noted(follower.backend().set(name, blob, ttl).await)?)
        }))
    }

    /// Returns what to send to store a value, and under which name; `None` where no node could use
    /// it any more.
    fn encode(&self, key: KeyRef<'_>, stored: &Stored) -> Option<EncodedEntry> {
        let (at, replica) = (now(), self.follower.replica());
        let made = match stored {
            Stored::Response(response) => replica.shared(response.position)?,
            Stored::Value(value) => replica.shared(value.position())?,
            Stored::Variants(_) => replica.head()?,
        };
        let age = age(stored, at);
        let shared_ms = self.follower.server_clock().at(at)?;
        let stamp = EntryStamp::new(made.epoch, made.number, age, shared_ms);
        Some(EncodedEntry {
            name: self.names.entry(key),
            blob: wire::encode(key, stored, &stamp),
            ttl: wire::keep_for(stored, age),
        })
    }

    /// Removes what is stored under a key. While Redis is down nothing is removed: what is there is
    /// judged when it is found.
    pub(super) fn remove(self: &Arc<Self>, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        if self.follower.is_down() {
            return MaybeReady::Now(Ok(()));
        }
        let (entries, name) = (self.clone(), self.names.entry(key));
        MaybeReady::Later(Box::pin(async move { Ok(entries.unlink(name).await?) }))
    }

    async fn unlink(&self, name: Name) -> Result<(), RedisFailure> {
        let removed = self.follower.backend().remove(name).await;
        self.follower.noted(removed)
    }
}

impl CounterStore for Arc<Entries> {
    fn increment(&self, key: KeyRef<'_>, by: i64, ttl: Duration) -> MaybeReady<Result<i64, Error>> {
        if let Err(failure) = self.follower.check() {
            return MaybeReady::Now(Err(failure.into()));
        }
        let (follower, name) = (self.follower.clone(), self.names.entry(key));
        MaybeReady::Later(Box::pin(async move {
            Ok(follower.noted(follower.backend().increment(name, by, ttl).await)?)
        }))
    }

    fn reset(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.remove(key)
    }
}

fn age(stored: &Stored, at: Instant) -> Duration {
    match stored {
        Stored::Response(response) => response.age(at),
        Stored::Value(value) => value.age(at),
        Stored::Variants(_) => Duration::ZERO,
    }
}
