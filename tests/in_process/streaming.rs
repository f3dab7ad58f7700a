//! Bodies: they stream while they are stored, and only what is whole is stored.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc::UnboundedSender;
use tower_response_cache::{CacheLayer, Policy, Routes};

use crate::support::{
    Answer, Bench, BoxError, MINUTE, Origin, TestBody, chunk, request, respond, respond_with,
    scripted, scripted_of, settle, whole,
};

type Script = UnboundedSender<Result<Frame<Bytes>, BoxError>>;

const KIB: usize = 1 << 10;

/// A bench whose origin gives one scripted body, then the numbers of its calls.
fn streaming(policy: Policy, fields: &[(&str, &str)]) -> (Script, Bench) {
    let (script, body) = scripted();
    let origin = Origin::script([respond_with(200, fields, body)]);
    (script, Bench::new(policy, origin))
}

fn of_length(policy: Policy, length: u64) -> (Script, Bench) {
    let (script, body) = scripted_of(length);
    let length = length.to_string();
    let fields = [("content-length", length.as_str())];
    let origin = Origin::script([respond_with(200, &fields, body)]);
    (script, Bench::new(policy, origin))
}

fn policy() -> Policy {
    Policy::ttl(MINUTE)
}

async fn data(body: &mut TestBody) -> Bytes {
    let frame = body.frame().await.expect("not over").expect("no error");
    frame.into_data().expect("data")
}

#[tokio::test]
async fn the_first_byte_leaves_before_the_second_chunk_exists() {
    let (script, bench) = streaming(policy(), &[]);
    let first = bench.send(request("GET", "/a", &[]));
    script.send(chunk("one")).unwrap();
    let mut body = first.await.into_body();
    assert_eq!(data(&mut body).await, "one");
    script.send(chunk("two")).unwrap();
    assert_eq!(data(&mut body).await, "two");
    drop(script);
    assert!(body.frame().await.is_none());
    let second = bench.get("/a").await;
    assert_eq!((second.x_cache(), second.text()), ("HIT", "onetwo"));
}

#[tokio::test]
async fn the_head_leaves_before_the_body_begins() {
    let (script, bench) = streaming(policy(), &[]);
    let response = bench.send(request("GET", "/a", &[])).await;
    assert_eq!(response.headers()["x-cache"], "MISS");
    drop(script);
}

#[tokio::test]
async fn a_body_of_announced_length_is_stored_though_nobody_polls_its_end() {
    for policy in [policy(), policy().stop_when_abandoned()] {
        let (script, bench) = of_length(policy, 6);
        script.send(chunk("abc")).unwrap();
        script.send(chunk("def")).unwrap();
        let mut body = bench.send(request("GET", "/a", &[])).await.into_body();
        assert_eq!(body.size_hint().exact(), Some(6));
        assert_eq!(data(&mut body).await, "abc");
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(data(&mut body).await, "def");
        drop(body);
        // The script is still open: the end itself never came.
        let second = bench.get("/a").await;
        assert_eq!((second.x_cache(), second.text()), ("HIT", "abcdef"));
        assert_eq!(second.field("content-length"), "6");
        drop(script);
    }
}

#[tokio::test]
async fn an_error_half_way_reaches_leader_and_joiner_and_is_not_stored() {
    let (script, bench) = streaming(policy(), &[]);
    script.send(chunk("half")).unwrap();
    let leader = bench.send(request("GET", "/a", &[])).await;
    let joiner = bench.send(request("GET", "/a", &[])).await;
    assert_eq!(bench.origin.calls(), 1);
    script.send(Err("the disk is gone".into())).unwrap();
    for response in [leader, joiner] {
        let answer = Answer::read(response).await;
        assert_eq!(answer.text(), "half");
        assert_eq!(answer.error.as_deref(), Some("the disk is gone"));
    }
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "2"));
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_passes_and_is_not_stored() {
    for sent in ["short", "much too long"] {
        let (script, body) = scripted();
        let fields = [("content-length", "10")];
        let origin = Origin::script([respond_with(200, &fields, body)]);
        let bench = Bench::new(policy(), origin);
        script.send(chunk(sent)).unwrap();
        drop(script);
        assert_eq!(bench.get("/a").await.text(), sent);
        assert_eq!(bench.get("/a").await.text(), "2", "{sent}");
    }
}

