//! `examples/reverse_proxy` as a proxy: what it passes on, changes and refuses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::programs::{Program, listing, origin, raw_origin, read_until};

fn start(origin: &str, options: &[&str]) -> Program {
    Program::start("reverse_proxy", &[&["--origin", origin], options].concat())
}

/// A proxy that caches everything, before an origin that answers with what it was sent.
async fn echo() -> Program {
    let echo = async |uri: Uri, headers: HeaderMap, body: Bytes| {
        format!(
            "{uri}\n{}\n{}",
            listing(&headers),
            String::from_utf8_lossy(&body)
        )
    };
    let url = origin(Router::new().fallback(any(echo))).await;
    start(&url, &["--ttl", "/**=60"])
}

#[tokio::test]
async fn the_origin_is_told_who_asks_and_not_what_the_client_claims() {
    let proxy = echo().await;
    let claims = [
        ("host", "shop.example:8080"),
        ("forwarded", "for=evil;host=evil"),
        ("x-forwarded-for", "evil"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "evil"),
        ("x-forwarded-prefix", "/evil"),
        ("x-real-ip", "evil"),
    ];
    let told = proxy.get_with("/", &claims).await;
    assert!(!told.body().contains("evil"), "{}", told.body());
    for line in [
        "host: shop.example:8080\n",
        "forwarded: for=127.0.0.1;host=\"shop.example:8080\";proto=http\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-host: shop.example:8080\n",
        "x-forwarded-proto: http\n",
        "via: 1.1 reverse_proxy\n",
    ] {
        assert!(
            told.body().contains(line),
            "{line:?} is not in {}",
            told.body()
        );
    }
    assert_eq!(told.field("via"), "1.1 reverse_proxy");
    // None of the claims made it another page.
    assert_eq!(proxy.get_with("/", &claims[..1]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn fields_for_one_connection_go_no_further() {
    let proxy = echo().await;
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine, TE, Cache-Control\r\n\
                   Keep-Alive: 5\r\nTE: gzip, trailers\r\nX-Mine: 1\r\nProxy-Connection: close\r\n\
                   Cache-Control: no-transform\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n";
    let told = proxy.raw(request).await;
    for gone in [
        "x-mine",
        "keep-alive:",
        "proxy-connection",
        "gzip",
        "h2c",
        "http2-settings",
    ] {
        assert!(!told.to_lowercase().contains(gone), "{gone} in {told}");
    }
    assert!(told.contains("te: trailers\n"), "{told}");
    assert!(told.contains("cache-control: no-transform\n"), "{told}");

    let (url, _) = raw_origin(async |_, mut stream| {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\nConnection: X-Mine, Cache-Control\r\nX-Mine: 1\r\n\
                      Keep-Alive: timeout=5\r\nX-Yours: 2\r\nCache-Control: no-store\r\n\
                      Proxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    for _ in 0..2 {
        let answer = proxy.get("/").await;
        for gone in ["x-mine", "keep-alive", "proxy-authenticate", "connection"] {
            assert!(!answer.headers().contains_key(gone), "{gone}: {answer:?}");
        }
        assert_eq!(answer.field("x-yours"), "2");
        assert_eq!(
            answer.x_cache(),
            "MISS",
            "Connection must not switch no-store off"
        );
    }
}

#[tokio::test]
async fn a_request_that_names_no_place_or_two_is_refused() {
    let proxy = echo().await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 421),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
        ),
    ] {
        let close = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let said = proxy.raw(&close).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {said}"
        );
    }
}

#[tokio::test]
async fn a_body_framed_in_two_ways_is_one_request() {
    let proxy = echo().await;
    let said = proxy
        .raw(
            "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    assert!(!said.contains("smuggled"), "{said}");
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_is_not_believed() {
    for length in ["2", "200", "no number"] {
        let (url, _) = raw_origin(move |_, mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nwhole\r\n0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.ok();
        })
        .await;
        let proxy = start(&url, &["--ttl", "/**=60"]);
        for outcome in ["MISS", "HIT"] {
            let whole = proxy.get("/").await;
            assert_eq!(
                (&*whole.x_cache(), whole.body()),
                (outcome, "whole"),
                "{length}"
            );
            assert_ne!(whole.field("content-length"), length);
        }
    }
}

#[tokio::test]
async fn a_length_said_twice_is_one_and_two_lengths_are_none() {
    for (lengths, status) in [
        ("Content-Length: 2\r\nContent-Length: 2\r\n", 200),
        ("Content-Length: 2, 2\r\n", 200),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", 502),
    ] {
        let (url, _) = raw_origin(move |_, mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = format!("HTTP/1.1 200 OK\r\n{lengths}\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await;
        let proxy = start(&url, &[]);
        for method in [Method::GET, Method::HEAD] {
            let answer = proxy.send(method, "/", &[], "").await;
            assert_eq!(answer.status(), status, "{lengths}");
            if status == 200 {
                let lengths: Vec<_> = answer.headers().get_all("content-length").iter().collect();
                assert_eq!(lengths, ["2"]);
            }
        }
    }
}

#[tokio::test]
async fn a_transfer_coding_that_is_not_undone_is_a_502_or_a_501() {
    for coding in ["gzip, chunked", "gzip", "foo, chunked", "chunked, chunked"] {
        let (url, _) = raw_origin(move |_, mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await;
        let proxy = start(&url, &["--ttl", "/**=60"]);
        for _ in 0..2 {
            assert_eq!(proxy.get("/").await.status(), 502, "{coding}");
        }
    }
    let sent = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let said = echo().await.raw(sent).await;
    assert!(said.starts_with("HTTP/1.1 501 "), "{said}");
}

#[tokio::test]
async fn a_request_goes_as_far_as_max_forwards_lets_it() {
    let proxy = echo().await;
    let ask = async |most| {
        let fields = [("max-forwards", most)];
        proxy.send(Method::OPTIONS, "/", &fields, "").await
    };
    let told = ask("2").await;
    assert!(told.body().contains("max-forwards: 1\n"), "{}", told.body());
    assert_eq!(told.body().matches("max-forwards").count(), 1);
    let last = ask("0").await;
    assert_eq!(last.status(), 200);
    assert!(
        last.body().contains("ends at this proxy"),
        "{}",
        last.body()
    );
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_answer() {
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "late"
    };
    let url = origin(Router::new().fallback(any(slow))).await;
    let proxy = start(&url, &["--ttl", "/hit=60"]);
    for request in [
        "GET /miss HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hit HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hit HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none",
        "GET /old HTTP/1.0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        let read = stream.read_to_string(&mut said);
        tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap()
            .unwrap();
        assert!(
            said.contains(" 200 OK") && said.contains("late"),
            "{request}: {said}"
        );
    }
}

#[tokio::test]
async fn a_request_of_more_than_a_hundred_fields_passes() {
    let (url, _) = raw_origin(async |_, mut stream| {
        let asked = read_until(&mut stream, "\r\n\r\n").await;
        let sent = asked.lines().filter(|line| line.starts_with("x-n")).count();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{sent}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    let names: Vec<_> = (0..300).map(|number| format!("x-n{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (&**name, "1")).collect();
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get_with("/", &fields).await;
        assert_eq!((answer.status(), &*answer.x_cache()), (200, outcome));
        assert_eq!(answer.body(), "300");
    }
    let names: Vec<_> = (0..600).map(|number| format!("x-n{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (&**name, "1")).collect();
    assert_eq!(proxy.get_with("/", &fields).await.status(), 431);
}

#[tokio::test]
async fn each_form_of_a_target_is_one_page_to_the_cache() {
    let proxy = echo().await;
    let get = async |target: &str| {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: A.example\r\nConnection: close\r\n\r\n");
        proxy.raw(&request).await.to_lowercase()
    };
    let first = get("/p?q").await;
    assert!(
        first.contains("x-cache: miss") && first.contains("\n/p?q\n"),
        "{first}"
    );
    for target in ["/p?q", "http://a.example/p?q", "http://A.EXAMPLE:80/p?q"] {
        assert!(get(target).await.contains("x-cache: hit"), "{target}");
    }
    assert!(get("/P?q").await.contains("x-cache: miss"));

    let star = "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(proxy.raw(star).await.contains("\r\n*\n"));
}

#[tokio::test]
async fn an_old_client_without_a_host_is_served() {
    let proxy = echo().await;
    let said = proxy.raw("GET /a HTTP/1.0\r\n\r\n").await;
    assert!(
        said.contains(" 200 OK") && said.contains("via: 1.0 reverse_proxy"),
        "{said}"
    );
}

#[tokio::test]
async fn head_and_conditional_requests_have_the_fields_and_no_body() {
    let page = async |headers: HeaderMap| {
        if headers.contains_key("if-none-match") {
            let fields = [("etag", "\"1\""), ("content-length", "5")];
            return (StatusCode::NOT_MODIFIED, fields, String::new());
        }
        let fields = [("etag", "\"1\""), ("content-type", "text/x")];
        (StatusCode::OK, fields, "hello".to_owned())
    };
    let url = origin(Router::new().route("/", get(page))).await;
    for options in [&[][..], &["--ttl", "/**=60"]] {
        let proxy = start(&url, options);
        for _ in 0..2 {
            let head = proxy.send(Method::HEAD, "/", &[], "").await;
            assert_eq!(
                (head.field("content-length"), head.body()),
                ("5".into(), "")
            );
            let known = proxy.get_with("/", &[("if-none-match", "\"1\"")]).await;
            assert_eq!((known.status(), known.body()), (304, ""));
            let whole = proxy.get("/").await;
            assert_eq!((whole.status(), whole.body()), (200, "hello"));
        }
    }
}

#[tokio::test]
async fn the_date_and_server_of_the_origin_are_kept() {
    let (url, _) = raw_origin(async |number, mut stream| {
        read_until(&mut stream, "\r\n\r\n").await;
        let date = ["", "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n"][number.min(1)];
        let answer = format!("HTTP/1.0 200 OK\r\nServer: mine\r\n{date}Connection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = start(&url, &[]);
    let dated = proxy.get("/").await;
    assert_eq!(dated.headers().get_all("date").iter().count(), 1);
    assert_eq!(dated.field("server"), "mine");
    // An origin of an older kind is no reason to speak so to the client.
    assert_eq!(dated.field("via"), "1.0 reverse_proxy");
    assert_eq!(dated.response.version(), http::Version::HTTP_11);
    assert_eq!(
        proxy.get("/").await.field("date"),
        "Mon, 02 Jan 2006 15:04:05 GMT"
    );
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let echo = async |body: Body| {
        Body::from_stream(body.into_data_stream().map(|chunk| {
            let mut text = chunk?.to_vec();
            text.make_ascii_uppercase();
            Ok::<_, axum::Error>(text)
        }))
    };
    let url = origin(Router::new().route("/", any(echo))).await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for (chunk, echo) in [
        ("3\r\none\r\n", "ONE"),
        ("3\r\ntwo\r\n", "TWO"),
        ("0\r\n\r\n", "0\r\n"),
    ] {
        stream.write_all(chunk.as_bytes()).await.unwrap();
        read_until(&mut stream, echo).await;
    }
}

#[tokio::test]
async fn every_byte_of_a_large_body_arrives_stored_or_not() {
    let bytes: Bytes = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (small, large) = (bytes.slice(..700_000), bytes.clone());
    let url = origin(
        Router::new()
            .route("/small", get(async move || small))
            .route("/large", get(async move || large)),
    )
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    for _ in 0..2 {
        assert_eq!(*proxy.get("/small").await.response.body(), bytes[..700_000]);
        assert_eq!(*proxy.get("/large").await.response.body(), bytes[..]);
    }
    assert_eq!(proxy.get("/small").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_before_it_sends() {
    let proxy = echo().await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\
                Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"body").await.unwrap();
    assert!(
        read_until(&mut stream, "\nbody")
            .await
            .starts_with("HTTP/1.1 200 OK")
    );
}

#[tokio::test]
async fn trailers_pass() {
    let (url, _) = raw_origin(async |_, mut stream| {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                      2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.ok();
    })
    .await;
    let proxy = start(&url, &[]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n";
    let said = proxy.raw(request).await.to_lowercase();
    assert!(said.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{said}");
}

#[tokio::test]
async fn a_websocket_is_a_tunnel_both_ways() {
    let (url, _) = raw_origin(async |_, mut stream| {
        let asked = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(asked.contains("upgrade: websocket") && asked.contains("connection: upgrade"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst";
        stream.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut stream, "ping").await, "ping");
        stream.write_all(b"pong").await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let said = read_until(&mut stream, "first").await.to_lowercase();
    assert!(said.starts_with("http/1.1 101 "), "{said}");
    assert!(said.contains("upgrade: websocket\r\n") && said.contains("connection: upgrade\r\n"));
    assert!(said.contains("sec-websocket-accept: x\r\n"));
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut stream, "pong").await, "pong");
    drop(stream);
    assert!(
        tokio::time::timeout(Duration::from_secs(5), async { proxy.stop() })
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn interim_responses_reach_the_client_that_waits_and_are_not_stored() {
    let (url, connections) = raw_origin(async |_, mut stream| {
        loop {
            let asked = read_until(&mut stream, "\r\n\r\n").await;
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\
                         Connection: X-Mine\r\nX-Mine: 1\r\n\r\n";
            let processing = "HTTP/1.1 102 Processing\r\n\r\n";
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";
            stream.write_all(hints.as_bytes()).await.unwrap();
            if asked.starts_with("GET /slow ") {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let rest = [processing, "HTTP/1.1 100 Continue\r\n\r\n", answer].concat();
            stream.write_all(rest.as_bytes()).await.unwrap();
        }
    })
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    for path in ["/slow", "/at-once"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        if path == "/slow" {
            // The hints do not wait for the answer.
            let hints = read_until(&mut stream, "\r\n\r\n").await;
            assert_eq!(
                hints,
                "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\
                 via: 1.1 reverse_proxy\r\n\r\n"
            );
        }
        let rest = read_until(&mut stream, "\r\n\r\npage").await;
        let heads: Vec<_> = rest
            .split("\r\n\r\n")
            .map(|head| head.get(..12).unwrap_or(head))
            .collect();
        let hints = match path {
            "/slow" => &[][..],
            _ => &["HTTP/1.1 103"],
        };
        assert_eq!(
            heads[..heads.len() - 1],
            [hints, &["HTTP/1.1 102", "HTTP/1.1 200"]].concat(),
            "{rest}"
        );
        assert!(rest.contains("x-cache: MISS"), "{rest}");
        assert!(
            !rest[rest.find("200 OK").unwrap()..].contains("link"),
            "{rest}"
        );

        // What is stored is the final response alone.
        stream.write_all(request.as_bytes()).await.unwrap();
        let hit = read_until(&mut stream, "page").await;
        assert!(hit.starts_with("HTTP/1.1 200 "), "{hit}");
        assert!(
            hit.contains("x-cache: HIT") && !hit.contains("link"),
            "{hit}"
        );
    }
    // Whoever speaks HTTP/1.0 knows none of them.
    let old = proxy.raw("GET /old HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 "), "{old}");
    // Others with their own request, whatever its method.
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let post = proxy.raw(post).await;
    assert!(post.starts_with("HTTP/1.1 103 "), "{post}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn those_who_wait_for_anothers_answer_are_given_no_hints_of_it() {
    let (url, connections) = raw_origin(async |_, mut stream| {
        read_until(&mut stream, "\r\n\r\n").await;
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
        for _ in 0..20 {
            stream.write_all(hints.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut leader = TcpStream::connect(proxy.address).await.unwrap();
    leader.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut leader, "103").await;
    let joiner = proxy.raw(request).await;
    assert!(joiner.starts_with("HTTP/1.1 200 "), "{joiner}");
    let led = read_until(&mut leader, "page").await;
    assert!(!led[led.find("200 OK").unwrap()..].contains("103"), "{led}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_of_many_fields_passes_and_one_of_too_many_is_a_502() {
    let (url, connections) = raw_origin(async |_, mut stream| {
        let asked = read_until(&mut stream, "\r\n\r\n").await;
        let number = if asked.starts_with("GET /many ") {
            400
        } else {
            600
        };
        let fields: String = (0..number).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 4\r\n\r\npage");
        // The proxy may hang up before the end.
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let proxy = start(&url, &["--ttl", "/**=60"]);
    for (path, status, calls) in [("/many", 200, 1), ("/too-many", 502, 2)] {
        for again in 0..2 {
            let answer = proxy.get(path).await;
            assert_eq!(answer.status(), status, "{path}");
            let numbered = |n: &usize| answer.field(&format!("x-{n}")) == n.to_string();
            let passed = (0..400).filter(numbered).count();
            assert_eq!(passed, if status == 200 { 400 } else { 0 });
            let stored = if status == 200 { 0 } else { again };
            assert_eq!(connections.load(Ordering::SeqCst), calls + stored);
        }
    }
}
