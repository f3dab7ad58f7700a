//! What goes over the wire: an axum server with the layer, and clients that write and read bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request as AxumRequest;
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use support::{
    Answer, BoxError, Gate, MINUTE, TestBody, chunk, respond_with, scripted, scripted_of,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::{Layer, Service};
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheLayer, Policy, Routes};

/// When nothing has come for so long, nothing will.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of HTTP/1.1 and of HTTP/2 with prior knowledge; `half_close` as hyper has it.
async fn serve_as<S, B>(half_close: bool, app: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http1().half_close(half_close);
                // Clients that leave are part of some tests.
                let _ = server
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

fn layer() -> CacheLayer {
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    CacheLayer::builder().routes(routes).build().unwrap()
}

/// A server that answers everything with what `make` returns, and caches it.
async fn serve<F>(make: F) -> SocketAddr
where
    F: Fn() -> Response<TestBody> + Clone + Send + Sync + 'static,
{
    let answer = move || {
        let response = make().map(Body::new);
        async move { response }
    };
    // Around the router, which would otherwise have a hand in the answers.
    serve_as(false, layer().layer(Router::new().fallback(answer))).await
}

/// A client that sends and reads bytes.
struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let received = Vec::new();
        Self { stream, received }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads more, and returns whether there was more.
    async fn more(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.received);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        let said = String::from_utf8_lossy(&self.received);
        read.unwrap_or_else(|_| panic!("nothing after {said:?}"))
            .is_ok_and(|count| count > 0)
    }

    /// Takes what comes up to and with `end`.
    async fn until(&mut self, end: &str) -> Vec<u8> {
        loop {
            let mut windows = self.received.windows(end.len());
            if let Some(at) = windows.position(|window| window == end.as_bytes()) {
                let rest = self.received.split_off(at + end.len());
                return std::mem::replace(&mut self.received, rest);
            }
            let more = self.more().await;
            let said = String::from_utf8_lossy(&self.received);
            assert!(more, "ended without {end:?}: {said:?}");
        }
    }

    /// Takes a head: its status line and its fields in alphabetical order, names in lower case.
    async fn head(&mut self) -> Vec<String> {
        let head = self.until("\r\n\r\n").await;
        let head = String::from_utf8(head).unwrap();
        let mut lines: Vec<_> = head.trim_end().split("\r\n").map(str::to_owned).collect();
        lines[1..].sort();
        lines
    }

    /// Takes so many bytes.
    async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            assert!(self.more().await, "ended early");
        }
        let rest = self.received.split_off(length);
        std::mem::replace(&mut self.received, rest)
    }

    /// Takes all that comes before the connection ends.
    async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }
}

