//! The main job: GETs are stored under their route's TTL, and `X-Cache` tells.

use tower_response_cache::{Evict, Policy, Routes};

use crate::support::{Bench, MINUTE, Origin, request};

#[tokio::test]
async fn a_get_is_a_miss_then_a_hit_then_a_miss_after_its_ttl() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    let first = bench.get("/a").await;
    assert_eq!((first.x_cache(), first.text()), ("MISS", "1"));
    let second = bench.get("/a").await;
    assert_eq!((second.x_cache(), second.text()), ("HIT", "1"));
    assert_eq!(second.field("age"), "0");
    bench
        .clock
        .advance(MINUTE - std::time::Duration::from_secs(1));
    let third = bench.get("/a").await;
    assert_eq!((third.x_cache(), third.field("age")), ("HIT", "59"));
    bench.clock.advance(std::time::Duration::from_secs(1));
    let fourth = bench.get("/a").await;
    assert_eq!((fourth.x_cache(), fourth.text()), ("MISS", "2"));
}

#[tokio::test]
async fn a_write_evicts_its_own_uri_and_what_its_route_names() {
    let routes = Routes::new()
        .route("/products", Policy::ttl(MINUTE))
        .route("/products/{id}", Policy::ttl(MINUTE))
        .on_write("/products/{id}", Evict::pattern("/products"));
    let bench = Bench::with_routes(routes, Origin::counting());
    for uri in ["/products", "/products/1", "/products/2"] {
        assert_eq!(bench.get(uri).await.x_cache(), "MISS", "{uri}");
        assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{uri}");
    }
    let written = bench.ask(request("PUT", "/products/1", &[])).await;
    assert_eq!(written.x_cache(), "BYPASS");
    assert_eq!(bench.get("/products").await.x_cache(), "MISS");
    assert_eq!(bench.get("/products/1").await.x_cache(), "MISS");
    assert_eq!(bench.get("/products/2").await.x_cache(), "HIT");
}
