//! A Tower layer that caches HTTP responses inside a Rust service. It is safe by default, never
//! serves anything older than an acknowledged write, and follows
//! [RFC 9111](https://www.rfc-editor.org/rfc/rfc9111) to the letter.
//!
//! It wraps any [`tower_service::Service`] over HTTP (an axum `Router` or `MethodRouter`, a hyper
//! service, a `ServiceBuilder` stack), stores the responses to GET under a TTL per route, and shows
//! what it did in `X-Cache` and `Cache-Status`. A successful POST, PUT, PATCH or DELETE evicts what
//! it made stale.
//!
//! ```no_run
//! use std::time::Duration;
//! use axum::{Router, extract::Path, routing::get};
//! use tower_response_cache::{CacheLayer, Evict, Policy, Routes};
//!
//! async fn list() -> &'static str { "all products" }
//! async fn show(Path(id): Path<u32>) -> String { format!("product {id}") }
//! async fn change(Path(id): Path<u32>) -> String { format!("changed {id}") }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let minute = || Policy::ttl(Duration::from_secs(60));
//!     let cache = CacheLayer::builder()
//!         .routes(Routes::new()
//!             .route("/products", minute())
//!             .route("/products/{id}", minute())
//!             .on_write("/products/{id}", Evict::pattern("/products")))
//!         .build()?;
//!     let app = Router::new()
//!         .route("/products", get(list))
//!         .route("/products/{id}", get(show).put(change))
//!         .layer(cache);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     Ok(axum::serve(listener, app).await?)
//! }
//! ```
//!
//! The first `GET /products/7` answers `X-Cache: MISS`, the second `HIT`; after `PUT /products/7`
//! both it and the list are a `MISS` again. `cargo run --release --example quickstart` shows it.
//!
//! # Where to look
//!
//! - [`CacheLayer`] and its [builder](CacheLayerBuilder): the whole cache.
//! - [`Routes`], [`Policy`] and [`Evict`]: what is cached, for how long and for whom, and what writes
//!   evict.
//! - [`CacheHandle`]: invalidates by hand, reports, explains, and switches the cache off.
//! - `admin` (feature `admin`): the same over HTTP, and an inspector page for the browser.
//! - [`metrics`]: everything counted, measured and traced, for OpenTelemetry, Prometheus and `tracing`.
//! - [`CacheDirective`] and [`Invalidate`]: instructions to the cache from handlers.
//! - [`Store`]: where responses live; [`MemoryStore`] by default.
//! - `Values` (feature `values`): a cache for values that handlers compute, evicted by the same
//!   writes.
//!
//! # Defaults
//!
//! | subject | default | because |
//! |---|---|---|
//! | methods | GET is stored; HEAD is answered from it and never stored; unsafe and unknown methods only invalidate | a HEAD stored as a GET is an empty page |
//! | statuses a route's TTL applies to | 200, 203, 204; others by [`Policy::ttl_for`] and [`Policy::negative_ttl`]; 5xx, and 4xx other than 404, 410 and 451, never unless named; 401, 412, 416, 429 and others that answer one request, never | one client's bad request must not become everyone's error page |
//! | the handler's `Cache-Control` | wins over the route's TTL; `no-store`, `private` and `no-cache` always win | the handler knows best |
//! | the request's `Cache-Control` | `no-store`: its response is not stored; `only-if-cached`: 504 when nothing is stored; the rest is ignored | a browser's reload must not switch a server's cache off |
//! | `Authorization`, `Cookie`, API keys, identities that a gateway has established ([some two hundred headers](CacheLayerBuilder::credential_header)) | bypass, unless the response says that it is for everyone, or the policy is [`shared_with_everyone`](Policy::shared_with_everyone) or [`partition_by`](Policy::partition_by) | one user's page must not be shown to another |
//! | `Set-Cookie` in the response | not stored | it is for one client |
//! | `Vary` | honoured; up to 32 variants per key; `*` is never stored; a response that allows one origin by name is kept apart by `Origin` all the same | |
//! | key | scheme (`http` where the request does not say it: see [`CacheLayerBuilder::scheme`]), authority, path and query as received, path and query as a layer in front has rewritten them (with the `axum` feature); headers from which handlers build links (`Forwarded`, `X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Host` and their kin) or that name a tenant (`X-Tenant-Id`, `X-Org-Id`, `X-Account-Id` and the like), see [`also_key`](CacheLayerBuilder::also_key) | handlers rarely name them in `Vary` |
//! | a GET with a body, with `X-HTTP-Method-Override` and the like, or with a `Host` that is not its target's | bypass | its response depends on more than its key |
//! | body | up to 1 MiB, and up to an eighth of the store; larger ones pass through and are not stored | |
//! | concurrent misses | share one handler call and read its body as it arrives (request coalescing, or single-flight) | a popular page that expires must not cause a cache stampede |
//! | fetches that no client waits for: refreshes, and those whose client has left | up to 256 at once; beyond that a refresh is left to a later request, and the call of a client that leaves is dropped | clients that leave must not pile up handler calls |
//! | the store fails | the request goes to the handler; nothing fails | |
//!
//! # Never older than an acknowledged write
//!
//! A request that starts after the response to a write was returned, or after
//! [`CacheHandle::invalidate`] returned, never gets a response whose handler call began before:
//! not from the store, not by sharing a call that was already under way, not from
//! stale-while-revalidate. Every invalidation takes a position in a [`Log`], every handler call for
//! a read remembers the position before it, and one predicate compares them. This covers writes
//! that pass through the layer; for others call [`CacheHandle::invalidate`].
//!
//! It also holds when the client hangs up in the middle of a write, when the handler panics, when a
//! timeout outside drops the request, and when a proxy loses the origin's answer
//! ([`OriginUnreachable`]): a write whose outcome nobody saw counts as one that happened.
//! The cache cannot see that a handler reads from a lagging replica: see [`Evict::hold_after`].
//!
//! # Order of layers
//!
//! See [`layer_order`].
//!
//! # Cost
//!
//! A hit from memory holds a lock only for the lookup, awaits nothing, and copies no body. A miss
//! that is stored holds a second copy of its body, up to the body limit, until the body is complete;
//! all such bodies together are bounded ([`CacheLayerBuilder::fill_budget`]). An invalidation costs
//! the same however much it hits.
//!
//! # Runtime
//!
//! Hits, and misses that nobody shares, run on any executor. Sharing a call uses tokio's timer for
//! its time limit. Background work (refreshes, abandoned fills, sweeps) is spawned on the tokio
//! runtime that polls the request, whose timer must be enabled.
//!
//! # Features
//!
//! | feature | default | adds | costs |
//! |---|---|---|---|
//! | `axum` | yes | keys and routes by the original URI under `Router::nest`, where axum strips the prefix | the `axum` crate without its own default features |
//! | `admin` | no | `admin`: a router that reports, lists, explains and purges, and an inspector page | the crates `axum`, `base64`, `form_urlencoded`, `serde_json` and `subtle`; nothing while nobody asks |
//! | `otel` | no | the [`metrics`] through OpenTelemetry | the `opentelemetry` API; nothing per hit until a reader is attached, then some 10 % |
//! | `redis` | no | `RedisStore` and `TieredStore`, see `running_redis` | `fred` and its dependencies, about 60 crates |
//! | `redis-tls` | no | `rediss://` URLs | `rustls` with `ring` |
//! | `values` | no | `CacheHandle::values`: handlers' own values beside the stored responses, as JSON, with shared tags and request coalescing; `CacheHandle::counters` | the `serde` and `serde_json` crates |
//! | `testing` | no | `testing`: a manual clock, the store contract, a check of your own router | nothing at run time |
//!
//! Without `axum`, a router that is nested under two prefixes must be wrapped outside the nesting:
//! from inside, the cache cannot distinguish the two.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Here and not in Cargo.toml: tests and examples may unwrap.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[doc = include_str!("docs/layer_order.md")]
pub mod layer_order {}

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc = include_str!("docs/redis.md")]
pub mod running_redis {}

