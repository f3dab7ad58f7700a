//! The binary form in which stored responses travel.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | a mark that tells the form from everything else |
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
//! Numbers are little-endian; lengths before text have seven bits a byte, the lowest first. The headers,
//! the path, the query and the body stand at the end, laid out as they are in memory: they are written
//! once, and read without being copied.
//!
//! Nothing that is read is trusted: anybody may have written to that server, and a newer or older
//! release of this crate shares it during every deployment. A value of another version or under
//! another key is not used, and the whole structure is checked before anything is made of it. A value
//! of another namespace is under another epoch, which the caller compares.

mod form;
mod keep_for;
mod read;
#[cfg(any(fuzzing, test))]
mod resealed;
mod stamp;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use form::Unfit;
pub(crate) use keep_for::keep_for;
pub(crate) use read::{DecodedEntry, decode};
#[cfg(any(fuzzing, test))]
pub(crate) use resealed::{key_of, resealed};
pub(crate) use stamp::EntryStamp;
pub(crate) use write::encode;
