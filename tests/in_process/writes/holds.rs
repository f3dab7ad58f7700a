//! For how long after a write nothing that it names is stored.

use std::time::Duration;

use tower_response_cache::{Evict, Routes};

use super::{Writes, policy, put};
use crate::support::{Bench, Gate, Origin, request, respond, seconds, settle};

#[tokio::test]
async fn after_a_write_with_a_hold_fills_are_passed_on_and_not_stored() {
    let writes = Writes::new(Evict::pattern("/items").hold_after(seconds(5)));
    writes.gate.open();
    writes.warm().await;
    writes.bench.ask(put("/items/1")).await;
    for elapsed in 0..5 {
        let stored = writes.bench.handle.stats().stored;
        for uri in ["/items", "/items/1"] {
            assert_eq!(writes.x_cache(uri).await, "MISS", "{uri} after {elapsed} s");
        }
        assert_eq!(writes.bench.handle.stats().stored, stored);
        // What the write does not concern is stored as ever.
        assert_eq!(writes.x_cache("/others").await, "HIT");
        writes.bench.get("/items/2?new").await;
        assert_eq!(writes.x_cache("/items/2?new").await, "HIT");
        writes.bench.clock.advance(seconds(1));
    }
    for uri in ["/items", "/items/1"] {
        assert_eq!(writes.x_cache(uri).await, "MISS", "{uri}");
        assert_eq!(writes.x_cache(uri).await, "HIT", "{uri}");
    }
}

#[tokio::test]
async fn the_longest_hold_is_one() {
    let writes = Writes::new(Evict::pattern("/items").hold_after(std::time::Duration::MAX));
    writes.gate.open();
    writes.bench.ask(put("/items/1")).await;
    for _ in 0..3 {
        assert_eq!(writes.x_cache("/items").await, "MISS");
        writes.bench.clock.advance(seconds(365 * 24 * 60 * 60));
    }
}

#[tokio::test]
async fn a_fill_that_began_in_the_hold_and_ends_after_it_is_not_stored() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |request, call| {
        let gate = held.clone();
        async move {
            if request.method() == "GET" {
                gate.wait().await;
            }
            respond(200, &[], call.to_string())
        }
    });
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/{id}", Evict::pattern("/list").hold_after(seconds(5)));
    let bench = Bench::with_routes(routes, origin);
    bench.ask(put("/1")).await;
    bench.clock.advance(seconds(4));
    let lagging = bench.spawn(request("GET", "/list", &[]));
    settle().await;
    bench.clock.advance(seconds(10));
    gate.open();
    assert_eq!(lagging.await.unwrap().text(), "2");
    assert_eq!(bench.get("/list").await.text(), "3");
    assert_eq!(bench.get("/list").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_refresh_and_a_dropped_write_respect_the_hold() {
    // A soft eviction leaves a stale response, whose refresh in the hold may see a lagging replica.
    let writes = Writes::new(Evict::pattern("/items").soft().hold_after(seconds(5)));
    writes.warm().await;
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    write.abort();
    settle().await;
    for _ in 0..2 {
        assert_eq!(writes.x_cache("/items").await, "STALE");
        settle().await;
    }
    writes.bench.clock.advance(seconds(5));
    assert_eq!(writes.x_cache("/items").await, "STALE");
    settle().await;
    assert_eq!(writes.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn a_hold_is_not_shortened_by_another_write() {
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/long", Evict::pattern("/list").hold_after(seconds(10)))
        .on_write("/short", Evict::pattern("/list").hold_after(seconds(1)))
        .on_write(
            "/forever",
            Evict::pattern("/held").hold_after(Duration::MAX),
        );
    let bench = Bench::with_routes(routes, Origin::counting());
    bench.ask(put("/long")).await;
    bench.ask(put("/short")).await;
    bench.clock.advance(seconds(9));
    bench.get("/list").await;
    assert_eq!(bench.get("/list").await.x_cache(), "MISS");
    bench.clock.advance(seconds(1));
    bench.get("/list").await;
    assert_eq!(bench.get("/list").await.x_cache(), "HIT");
}
