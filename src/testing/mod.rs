//! Utilities for testing services that use this crate, and stores made for it.
//!
//! - [`ManualClock`]: a clock that the test advances.
//! - [`ScriptedOrigin`] and [`Barrier`]: an inner service that counts its calls, and holds its
//!   responses back until the test releases them.
//! - [`assert_outcome`] and [`XCache`]: assertions on whether a response came from the cache.
//! - [`check()`], [`Plan`] and [`Report`]: a check that a service's own eviction rules and keys are
//!   complete.
//! - [`store_contract`]: a test suite for implementations of [`Store`](crate::Store).
//!
//! # Checking a router
//!
//! The cache keeps its guarantees, but it cannot know whether its rules are the right ones.
//! [`check()`] finds out: it sends the reads and writes of a [`Plan`], compares the responses of the
//! cache with those of the handlers, and reports where they differ.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use http::Request;
//! use tower_response_cache::testing::{Plan, check};
//! use tower_response_cache::{CacheLayer, Evict, Policy, Routes};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A name that is shown in two places and changed in one.
//! fn app(rule: Evict) -> Result<(Router, Plan), tower_response_cache::Error> {
//!     let minute = || Policy::ttl(Duration::from_secs(60));
//!     let cache = CacheLayer::builder()
//!         .routes(Routes::new()
//!             .route("/users", minute())
//!             .route("/users/{id}", minute())
//!             .on_write("/users/{id}", rule))
//!         .build()?;
//!     let plan = Plan::new(cache.handle())
//!         .read("/users")
//!         .read("/users/1")
//!         .write(Request::put("/users/1"), "Ada")
//!         .write(Request::put("/users/1"), "Grace");
//!     let name = Arc::new(Mutex::new(String::from("nobody")));
//!     let (all, one, new) = (name.clone(), name.clone(), name);
//!     let router = Router::new()
//!         .route("/users", get(move || async move { all.lock().unwrap().clone() }))
//!         .route(
//!             "/users/{id}",
//!             get(move || async move { one.lock().unwrap().clone() })
//!                 .put(move |body: String| async move { *new.lock().unwrap() = body }),
//!         )
//!         .layer(cache);
//!     Ok((router, plan))
//! }
//!
//! let (router, plan) = app(Evict::nothing())?;
//! let report = check(router, plan).await;
//! assert_eq!(report.to_string(), "GET /users was stale after PUT /users/1\n");
//!
//! let (router, plan) = app(Evict::pattern("/users"))?;
//! check(router, plan).await.assert_clean();
//! # Ok(())
//! # }
//! ```

mod check;
mod origin;
mod outcome;
mod plan;
mod probe;
mod report;
pub mod store_contract;

pub use crate::clock::ManualClock;
pub use check::check;
pub use origin::{Barrier, ScriptedOrigin};
pub use outcome::{XCache, assert_outcome};
pub use plan::Plan;
pub use report::{Fault, Note, Report};
