//! Parts that are stored: what they answer, and when they are of no use.

use http_body_util::BodyExt;
use tower_response_cache::Policy;

use super::{DIGITS, Document, Fields, V1, ask_for};
use crate::support::{
    Bench, MINUTE, Origin, chunk, request, respond, respond_with, scripted_of, sent, settle,
};

#[tokio::test]
async fn a_stored_part_answers_what_lies_within_it_and_nothing_else() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    let first = ask_for(&bench, "bytes=2-6").await;
    assert_eq!(
        (first.status.as_u16(), first.text(), first.x_cache()),
        (206, "23456", "MISS")
    );
    for (range, positions, body) in [
        ("bytes=2-6", "2-6", "23456"),
        ("bytes=3-4", "3-4", "34"),
        ("bytes=6-6", "6-6", "6"),
    ] {
        let answer = ask_for(&bench, range).await;
        assert_eq!(
            (answer.status.as_u16(), answer.x_cache()),
            (206, "HIT"),
            "{range}"
        );
        assert_eq!(
            answer.field("content-range"),
            format!("bytes {positions}/10")
        );
        assert_eq!((answer.text(), answer.field("etag")), (body, V1), "{range}");
    }
    assert_eq!(bench.origin.calls(), 1);
    let fields = [("range", "bytes=3-4"), ("if-range", "\"v2\"")];
    assert_eq!(bench.get_with("/", &fields).await.status, 200);
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn a_suffix_is_answered_from_a_part_that_holds_it() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=-5").await;
    let answer = ask_for(&bench, "bytes=-2").await;
    assert_eq!((answer.text(), answer.x_cache()), ("89", "HIT"));
    let answer = ask_for(&bench, "bytes=8-").await;
    assert_eq!((answer.text(), answer.x_cache()), ("89", "HIT"));
    assert_eq!(ask_for(&bench, "bytes=-7").await.text(), "3456789");
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn a_part_is_never_given_to_who_asks_for_the_whole() {
    let fields: Fields = &[("content-range", "bytes 0-4/10")];
    // It sends a part, whatever it is asked for, and cannot tell versions apart.
    let origin = Origin::new(move |_, _| async move { respond(206, fields, "01234") });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    ask_for(&bench, "bytes=0-4").await;
    for _ in 0..3 {
        let before = bench.origin.calls();
        let answer = bench.get("/").await;
        assert_ne!(answer.x_cache(), "HIT");
        // What the handler sends is its own affair; no 200 is made of it.
        assert_eq!((answer.status.as_u16(), answer.text()), (206, "01234"));
        assert!(bench.origin.calls() > before);
    }
    let head = bench.ask(request("HEAD", "/", &[])).await;
    assert_ne!(head.x_cache(), "HIT");
}

#[tokio::test]
async fn parts_that_cannot_be_used_again_are_not_stored() {
    let cases: &[(Fields, &str)] = &[
        (&[], "01234"),
        (&[("content-range", "bytes */10")], "01234"),
        (&[("content-range", "bytes 4-0/10")], "01234"),
        (&[("content-range", "bytes 0-9/5")], DIGITS),
        (&[("content-range", "items 0-4/10")], "01234"),
        (&[("content-range", "garbage")], "01234"),
        // More of it than was announced.
        (&[("content-range", "bytes 0-1/10")], "01234"),
        (
            &[("content-type", "multipart/byteranges; boundary=x")],
            "--x--",
        ),
    ];
    for (fields, body) in cases {
        let (fields, body) = (*fields, *body);
        let origin = Origin::new(move |_, _| async move { respond(206, fields, body) });
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        for call in 1..=2 {
            let answer = ask_for(&bench, "bytes=0-0").await;
            assert_eq!(
                (answer.status.as_u16(), answer.text()),
                (206, body),
                "{fields:?}"
            );
            assert_eq!(answer.x_cache(), "MISS", "{fields:?}");
            assert_eq!(bench.origin.calls(), call, "{fields:?}");
        }
    }
}

