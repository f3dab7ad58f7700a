//! Callers of one key that share a call, and each its bytes as they come.

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tower_response_cache::{CacheLayer, NoStore, Routes};

use super::{CALLERS, SECOND, all, gated, get, policy, spawn_many, streaming};
use crate::support::{
    Answer, Bench, Gate, Origin, TestBody, chunk, respond_with, scripted, seconds, settle, whole,
};

async fn data(body: &mut TestBody) -> Bytes {
    let frame = body.frame().await.expect("not over").expect("no error");
    frame.into_data().expect("data")
}

#[tokio::test]
async fn a_thousand_concurrent_misses_are_one_call_and_all_get_all_bytes() {
    let gate = Gate::shut();
    let (script, body) = scripted();
    let origin = {
        let gate = gate.clone();
        let response = std::sync::Mutex::new(Some(respond_with(200, &[], body)));
        Origin::new(move |_, _| {
            let (gate, response) = (gate.clone(), response.lock().unwrap().take());
            async move {
                gate.wait().await;
                response.expect("one call")
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    let callers = spawn_many(&bench, 1000, "/a");
    settle().await;
    gate.open();
    for number in 0..20u8 {
        script.send(chunk(vec![number; 100])).unwrap();
        tokio::task::yield_now().await;
    }
    drop(script);
    let expected: Vec<u8> = (0..20u8).flat_map(|number| [number; 100]).collect();
    for answer in all(callers).await {
        assert!(answer.body == expected && answer.error.is_none());
        assert_eq!(answer.x_cache(), "MISS");
    }
    assert_eq!(bench.origin.calls(), 1);
    assert_eq!(bench.handle.stats().collapsed, 999);
}

#[tokio::test]
async fn joiners_read_the_bytes_as_they_arrive() {
    let (script, bench) = streaming(policy());
    let mut leader = bench.send(get("/a")).await.into_body();
    let mut early = bench.send(get("/a")).await.into_body();
    script.send(chunk("one")).unwrap();
    assert_eq!(data(&mut early).await, "one");
    // One that comes in the middle begins at the beginning.
    let mut late = bench.send(get("/a")).await.into_body();
    assert_eq!(data(&mut late).await, "one");
    assert_eq!(data(&mut leader).await, "one");
    script.send(chunk("two")).unwrap();
    for body in [&mut late, &mut leader, &mut early] {
        assert_eq!(data(body).await, "two");
    }
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn neither_a_slow_leader_nor_a_slow_joiner_holds_the_others_back() {
    let (script, bench) = streaming(policy());
    // The leader and one joiner do not read at all.
    let leader = bench.send(get("/a")).await;
    let slow = bench.send(get("/a")).await;
    let fast = bench.spawn(get("/a"));
    for _ in 0..100 {
        script.send(chunk(vec![b'x'; 1000])).unwrap();
    }
    drop(script);
    assert_eq!(fast.await.unwrap().body.len(), 100_000);
    // And it is stored by now.
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    for response in [leader, slow] {
        let answer = Answer::read(response).await;
        assert_eq!((answer.body.len(), answer.error), (100_000, None));
    }
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_reaches_everyone_who_reads_whole() {
    let (script, bench) = streaming(policy().max_body(1000));
    let mut readers = spawn_many(&bench, 5, "/a");
    settle().await;
    // This one reads, but slowly: a little every three seconds.
    let slow = bench.send(get("/a")).await;
    readers.push(tokio::spawn(async move {
        let (head, mut body) = slow.into_parts();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame.unwrap().into_data().unwrap());
            tokio::time::sleep(3 * SECOND).await;
        }
        Answer::read(Response::from_parts(head, whole(read))).await
    }));
    for number in 0..30u8 {
        script.send(chunk(vec![number; 100])).unwrap();
    }
    drop(script);
    let expected: Vec<u8> = (0..30u8).flat_map(|number| [number; 100]).collect();
    for answer in all(readers).await {
        assert!(answer.body == expected && answer.error.is_none());
    }
    assert_eq!(bench.get("/a").await.text(), "2", "not stored");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_cut_off_and_the_others_go_on() {
    let (script, bench) = streaming(policy().max_body(1000));
    let stalled = bench.send(get("/a")).await;
    let began = tokio::time::Instant::now();
    let readers = spawn_many(&bench, 3, "/a");
    settle().await;
    for _ in 0..50 {
        script.send(chunk([b'x'; 100].as_slice())).unwrap();
    }
    drop(script);
    for answer in all(readers).await {
        assert_eq!((answer.body.len(), answer.error), (5000, None));
    }
    assert!(began.elapsed() < 10 * SECOND);
    assert!(Answer::read(stalled).await.error.is_some());
}

#[tokio::test]
async fn each_of_many_keys_is_called_for_once() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), gated(&gate));
    let uris: Vec<_> = (0..1500).map(|n| format!("/{}", n % 500)).collect();
    let callers: Vec<_> = uris.iter().map(|uri| bench.spawn(get(uri))).collect();
    settle().await;
    gate.open();
    let mut by_uri = std::collections::HashMap::new();
    for (uri, answer) in uris.iter().zip(all(callers).await) {
        let first = by_uri.entry(uri).or_insert_with(|| answer.body.clone());
        assert_eq!(*first, answer.body);
    }
    assert_eq!(bench.origin.calls(), 500);
}

#[tokio::test]
async fn misses_share_a_call_where_nothing_is_stored() {
    let gate = Gate::shut();
    let builder = CacheLayer::builder().store(NoStore::new());
    let builder = builder.routes(Routes::new().otherwise(policy()));
    let bench = Bench::with_builder(builder, gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    for answer in all(callers).await {
        assert_eq!(answer.text(), "1");
    }
    assert_eq!(bench.get("/a").await.text(), "2");
}

#[tokio::test]
async fn without_collapsing_every_miss_calls() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().without_collapsing(), gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    assert_eq!(bench.origin.calls(), CALLERS);
    gate.open();
    all(callers).await;
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_is_shared_says_how_old_it_is() {
    for (stated, ages) in [("100", ["100", "100", "130"]), ("0", ["0", "0", "30"])] {
        let (script, body) = scripted();
        let body = std::sync::Mutex::new(Some(body));
        let origin = Origin::new(move |_, _| {
            let body = body.lock().unwrap().take().expect("one call");
            let fields = [("age", stated), ("cache-control", "max-age=500")];
            async move { respond_with(200, &fields, body) }
        });
        let bench = Bench::new(policy(), origin);
        let leader = bench.send(get("/a")).await;
        assert_eq!(leader.headers()["age"], ages[0], "the handler's own");
        for (number, age) in ages.into_iter().enumerate().skip(1) {
            let joined = bench.send(get("/a")).await;
            assert_eq!(joined.headers()["age"], age);
            assert_eq!(joined.headers()["x-cache"], "MISS");
            bench.clock.advance(seconds(30 * number as u64));
        }
        script.send(chunk("all")).unwrap();
        drop(script);
    }
}
