//! Ranges of what is stored, and stored parts (RFC 9110 §14, RFC 9111 §3.3 and §3.4).

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use proptest::prelude::*;
use support::{
    Answer, Bench, MINUTE, Origin, TestBody, chunk, request, respond, respond_with, scripted_of,
    seconds, sent, settle,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::{CacheLayer, CacheLayerBuilder, Policy, Routes};

const DIGITS: &str = "0123456789";
const V1: &str = "\"v1\"";

type Fields = &'static [(&'static str, &'static str)];

/// A cache that holds the ten digits under `/`.
async fn digits(fields: Fields) -> Bench {
    digits_at(SystemTime::now(), fields).await
}

async fn digits_at(time: SystemTime, fields: Fields) -> Bench {
    let origin = Origin::new(move |_, _| async move { respond(200, fields, DIGITS) });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.clock.set_wall(time);
    assert_eq!(bench.get("/").await.text(), DIGITS);
    bench
}

async fn ask_for(bench: &Bench, range: &str) -> Answer {
    bench.get_with("/", &[("range", range)]).await
}

/// An origin that answers ranges itself, of a text that the test can change.
#[derive(Clone)]
struct Document(Arc<Mutex<(&'static str, &'static str)>>);

impl Document {
    fn new(text: &'static str, etag: &'static str) -> Self {
        Self(Arc::new(Mutex::new((text, etag))))
    }

    fn change(&self, text: &'static str, etag: &'static str) {
        *self.0.lock().unwrap() = (text, etag);
    }

    /// Honours `Range` and `If-Range`.
    fn origin(&self) -> Origin {
        let document = self.clone();
        Origin::new(move |request, _| {
            let answer = document.answer(request.headers(), true);
            async move { answer }
        })
    }

    /// Honours `Range` and takes no notice of `If-Range`.
    fn careless_origin(&self) -> Origin {
        let document = self.clone();
        Origin::new(move |request, _| {
            let answer = document.answer(request.headers(), false);
            async move { answer }
        })
    }

    fn answer(&self, request: &HeaderMap, honours_if_range: bool) -> Response<TestBody> {
        let (text, etag) = *self.0.lock().unwrap();
        let unchanged = request
            .get("if-range")
            .is_none_or(|value| value.as_bytes() == etag.as_bytes() && !etag.starts_with("W/"));
        let range = request
            .get("range")
            .filter(|_| unchanged || !honours_if_range);
        let Some(range) = range else {
            return respond(200, &[("etag", etag)], text);
        };
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = match (first, last) {
            ("", length) => (
                text.len() - length.parse::<usize>().unwrap(),
                text.len() - 1,
            ),
            (first, "") => (first.parse().unwrap(), text.len() - 1),
            (first, last) => (first.parse().unwrap(), last.parse().unwrap()),
        };
        if first >= text.len() {
            let range = format!("bytes */{}", text.len());
            return respond(416, &[("content-range", &range)], "");
        }
        let last = last.min(text.len() - 1);
        let range = format!("bytes {first}-{last}/{}", text.len());
        respond(
            206,
            &[("etag", etag), ("content-range", &range)],
            &text[first..=last],
        )
    }
}

#[tokio::test]
async fn one_range_is_answered_from_the_stored_whole() {
    let bench = digits(&[("etag", V1), ("content-type", "text/plain")]).await;
    let cases = [
        ("bytes=0-4", "0-4", "01234"),
        ("bytes=3-3", "3-3", "3"),
        ("bytes=7-", "7-9", "789"),
        ("bytes=-3", "7-9", "789"),
        ("bytes=0-9", "0-9", DIGITS),
        // §14.1.2: an end past the end is the end, and a suffix longer than the whole is the whole.
        ("bytes=5-99", "5-9", "56789"),
        ("bytes=-99", "0-9", DIGITS),
        ("bytes=0-99999999999999999999999999", "0-9", DIGITS),
        ("bytes=-99999999999999999999999999", "0-9", DIGITS),
        ("bytes=9-18446744073709551615", "9-9", "9"),
        // Units are compared without regard to case (§14.1).
        ("BYTES=0-0", "0-0", "0"),
        // The unsatisfiable ones of a set are left out (§14.1.2).
        ("bytes=20-30,1-2", "1-2", "12"),
        // Parts that touch or overlap become one (§15.3.7.2).
        ("bytes=0-1,2-3", "0-3", "0123"),
        ("bytes=5-8,2-6", "2-8", "2345678"),
        ("bytes=0-0, ,0-0", "0-0", "0"),
    ];
    for (range, positions, body) in cases {
        let answer = ask_for(&bench, range).await;
        assert_eq!(answer.status, 206, "{range}");
        let expected = format!("bytes {positions}/10");
        assert_eq!(answer.field("content-range"), expected, "{range}");
        assert_eq!(answer.text(), body, "{range}");
        let length = body.len().to_string();
        assert_eq!(answer.field("content-length"), length, "{range}");
        assert_eq!(answer.field("etag"), V1, "{range}");
        assert_eq!(answer.field("content-type"), "text/plain", "{range}");
        assert_eq!(answer.x_cache(), "HIT", "{range}");
    }
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_range_that_says_nothing_valid_is_answered_with_the_whole() {
    let bench = digits(&[]).await;
    let nonsense = [
        "bytes=9-1",
        "bytes=0-4,9-1",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-4-5",
        "bytes=+1-2",
        "bytes 0-4",
        "items=0-4",
        "=0-4",
        "",
        "bytes=0x0-0x4",
    ];
    for range in nonsense {
        let answer = ask_for(&bench, range).await;
        assert_eq!(answer.status, 200, "{range}");
        assert_eq!(answer.text(), DIGITS, "{range}");
        assert_eq!(answer.field("content-range"), "(absent)", "{range}");
    }
    let two_lines = [("range", "bytes=0-1"), ("range", "bytes=4-5")];
    assert_eq!(bench.get_with("/", &two_lines).await.status, 200);
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_range_past_the_end_is_answered_416_with_the_length() {
    let bench = digits(&[("content-type", "text/plain")]).await;
    for range in [
        "bytes=10-",
        "bytes=10-12",
        "bytes=-0",
        "bytes=18446744073709551615-",
        "bytes=99999999999999999999-99999999999999999999",
        "bytes=20-30,40-50",
    ] {
        let answer = ask_for(&bench, range).await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.field("content-range"), "bytes */10", "{range}");
        assert!(answer.body.is_empty(), "{range}");
    }
    assert_eq!(bench.origin.calls(), 1);
    assert_eq!(ask_for(&bench, "bytes=0-0").await.status, 206);
}

/// Takes a multipart body apart: the head of each part, and its content.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let content_type = answer.field("content-type");
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let body = std::str::from_utf8(&answer.body).unwrap();
    let body = body
        .strip_suffix(&format!("\r\n--{boundary}--\r\n"))
        .unwrap();
    let body = body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    body.split(&format!("\r\n--{boundary}\r\n"))
        .map(|part| {
            let (head, content) = part.split_once("\r\n\r\n").unwrap();
            (head.to_owned(), content.as_bytes().to_vec())
        })
        .collect()
}

#[tokio::test]
async fn several_ranges_are_answered_as_multipart_byteranges() {
    let bench = digits(&[("content-type", "text/plain"), ("etag", V1)]).await;
    let answer = ask_for(&bench, "bytes=0-0,-1").await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.field("content-range"), "(absent)");
    let length = answer.body.len().to_string();
    assert_eq!(answer.field("content-length"), length);
    assert_eq!(answer.field("etag"), V1);
    let head =
        |positions| format!("Content-Type: text/plain\r\nContent-Range: bytes {positions}/10");
    let expected = [(head("0-0"), b"0".to_vec()), (head("9-9"), b"9".to_vec())];
    assert_eq!(parts(&answer), expected);
    // In the order they were asked for, with those that touch in one.
    let answer = ask_for(&bench, "bytes=8-9, 0-1,2-2,  5-5").await;
    let contents: Vec<_> = parts(&answer)
        .into_iter()
        .map(|(_, content)| content)
        .collect();
    assert_eq!(contents, [&b"89"[..], b"012", b"5"]);
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn sixteen_parts_are_sent_and_seventeen_are_the_whole() {
    let text: String = "abcdefghij".repeat(10);
    let body = text.clone();
    let origin = Origin::new(move |_, _| {
        let body = body.clone();
        async move { respond(200, &[], body) }
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    bench.get("/").await;
    let every_other = |count: usize| {
        let ranges: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
        format!("bytes={}", ranges.join(","))
    };
    let answer = ask_for(&bench, &every_other(16)).await;
    assert_eq!((answer.status.as_u16(), parts(&answer).len()), (206, 16));
    let answer = ask_for(&bench, &every_other(17)).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*text));
    // A thousand that overlap are one; a thousand of nothing are nothing.
    let answer = ask_for(&bench, &format!("bytes={}", ["0-99"; 1000].join(","))).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (206, &*text));
    let answer = ask_for(&bench, &format!("bytes={}", ["100-"; 1000].join(","))).await;
    assert_eq!(answer.status, 416);
}

