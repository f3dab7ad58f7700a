//! `examples/reverse_proxy` when the origin fails, and when it is stopped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::programs::{Program, raw_origin, read_until};

fn start(origin: &str) -> Program {
    Program::start("reverse_proxy", &["--origin", origin, "--ttl", "/**=60"])
}

/// Reads one request and answers it with these bytes; false when the client has left.
async fn serve_one(stream: &mut TcpStream, answer: &str) -> bool {
    let mut asked = String::new();
    let mut chunk = [0; 1024];
    while !asked.contains("\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(count) if count > 0 => asked.push_str(&String::from_utf8_lossy(&chunk[..count])),
            _ => return false,
        }
    }
    stream.write_all(answer.as_bytes()).await.is_ok()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok";

#[tokio::test]
async fn an_origin_that_refuses_is_a_502_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let proxy = start(&url);
    let answer = proxy.get("/").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(
        answer.field("proxy-status"),
        "reverse_proxy; error=connection_refused"
    );
    assert!(answer.body().contains("origin"));
}

#[tokio::test]
async fn an_origin_that_closes_early_is_a_502_and_asked_once() {
    let (url, connections) = raw_origin(async |_, mut stream| {
        serve_one(&mut stream, "").await;
    })
    .await;
    let proxy = start(&url);
    let answer = proxy.get("/").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(
        answer.field("proxy-status"),
        "reverse_proxy; error=connection_terminated"
    );
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_an_origin_that_is_gone_unless_that_is_forbidden() {
    for (allowed, status, outcome) in [("", 200, "STALE"), (", must-revalidate", 504, "MISS")] {
        let (url, _) = raw_origin(move |number, mut stream| async move {
            let page = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=0{allowed}\r\nETag: \"1\"\r\n\
                 Connection: close\r\nContent-Length: 4\r\n\r\npage"
            );
            serve_one(&mut stream, if number == 0 { &page } else { "" }).await;
        })
        .await;
        let proxy = Program::start("reverse_proxy", &["--origin", &url, "--origin-decides"]);
        assert_eq!(proxy.get("/").await.body(), "page");
        let later = proxy.get("/").await;
        assert_eq!(
            (later.status(), &*later.x_cache()),
            (status, outcome),
            "{later:?}"
        );
        assert_eq!(later.body() == "page", status == 200);
    }
}

#[tokio::test]
async fn an_origin_that_does_not_speak_http_is_a_502() {
    let (url, _) = raw_origin(async |_, mut stream| {
        serve_one(&mut stream, "SSH-2.0-OpenSSH_9.2\r\n").await;
    })
    .await;
    let answer = start(&url).get("/").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(
        answer.field("proxy-status"),
        "reverse_proxy; error=http_protocol_error"
    );
}

#[tokio::test]
async fn a_write_whose_outcome_nobody_saw_evicts() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        let (url, _) = raw_origin(move |_, mut stream| async move {
            let mut asked = String::new();
            let mut chunk = [0; 1024];
            while !asked.contains("\r\n\r\n") {
                let count = stream.read(&mut chunk).await.unwrap();
                asked.push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
            let page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage";
            let answer = if asked.starts_with("GET") {
                page
            } else {
                answer
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await;
        let proxy = start(&url);
        for method in [Method::PUT, Method::POST, Method::DELETE] {
            for body in ["", "new"] {
                proxy.get("/").await;
                assert_eq!(proxy.get("/").await.x_cache(), "HIT", "{answer:?}");
                let failed = proxy.send(method.clone(), "/", &[], body).await;
                assert_eq!(failed.status(), 502, "{answer:?}");
                assert_eq!(
                    proxy.get("/").await.x_cache(),
                    "MISS",
                    "{method} {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_never_reached_the_origin_evicts_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = start(&url);
    let origin = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage";
        assert!(serve_one(&mut stream, page).await);
    });
    assert_eq!(proxy.get("/").await.x_cache(), "MISS");
    origin.await.unwrap();
    assert_eq!(proxy.send(Method::PUT, "/", &[], "new").await.status(), 502);
    assert_eq!(proxy.get("/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_the_client_nothing() {
    // Each connection answers once and closes at the next request, as one does whose keep-alive
    // time has just run out.
    let (url, connections) = raw_origin(async |_, mut stream| {
        if serve_one(&mut stream, OK).await {
            serve_one(&mut stream, "").await;
        }
    })
    .await;
    let proxy = start(&url);
    for expected in 1..=3 {
        assert_eq!(proxy.get("/").await.body(), "ok");
        assert_eq!(connections.load(Ordering::SeqCst), expected);
    }
    // What may have had an effect is not sent twice.
    let posted = proxy.send(Method::POST, "/", &[], "").await;
    assert_eq!(posted.status(), 502);
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn connections_to_the_origin_are_kept_for_the_next_request() {
    let (url, connections) =
        raw_origin(async |_, mut stream| while serve_one(&mut stream, OK).await {}).await;
    let proxy = start(&url);
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.body(), "ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_cut_short_is_cut_short_for_the_client_and_not_stored() {
    let (url, connections) = raw_origin(async |_, mut stream| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
        serve_one(&mut stream, answer).await;
    })
    .await;
    let proxy = start(&url);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        let said = proxy.raw(request).await;
        assert!(
            said.to_lowercase().contains("content-length: 100\r\n"),
            "{said}"
        );
        assert!(said.ends_with("only this"), "{said}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_is_broken_off_for_the_client_and_not_stored() {
    for rest in [
        "",
        "5\r\nmor",
        "5\r\nmore!",
        "zz\r\nmore\r\n0\r\n\r\n",
        "0\r\nX-Sum: 1",
    ] {
        let (url, connections) = raw_origin(move |_, mut stream| async move {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n{rest}"
            );
            serve_one(&mut stream, &answer).await;
        })
        .await;
        let proxy = start(&url);
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for _ in 0..2 {
            let said = proxy.raw(request).await;
            // Whether or not anything of it came: no end that looks like one.
            let whole = said.contains("200 OK") && said.ends_with("0\r\n\r\n");
            assert!(!whole, "{rest:?}: {said}");
            assert!(!said.to_lowercase().contains("x-cache: hit"), "{rest:?}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{rest:?}");
    }
}

#[tokio::test]
async fn a_field_on_several_lines_is_no_field() {
    // RFC 9112 §5.2: what a folded line says might be read in two ways.
    for field in [
        "Cache-Control: max-age=60,\r\n no-store",
        "Expires: Fri, 31 Dec 2100\r\n\t23:59:59 GMT",
        "X-A: 1\r\n Cache-Control: max-age=60",
    ] {
        let (url, connections) = raw_origin(move |_, mut stream| async move {
            let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 2\r\n\r\nok");
            serve_one(&mut stream, &answer).await;
        })
        .await;
        let proxy = start(&url);
        for _ in 0..2 {
            assert_eq!(proxy.get("/").await.status(), 502, "{field}");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{field}");
        let folded = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        let said = proxy.raw(&folded).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{field}");
    }
}

#[tokio::test]
async fn an_answer_under_way_is_finished_before_the_program_stops() {
    let (url, _) = raw_origin(async |_, mut stream| {
        serve_one(
            &mut stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stream.write_all(b"-last").await.unwrap();
    })
    .await;
    let proxy = start(&url);
    let idle = TcpStream::connect(proxy.address).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "first").await;
    proxy.terminate();
    let rest = read_until(&mut stream, "-last").await;
    assert!(rest.ends_with("-last"), "{rest}");
    drop(idle);
    let address = proxy.address;
    assert!(proxy.stop().success());
    assert!(TcpStream::connect(address).await.is_err());
}
