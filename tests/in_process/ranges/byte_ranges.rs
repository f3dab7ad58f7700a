//! Ranges of a stored whole: one, several, none that is valid, and conditions on them.

use std::time::SystemTime;

use proptest::prelude::*;
use tower_response_cache::Policy;

use super::{DIGITS, Fields, V1, ask_for};
use crate::support::{Answer, Bench, MINUTE, Origin, request, respond, seconds};

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
