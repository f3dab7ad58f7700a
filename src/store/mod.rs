//! Where stored responses and values live: the [`Store`] trait and its homes.

mod contract;
mod counter_store;
mod fill_lease;
mod health;
mod maybe_ready;
mod memory;
mod noop;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod shared_log;
mod stored;
#[cfg(feature = "redis")]
mod tiered;
mod usage;

pub use contract::Store;
pub use counter_store::CounterStore;
pub use fill_lease::{FillLease, GrantedLease};
pub use health::{StoreHealth, StoreState};
pub use maybe_ready::MaybeReady;
pub use memory::{MemoryStore, MemoryStoreBuilder};
pub use noop::NoStore;
#[cfg(feature = "redis")]
pub use redis::{RedisStore, RedisStoreBuilder};
pub use shared_log::SharedLog;
pub use stored::Stored;
#[cfg(feature = "redis")]
pub use tiered::{NearCache, TieredStore, TieredStoreBuilder};
pub use usage::Usage;
