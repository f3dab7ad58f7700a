//! Connections of HTTP/1.1: streamed, shared, pipelined, broken off, half closed and upgraded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::{any, get};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Wire, ask, essence, layer, serve_as, serve_scripts};
use crate::support::{self, Gate, chunk, respond_with, scripted, scripted_of};

#[tokio::test]
async fn the_first_chunk_arrives_before_the_second_exists() {
    let (script, body) = scripted();
    let address = serve_scripts([respond_with(200, &[], body)]).await;
    let mut leader = Wire::to(address).await;
    leader.send(&ask("GET", "/")).await;
    script.send(chunk("one")).unwrap();
    let chunked = [
        "HTTP/1.1 200 OK",
        "transfer-encoding: chunked",
        "x-cache: MISS",
    ];
    assert_eq!(essence(&leader.head().await), chunked);
    assert_eq!(leader.until("one\r\n").await, b"3\r\none\r\n");
    let mut joiner = Wire::to(address).await;
    joiner.send(&ask("GET", "/")).await;
    assert_eq!(essence(&joiner.head().await), chunked);
    assert_eq!(joiner.until("one\r\n").await, b"3\r\none\r\n");
    script.send(chunk("second")).unwrap();
    drop(script);
    for wire in [&mut leader, &mut joiner] {
        let rest = wire.until("0\r\n\r\n").await;
        assert_eq!(rest, b"6\r\nsecond\r\n0\r\n\r\n");
        // From the store its length is known.
        wire.send(&ask("GET", "/")).await;
        let hit = ["HTTP/1.1 200 OK", "content-length: 9", "x-cache: HIT"];
        assert_eq!(essence(&wire.head().await), hit);
        assert_eq!(wire.bytes(9).await, b"onesecond");
    }
}

