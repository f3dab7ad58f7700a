//! What goes over the wire: an axum server with the layer, and clients that write and read bytes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod heads;
mod http_2;
mod upstream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service};
use tower_response_cache::{CacheLayer, Policy, Routes};

use crate::support::{BoxError, MINUTE, TestBody, respond_with};

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