#[tokio::test]
async fn if_range_takes_a_strong_tag_that_is_the_stored_one() {
    let strong = digits(&[("etag", V1)]).await;
    let weak = digits(&[("etag", "W/\"v1\"")]).await;
    let none = digits(&[]).await;
    let cases = [
        (&strong, V1, 206),
        (&strong, "\"v2\"", 200),
        (&strong, "W/\"v1\"", 200),
        (&strong, "v1", 200),
        (&strong, "*", 200),
        (&weak, "W/\"v1\"", 200),
        (&weak, V1, 200),
        (&none, V1, 200),
    ];
    for (bench, tag, status) in cases {
        let fields = [("range", "bytes=0-4"), ("if-range", tag)];
        let answer = bench.get_with("/", &fields).await;
        assert_eq!(answer.status, status, "{tag}");
        assert_eq!(answer.x_cache(), "HIT", "{tag}");
    }
}

#[tokio::test]
async fn if_range_takes_a_date_that_is_the_stored_one_and_old_enough() {
    const DATE: &str = "Sun, 06 Nov 2022 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 2022 08:00:00 GMT";
    const LATER: &str = "Sun, 06 Nov 2022 09:00:00 GMT";
    let sent_at = SystemTime::UNIX_EPOCH + seconds(1_667_724_577);
    let old = digits_at(sent_at, &[("last-modified", EARLIER), ("date", DATE)]).await;
    // Modified in the second it was sent: it may have been modified twice (RFC 9110 §8.8.2.2).
    let new = digits_at(sent_at, &[("last-modified", DATE), ("date", DATE)]).await;
    for (bench, date, status) in [
        (&old, EARLIER, 206),
        (&old, LATER, 200),
        (&old, DATE, 200),
        (&old, "garbage", 200),
        (&new, DATE, 200),
    ] {
        let fields = [("range", "bytes=0-4"), ("if-range", date)];
        let answer = bench.get_with("/", &fields).await;
        assert_eq!(answer.status, status, "{date}");
    }
}