#[tokio::test]
async fn a_fill_is_finished_and_stored_when_its_client_goes_away() {
    let (script, bench) = streaming(policy(), &[]);
    script.send(chunk("one")).unwrap();
    let mut body = bench.send(request("GET", "/a", &[])).await.into_body();
    assert_eq!(data(&mut body).await, "one");
    drop(body);
    settle().await;
    script.send(chunk("two")).unwrap();
    drop(script);
    settle().await;
    let second = bench.get("/a").await;
    assert_eq!((second.x_cache(), second.text()), ("HIT", "onetwo"));
}

#[tokio::test]
async fn a_fill_stops_when_its_client_goes_away_if_it_is_to() {
    let (script, bench) = streaming(policy().stop_when_abandoned(), &[]);
    script.send(chunk("one")).unwrap();
    let body = bench.send(request("GET", "/a", &[])).await.into_body();
    drop(body);
    assert!(script.is_closed(), "the handler's body is dropped at once");
    assert_eq!(bench.get("/a").await.text(), "2");
}

#[tokio::test]
async fn a_fill_goes_on_for_a_joiner_when_the_leader_goes_away() {
    for policy in [policy(), policy().stop_when_abandoned()] {
        let (script, bench) = streaming(policy, &[]);
        let leader = bench.send(request("GET", "/a", &[])).await;
        let joiner = bench.send(request("GET", "/a", &[])).await;
        drop(leader);
        script.send(chunk("all of it")).unwrap();
        drop(script);
        let answer = Answer::read(joiner).await;
        assert_eq!((answer.text(), &answer.error), ("all of it", &None));
        assert_eq!(bench.get("/a").await.x_cache(), "HIT");
        assert_eq!(bench.origin.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_body_without_end_is_given_up_after_a_while() {
    let (script, bench) = streaming(policy(), &[]);
    script.send(chunk("tick")).unwrap();
    drop(bench.send(request("GET", "/a", &[])).await);
    settle().await;
    assert!(!script.is_closed());
    tokio::time::sleep(2 * MINUTE).await;
    assert!(script.is_closed());
    assert_eq!(bench.get("/a").await.text(), "2");
}

#[tokio::test]
async fn an_abandoned_body_is_read_no_further_than_the_limit() {
    let (script, bench) = streaming(policy().max_body(10), &[]);
    script.send(chunk("0123456789")).unwrap();
    drop(bench.send(request("GET", "/a", &[])).await);
    settle().await;
    assert!(!script.is_closed());
    script.send(chunk("a")).unwrap();
    settle().await;
    assert!(script.is_closed());
}

#[tokio::test]
async fn trailers_are_passed_on_and_replayed() {
    let (script, bench) = streaming(policy(), &[]);
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("900150983cd2"));
    script.send(chunk("abc")).unwrap();
    script.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(script);
    for expected in ["MISS", "HIT", "HIT"] {
        let answer = bench.get("/a").await;
        assert_eq!((answer.x_cache(), answer.text()), (expected, "abc"));
        assert_eq!(answer.trailers.as_ref(), Some(&trailers));
        assert_eq!(answer.field("checksum"), "(absent)");
    }
}

#[tokio::test]
async fn trailers_are_stored_though_the_client_stops_at_the_announced_length() {
    let (script, bench) = of_length(policy(), 3);
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", HeaderValue::from_static("900150983cd2"));
    script.send(chunk("abc")).unwrap();
    script.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    let mut body = bench.send(request("GET", "/a", &[])).await.into_body();
    data(&mut body).await;
    drop(body);
    let hit = bench.get("/a").await;
    assert_eq!((hit.x_cache(), &hit.trailers), ("HIT", &Some(trailers)));
}

#[tokio::test]
async fn empty_bodies_are_stored() {
    let (script, unknown_length) = scripted();
    drop(script);
    for (status, body) in [(200, whole("")), (204, whole("")), (200, unknown_length)] {
        let bench = Bench::new(policy(), Origin::script([respond_with(status, &[], body)]));
        for expected in ["MISS", "HIT"] {
            let answer = bench.get("/a").await;
            assert_eq!((answer.x_cache(), answer.text()), (expected, ""));
            assert_eq!(answer.status, status);
        }
    }
}

#[tokio::test]
async fn a_304_to_the_clients_own_condition_passes_and_is_not_stored() {
    // A range keeps the request from being filled for others, so the handler sees the condition.
    let bench = Bench::new(
        policy(),
        Origin::script([respond(304, &[("etag", "\"a\"")], "")]),
    );
    let fields = [("if-none-match", "\"a\""), ("range", "bytes=0-1")];
    let first = bench.get_with("/a", &fields).await;
    assert_eq!((first.status.as_u16(), first.text()), (304, ""));
    let second = bench.get("/a").await;
    assert_eq!((second.x_cache(), second.text()), ("MISS", "2"));
}

#[tokio::test]
async fn a_client_with_the_current_validator_gets_304_and_the_body_is_stored() {
    let (script, bench) = streaming(policy(), &[("etag", "\"a\"")]);
    let fields = [("if-none-match", "\"a\"")];
    let first = bench.get_with("/a", &fields).await;
    assert_eq!((first.status.as_u16(), first.text()), (304, ""));
    assert!(!bench.origin.seen()[0].contains_key("if-none-match"));
    script.send(chunk("the body")).unwrap();
    drop(script);
    settle().await;
    let second = bench.get("/a").await;
    assert_eq!((second.x_cache(), second.text()), ("HIT", "the body"));
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_passes_whole_and_is_not_stored() {
    let part = Bytes::from(vec![b'x'; 400]);
    for announced in [true, false] {
        let (script, bench) = match announced {
            true => of_length(policy().max_body(KIB), 1200),
            false => streaming(policy().max_body(KIB), &[]),
        };
        for _ in 0..3 {
            script.send(chunk(part.clone())).unwrap();
        }
        drop(script);
        let first = bench.get("/a").await;
        assert_eq!((first.x_cache(), first.body.len()), ("MISS", 1200));
        assert_eq!(first.error, None);
        assert_eq!(bench.get("/a").await.text(), "2", "announced: {announced}");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_stored() {
    for announced in [true, false] {
        let (script, bench) = match announced {
            true => of_length(policy().max_body(KIB), KIB as u64),
            false => streaming(policy().max_body(KIB), &[]),
        };
        script.send(chunk(vec![b'x'; KIB])).unwrap();
        drop(script);
        bench.get("/a").await;
        let hit = bench.get("/a").await;
        assert_eq!((hit.x_cache(), hit.body.len()), ("HIT", KIB));
    }
}

#[tokio::test]
async fn over_the_budget_of_all_fills_bodies_pass_and_are_not_stored() {
    let (script, body) = scripted();
    let other = respond(200, &[], vec![b'y'; 2 * KIB]);
    let origin = Origin::script([respond_with(200, &[], body), other]);
    let builder = CacheLayer::builder().routes(Routes::new().otherwise(policy()));
    let bench = Bench::with_builder(builder.fill_budget(4 * KIB), origin);
    script.send(chunk(vec![b'x'; 3 * KIB])).unwrap();
    let mut holding = bench.send(request("GET", "/held", &[])).await.into_body();
    assert_eq!(data(&mut holding).await.len(), 3 * KIB);
    // No room is left for these two kilobytes.
    assert_eq!(bench.get("/other").await.body.len(), 2 * KIB);
    assert_eq!(bench.get("/other").await.text(), "3");
    // With the end of that body all of it is back.
    drop(script);
    assert!(holding.frame().await.is_none());
    assert_eq!(bench.get("/held").await.x_cache(), "HIT");
    assert_eq!(bench.get("/other").await.x_cache(), "HIT");
}

#[tokio::test]
async fn streams_and_other_protocols_pass_untouched() {
    for media_type in [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        "application/grpc",
        "application/grpc+proto",
        "multipart/x-mixed-replace; boundary=x",
    ] {
        let (script, bench) = streaming(policy(), &[("content-type", media_type)]);
        script.send(chunk("data: 1\n\n")).unwrap();
        let first = bench.send(request("GET", "/a", &[])).await;
        let mut body = first.into_body();
        assert_eq!(data(&mut body).await, "data: 1\n\n");
        // Not shared with whoever comes while it runs.
        assert_eq!(bench.get("/a").await.text(), "2", "{media_type}");
        drop(body);
        assert!(
            script.is_closed(),
            "{media_type} was read on without a client"
        );
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Mark(u8);

#[tokio::test]
async fn an_upgrade_passes_untouched() {
    let origin = Origin::new(|_, _| async {
        let mut response = respond(101, &[("upgrade", "websocket")], "");
        response.extensions_mut().insert(Mark(7));
        response
    });
    let bench = Bench::new(policy(), origin);
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
    for fields in [&fields[..], &[]] {
        for call in [1, 2] {
            let response = bench.send(request("GET", "/a", fields)).await;
            assert_eq!(response.status(), 101);
            assert_eq!(response.extensions().get(), Some(&Mark(7)), "call {call}");
            assert!(!response.headers().contains_key("x-cache"));
            assert!(!response.headers().contains_key("cache-status"));
        }
    }
    assert_eq!(bench.origin.calls(), 4);
}

fn panicking() -> TestBody {
    let frames = stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("a body that panics")
    });
    StreamBody::new(frames).boxed_unsync()
}

#[tokio::test]
async fn a_body_that_panics_takes_nobody_else_along() {
    let bench = Bench::new(
        policy(),
        Origin::script([respond_with(200, &[], panicking())]),
    );
    let leader = bench.send(request("GET", "/a", &[])).await;
    let joiner = bench.send(request("GET", "/a", &[])).await;
    let leader = tokio::spawn(Answer::read(leader));
    assert!(leader.await.unwrap_err().is_panic());
    let joined = Answer::read(joiner).await;
    assert!(joined.error.is_some());
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "2"));
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_body_polled_after_its_end_stays_ended() {
    let (script, bench) = streaming(policy(), &[]);
    script.send(chunk("one")).unwrap();
    let leader = bench.send(request("GET", "/a", &[])).await;
    let joiner = bench.send(request("GET", "/a", &[])).await;
    drop(script);
    let mut bodies = vec![leader.into_body(), joiner.into_body()];
    assert_eq!(data(&mut bodies[0]).await, "one");
    assert_eq!(data(&mut bodies[1]).await, "one");
    let mut hit = bench.send(request("GET", "/a", &[])).await.into_body();
    assert_eq!(data(&mut hit).await, "one");
    bodies.push(hit);
    for body in &mut bodies {
        for _ in 0..3 {
            assert!(body.frame().await.is_none());
        }
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}

#[tokio::test]
async fn an_error_is_told_once_and_then_the_body_is_over() {
    let (script, bench) = streaming(policy(), &[]);
    script.send(Err("broken".into())).unwrap();
    let mut body = bench.send(request("GET", "/a", &[])).await.into_body();
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn size_hints_and_ends_are_those_of_the_inner_body() {
    // A whole body: known length, and over with its last frame.
    let origin = Origin::script([respond(200, &[], "abc")]);
    let bench = Bench::new(policy(), origin);
    let leader = bench.send(request("GET", "/a", &[])).await;
    let joiner = bench.send(request("GET", "/a", &[])).await;
    let mut bodies = vec![leader.into_body(), joiner.into_body()];
    for body in &mut bodies {
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
        assert_eq!(data(body).await, "abc");
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
    let mut hit = bench.send(request("GET", "/a", &[])).await.into_body();
    assert_eq!(
        (hit.size_hint().exact(), hit.is_end_stream()),
        (Some(3), false)
    );
    data(&mut hit).await;
    assert_eq!(
        (hit.size_hint().exact(), hit.is_end_stream()),
        (Some(0), true)
    );

    // An empty one is over at once.
    let bench = Bench::new(policy(), Origin::script([respond(200, &[], "")]));
    for _ in 0..2 {
        let body = bench.send(request("GET", "/a", &[])).await.into_body();
        assert_eq!(
            (body.size_hint().exact(), body.is_end_stream()),
            (Some(0), true)
        );
    }

    // One of unknown length says nothing before its end.
    let (script, bench) = streaming(policy(), &[]);
    script.send(chunk("abc")).unwrap();
    let mut leader = bench.send(request("GET", "/a", &[])).await.into_body();
    let joiner = bench.send(request("GET", "/a", &[])).await.into_body();
    data(&mut leader).await;
    assert_eq!(leader.size_hint().exact(), None);
    assert_eq!(joiner.size_hint().exact(), None);
    assert!(!leader.is_end_stream() && !joiner.is_end_stream());
    drop(script);
    assert!(leader.frame().await.is_none());
    assert_eq!(joiner.size_hint().exact(), Some(3));
}

#[tokio::test]
async fn a_replay_has_its_true_length_once_whatever_the_handler_said() {
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, Option<&str>); 5] = [
        (
            &[("content-length", "3"), ("content-length", "3")],
            Some("3"),
        ),
        (&[("content-length", "3, 3")], Some("3")),
        (&[("content-length", "three")], Some("3")),
        (&[("content-length", "3"), ("content-length", "4")], None),
        (&[("content-length", "4")], None),
    ];
    for (fields, replayed) in cases {
        for unknown_length in [true, false] {
            let body = match unknown_length {
                true => {
                    let (script, body) = scripted();
                    script.send(chunk("abc")).unwrap();
                    body
                }
                false => whole("abc"),
            };
            let bench = Bench::new(policy(), Origin::script([respond_with(200, fields, body)]));
            assert_eq!(bench.get("/a").await.text(), "abc");
            let second = bench.get("/a").await;
            let Some(length) = replayed else {
                assert_eq!(second.text(), "2", "{fields:?}");
                continue;
            };
            assert_eq!((second.x_cache(), second.text()), ("HIT", "abc"));
            let lengths: Vec<_> = second.headers.get_all("content-length").iter().collect();
            let expected: Vec<&str> = vec![length];
            assert!(
                lengths == expected || lengths.is_empty(),
                "{fields:?} was replayed with {lengths:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_head_request_does_not_fill_the_key_of_the_get() {
    let origin = Origin::new(|request, call| async move {
        match request.method().as_str() {
            "HEAD" => respond(200, &[("content-length", "5")], ""),
            _ => respond(200, &[], format!("body{call}")),
        }
    });
    let bench = Bench::new(policy(), origin);
    let head = bench.ask(request("HEAD", "/a", &[])).await;
    assert_eq!(
        (head.status.as_u16(), head.field("content-length")),
        (200, "5")
    );
    let get = bench.get("/a").await;
    assert_eq!((get.x_cache(), get.text()), ("MISS", "body2"));
    let head = bench.ask(request("HEAD", "/a", &[])).await;
    assert_eq!((head.x_cache(), head.text()), ("HIT", ""));
    assert_eq!(head.field("content-length"), "5");
}

#[tokio::test]
async fn the_handlers_head_reaches_the_client_who_called_it_unchanged() {
    let origin = Origin::new(|_, _| async {
        let mut response: Response<TestBody> = respond(200, &[("x-first", "1")], "abc");
        response.extensions_mut().insert(Mark(1));
        response
    });
    let bench = Bench::new(policy(), origin);
    let response = bench.send(request("GET", "/a", &[])).await;
    assert_eq!(response.extensions().get(), Some(&Mark(1)));
    assert_eq!(response.headers()["x-first"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_never_cut_off_by_the_cache() {
    let (script, bench) = streaming(policy(), &[]);
    let response = bench.send(request("GET", "/a", &[])).await;
    let reading = tokio::spawn(Answer::read(response));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        script.send(chunk("x")).unwrap();
    }
    drop(script);
    let answer = reading.await.unwrap();
    assert_eq!((answer.body.len(), answer.error), (100, None));
}
