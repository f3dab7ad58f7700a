//! Writes that fail, and rules that take effect in two phases.

use tower_response_cache::{Evict, Routes};

use super::{Writes, policy, put};
use crate::support::{self, Bench, Origin, request, respond, scripted, settle};

#[tokio::test]
async fn a_failed_write_evicts_only_where_its_rule_says_so() {
    for status in [400, 404, 409, 500, 503] {
        for (evict, expected) in [
            (Evict::pattern("/items"), "HIT"),
            (Evict::pattern("/items").even_if_failed(), "MISS"),
        ] {
            let writes = Writes::new(evict);
            writes.gate.open();
            writes.answers(status);
            writes.warm().await;
            let answer = writes.bench.ask(put("/items/1")).await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(writes.x_cache("/items").await, expected, "{status}");
            assert_eq!(writes.x_cache("/items/1").await, expected, "{status}");
            assert_eq!(writes.x_cache("/others").await, "HIT", "{status}");
        }
    }
}

#[tokio::test]
async fn while_a_write_runs_its_rules_take_effect_only_in_two_phases() {
    for (evict, meanwhile) in [
        (Evict::pattern("/items"), "HIT"),
        (Evict::pattern("/items").two_phase(), "MISS"),
        // Soft as they are: what is about to be written is not served at all.
        (Evict::pattern("/items").soft().two_phase(), "MISS"),
    ] {
        let writes = Writes::new(evict);
        writes.warm().await;
        let write = writes.bench.spawn(put("/items/1"));
        settle().await;
        for _ in 0..2 {
            assert_eq!(writes.x_cache("/items").await, meanwhile);
            assert_eq!(writes.x_cache("/items/1").await, meanwhile);
        }
        assert_eq!(writes.x_cache("/items/2").await, "HIT");
        writes.gate.open();
        write.await.unwrap();
        assert_eq!(writes.x_cache("/items/1").await, "MISS");
        assert_eq!(writes.x_cache("/items/1").await, "HIT");
    }
}

#[tokio::test]
async fn a_failed_write_in_two_phases_gives_back_what_was_stored() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    let before = writes.bench.get("/items").await;
    writes.answers(409);
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    assert!(
        writes
            .bench
            .handle
            .explain(&request("GET", "/items", &[]))
            .await
            .x_cache
            == "MISS"
    );
    writes.gate.open();
    write.await.unwrap();
    let after = writes.bench.get("/items").await;
    assert_eq!((after.text(), after.x_cache()), (before.text(), "HIT"));
    assert_eq!(writes.x_cache("/items/1").await, "HIT");
}

#[tokio::test]
async fn what_is_read_while_a_write_in_two_phases_runs_is_not_stored() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    // Read amid the write: whether before or after it took effect nobody can tell.
    assert_eq!(writes.x_cache("/items").await, "MISS");
    writes.gate.open();
    write.await.unwrap();
    assert_eq!(writes.x_cache("/items").await, "MISS");
    assert_eq!(writes.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn a_write_in_two_phases_whose_client_left_or_whose_handler_panicked_evicts() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    let write = writes.bench.spawn(put("/items/1"));
    settle().await;
    write.abort();
    settle().await;
    for uri in ["/items", "/items/1"] {
        assert_eq!(writes.x_cache(uri).await, "MISS", "{uri}");
        assert_eq!(writes.x_cache(uri).await, "HIT", "{uri}");
    }

    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/{id}", Evict::pattern("/list").two_phase());
    let origin = Origin::new(|request, _| async move {
        assert!(request.method() == "GET", "a write that panics");
        respond(200, &[], "list")
    });
    let bench = Bench::with_routes(routes, origin);
    bench.get("/list").await;
    bench.spawn(put("/1")).await.unwrap_err();
    assert_eq!(bench.get("/list").await.x_cache(), "MISS");
    assert_eq!(bench.get("/list").await.x_cache(), "HIT");
}

#[tokio::test]
async fn writes_in_two_phases_beside_each_other_end_one_by_one() {
    let writes = Writes::new(Evict::pattern("/items").two_phase());
    writes.warm().await;
    writes.answers(500);
    let first = writes.bench.spawn(put("/items/1"));
    let second = writes.bench.spawn(put("/items/2"));
    settle().await;
    writes.gate.open_for_one();
    settle().await;
    assert!(first.is_finished() != second.is_finished());
    assert_eq!(writes.x_cache("/items").await, "MISS");
    writes.gate.open();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(writes.x_cache("/items").await, "HIT");
}

#[tokio::test]
async fn a_read_that_waits_with_others_while_a_write_runs_gets_what_is_new() {
    let (send, body) = scripted();
    let script = Origin::script([
        support::respond_with(200, &[], body),
        respond(200, &[], "written"),
    ]);
    let routes = Routes::new()
        .otherwise(policy())
        .on_write("/items/{id}", Evict::pattern("/items").two_phase());
    let bench = Bench::with_routes(routes, script);
    let early = bench.spawn(request("GET", "/items", &[]));
    settle().await;
    bench.ask(put("/items/1")).await;
    let late = bench.spawn(request("GET", "/items", &[]));
    settle().await;
    send.send(support::chunk("old")).unwrap();
    drop(send);
    assert_eq!(early.await.unwrap().text(), "old");
    assert_eq!(late.await.unwrap().text(), "3");
    assert_eq!(bench.get("/items").await.text(), "3");
}
