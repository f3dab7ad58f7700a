//! A stored part that is completed by asking for the rest.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::{CacheLayer, CacheLayerBuilder, Policy, Routes};

use super::{DIGITS, Document, Fields, V1, ask_for};
use crate::support::{
    Answer, Bench, MINUTE, Origin, chunk, request, respond, respond_with, scripted_of, seconds,
    settle,
};

#[tokio::test]
async fn a_stored_part_is_completed_by_asking_for_the_rest() {
    for (held, rest) in [("bytes=0-4", "bytes=5-"), ("bytes=-5", "bytes=0-4")] {
        let document = Document::new(DIGITS, V1);
        let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
        ask_for(&bench, held).await;
        let whole = bench.get("/").await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, DIGITS));
        assert_eq!(whole.field("content-range"), "(absent)");
        assert_eq!(whole.field("content-length"), "10");
        let asked = &bench.origin.seen()[1];
        assert_eq!(
            (&asked["range"], &asked["if-range"]),
            (&rest.parse().unwrap(), &V1.parse().unwrap())
        );
        for (fields, status) in [(&[][..], 200), (&[("range", "bytes=2-7")], 206)] {
            let again = bench.get_with("/", fields).await;
            assert_eq!((again.status.as_u16(), again.x_cache()), (status, "HIT"));
        }
        assert_eq!(bench.origin.calls(), 2);
    }
}

#[tokio::test]
async fn a_part_from_the_middle_is_no_beginning() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=3-5").await;
    let whole = bench.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, DIGITS));
    assert!(!bench.origin.seen()[1].contains_key("range"));
}

#[tokio::test]
async fn what_has_changed_is_taken_whole() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-4").await;
    document.change("abcdefghij", "\"v2\"");
    let whole = bench.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, "abcdefghij"));
    // `If-Range` did not hold: one call brought the whole.
    assert_eq!(bench.origin.calls(), 2);
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_rest_that_does_not_go_with_the_part_is_asked_for_again_in_whole() {
    for (text, etag) in [
        ("abcdefghij", "\"v2\""),
        ("abcdefghij", "W/\"v1\""),
        // Of another length under the same tag: an origin that does not know its own mind.
        ("0123456", V1),
        // Nothing left after what is held: 416.
        ("abc", "\"v2\""),
    ] {
        let document = Document::new(DIGITS, V1);
        let bench = Bench::new(Policy::ttl(MINUTE), document.careless_origin());
        ask_for(&bench, "bytes=0-4").await;
        document.change(text, etag);
        let whole = bench.get("/").await;
        assert_eq!((whole.status.as_u16(), whole.text()), (200, text), "{etag}");
        let seen = bench.origin.seen();
        assert_eq!(seen.len(), 3, "{etag}");
        assert!(!seen[2].contains_key("range") && !seen[2].contains_key("if-range"));
        let again = bench.get("/").await;
        assert_eq!((again.text(), again.x_cache()), (text, "HIT"), "{etag}");
    }
}

#[tokio::test]
async fn a_rest_that_breaks_off_is_asked_for_again_in_whole() {
    let (send, body) = scripted_of(5);
    send.send(chunk("56")).unwrap();
    send.send(Err("broken".into())).unwrap();
    let rest: Fields = &[("etag", V1), ("content-range", "bytes 5-9/10")];
    let origin = Origin::script([
        respond(
            206,
            &[("etag", V1), ("content-range", "bytes 0-4/10")],
            "01234",
        ),
        respond_with(206, rest, body),
        respond(200, &[("etag", V1)], DIGITS),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    ask_for(&bench, "bytes=0-4").await;
    let whole = bench.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, DIGITS));
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_client_that_has_the_whole_is_told_so_after_it_was_completed() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-4").await;
    let answer = bench.get_with("/", &[("if-none-match", V1)]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (304, ""));
    assert_eq!(bench.get("/").await.text(), DIGITS);
}

#[tokio::test]
async fn a_client_that_goes_away_while_a_part_is_completed_does_no_harm() {
    let (send, body) = scripted_of(5);
    let rest: Fields = &[("etag", V1), ("content-range", "bytes 5-9/10")];
    let origin = Origin::script([
        respond(
            206,
            &[("etag", V1), ("content-range", "bytes 0-4/10")],
            "01234",
        ),
        respond_with(206, rest, body),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    ask_for(&bench, "bytes=0-4").await;
    let gone = bench.spawn(request("GET", "/", &[]));
    send.send(chunk("56")).unwrap();
    settle().await;
    gone.abort();
    let waits = bench.spawn(request("GET", "/", &[]));
    settle().await;
    send.send(chunk("789")).unwrap();
    drop(send);
    let answer = waits.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text()), (200, DIGITS));
    assert_eq!(bench.origin.calls(), 2);
}

/// A request body of a type that the cache does not know.
#[derive(Debug, Default)]
struct Foreign;

impl Body for Foreign {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// Stores a part, asks for the whole, and returns what the second request looked like.
async fn completed_with(builder: CacheLayerBuilder) -> HeaderMap {
    let seen: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    let layer = builder.routes(routes).build().unwrap();
    let document = Document::new(DIGITS, V1);
    let service = layer.layer(service_fn({
        let seen = seen.clone();
        move |request: Request<Foreign>| {
            seen.lock().unwrap().push(request.headers().clone());
            let answer = document.answer(request.headers(), true);
            async move { Ok::<_, Infallible>(answer) }
        }
    }));
    for (range, status, text) in [(Some("bytes=0-4"), 206, "01234"), (None, 200, DIGITS)] {
        let mut request = Request::get("/");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let request = request.body(Foreign).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let answer = Answer::read(response.map(BodyExt::boxed_unsync)).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text));
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    seen[1].clone()
}

#[tokio::test]
async fn the_rest_alone_is_asked_for_only_where_the_request_can_be_sent_again() {
    let asked = completed_with(CacheLayer::builder()).await;
    assert!(!asked.contains_key("range") && !asked.contains_key("if-range"));
    let known = CacheLayer::builder().empty_request_body(Foreign::default);
    let asked = completed_with(known).await;
    assert_eq!(asked["range"], "bytes=5-");
}

#[tokio::test]
async fn who_waits_for_a_completion_gets_the_whole() {
    let (send, body) = scripted_of(5);
    let rest: Fields = &[("etag", V1), ("content-range", "bytes 5-9/10")];
    let origin = Origin::script([
        respond(
            206,
            &[("etag", V1), ("content-range", "bytes 0-4/10")],
            "01234",
        ),
        respond_with(206, rest, body),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    ask_for(&bench, "bytes=0-4").await;
    let readers: Vec<_> = (0..20)
        .map(|_| bench.spawn(request("GET", "/", &[])))
        .collect();
    settle().await;
    send.send(chunk("56789")).unwrap();
    drop(send);
    for reader in readers {
        let answer = reader.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (200, DIGITS));
    }
    assert_eq!(bench.origin.calls(), 2);
    bench.clock.advance(seconds(1));
}
