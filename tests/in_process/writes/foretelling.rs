//! What an invalidation would evict, and that foretelling disturbs nobody.

use std::collections::HashSet;

use futures_util::future::poll_immediate;
use http::StatusCode;
use tower_response_cache::{Invalidation, Pattern, Policy, Routes};

use crate::support::{Bench, Gate, MINUTE, Origin, request, respond, settle};

#[tokio::test]
async fn what_would_be_evicted_is_what_then_is_gone() {
    let uris = [
        "/items",
        "/items?page=2",
        "/items/1",
        "/items/1/parts",
        "/items/1/parts/2",
        "/items/12",
        "/Items/1",
        "/items/%2A",
        "/others",
        "/",
    ];
    let invalidations: Vec<Invalidation> = vec![
        Invalidation::uri("/items"),
        Invalidation::uri("/items?page=2"),
        Invalidation::uri("/items/1"),
        Invalidation::uri("/items/*"),
        Invalidation::uri("/nothing"),
        Pattern::parse("/items/*").unwrap().into(),
        Pattern::parse("/items/**").unwrap().into(),
        Pattern::parse("/items/1*").unwrap().into(),
        Pattern::parse("/**/parts").unwrap().into(),
        Pattern::parse("/**").unwrap().into(),
        Invalidation::tag("item:1"),
        Invalidation::tag("item:*"),
        Invalidation::tag("items"),
        Invalidation::everything(),
        Invalidation::tag("items").soft(),
    ];
    for what in invalidations {
        let routes = Routes::new()
            .route(
                "/items/{id}",
                Policy::ttl(MINUTE).tag("item:{id}").tag("items"),
            )
            .otherwise(Policy::ttl(MINUTE));
        let bench = Bench::with_routes(routes, Origin::counting());
        for uri in uris {
            bench.get(uri).await;
        }
        let would = bench.handle.would_evict(what.clone()).unwrap();
        assert_eq!(would.examined, uris.len() as u64, "{what:?}");
        assert_eq!(bench.handle.would_evict(what.clone()).unwrap(), would);
        for uri in uris {
            assert_eq!(bench.get(uri).await.x_cache(), "HIT", "{what:?} {uri}");
        }
        bench.handle.invalidate(what.clone()).await.unwrap();
        let mut gone = HashSet::new();
        for uri in uris {
            let told = bench.handle.explain(&request("GET", uri, &[])).await;
            if told.x_cache != "HIT" {
                gone.insert(uri);
            }
        }
        assert_eq!(would.matched, gone.len() as u64, "{what:?}: {gone:?}");
        let examples: HashSet<_> = would.examples.iter().map(String::as_str).collect();
        assert_eq!(examples, gone, "{what:?}");
    }
}

#[tokio::test]
async fn what_would_be_evicted_counts_variants_and_names_twenty_at_the_most() {
    let origin = Origin::with_fields(&[("vary", "accept-language")]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for language in ["en", "de", "fr"] {
        bench.get_with("/", &[("accept-language", language)]).await;
    }
    let would = bench.handle.would_evict(Invalidation::uri("/")).unwrap();
    assert_eq!(would.matched, 3);
    for page in 0..30 {
        bench.get(&format!("/pages/{page}")).await;
    }
    let would = bench
        .handle
        .would_evict(Invalidation::everything())
        .unwrap();
    assert_eq!((would.matched, would.examples.len()), (33, 20));
}

#[tokio::test]
async fn explaining_does_not_disturb_a_call_that_others_wait_for() {
    let gate = Gate::shut();
    let held = gate.clone();
    let origin = Origin::new(move |_, call| {
        let gate = held.clone();
        async move {
            gate.wait().await;
            respond(200, &[], call.to_string())
        }
    });
    let bench = Bench::new(plain_untagged(), origin);
    let leads = bench.spawn(request("GET", "/", &[]));
    settle().await;
    let asked = request("GET", "/", &[]);
    let told = poll_immediate(bench.handle.explain(&asked))
        .await
        .expect("it waits for nobody");
    assert_eq!(told.x_cache, "MISS");
    let joins = bench.spawn(request("GET", "/", &[]));
    settle().await;
    gate.open();
    assert_eq!(leads.await.unwrap().status, StatusCode::OK);
    assert_eq!(joins.await.unwrap().text(), "1");
}

fn plain_untagged() -> Policy {
    Policy::ttl(MINUTE)
}
