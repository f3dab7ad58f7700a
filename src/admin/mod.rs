//! A router for those who run the cache: what it does, what it holds, why, and how to make it forget.
//!
//! [`Admin`] is made of a [`CacheHandle`] and of an [`Access`] that says who may come in; there is no
//! way to leave that out. Serve it under a listener of its own:
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
//! // … and the application itself, layered with `cache`, under another.
//! # Ok(())
//! # }
//! ```
//!
//! A browser then shows the inspector at `http://127.0.0.1:9901/`, and for everything else there is
//! `curl -H "Authorization: Bearer $ADMIN_TOKEN"`.
//!
//! # What it answers
//!
//! Every answer is JSON unless said otherwise; an error is `{"error": "…"}`, and says what to change.
//! Where it stands `POST`, parameters come in the query, as a form, or as a JSON object, as you like.
//!
//! | request | answers |
//! |---|---|
//! | `GET /` | the inspector: a page for a browser |
//! | `GET /health` | whether the cache works: `ok` or `degraded`, with 200 in either case, for no request fails because of a cache that does not work |
//! | `GET /stats` | what the cache has done and what it holds |
//! | `GET /metrics` | the same for Prometheus, as text |
//! | `GET /entries` | stored responses. Narrowed by `path` (a part of it), `pattern`, `tag`, `status`, `state` (`fresh`, `stale`, `invalidated`); ordered by `order` (`path`, `newest`, `oldest`, `largest`, `expiring`); 50 of them, or `limit` up to 200, after the first `offset`, up to 10,000 |
//! | `GET /explain?url=…` | what would happen to a request, and why. With `header=Name:value` as often as needed, `method`, and `version=2` for how a request comes over HTTP/2 |
//! | `POST /purge` | invalidates one of `url`, `pattern`, `tag` or `all`; only marks it as stale with `soft=true`; only tells what would be hit with `dry_run=true` |
//! | `POST /bypass` | switches the cache off with `on=true`, on again with `on=false` |
//!
//! # What protects it
//!
//! - Nothing but the page is answered without access. The page holds no data: it asks for the token,
//!   keeps it for as long as the browser's tab is open, and sends it as any client does. It can be
//!   loaded without a token because a browser that is given an address has no way to send one.
//! - There are no CORS fields, and what a browser sends on behalf of another site is refused, so that
//!   a page somewhere else can neither read nor purge, not even where access goes by address.
//! - Answers are `Cache-Control: no-store`, and carry a [`CacheDirective`] that says the same to a
//!   cache of this crate. Even so, a router that is cached is the wrong place to nest this one: what
//!   has to be asked when the cache is in doubt should not be behind it.
//! - Request bodies are bounded, and so is how much of the store is looked at at the same time.
//!
//! There is no encryption: over a network, put TLS in front.
//!
//! # Cost
//!
//! Making the router begins to [measure durations](CacheHandle::measure_latency), which costs every
//! request another reading of the clock, and to [watch for hot keys](CacheHandle::watch_hot_keys),
//! for which one request in 16 is looked at. All else costs nothing while nobody asks. `/entries` and a
//! dry run look at every stored response: on threads for blocking work, two of them at a time at the
//! most, while requests go on.

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

/// How many hot keys are reported.
const HOT_KEYS: usize = 20;

impl Admin {
    /// Returns the administration of a cache, for those who have access.
    pub fn new(handle: CacheHandle, access: Access) -> Self {
        Self { handle, access }
    }

    /// Returns the router, and begins to [measure durations](CacheHandle::measure_latency) and to
    /// [watch for hot keys](CacheHandle::watch_hot_keys) for it.
    ///
    /// Serve it by itself, or nest it with
    /// [`Router::nest_service`](axum::Router::nest_service) outside of what is cached.
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
            // Behind the layer, and so without it.
            .route("/", get(page::page).fallback(answer::other_method))
            .layer(axum::middleware::map_response(guard::mark))
            .with_state(state)
    }
}