#[tokio::test]
async fn a_part_that_is_the_whole_becomes_one() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    assert_eq!(ask_for(&bench, "bytes=0-").await.status, 206);
    let whole = bench.get("/").await;
    assert_eq!(
        (whole.status.as_u16(), whole.text(), whole.x_cache()),
        (200, DIGITS, "HIT")
    );
    assert_eq!(whole.field("content-length"), "10");
    assert_eq!(whole.field("content-range"), "(absent)");
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_part_that_is_stale_or_invalidated_is_neither_used_nor_completed() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-4").await;
    bench.clock.advance(MINUTE);
    assert_ne!(ask_for(&bench, "bytes=0-4").await.x_cache(), "HIT");
    bench.handle.invalidate_uri("/").await.unwrap();
    document.change("abcdefghij", V1);
    assert_eq!(bench.get("/").await.text(), "abcdefghij");
    let seen = bench.origin.seen();
    assert!(!seen[2].contains_key("range") && !seen[2].contains_key("if-range"));
}

#[tokio::test]
async fn a_part_read_before_a_write_does_not_come_back_as_part_of_what_is_new() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-4").await;
    // The origin keeps its tag though it changed: the write still counts.
    document.change("abcdefghij", V1);
    bench.handle.invalidate_uri("/").await.unwrap();
    assert_eq!(ask_for(&bench, "bytes=5-9").await.text(), "fghij");
    assert_eq!(bench.get("/").await.text(), "abcdefghij");
}

#[tokio::test]
async fn a_range_request_for_what_is_stored_stale_is_no_end_to_it() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    bench.get("/").await;
    bench.clock.advance(MINUTE);
    let part = ask_for(&bench, "bytes=2-3").await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "23"));
    let whole = bench.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, DIGITS));
}

#[tokio::test]
async fn a_part_whose_client_goes_away_is_stored_whole_or_not_at_all() {
    let fields: Fields = &[("etag", V1), ("content-range", "bytes 0-4/10")];
    for complete in [true, false] {
        let (send, body) = scripted_of(5);
        let origin = Origin::script([respond_with(206, fields, body)]);
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let asked = request("GET", "/", &[("range", "bytes=0-4")]);
        let mut response = bench.send(asked).await;
        send.send(chunk("01")).unwrap();
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "01");
        drop(response);
        if complete {
            send.send(chunk("234")).unwrap();
        }
        drop(send);
        settle().await;
        let answer = ask_for(&bench, "bytes=0-4").await;
        let expected = if complete { "HIT" } else { "MISS" };
        assert_eq!(answer.x_cache(), expected);
        assert_eq!(bench.origin.calls(), if complete { 1 } else { 2 });
    }
}

#[tokio::test]
async fn the_parts_of_variants_are_kept_apart() {
    let origin = Origin::new(|request, _| async move {
        let text = match &*sent(&request, "accept-language") {
            "de" => "0123456789",
            _ => "abcdefghij",
        };
        let etag = format!("\"{}\"", &text[..1]);
        let fields = [("vary", "accept-language"), ("etag", &etag)];
        match &*sent(&request, "range") {
            "bytes=0-4" => respond(
                206,
                &[fields[0], fields[1], ("content-range", "bytes 0-4/10")],
                text[..5].to_owned(),
            ),
            _ => respond(200, &fields, text),
        }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for (language, text) in [("de", "01234"), ("en", "abcde"), ("de", "01234")] {
        let fields = [("range", "bytes=0-4"), ("accept-language", language)];
        assert_eq!(bench.get_with("/", &fields).await.text(), text);
    }
    assert_eq!(bench.origin.calls(), 2);
    let whole = bench.get_with("/", &[("accept-language", "de")]).await;
    assert_eq!(whole.text(), "0123456789");
}
