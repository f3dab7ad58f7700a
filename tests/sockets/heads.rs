//! Heads and fields as they go over the wire.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncWriteExt;
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheLayer, Policy, Routes};

use super::{Wire, ask, essence, layer, serve, serve_as};
use crate::support::{self, MINUTE, respond_with};

#[tokio::test]
async fn each_kind_of_answer_has_its_head_and_nothing_twice() {
    const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT";
    const HIT: &str = "cache-status: tower-response-cache; hit; ttl=60";
    let clock = ManualClock::new();
    clock.set_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    let builder = CacheLayer::builder().routes(routes).clock(clock.clock());
    let page = get(|| async {
        let fields = [("date", &DATE[6..]), ("etag", "\"a\"")];
        (fields, "0123456789")
    });
    let app = Router::new()
        .route("/", page)
        .layer(builder.build().unwrap());
    let mut wire = Wire::to(serve_as(false, app).await).await;
    // The text has a Content-Type, which axum gives it.
    let of_text = |length, outcome, status| {
        let text = "content-type: text/plain; charset=utf-8";
        let lines = [outcome, length, text, DATE, "etag: \"a\"", status];
        lines.map(str::to_owned).to_vec()
    };
    let stored = |mut lines: Vec<String>| {
        lines.insert(0, "age: 0".into());
        lines
    };
    let lines = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    let (ten, three) = ("content-length: 10", "content-length: 3");
    let asked = "cache-status: tower-response-cache; fwd=uri-miss; fwd-status=200";
    let kept = format!("{asked}; stored");
    let part = |mut lines: Vec<String>| {
        lines.insert(3, "content-range: bytes 2-4/10".into());
        lines
    };
    let (miss, hit) = ("x-cache: MISS", "x-cache: HIT");
    let refused = |range: &[&str]| {
        let mut all = vec!["age: 0", HIT, "content-length: 0"];
        all.extend(range);
        all.push(hit);
        lines(&all)
    };
    for (method, field, status, expected, content) in [
        ("HEAD", "", "200 OK", of_text(ten, asked, miss), ""),
        ("GET", "", "200 OK", of_text(ten, &kept, miss), "0123456789"),
        (
            "GET",
            "",
            "200 OK",
            stored(of_text(ten, HIT, hit)),
            "0123456789",
        ),
        ("HEAD", "", "200 OK", stored(of_text(ten, HIT, hit)), ""),
        (
            "GET",
            "If-None-Match: \"a\"",
            "304 Not Modified",
            lines(&["age: 0", HIT, DATE, "etag: \"a\"", hit]),
            "",
        ),
        (
            "GET",
            "Range: bytes=2-4",
            "206 Partial Content",
            part(stored(of_text(three, HIT, hit))),
            "234",
        ),
        (
            "GET",
            "Range: bytes=10-",
            "416 Range Not Satisfiable",
            refused(&["content-range: bytes */10"]),
            "",
        ),
    ] {
        let field = if field.is_empty() { "X: y" } else { field };
        wire.send(&format!(
            "{method} / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"
        ))
        .await;
        let mut head = wire.head().await;
        assert_eq!(head.remove(0), format!("HTTP/1.1 {status}"));
        let dates = head
            .iter()
            .filter(|line| line.starts_with("date: "))
            .count();
        assert_eq!(dates, 1, "{head:?}");
        if status.starts_with('4') {
            // Made here and now.
            head.retain(|line| !line.starts_with("date: "));
        }
        assert_eq!(head, expected, "{method} {field}");
        assert_eq!(wire.bytes(content.len()).await, content.as_bytes());
    }
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, "", "nothing follows the last answer");
}

#[tokio::test]
async fn a_date_that_the_server_adds_is_there_once() {
    let address = serve(|| respond_with(200, &[], support::whole("x"))).await;
    let mut wire = Wire::to(address).await;
    for outcome in ["x-cache: MISS", "x-cache: HIT"] {
        wire.send(&ask("GET", "/")).await;
        let head = wire.head().await;
        assert_eq!(essence(&head)[2], outcome);
        let dates = head.iter().filter(|line| line.starts_with("date: "));
        assert_eq!(dates.count(), 1, "{head:?}");
        assert_eq!(wire.bytes(1).await, b"x");
    }
}

/// Takes a head as bytes, without what differs between a miss and a hit.
async fn own_lines(wire: &mut Wire) -> Vec<Vec<u8>> {
    let head = wire.until("\r\n\r\n").await;
    let added: [&[u8]; 4] = [b"age:", b"cache-status:", b"x-cache:", b"date:"];
    let mut lines: Vec<_> = head
        .split(|&byte| byte == b'\n')
        .filter(|line| !added.iter().any(|name| line.starts_with(name)))
        .map(<[u8]>::to_vec)
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn fields_of_any_size_number_and_bytes_are_replayed_as_they_were() {
    let opaque: Vec<u8> = (0x80..=0xff).chain([b'\t', b' ', b'!']).collect();
    let large = vec![b'v'; 64 << 10];
    let mut fields = HeaderMap::new();
    for value in [&opaque[..], &large, b"", b"\xc3\xa4, \xff"] {
        fields.append("x-value", HeaderValue::from_bytes(value).unwrap());
    }
    for number in 0..500 {
        let name = HeaderName::try_from(format!("x-{number}")).unwrap();
        fields.append(name, HeaderValue::from(number));
    }
    let sent = fields.clone();
    let address = serve(move || {
        let mut response = respond_with(200, &[], support::whole("x"));
        *response.headers_mut() = fields.clone();
        response
    })
    .await;
    let mut wire = Wire::to(address).await;
    wire.send(&ask("GET", "/")).await;
    let miss = own_lines(&mut wire).await;
    assert_eq!(wire.bytes(1).await, b"x");
    for (name, value) in &sent {
        let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r"].concat();
        assert!(miss.contains(&line), "{name}");
    }
    // The status line, the length, and the empty one before and after the last line feed.
    assert_eq!(miss.len(), sent.len() + 4);
    for method in ["GET", "HEAD"] {
        wire.send(&ask(method, "/")).await;
        let hit = own_lines(&mut wire).await;
        assert!(hit == miss, "{method}");
        if method == "GET" {
            assert_eq!(wire.bytes(1).await, b"x");
        }
    }
}

#[tokio::test]
async fn variants_are_told_apart_by_opaque_bytes() {
    let show = async |headers: HeaderMap| {
        let chosen = headers["x-choice"].as_bytes().to_vec();
        ([("vary", "x-choice")], chosen)
    };
    let app = Router::new().fallback(show).layer(layer());
    let mut wire = Wire::to(serve_as(false, app).await).await;
    let long = vec![0xe4; 64 << 10];
    for outcome in ["x-cache: MISS", "x-cache: HIT"] {
        for choice in [&b"\xe4"[..], b"\xc3\xa4", b"\xff", &long] {
            let request = [
                b"GET / HTTP/1.1\r\nHost: a\r\nX-Choice: ",
                choice,
                b"\r\n\r\n",
            ];
            wire.stream.write_all(&request.concat()).await.unwrap();
            assert_eq!(essence(&wire.head().await)[2], outcome);
            assert_eq!(wire.bytes(choice.len()).await, choice);
        }
    }
}
