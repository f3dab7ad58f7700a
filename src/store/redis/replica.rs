//! A copy of the log that several nodes share.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::invalidate::{Invalidation, Log, Position};

/// The name of one life of a shared log. Positions of one mean nothing in another.
pub(crate) type Epoch = [u8; 16];

/// A position in a shared log: its epoch, and how many invalidations it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedPosition {
    pub(crate) epoch: Epoch,
    pub(crate) number: u64,
}

/// The content of a shared log behind a position that this node knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The head of the shared log.
    pub(crate) head: SharedPosition,
    /// Up to here the log may have forgotten what was recorded.
    pub(crate) floor: u64,
    /// The invalidations, each with its number, in any order.
    pub(crate) recorded: Vec<(u64, Invalidation)>,
}

/// This node's [`Log`], kept in step with a shared one.
///
/// Within one epoch the shared log's number *n* stands at the local position *base* + *n*, so both
/// order invalidations alike. A new epoch gets a base behind everything before, and begins with an
/// invalidation of everything: what was stored, or begun, in an earlier epoch is never used again.
pub(crate) struct Replica {
    log: Log,
    origin: Mutex<Option<ReplicaBase>>,
}

#[derive(Clone, Copy, Debug)]
struct ReplicaBase {
    head: SharedPosition,
    base: u64,
    /// Nothing made before this number is used.
    floor: u64,
}

/// The meaning of a shared position on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalPosition {
    /// This local position.
    At(Position),
    /// Behind everything that this node knows: it has to ask again.
    Ahead,
    /// Of another epoch, or so old that the log has forgotten what was recorded since.
    Lost,
}

impl Replica {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            origin: Mutex::new(None),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Returns how far this node has followed the shared log.
    pub(crate) fn head(&self) -> Option<SharedPosition> {
        self.origin().map(|origin| origin.head)
    }

    /// Records what is new in the shared log; `asked` is what this node knew when it asked.
    ///
    /// Returns whether it is in step now. It is not if another answer has meanwhile led it to another
    /// epoch than this one speaks of: then it cannot tell which of the two is over.
    pub(crate) fn catch_up(&self, asked: Option<SharedPosition>, delta: &Delta) -> bool {
        let mut origin = self.lock();
        let known = origin.map(|origin| origin.head.epoch);
        let asked_of = asked.map(|asked| asked.epoch);
        let same_epoch = known == Some(delta.head.epoch);
        if !same_epoch && asked_of != known {
            return false;
        }
        let before = origin.filter(|_| same_epoch);
        if before.is_some_and(|origin| self.has_nothing_new(origin, delta)) {
            return true;
        }
        *origin = Some(self.record(before, delta));
        true
    }

    /// Returns whether a delta of the same epoch changes nothing, as most do.
    fn has_nothing_new(&self, known: ReplicaBase, delta: &Delta) -> bool {
        let local = u64::from(self.log.position());
        delta.recorded.is_empty()
            && delta.head.number <= known.head.number
            && delta.floor <= known.floor
            && local == known.base + known.head.number
    }

    /// Records a delta; `before` is what was known of the same epoch.
    fn record(&self, before: Option<ReplicaBase>, delta: &Delta) -> ReplicaBase {
        let place = |(number, invalidation): &(u64, Invalidation)| {
            (*number, self.log.place(std::slice::from_ref(invalidation)))
        };
        let placed: Vec<_> = delta.recorded.iter().map(place).collect();
        let everything = self.log.place(&[Invalidation::everything()]);
        let number = before.map_or(0, |origin| origin.head.number);
        let head = SharedPosition {
            number: number.max(delta.head.number),
            ..delta.head
        };
        let mut writer = self.log.write();
        let local = u64::from(writer.position());
        let (base, floor) = match before {
            Some(origin) if local == origin.base + origin.head.number => {
                (origin.base, origin.floor.max(forgotten(delta)))
            }
            // Something was recorded here alone, and local positions count on from there. The shared
            // log's past stands at positions that now mean something else.
            Some(_) => (local + 1, head.number),
            None => (local + 1, forgotten(delta)),
        };
        if before.is_none_or(|origin| (origin.base, origin.floor) != (base, floor)) {
            writer.record(everything, Position::from(base + floor));
        }
        for (number, placed) in placed {
            writer.record(placed, Position::from(base + number));
        }
        writer.publish(Position::from(base + head.number));
        ReplicaBase { head, base, floor }
    }

    /// Returns the meaning of a shared position on this node.
    pub(crate) fn local(&self, shared: SharedPosition) -> LocalPosition {
        match self.origin() {
            Some(origin) if origin.head.epoch != shared.epoch => LocalPosition::Lost,
            Some(origin) if shared.number > origin.head.number => LocalPosition::Ahead,
            Some(origin) if shared.number >= origin.floor => {
                LocalPosition::At(Position::from(origin.base + shared.number))
            }
            _ => LocalPosition::Lost,
        }
    }

    /// Returns the shared position that a local one stands for: the latest that was known then. `None`
    /// for one of an earlier epoch.
    pub(crate) fn shared(&self, local: Position) -> Option<SharedPosition> {
        let origin = self.origin()?;
        let number = u64::from(local).checked_sub(origin.base)?;
        (number >= origin.floor).then_some(SharedPosition {
            epoch: origin.head.epoch,
            number: number.min(origin.head.number),
        })
    }

    fn origin(&self) -> Option<ReplicaBase> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<ReplicaBase>> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forgotten(delta: &Delta) -> u64 {
    delta.floor
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("log", &self.log)
            .field("origin", &self.origin())
            .finish()
    }
}

#[cfg(test)]
mod tests;
