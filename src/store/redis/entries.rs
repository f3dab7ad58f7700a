//! Stored responses on their way to Redis and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backend::{Failure, Name};
use super::node::{Counts, Node, now};
use super::wire::{self, Received, Stamp, Unfit};
use crate::hexadecimal::push_hexadecimal;
use crate::invalidate::{Local, Position, SharedPosition};
use crate::key::{Key, KeyRef};
use crate::store::Stored;

/// Lookups under way at a time. One more would wait for what is not going to come soon.
const MOST_LOOKUPS: usize = 4096;

/// Responses on their way to Redis at a time. Those that come meanwhile are left out.
const MOST_STORED: usize = 256;

/// A value of this size has about all of a read buffer to itself.
const FILLS_A_BUFFER: usize = 32 << 10;

/// How much a node is asking of Redis.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    lookups: AtomicUsize,
    stored: AtomicUsize,
}

/// A place among those under way, until it is dropped.
pub(in crate::store) struct InFlightPermit {
    node: Arc<Node>,
    of: fn(&UnderWay) -> &AtomicUsize,
}

impl InFlightPermit {
    pub(super) fn to_look_up(node: &Arc<Node>) -> Option<Self> {
        Self::within(node, |under_way| &under_way.lookups, MOST_LOOKUPS)
    }

    pub(super) fn to_store(node: &Arc<Node>) -> Option<Self> {
        Self::within(node, |under_way| &under_way.stored, MOST_STORED)
    }

    fn within(node: &Arc<Node>, of: fn(&UnderWay) -> &AtomicUsize, most: usize) -> Option<Self> {
        // Relaxed: a count. Made before it is looked at, so that dropping it takes one off again.
        let permit = Self {
            node: node.clone(),
            of,
        };
        let before = of(&node.under_way).fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(permit)
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        (self.of)(&self.node.under_way).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was found under a key, and may be judged by this node's log.
type Found = Result<Option<Stored>, Failure>;

impl Node {
    /// Looks a key up, and brings this node's log up to date meanwhile: one round trip.
    ///
    /// What is `kept` gets memory of its own: what comes from a connection is a slice of its read
    /// buffer, which would stay for as long.
    pub(in crate::store) async fn find(self: &Arc<Self>, key: &Key, kept: bool) -> Found {
        let name = self.name(key.borrow(), 'e');
        let (followed, blob) = tokio::join!(self.follow(), self.backend.get(name.clone()));
        let blob = self.noted(blob)?;
        followed?;
        match blob {
            Some(blob) if kept && blob.len() < FILLS_A_BUFFER => {
                self.open(key, name, Bytes::copy_from_slice(&blob)).await
            }
            Some(blob) => self.open(key, name, blob).await,
            None => Ok(None),
        }
    }

    async fn open(self: &Arc<Self>, key: &Key, name: Name, blob: Bytes) -> Found {
        let received = match wire::decode(blob, key.borrow()) {
            Ok(received) => received,
            Err(unfit) => {
                self.throw_out(name, unfit);
                return Ok(None);
            }
        };
        let stamp = received.stamp();
        let made = SharedPosition {
            epoch: stamp.epoch,
            number: stamp.position,
        };
        let local = match self.replica.local(made) {
            // It came to Redis after the log had been asked.
            Local::Ahead => {
                self.follow().await?;
                self.replica.local(made)
            }
            local => local,
        };
        Ok(self.restore(received, local))
    }

    fn restore(&self, received: Received, local: Local) -> Option<Stored> {
        let at = now();
        let shared_ms = self.shared_ms(at)?;
        let place = |position| received.into_stored(position, at, shared_ms);
        match local {
            Local::At(position) => Some(place(position)),
            Local::Ahead | Local::Lost => match place(Position::default()) {
                // Names and keys do not get old.
                variants @ Stored::Variants(_) => Some(variants),
                Stored::Response(_) | Stored::Value(_) => None,
            },
        }
    }

    /// Removes what cannot be used. Whatever it is, it would be found again and again.
    fn throw_out(self: &Arc<Self>, name: Name, unfit: Unfit) {
        Counts::add(&self.counts.unfit);
        tracing::warn!(?unfit, %name, "what is stored in Redis is of no use and is removed");
        let node = self.clone();
        self.runtime.spawn(async move {
            // It may go by itself, in time.
            let _ = node.noted(node.backend.remove(name).await);
        });
    }

    /// Returns what to send to store a value, and under which name; `None` where no node could use
    /// it any more.
    pub(super) fn parcel(&self, key: KeyRef<'_>, stored: &Stored) -> Option<EncodedEntry> {
        let at = now();
        let made = match stored {
            Stored::Response(response) => self.replica.shared(response.position)?,
            Stored::Value(value) => self.replica.shared(value.position())?,
            Stored::Variants(_) => self.replica.head()?,
        };
        let age = age(stored, at);
        let stamp = Stamp::new(made.epoch, made.number, age, self.shared_ms(at)?);
        Some(EncodedEntry {
            name: self.name(key, 'e'),
            blob: wire::encode(key, stored, &stamp),
            keep: wire::keep_for(stored, age),
        })
    }

    pub(super) async fn send(self: &Arc<Self>, parcel: EncodedEntry) -> Result<(), Failure> {
        let EncodedEntry { name, blob, keep } = parcel;
        self.noted(self.backend.set(name, blob, keep).await)
    }

    pub(super) async fn increment(
        self: &Arc<Self>,
        key: Key,
        by: i64,
        ttl: Duration,
    ) -> Result<i64, Failure> {
        let name = self.name(key.borrow(), 'e');
        self.noted(self.backend.increment(name, by, ttl).await)
    }

    pub(super) async fn remove(self: &Arc<Self>, key: Key) -> Result<(), Failure> {
        let name = self.name(key.borrow(), 'e');
        self.noted(self.backend.remove(name).await)
    }

    /// Names a key outside this process: by 128 bits of its digest, so that nothing a user sends can
    /// form a name. The key itself is in the value, and is compared.
    pub(super) fn name(&self, key: KeyRef<'_>, kind: char) -> Name {
        let digest = key.digest();
        let mut name = String::with_capacity(self.namespace.len() + 3 + 32);
        name.push_str(&self.namespace);
        name.push(':');
        name.push(kind);
        name.push(':');
        push_hexadecimal(&mut name, &digest[..16]);
        name.into()
    }
}

/// A value on its way to Redis.
#[derive(Debug)]
pub(super) struct EncodedEntry {
    name: Name,
    blob: Bytes,
    keep: Duration,
}

fn age(stored: &Stored, at: Instant) -> Duration {
    match stored {
        Stored::Response(response) => response.age(at),
        Stored::Value(value) => value.age(at),
        Stored::Variants(_) => Duration::ZERO,
    }
}
