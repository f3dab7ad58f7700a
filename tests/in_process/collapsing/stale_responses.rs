//! Refreshes, confirmations and stand-ins that are shared.

use super::{CALLERS, SECOND, all, gated, get, policy, spawn_many, streaming};
use crate::support::{
    Answer, Bench, Gate, MINUTE, Origin, chunk, respond, respond_with, scripted, settle,
};

#[tokio::test]
async fn a_stale_response_is_refreshed_once_for_all_who_get_it() {
    let gate = Gate::shut();
    gate.open_for_one();
    let policy = policy().stale_while_revalidate(MINUTE);
    let bench = Bench::new(policy, gated(&gate));
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    for answer in all(spawn_many(&bench, 100, "/a")).await {
        assert_eq!((answer.x_cache(), answer.text()), ("STALE", "1"));
    }
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    gate.open();
    settle().await;
    let refreshed = bench.get("/a").await;
    assert_eq!((refreshed.x_cache(), refreshed.text()), ("HIT", "2"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_is_given_up_and_another_begins() {
    let gate = Gate::shut();
    gate.open_for_one();
    let policy = policy().stale_while_revalidate(60 * MINUTE);
    let bench = Bench::new(policy, gated(&gate));
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    bench.get("/a").await;
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(bench.get("/a").await.x_cache(), "STALE");
    settle().await;
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_refresh_reads_no_stream_that_is_not_stored() {
    let (script, endless) = scripted();
    let stream = [("content-type", "text/event-stream")];
    let origin = Origin::script([respond(200, &[], "1"), respond_with(200, &stream, endless)]);
    let bench = Bench::new(policy().stale_while_revalidate(MINUTE), origin);
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    bench.get("/a").await;
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    assert!(script.is_closed());
}

#[tokio::test]
async fn what_stands_in_for_an_error_does_so_for_all_who_waited() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |_, call| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                respond(if call == 1 { 200 } else { 503 }, &[], call.to_string())
            }
        })
    };
    let bench = Bench::new(policy().stale_if_error(MINUTE), origin);
    gate.open_for_one();
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    for answer in all(callers).await {
        assert_eq!((answer.x_cache(), answer.text()), ("STALE", "1"));
    }
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn a_confirmed_response_is_given_to_all_who_waited() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |request, call| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                match request.headers().contains_key("if-none-match") {
                    true => respond(304, &[("etag", "\"a\"")], ""),
                    false => respond(200, &[("etag", "\"a\"")], call.to_string()),
                }
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    gate.open_for_one();
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    for answer in all(callers).await {
        assert_eq!((answer.x_cache(), answer.text()), ("REVALIDATED", "1"));
    }
    // And it is fresh again, though the 304 carried no date.
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.field("age")), ("HIT", "0"));
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn a_joiner_with_the_current_validator_gets_304() {
    let (script, body) = scripted();
    let origin = Origin::script([respond_with(200, &[("etag", "\"a\"")], body)]);
    let bench = Bench::new(policy(), origin);
    let leader = bench.send(get("/a")).await;
    let joiner = bench.get_with("/a", &[("if-none-match", "\"a\"")]).await;
    assert_eq!((joiner.status.as_u16(), joiner.text()), (304, ""));
    script.send(chunk("abc")).unwrap();
    drop(script);
    assert_eq!(Answer::read(leader).await.text(), "abc");
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn nobody_joins_a_response_that_has_become_stale_while_it_is_read() {
    let (script, bench) = streaming(policy());
    let leader = bench.send(get("/a")).await;
    bench.clock.advance(MINUTE - SECOND);
    let joiner = bench.send(get("/a")).await;
    assert_eq!(bench.origin.calls(), 1);
    bench.clock.advance(SECOND);
    assert_eq!(bench.get("/a").await.text(), "2");
    drop((script, leader, joiner));
}
