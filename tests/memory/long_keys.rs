//! What is remembered of requests that are never stored does not grow with their length.

use tower_response_cache::{CacheLayer, MemoryStore, Policy, Routes};

use crate::alone;
use crate::bodies::in_use;
use crate::support::{Bench, MINUTE, Origin};

#[tokio::test]
async fn requests_with_long_queries_that_are_never_stored_leave_little_behind() {
    alone!(requests_with_long_queries_that_are_never_stored_leave_little_behind);
    let store = MemoryStore::new(1 << 20);
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    let builder = CacheLayer::builder().store(store).routes(routes);
    let fields = &[("cache-control", "no-store")];
    let origin = Origin::new(move |_, _| async move { crate::support::respond(200, fields, "x") });
    let bench = Bench::with_builder(builder, origin);
    let query = "x".repeat(60_000);
    bench.get("/").await;
    let before = in_use();
    for number in 0..4096 {
        bench.get(&format!("/?{number}{query}")).await;
    }
    let held = in_use().saturating_sub(before);
    assert!(held < 2 << 20, "{held} bytes");
}
