//! The binary form in which stored responses travel.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | what tells the form from everything else |
//! | 1 | the version of the form |
//! | 1 | the kind of value |
//! | 16 | the epoch of the log of invalidations |
//! | 8 | the position in that log, from before the handler was called |
//! | 8 | when the age was zero, in milliseconds of the clock that the nodes share |
//! | 8 | the length of all this |
//! | | the key, behind its length |
//! | | a response, a list of variants, or a handler's own value: see the module `write` |
//! | 4 | CRC-32 of all before |
//!
//! Numbers are little-endian; lengths before text have seven bits a byte, the lowest first. The
//! header section, the path, the query and the body stand at the end, laid out as they are in memory:
//! they are written once, and read without being copied.
//!
//! Nothing that is read is trusted: anybody may have written to that server, and a newer or older
//! release of this crate shares it during every deployment. A value of another version or under
//! another key is not used, and where all of that is right the whole structure is checked before
//! anything is made of it. What belongs to another namespace is under another epoch, which the
//! caller compares.

use std::time::Duration;

use crate::entry::StoredResponse;
use crate::store::Stored;

mod read;
#[cfg(any(fuzzing, test))]
mod resealed;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::{DecodedEntry, decode};
#[cfg(any(fuzzing, test))]
pub(crate) use resealed::{key_of, resealed};
pub(crate) use write::encode;

/// The first byte begins no text.
const MAGIC: [u8; 4] = *b"\xf2trc";

/// A node reads no other version, nor does one of another version read this.
const VERSION: u8 = 1;

/// How many bytes there are before the key.
const FIXED: usize = 46;

/// How many bytes the checksum takes.
const SUM: usize = 4;

/// The kinds of values.
const RESPONSE: u8 = 1;
const VARIANTS: u8 = 2;
const VALUE: u8 = 3;

/// What a value was made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryStamp {
    /// The epoch of the log of invalidations.
    pub(crate) epoch: [u8; 16],
    /// The position in that log that was known before the handler was called.
    pub(crate) position: u64,
    /// When the age was zero, in milliseconds of the clock that the nodes share.
    pub(crate) made: i64,
}

/// Why bytes cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unfit {
    /// Something that this crate has not written.
    NotOurs,
    /// Written by a release with another form.
    Version,
    /// Damaged: not the length or the bytes that were written.
    Checksum,
    /// The value of another key, whose name has the same digest.
    Key,
    /// Undamaged, yet nothing that this release would write.
    Malformed,
}

impl EntryStamp {
    /// Makes the stamp of a value that has this age when the shared clock shows `now_ms`.
    ///
    /// The age is rounded up, so that no response gets younger by travelling.
    pub(crate) fn new(epoch: [u8; 16], position: u64, age: Duration, now_ms: i64) -> Self {
        let age = age.as_nanos().div_ceil(1_000_000);
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        Self {
            epoch,
            position,
            made: now_ms.saturating_sub(age),
        }
    }

    /// Returns the age when the shared clock shows `now_ms`; none for what is yet to be made.
    pub(crate) fn age(&self, now_ms: i64) -> Duration {
        let age = now_ms.saturating_sub(self.made);
        Duration::from_millis(u64::try_from(age).unwrap_or_default())
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Returns for how long a value of this age is of use to anybody, and so how long it is kept.
///
/// A response can be served until it is stale beyond both of its windows. With a validator it is
/// worth keeping for longer, for a validation with the origin then costs no body: for as long again
/// as its lifetime, but at least a minute, for the lifetime may be zero, and at most an hour, for
/// what nobody has asked for in that time makes room for others. At most 30 days in all: no store is
/// relied on to forget what was invalidated long ago. At least a second, because Redis takes no less
/// than a millisecond.
///
/// A list of variants has no age. It is kept for a day after the last variant was added; without it
/// the variants are not found, and are stored anew.
pub(crate) fn keep_for(stored: &Stored, age: Duration) -> Duration {
    match stored {
        Stored::Response(response) => {
            let left = usable(response).saturating_sub(age);
            let kept = left.saturating_add(grace(response));
            kept.clamp(Duration::from_secs(1), 30 * DAY)
        }
        Stored::Value(value) => {
            let left = value.lifetime().saturating_sub(age);
            left.clamp(Duration::from_secs(1), 30 * DAY)
        }
        Stored::Variants(_) => DAY,
    }
}

fn usable(response: &StoredResponse) -> Duration {
    let windows = [response.stale_while_revalidate(), response.stale_if_error()];
    let longest = windows.into_iter().max().unwrap_or_default();
    response.lifetime().saturating_add(longest)
}

fn grace(response: &StoredResponse) -> Duration {
    let head = response.head();
    match head.etag().or(head.last_modified()) {
        Some(_) => response.lifetime().clamp(MINUTE, HOUR),
        None => Duration::ZERO,
    }
}