#[doc = include_str!("docs/metrics.md")]
pub mod metrics {}

#[cfg(feature = "admin")]
#[cfg_attr(docsrs, doc(cfg(feature = "admin")))]
pub mod admin;
mod background;
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
mod hexadecimal;
mod inspect;
mod invalidate;
mod key;
mod layer;
#[cfg(loom_model)]
#[doc(hidden)]
pub mod models;
mod opaque;
mod pattern;
mod policy;
mod semantics;
mod service;
mod state;
mod status;
mod store;
mod sync;
mod target;
mod telemetry;
#[cfg(any(feature = "testing", test))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
#[cfg(feature = "values")]
mod values;

pub use body::CacheBody;
pub use clock::Clock;
pub use directive::{CacheDirective, Invalidate, OriginUnreachable};
pub use entry::{StoredResponse, StoredValue, Variants};
pub use error::{Error, ErrorKind};
pub use future::ResponseFuture;
pub use inspect::{
    EntryFilter, EntryInfo, EntryOrder, EntryPage, EntryState, Explanation, KeyInfo, WouldEvict,
};
pub use invalidate::{Invalidation, Log, Position};
pub use key::{Key, KeyRef};
pub use layer::{CacheHandle, CacheLayer, CacheLayerBuilder, Health, HealthStatus, WarmUp};
pub use pattern::Pattern;
pub use policy::{Evict, Policy, Routes};
pub use service::Cache;
pub use store::{
    CounterStore, FillLease, GrantedLease, MaybeReady, MemoryStore, MemoryStoreBuilder, NoStore,
    SharedLog, Store, StoreHealth, StoreState, Stored, Usage,
};
#[cfg(feature = "redis")]
pub use store::{NearCache, RedisStore, RedisStoreBuilder, TieredStore, TieredStoreBuilder};
#[cfg(feature = "values")]
pub use telemetry::ValueStats;
pub use telemetry::{CacheStats, HotKey, OutcomeStats, RouteStats};
#[cfg(feature = "values")]
pub use values::{Codec, Counters, Json, Values};
