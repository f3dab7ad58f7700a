//! Stored responses in Redis, shared by several nodes.
//!
//! Two things are kept there. A *log of invalidations* for each namespace, in one key: every node
//! follows it, and no lookup is answered before the node knows everything that was recorded when the
//! lookup began. And the *entries*, each under a name made of its key's digest, with the log's
//! position at which its handler was called. The node judges whether an entry may be used, with the
//! same predicate as for the memory store. Redis itself never searches or compares anything, and an
//! invalidation is one round trip however many entries it hits.
//!
//! From the outside in:
//!
//! - `store` is the store and its settings;
//! - `follower` keeps this node's copy of the log in step: `batches` shares the questions, `breaker`
//!   says when not to ask, `lease` how old the answers are, `notifications` when there is news;
//! - `entries` looks up and stores, in the form of `wire`;
//! - `fill_claims` has one node make a fetch for all;
//! - `backend` is the seam to Redis, `names` the names of things there; `client` implements the seam
//!   with fred, whose clients `connect` configures and `reconnect` keeps alive.

mod backend;
mod batches;
mod breaker;
mod client;
mod clocks;
mod connect;
mod entries;
mod epoch_names;
mod fill_claims;
mod follower;
mod in_flight;
mod lease;
pub(crate) mod member;
mod names;
mod notifications;
mod reconnect;
mod replica;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(super) use clocks::ClockReading;
pub(super) use entries::Retention;
pub(super) use store::NearCacheNeeds;
pub use store::{RedisStore, RedisStoreBuilder};
