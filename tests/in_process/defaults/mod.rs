//! Each row of the table of defaults, and each option of `Policy` and `CacheLayerBuilder`, shown to
//! do what it says. What takes more than a few lines to show has tests of its own: `keys`,
//! `credentials`, `freshness`, `vary` and `status`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bodies;
mod calls;
mod directives;
mod methods_and_statuses;
mod routes;
mod safeguards;
mod stores;

use tower_response_cache::{CacheLayer, CacheLayerBuilder, Policy, Routes};

use crate::support::{Bench, settle};

fn builder(policy: Policy) -> CacheLayerBuilder {
    CacheLayer::builder().routes(Routes::new().otherwise(policy))
}

/// Whether a second request is answered from the store.
async fn is_stored(bench: &Bench) -> bool {
    bench.get("/").await;
    settle().await;
    bench.get("/").await.x_cache() == "HIT"
}
