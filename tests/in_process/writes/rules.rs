//! Rules that add up, and hold for every spelling.

use tower_response_cache::{Evict, Routes};

use super::{Writes, policy, put};
use crate::support::{seconds, settle};

#[tokio::test]
async fn rules_for_one_template_add_up_in_every_respect() {
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/items/{id}", Evict::pattern("/items"))
        .on_write(
            "/items/{id}",
            Evict::pattern("/lists/{id}").even_if_failed(),
        )
        .on_write("/items/{id}", Evict::pattern("/counts").soft())
        .on_write("/items/{id}", Evict::nothing().two_phase())
        .on_write("/items/{id}", Evict::nothing().hold_after(seconds(5)));
    let writes = Writes::with_routes(routes);
    writes.answers(500);
    let uris = ["/items", "/lists/1", "/lists/2", "/counts", "/items/1"];
    for uri in uris {
        writes.bench.get(uri).await;
    }
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    let meanwhile = ["MISS", "MISS", "HIT", "MISS", "MISS"];
    for (uri, expected) in uris.into_iter().zip(meanwhile) {
        assert_eq!(writes.x_cache(uri).await, expected, "{uri}");
    }
    writes.gate.open();
    write.await.unwrap();
    let after = ["MISS", "MISS", "HIT", "STALE", "MISS"];
    for (uri, expected) in uris.into_iter().zip(after) {
        assert_eq!(writes.x_cache(uri).await, expected, "{uri}");
        settle().await;
        assert_eq!(writes.x_cache(uri).await, expected, "{uri} is held");
    }
}

#[tokio::test]
async fn other_spellings_of_what_is_written_are_under_the_same_rules() {
    for spelling in [
        "/items/%31",
        "/%69tems/1",
        "/items/./1",
        "/x/../items/1",
        "/items/%31?a=b",
    ] {
        let writes = Writes::new(
            Evict::pattern("/items")
                .and_tag("item:{id}")
                .two_phase()
                .even_if_failed()
                .hold_after(seconds(5)),
        );
        writes.answers(500);
        writes.warm().await;
        let write = writes.bench.spawn(put(spelling));
        settle().await;
        for uri in ["/items", "/items/1"] {
            assert_eq!(writes.x_cache(uri).await, "MISS", "{spelling} {uri}");
        }
        writes.gate.open();
        write.await.unwrap();
        for uri in ["/items", "/items/1"] {
            for _ in 0..2 {
                assert_eq!(writes.x_cache(uri).await, "MISS", "{spelling} {uri}");
            }
        }
        assert_eq!(writes.x_cache("/items/2").await, "HIT", "{spelling}");
    }
}
