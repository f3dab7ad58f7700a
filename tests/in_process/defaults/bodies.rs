//! Bodies: how long they may be, those that are abandoned, and their entity tags.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;
use tower_response_cache::{ErrorKind, MemoryStore, Policy};

use super::{builder, is_stored};
use crate::support::{
    self, Bench, MINUTE, Origin, TestBody, chunk, request, respond, respond_with, scripted, settle,
};

/// An origin that answers with a body of this many bytes, its length announced or not.
fn sized(length: usize, announced: bool) -> Origin {
    Origin::new(move |_, _| async move {
        let body = vec![b'x'; length];
        if announced {
            return respond(200, &[], body);
        }
        let (send, unknown) = scripted();
        for part in body.chunks(1 << 16) {
            send.send(chunk(part.to_vec())).unwrap();
        }
        respond_with(200, &[], unknown)
    })
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_stored_and_a_byte_more_is_not() {
    const MEBIBYTE: usize = 1 << 20;
    for announced in [true, false] {
        for (policy, length, expected) in [
            (Policy::ttl(MINUTE), MEBIBYTE, true),
            (Policy::ttl(MINUTE), MEBIBYTE + 1, false),
            (Policy::ttl(MINUTE).max_body(10), 10, true),
            (Policy::ttl(MINUTE).max_body(10), 11, false),
            (
                Policy::ttl(MINUTE).max_body(2 * MEBIBYTE),
                2 * MEBIBYTE,
                true,
            ),
            (Policy::ttl(MINUTE).max_body(0), 0, true),
        ] {
            let bench = Bench::new(policy, sized(length, announced));
            for expected in ["MISS", if expected { "HIT" } else { "MISS" }] {
                let answer = bench.get("/").await;
                assert_eq!(answer.body.len(), length);
                assert_eq!(answer.x_cache(), expected, "{length} {announced}");
                assert_eq!(answer.error, None);
            }
        }
    }
}

#[tokio::test]
async fn a_body_takes_an_eighth_of_the_store_at_most() {
    for (length, expected) in [(7_000, true), (8_193, false)] {
        for announced in [true, false] {
            let store = MemoryStore::new(64 << 10);
            let bench = Bench::with_builder(
                builder(Policy::ttl(MINUTE)).store(store),
                sized(length, announced),
            );
            assert_eq!(is_stored(&bench).await, expected, "{length} {announced}");
        }
    }
}

#[tokio::test]
async fn fills_over_the_budget_are_passed_on_and_not_stored() {
    for (budget, expected) in [(100, true), (9, false)] {
        let bench = Bench::with_builder(
            builder(Policy::ttl(MINUTE)).fill_budget(budget),
            sized(10, true),
        );
        assert_eq!(bench.get("/").await.body.len(), 10);
        assert_eq!(is_stored(&bench).await, expected, "{budget}");
    }
}

#[tokio::test]
async fn an_abandoned_body_is_read_to_its_end_unless_the_policy_says_otherwise() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), "HIT"),
        (Policy::ttl(MINUTE).stop_when_abandoned(), "MISS"),
    ] {
        let (send, body) = scripted();
        let body: Arc<std::sync::Mutex<Option<TestBody>>> =
            Arc::new(std::sync::Mutex::new(Some(body)));
        let origin = Origin::new(move |_, _| {
            let body = body.lock().unwrap().take();
            async move { respond_with(200, &[], body.unwrap_or_else(|| support::whole("again"))) }
        });
        let bench = Bench::new(policy, origin);
        drop(bench.send(request("GET", "/", &[])).await);
        settle().await;
        let _ = send.send(chunk("whole"));
        drop(send);
        settle().await;
        assert_eq!(bench.get("/").await.x_cache(), expected);
    }
}

#[tokio::test]
async fn an_abandoned_call_is_finished_unless_the_policy_says_otherwise() {
    for (policy, expected) in [
        (Policy::ttl(MINUTE), "HIT"),
        (Policy::ttl(MINUTE).stop_when_abandoned(), "MISS"),
    ] {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        let origin = Origin::new(move |_, _| {
            let gate = held.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                respond(200, &[], "x")
            }
        });
        let bench = Arc::new(Bench::new(policy, origin));
        let client = bench.clone();
        let client = tokio::spawn(async move { client.get("/").await });
        settle().await;
        client.abort();
        settle().await;
        gate.add_permits(10);
        settle().await;
        assert_eq!(bench.get("/").await.x_cache(), expected);
    }
}

#[tokio::test]
async fn a_stored_response_gets_an_entity_tag_only_where_the_policy_says_so() {
    let bench = Bench::new(Policy::ttl(MINUTE), Origin::counting());
    bench.get("/").await;
    assert_eq!(bench.get("/").await.field("etag"), "(absent)");

    let bench = Bench::new(Policy::ttl(MINUTE).generate_etag(), Origin::counting());
    bench.get("/").await;
    let hit = bench.get("/").await;
    let tag = hit.field("etag");
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    let has = bench.get_with("/", &[("if-none-match", tag)]).await;
    assert_eq!(has.status, StatusCode::NOT_MODIFIED);
    // Another body, another tag; the handler's own tag stays.
    bench.ask(request("PUT", "/", &[])).await;
    bench.get("/").await;
    assert_ne!(bench.get("/").await.field("etag"), tag);
    let own = Origin::with_fields(&[("etag", "\"own\"")]);
    let bench = Bench::new(Policy::ttl(MINUTE).generate_etag(), own);
    bench.get("/").await;
    assert_eq!(bench.get("/").await.field("etag"), "\"own\"");
}

#[tokio::test]
async fn what_is_too_large_an_entry_for_the_store_is_not_called_stored() {
    const MIB: usize = 1 << 20;
    let largest = 7 * MIB;
    // Around the edge: whatever is called stored is there.
    for (length, stored) in [
        (10 * MIB, Some(false)),
        (largest, Some(false)),
        (largest - 100, None),
        (largest - 400, None),
        (largest - 700, None),
        (largest - 2000, Some(true)),
        (6 * MIB, Some(true)),
    ] {
        for announced in [true, false] {
            let bench = Bench::with_builder(
                builder(Policy::ttl(MINUTE).max_body(16 * MIB)).store(MemoryStore::new(256 * MIB)),
                sized(length, announced),
            );
            let first = bench.get("/").await;
            let called = first.field("cache-status").contains("; stored");
            let hit = bench.get("/").await.x_cache() == "HIT";
            if announced {
                assert_eq!(called, hit, "{length}");
            }
            assert!(stored.is_none_or(|stored| stored == hit), "{length}");
        }
    }
}

#[tokio::test]
async fn a_store_too_small_for_any_response_is_refused() {
    for bytes in [1, 1000, (8 << 10) - 1] {
        let builder = builder(Policy::ttl(MINUTE)).store(MemoryStore::new(bytes));
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("8192"), "{error}");
    }
    let bench = Bench::with_builder(
        builder(Policy::ttl(MINUTE)).store(MemoryStore::new(8 << 10)),
        Origin::counting(),
    );
    assert!(is_stored(&bench).await, "the least holds a small one");
}
