//! The log of invalidations, whose positions make stored responses unusable, and its one predicate.
//!
//! Every invalidation (of a URI, a pattern, a tag, everything) takes the next position in a
//! [`Log`]. Every stored response, running fill and refresh carries the position that was known
//! *before* its handler was called. One predicate judges them all: has anything that matches been
//! recorded behind that position? Nothing else in this crate may decide that a response is too old.
//!
//! Two races show why the position is taken before the call and not when the response is stored.
//!
//! *The fill race.* A fill calls its handler, which reads version 1. A write makes version 2 and
//! invalidates: there is nothing stored yet to remove. Then the fill stores version 1, and it is
//! served for as long as it is fresh. Here the fill carries the position from before the call, the
//! write's invalidation lies behind it, and the response is refused when it is stored and wherever
//! it may have been stored.
//!
//! *The join race.* While that fill runs, the write is acknowledged; then a request comes and
//! joins the fill, as callers of one key do. It began after the write, and gets what is older. Here
//! a request joins a fill only if the fill's own position passes the predicate, and starts
//! another one otherwise.
//!
//! The predicate, term by term, for something made at `position`:
//!
//! - `position <= head`: it comes from this log's past;
//! - no write under way matches it (only with writes that announce themselves beforehand);
//! - `latest(all that matches) <= position`, where what the log has forgotten matches everything.
//!
//! Recording takes the same time however many responses match, and none has to be found. A store
//! reclaims their room later, when it pleases.

mod index;
mod intent;
mod invalidation;
mod keys;
mod log;
mod open;
mod order;
mod position;
mod shared;
mod sketch;
mod state;
mod table;
#[cfg(feature = "redis")]
mod writer;

pub use invalidation::Invalidation;
pub use log::Log;
pub(crate) use log::NotToStore;
pub use position::Position;

pub(crate) use intent::Intent;
pub(crate) use invalidation::{InvalidationKind, Selector};
pub(crate) use state::Verdict;
