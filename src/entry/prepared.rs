//! Header maps of replays, kept ready to be sent.
//!
//! Most of the work of a hit is to make a header map of a stored head. What is hit several times in
//! one second is given the same fields each time, `Age` and `Cache-Status` included, so the map is
//! kept beside the stored response and cloned. In another second it is right but for these two, which
//! are less work than a map. It takes far more memory than the stored head: therefore only so many
//! stored responses have one at a time, and one that is never hit twice in a second never does. Those
//! that have one keep it for as long as they go on being hit: if more are hit than can have one,
//! passing it on would be more work than it saves.

use std::fmt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;

/// The place in a stored response for a header map that is ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    state: RwLock<Preparation>,
    /// The response is in a list of those that may keep one.
    listed: AtomicBool,
}

#[derive(Debug, Default)]
enum Preparation {
    #[default]
    Empty,
    /// A replay was made for this moment, and may remain the only one.
    Once(ReplayStamp),
    /// For this moment there will be none: too many others are in use.
    Refused(ReplayStamp),
    Ready(Box<Ready>),
}

struct Ready {
    headers: HeaderMap,
    /// The moment for which the headers are right.
    stamp: ReplayStamp,
    /// The moment of the latest replay.
    latest: ReplayStamp,
}

/// The header map that is kept for a replay, if any.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is right.
    Right(HeaderMap),
    /// It is right but for the fields that depend on the moment.
    Earlier(HeaderMap),
    Nothing,
}

/// The figures that the headers added to a replay depend on: for as long as these are the same, so are
/// they.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplayStamp {
    age: u32,
    ttl: i32,
    list: u32,
}

impl ReplayStamp {
    /// Takes the figures of a replay by the cache of that list; `None` where they are beyond reason.
    pub(super) fn new(age: u64, ttl: i64, list: u32) -> Option<Self> {
        Some(Self {
            age: u32::try_from(age).ok()?,
            ttl: i32::try_from(ttl).ok()?,
            list,
        })
    }

    pub(crate) fn age(self) -> u64 {
        self.age.into()
    }

    pub(crate) fn ttl(self) -> i64 {
        self.ttl.into()
    }
}

/// A header map that was renewed within so many seconds is in use.
pub(super) const IN_USE: u64 = 2;

impl Prepared {
    /// Returns the header map for this moment, or else that of an earlier one.
    pub(crate) fn get(&self, stamp: ReplayStamp) -> Kept {
        // Whoever holds the lock is about to replace what is there. Nothing waits for that.
        match self.state.try_read().as_deref() {
            Ok(Preparation::Ready(ready)) if ready.stamp == stamp => {
                Kept::Right(ready.headers.clone())
            }
            Ok(Preparation::Ready(ready)) if ready.stamp.list == stamp.list => {
                Kept::Earlier(ready.headers.clone())
            }
            _ => Kept::Nothing,
        }
    }

    /// Returns whether this is the second replay for this moment.
    pub(super) fn is_again(&self, stamp: ReplayStamp) -> bool {
        let Ok(mut state) = self.state.try_write() else {
            return false;
        };
        match &mut *state {
            Preparation::Once(latest) if *latest == stamp => true,
            Preparation::Refused(latest) if *latest == stamp => false,
            Preparation::Ready(ready) if ready.stamp.list == stamp.list => {
                let again = ready.latest == stamp;
                ready.latest = stamp;
                again
            }
            other => {
                *other = Preparation::Once(stamp);
                false
            }
        }
    }

    pub(super) fn refuse(&self, stamp: ReplayStamp) {
        if let Ok(mut state) = self.state.try_write() {
            *state = Preparation::Refused(stamp);
        }
    }

    /// Returns whether the header map was renewed lately, as it is while there are hits, for a response
    /// that is of this age.
    pub(super) fn is_in_use(&self, age: Duration) -> bool {
        match self.state.try_read().as_deref() {
            Ok(Preparation::Ready(ready)) => age.as_secs() <= ready.stamp.age() + IN_USE,
            Ok(_) => false,
            // Somebody is at it.
            Err(_) => true,
        }
    }

    pub(super) fn keep(&self, stamp: ReplayStamp, headers: HeaderMap) {
        if let Ok(mut state) = self.state.try_write() {
            *state = Preparation::Ready(Box::new(Ready {
                headers,
                stamp,
                latest: stamp,
            }));
        }
    }

    /// Returns whether the response is in a list of those that may keep one.
    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    /// Notes that the response is in a list.
    pub(super) fn enlist(&self) {
        self.listed.store(true, Ordering::Relaxed);
    }

    /// Drops the header map of a response that has left the list.
    pub(super) fn clear(&self) {
        let mut state = match self.state.write() {
            Ok(state) => state,
            // Nothing under the lock leaves a state half made.
            Err(poisoned) => poisoned.into_inner(),
        };
        *state = Preparation::Empty;
        // Relaxed: who misses it keeps no map this time.
        self.listed.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Ready {
    /// Shows nothing of the response: its fields may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready(..)")
    }
}