#[tokio::test]
async fn conditions_come_before_ranges_and_head_has_none() {
    let bench = digits(&[("etag", V1)]).await;
    let fields = [("range", "bytes=0-4"), ("if-none-match", V1)];
    assert_eq!(bench.get_with("/", &fields).await.status, 304);
    let fields = [("range", "bytes=0-4"), ("if-match", "\"v2\"")];
    assert_eq!(bench.get_with("/", &fields).await.status, 412);
    let fields = [("range", "bytes=0-4"), ("if-match", V1)];
    assert_eq!(bench.get_with("/", &fields).await.status, 206);
    // RFC 9110 §14.2: Range is for GET.
    let head = bench
        .ask(request("HEAD", "/", &[("range", "bytes=0-4")]))
        .await;
    assert_eq!(
        (head.status.as_u16(), head.field("content-length")),
        (200, "10")
    );
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn only_a_200_has_ranges_and_an_empty_one_none() {
    let origin = Origin::new(|request, _| async move {
        match request.uri().path() {
            "/empty" => respond(200, &[], ""),
            _ => respond(404, &[], DIGITS),
        }
    });
    let policy = Policy::ttl(MINUTE).negative_ttl(MINUTE);
    let bench = Bench::new(policy, origin);
    bench.get("/gone").await;
    bench.get("/empty").await;
    let fields = [("range", "bytes=0-4")];
    let gone = bench.get_with("/gone", &fields).await;
    assert_eq!(
        (gone.status.as_u16(), gone.text(), gone.x_cache()),
        (404, DIGITS, "HIT")
    );
    let empty = bench.get_with("/empty", &fields).await;
    assert_eq!(
        (empty.status.as_u16(), empty.field("content-range")),
        (416, "bytes */0")
    );
    let empty = bench.get_with("/empty", &[("range", "bytes=-5")]).await;
    assert_eq!((empty.status.as_u16(), empty.text()), (200, ""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_range_says_the_answer_is_true_and_not_much_longer(
        ranges in prop::collection::vec("([0-9]{0,3}|[0-9]{18,22})-([0-9]{0,3}|[0-9]{18,22})", 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = digits(&[]).await;
            let answer = ask_for(&bench, &format!("bytes={}", ranges.join(","))).await;
            match (answer.status.as_u16(), answer.headers.get("content-range")) {
                (200, None) => assert_eq!(answer.text(), DIGITS),
                (206, Some(range)) => {
                    let range = range.to_str().unwrap().strip_prefix("bytes ").unwrap();
                    let (first, last) = range.strip_suffix("/10").unwrap().split_once('-').unwrap();
                    let (first, last): (usize, usize) =
                        (first.parse().unwrap(), last.parse().unwrap());
                    assert_eq!(answer.text(), &DIGITS[first..=last]);
                }
                (206, None) => {
                    assert!(answer.body.len() < 16 * 160);
                    let held: usize = parts(&answer).iter().map(|(_, content)| content.len()).sum();
                    assert!(held <= 10);
                }
                (416, Some(range)) => assert_eq!(range, "bytes */10"),
                other => panic!("{other:?}"),
            }
        });
    }
}

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
async fn parts_of_one_representation_are_combined() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-3").await;
    assert_eq!(ask_for(&bench, "bytes=4-6").await.text(), "456");
    let both = ask_for(&bench, "bytes=2-5").await;
    assert_eq!((both.text(), both.x_cache()), ("2345", "HIT"));
    assert_eq!(ask_for(&bench, "bytes=5-9").await.text(), "56789");
    let whole = bench.get("/").await;
    assert_eq!(
        (whole.status.as_u16(), whole.text(), whole.x_cache()),
        (200, DIGITS, "HIT")
    );
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_combined_response_has_the_fields_of_both_parts() {
    let origin = Origin::script([
        respond(
            206,
            &[
                ("etag", V1),
                ("content-range", "bytes 0-4/10"),
                ("content-type", "text/plain"),
                ("x-part", "first"),
            ],
            "01234",
        ),
        respond(
            206,
            &[
                ("etag", V1),
                ("content-range", "bytes 5-9/10"),
                ("x-part", "second"),
            ],
            "56789",
        ),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    ask_for(&bench, "bytes=0-4").await;
    let fields = [("range", "bytes=5-9"), ("if-range", V1)];
    bench.get_with("/", &fields).await;
    let whole = bench.get("/").await;
    assert_eq!(
        (whole.status.as_u16(), whole.text(), whole.x_cache()),
        (200, DIGITS, "HIT")
    );
    assert_eq!(whole.field("content-type"), "text/plain");
    assert_eq!(whole.field("x-part"), "second");
    assert_eq!(whole.field("content-length"), "10");
}

#[tokio::test]
async fn parts_are_not_combined_without_the_same_strong_tag() {
    for (before, after) in [(V1, "\"v2\""), ("W/\"v1\"", "W/\"v1\"")] {
        let document = Document::new(DIGITS, before);
        let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
        ask_for(&bench, "bytes=0-4").await;
        document.change("abcdefghij", after);
        assert_eq!(ask_for(&bench, "bytes=5-9").await.text(), "fghij");
        let whole = bench.get("/").await;
        assert_eq!(
            (whole.status.as_u16(), whole.text()),
            (200, "abcdefghij"),
            "{after}"
        );
        let first = ask_for(&bench, "bytes=0-4").await;
        assert_eq!(first.text(), "abcde", "{after}");
    }
}

#[tokio::test]
async fn parts_with_a_gap_between_them_are_not_combined() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-2").await;
    ask_for(&bench, "bytes=5-6").await;
    assert_eq!(ask_for(&bench, "bytes=0-6").await.text(), "0123456");
    let whole = bench.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, DIGITS));
}

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