/// A request without content, fields aside.
fn ask(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The lines of a head that say what it frames and what the cache did.
fn essence(head: &[String]) -> Vec<&str> {
    let telling = ["content-length", "transfer-encoding", "x-cache", "HTTP/1.1"];
    let lines = head.iter().map(String::as_str);
    lines
        .filter(|line| telling.iter().any(|name| line.starts_with(name)))
        .collect()
}

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
        (
            "GET",
            "If-Match: \"b\"",
            "412 Precondition Failed",
            refused(&[]),
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

/// A server that gives these responses, one a request, and then `whole`.
async fn serve_scripts<const N: usize>(responses: [Response<TestBody>; N]) -> SocketAddr {
    let mut responses = Vec::from(responses);
    responses.reverse();
    let responses = Arc::new(Mutex::new(responses));
    serve(move || {
        let next = responses.lock().unwrap().pop();
        next.unwrap_or_else(|| respond_with(200, &[], support::whole("whole")))
    })
    .await
}

/// A client of HTTP/2 that knows beforehand what is spoken.
async fn h2(address: SocketAddr) -> SendRequest<TestBody> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send_h2(
    sender: &mut SendRequest<TestBody>,
    method: &str,
    fields: &[(&str, &str)],
    body: TestBody,
) -> Response<TestBody> {
    let mut request = Request::builder().method(method).uri("http://a/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let sending = sender.send_request(request.body(body).unwrap());
    let response = tokio::time::timeout(PATIENCE, sending).await.unwrap();
    let response = response.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

async fn over_h2(
    sender: &mut SendRequest<TestBody>,
    method: &str,
    fields: &[(&str, &str)],
    body: TestBody,
) -> Answer {
    Answer::read(send_h2(sender, method, fields, body).await).await
}

#[tokio::test]
async fn http_2_is_served_and_evicted_as_http_1_is() {
    let address = serve(|| respond_with(200, &[("etag", "\"a\"")], support::whole("0123"))).await;
    let mut sender = h2(address).await;
    let nothing = || support::whole("");
    for (method, fields, status, outcome, content) in [
        ("GET", &[][..], 200, "MISS", "0123"),
        ("GET", &[], 200, "HIT", "0123"),
        ("HEAD", &[], 200, "HIT", ""),
        ("GET", &[("if-none-match", "\"a\"")], 304, "HIT", ""),
        ("GET", &[("range", "bytes=1-2")], 206, "HIT", "12"),
        ("PUT", &[], 200, "BYPASS", "0123"),
        ("GET", &[], 200, "MISS", "0123"),
    ] {
        let answer = over_h2(&mut sender, method, fields, nothing()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.x_cache()),
            (status, outcome)
        );
        assert_eq!((answer.text(), &answer.error), (content, &None));
        for once in ["date", "content-length", "etag"] {
            let lines = answer.headers.get_all(once).iter().count();
            let expected = usize::from(once != "content-length" || status != 304);
            assert_eq!(lines, expected, "{once} of {method} {status}");
        }
    }
    // HTTP/1.1 does not say the scheme, which is part of the key; a write is one for both.
    let mut wire = Wire::to(address).await;
    wire.send(&ask("PUT", "/")).await;
    assert_eq!(essence(&wire.head().await)[2], "x-cache: BYPASS");
    assert_eq!(wire.bytes(4).await, b"0123");
    let answer = over_h2(&mut sender, "GET", &[], nothing()).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", "0123"));
}

#[tokio::test]
async fn a_get_with_content_of_unknown_length_over_http_2_is_passed_by() {
    let echo = async |body: Bytes| body;
    let app = Router::new().fallback(echo).layer(layer());
    let mut sender = h2(serve_as(false, app).await).await;
    for content in ["fat", "other", ""] {
        let (script, body) = scripted();
        script.send(chunk(content)).unwrap();
        drop(script);
        let answer = over_h2(&mut sender, "GET", &[], body).await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", content));
    }
    let answer = over_h2(&mut sender, "GET", &[], support::whole("")).await;
    assert_eq!((answer.x_cache(), answer.text()), ("MISS", ""));
}

#[tokio::test]
async fn over_http_2_a_body_that_breaks_off_is_an_error_and_trailers_are_kept() {
    let (broken, body) = scripted();
    let (trailing, whole) = scripted();
    let responses = [respond_with(200, &[], body), respond_with(200, &[], whole)];
    let mut sender = h2(serve_scripts(responses).await).await;
    broken.send(chunk("some")).unwrap();
    let response = send_h2(&mut sender, "GET", &[], support::whole("")).await;
    broken.send(Err("broken".into())).unwrap();
    let answer = Answer::read(response).await;
    assert!(answer.error.is_some(), "{answer:?}");
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("checksum"),
        HeaderValue::from_static("1"),
    )]);
    trailing.send(chunk("abc")).unwrap();
    trailing
        .send(Ok(Frame::trailers(trailers.clone())))
        .unwrap();
    drop(trailing);
    for outcome in ["MISS", "HIT"] {
        let answer = over_h2(&mut sender, "GET", &[], support::whole("")).await;
        assert_eq!((answer.x_cache(), answer.text()), (outcome, "abc"));
        assert_eq!(answer.trailers.as_ref(), Some(&trailers));
    }
}
