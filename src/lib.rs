//! A Tower layer that caches HTTP responses inside Rust services.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod clock;
mod directive;
mod entry;
mod error;
mod exchange;
mod flight;
mod future;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod invalidate;
mod key;
mod layer;
mod policy;
mod semantics;
mod service;
mod status;
mod store;
mod telemetry;
#[cfg(any(feature = "testing", test))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use body::CacheBody;
pub use clock::Clock;
pub use directive::{CacheDirective, Invalidate, OriginUnreachable};
pub use entry::{StoredResponse, Variants};
pub use error::{Error, ErrorKind};
pub use future::ResponseFuture;
pub use invalidate::{Evict, Invalidation, Log, Pattern, Position};
pub use key::{Key, KeyRef};
pub use layer::{CacheHandle, CacheLayer, CacheLayerBuilder};
pub use policy::{Policy, Routes};
pub use service::Cache;
pub use store::{Answer, MemoryStore, MemoryStoreBuilder, NoStore, Store, Stored, Usage};
pub use telemetry::CacheStats;
