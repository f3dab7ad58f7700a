//! A router for operators: it reports what the cache does and holds, explains why, and purges.
//!
//! [`Admin`] takes a [`CacheHandle`] and an [`Access`], which says who may use it and cannot be left
//! out. Serve it on a listener of its own:
//!
//! ```no_run
//! use tower_response_cache::CacheLayer;
//! use tower_response_cache::admin::{Access, Admin};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = CacheLayer::builder().build()?;
//! let token = std::env::var("ADMIN_TOKEN")?;
//! let admin = Admin::new(cache.handle(), Access::token(&token)?).router();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:9901").await?;
//! tokio::spawn(async move { axum::serve(listener, admin).await });
//! // … and the application itself, layered with `cache`, on another.
//! # Ok(())
//! # }
//! ```
//!
//! A browser then shows the inspector at `http://127.0.0.1:9901/`. For everything else use
//! `curl -H "Authorization: Bearer $ADMIN_TOKEN"`.
//!
//! # Requests
//!
//! Every response is JSON unless stated otherwise. An error is `{"error": "…"}`, and says what to
//! change. A `POST` takes its parameters from the query, a form, or a JSON object.
//!
//! | request | response |
//! |---|---|
//! | `GET /` | the inspector: a page for a browser |
//! | `GET /health` | the health of the cache: `ok` or `degraded`, with 200 in either case, because no request fails when the cache does not work |
//! | `GET /stats` | statistics: what the cache has done, and what it holds |
//! | `GET /metrics` | the metrics for Prometheus, as text |
//! | `GET /entries` | stored responses. Narrowed by `path` (a part of it), `pattern`, `tag`, `status`, `state` (`fresh`, `stale`, `invalidated`); ordered by `order` (`path`, `newest`, `oldest`, `largest`, `expiring`); 50 of them, or `limit` up to 200, after the first `offset`, up to 10,000 |
//! | `GET /explain?url=…` | what would happen to a request, and why. With `header=Name:value` as often as needed, `method`, and `version=2` for a request as it arrives over HTTP/2 |
//! | `POST /purge` | invalidates one of `url`, `pattern`, `tag` or `all`. With `soft=true` it only marks responses as stale; with `dry_run=true` it only reports what it would hit |
//! | `POST /bypass` | switches the cache off with `on=true`, and on again with `on=false` |
//!
//! # Protection
//!
//! - Only the page is served without access. The page holds no data: it asks for the token, keeps it
//!   while the browser's tab is open, and sends it as any client does. It loads without a token because
//!   a browser that opens an address cannot send one.
//! - There are no CORS fields, and requests that a browser sends on behalf of another site are refused,
//!   so a page elsewhere can neither read nor purge, even if access goes by address.
//! - Responses are `Cache-Control: no-store`, and carry a [`CacheDirective`] that says the same to a
//!   cache of this crate. Even so, do not nest this router in one that is cached: the tool you need
//!   when the cache is in doubt should not be behind that cache.
//! - The size of request bodies is bounded, and so is the number of simultaneous scans of the store.
//!
//! There is no encryption: over a network, put TLS in front.
//!
//! # Cost
//!
//! Building the router starts to [measure durations](CacheHandle::measure_latency), which costs every
//! request one more reading of the clock, and to [watch for hot keys](CacheHandle::watch_hot_keys),
//! for which one request in 16 is sampled. Everything else costs nothing until it is used. `/entries`
//! and a dry run examine every stored response, on threads for blocking work, at most two at a time,
//! while requests go on.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::layer::CacheHandle;

mod access;
mod answer;
mod entries;
mod explain;
mod fields;
mod guard;
mod page;
mod purge;
mod report;
mod state;

pub use access::Access;

use state::AdminState;

#[cfg(doc)]
use crate::CacheDirective;

/// A router that reports on a cache and invalidates; see the [module](self).
#[derive(Debug)]
#[must_use]
pub struct Admin {
    handle: CacheHandle,
    access: Access,
}

/// The number of hot keys reported.
const HOT_KEYS: usize = 20;

impl Admin {
    /// Makes an admin router for a cache, for requests that have access.
    pub fn new(handle: CacheHandle, access: Access) -> Self {
        Self { handle, access }
    }

    /// Returns the router, and starts to [measure durations](CacheHandle::measure_latency) and to
    /// [watch for hot keys](CacheHandle::watch_hot_keys) for it.
    ///
    /// Serve it by itself, or nest it with
    /// [`Router::nest_service`](axum::Router::nest_service) outside the cached routes.
    pub fn router(self) -> Router {
        self.handle.measure_latency(true);
        self.handle.watch_hot_keys(HOT_KEYS);
        let state = Arc::new(AdminState::new(self.handle, self.access));
        Router::new()
            .route("/health", get(report::health))
            .route("/stats", get(report::stats))
            .route("/metrics", get(report::metrics))
            .route("/entries", get(entries::list))
            .route("/explain", get(explain::explain))
            .route("/purge", post(purge::purge))
            .route("/bypass", post(purge::bypass))
            .fallback(answer::nothing_here)
            .method_not_allowed_fallback(answer::other_method)
            .layer(from_fn_with_state(state.clone(), guard::admit))
            // Added after the layer, which therefore does not apply to it.
            .route("/", get(page::page).fallback(answer::other_method))
            .layer(axum::middleware::map_response(guard::mark))
            .with_state(state)
    }
}