#[tokio::test]
async fn clients_on_connections_of_their_own_share_one_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (gate, begun) = (Gate::shut(), Arc::new(Semaphore::new(0)));
    let page = {
        let (calls, gate, begun) = (calls.clone(), gate.clone(), begun.clone());
        move || async move {
            calls.fetch_add(1, Ordering::SeqCst);
            begun.add_permits(1);
            gate.wait().await;
            "page"
        }
    };
    let app = Router::new().route("/", get(page)).layer(layer());
    // The usual way to serve a router makes a service of the layer for each connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut wires = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::to(address).await;
        wire.send(&ask("GET", "/")).await;
        wires.push(wire);
    }
    begun.acquire().await.unwrap().forget();
    support::settle().await;
    gate.open();
    for wire in &mut wires {
        let expected = ["HTTP/1.1 200 OK", "content-length: 4"];
        assert_eq!(essence(&wire.head().await)[..2], expected);
        assert_eq!(wire.bytes(4).await, b"page");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = move || {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move { format!("call {call}") }
    };
    let app = Router::new().fallback(any(count)).layer(layer());
    let mut wire = Wire::to(serve_as(false, app).await).await;
    let requests = [
        ("GET", "/a", "MISS", "call 0"),
        ("GET", "/b", "MISS", "call 1"),
        ("HEAD", "/a", "HIT", ""),
        ("GET", "/a", "HIT", "call 0"),
        ("HEAD", "/c", "MISS", ""),
        ("GET", "/c", "MISS", "call 3"),
        ("DELETE", "/a", "BYPASS", "call 4"),
        ("GET", "/a", "MISS", "call 5"),
        ("GET", "/b", "HIT", "call 1"),
    ];
    let all = requests
        .map(|(method, path, ..)| ask(method, path))
        .concat();
    wire.send(&all).await;
    for (method, path, outcome, content) in requests {
        let head = wire.head().await;
        let expected = [
            "HTTP/1.1 200 OK",
            "content-length: 6",
            &format!("x-cache: {outcome}"),
        ];
        assert_eq!(essence(&head), expected, "{method} {path}");
        assert_eq!(wire.bytes(content.len()).await, content.as_bytes());
    }
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, "");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to_break_off_and_is_not_stored() {
    for announced in [true, false] {
        let (script, body) = match announced {
            true => scripted_of(100),
            false => scripted(),
        };
        let address = serve_scripts([respond_with(200, &[], body)]).await;
        let (mut leader, mut joiner) = (Wire::to(address).await, Wire::to(address).await);
        script.send(chunk(vec![b'x'; 60])).unwrap();
        for wire in [&mut leader, &mut joiner] {
            wire.send(&ask("GET", "/")).await;
            let framing = match announced {
                true => "content-length: 100",
                false => "transfer-encoding: chunked",
            };
            assert_eq!(essence(&wire.head().await)[1], framing);
            wire.until("xxxx").await;
        }
        script.send(Err("broken".into())).unwrap();
        for wire in [&mut leader, &mut joiner] {
            let rest = wire.rest().await;
            assert_eq!(rest.matches('x').count(), 56, "{rest:?}");
            assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
        }
        let mut next = Wire::to(address).await;
        next.send(&ask("GET", "/")).await;
        assert_eq!(essence(&next.head().await)[2], "x-cache: MISS");
        assert_eq!(next.bytes(5).await, b"whole");
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered_where_the_server_goes_on() {
    let app = Router::new().fallback(|| async { "x" }).layer(layer());
    let address = serve_as(true, app).await;
    for outcome in ["MISS", "HIT"] {
        let mut wire = Wire::to(address).await;
        wire.send(&ask("GET", "/")).await;
        wire.stream.shutdown().await.unwrap();
        let answer = wire.rest().await;
        assert!(answer.contains(&format!("x-cache: {outcome}")), "{answer}");
        assert!(answer.ends_with("\r\n\r\nx"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_leaves_no_stale_response_behind() {
    // As hyper has it, this ends the connection, and with it the handler.
    let gate = Gate::shut();
    let begun = Arc::new(Semaphore::new(0));
    let version = Arc::new(AtomicUsize::new(0));
    let write = {
        let (gate, begun, version) = (gate.clone(), begun.clone(), version.clone());
        move || async move {
            version.fetch_add(1, Ordering::SeqCst);
            begun.add_permits(1);
            gate.wait().await;
        }
    };
    let read = move || async move { version.load(Ordering::SeqCst).to_string() };
    let app = Router::new()
        .route("/", get(read).put(write))
        .layer(layer());
    let address = serve_as(false, app).await;
    let mut reader = Wire::to(address).await;
    for expected in ["x-cache: MISS", "x-cache: HIT"] {
        reader.send(&ask("GET", "/")).await;
        assert_eq!(essence(&reader.head().await)[2], expected);
        assert_eq!(reader.bytes(1).await, b"0");
    }
    let mut writer = Wire::to(address).await;
    writer.send(&ask("PUT", "/")).await;
    begun.acquire().await.unwrap().forget();
    writer.stream.shutdown().await.unwrap();
    assert_eq!(writer.rest().await, "");
    reader.send(&ask("GET", "/")).await;
    assert_eq!(essence(&reader.head().await)[2], "x-cache: MISS");
    assert_eq!(reader.bytes(1).await, b"1");
}

#[tokio::test]
async fn another_protocol_is_spoken_over_the_same_connection() {
    let switch = |mut request: AxumRequest| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut said = [0; 5];
            stream.read_exact(&mut said).await.unwrap();
            said.reverse();
            stream.write_all(&said).await.unwrap();
        });
        let fields = [("connection", "upgrade"), ("upgrade", "mirror")];
        (StatusCode::SWITCHING_PROTOCOLS, fields)
    };
    let app = Router::new().route("/", get(switch)).layer(layer());
    let address = serve_as(false, app).await;
    for _ in 0..2 {
        let mut wire = Wire::to(address).await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: mirror\r\n\r\n")
            .await;
        let mut head = wire.head().await;
        head.retain(|line| !line.starts_with("date: "));
        let expected = [
            "HTTP/1.1 101 Switching Protocols",
            "connection: upgrade",
            "upgrade: mirror",
        ];
        assert_eq!(head, expected);
        wire.send("hello").await;
        assert_eq!(wire.rest().await, "olleh");
    }
}
