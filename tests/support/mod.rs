//! What the tests share: a counting origin, callers, and bodies that come on command.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each program of tests uses its part of it"
)]

pub mod alone;
pub mod client;
pub mod dice;
pub mod fault_proxy;
pub mod ledger;
pub mod logs;
pub mod programs;
pub mod redis;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{Cache, CacheHandle, CacheLayer, CacheLayerBuilder, Policy, Routes};

pub use dice::Dice;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type TestBody = UnsyncBoxBody<Bytes, BoxError>;
pub type TestRequest = Request<Empty<Bytes>>;

pub const MINUTE: Duration = Duration::from_secs(60);

pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Lets what runs in the background go as far as it can.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets others run a few times, or for a while of paused or real time.
pub async fn hesitate(random: &mut Dice) {
    for _ in 0..random.below(4) {
        match random.below(8) {
            0 => tokio::time::sleep(Duration::from_micros(1 + random.below(50) as u64)).await,
            _ => tokio::task::yield_now().await,
        }
    }
}

/// An inner service that counts its calls and answers as it is told.
#[derive(Clone)]
pub struct Origin {
    calls: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    answer: Arc<dyn Fn(TestRequest, usize) -> BoxFuture<'static, Response<TestBody>> + Send + Sync>,
}

impl Origin {
    /// An origin that answers each request by calling `answer` with it and the number of calls so
    /// far, this one included.
    pub fn new<F, R>(answer: F) -> Self
    where
        F: Fn(TestRequest, usize) -> R + Send + Sync + 'static,
        R: Future<Output = Response<TestBody>> + Send + 'static,
    {
        Self {
            calls: Arc::default(),
            seen: Arc::default(),
            answer: Arc::new(move |request, call| Box::pin(answer(request, call))),
        }
    }

    /// An origin that answers 200 with the number of the call as its body, and these fields.
    pub fn with_fields(fields: &'static [(&'static str, &'static str)]) -> Self {
        Self::new(move |_, call| async move { respond(200, fields, call.to_string()) })
    }

    /// An origin that answers 200 with the number of the call.
    pub fn counting() -> Self {
        Self::with_fields(&[])
    }

    /// An origin that answers 200 with what `show` makes of the request, and these fields.
    pub fn showing(
        fields: &'static [(&'static str, &'static str)],
        show: fn(&TestRequest) -> String,
    ) -> Self {
        Self::new(move |request, _| {
            let shown = show(&request);
            async move { respond(200, fields, shown) }
        })
    }

    /// An origin that gives these responses, one a call, and answers 200 with the number of the call
    /// when there are no more.
    pub fn script(responses: impl IntoIterator<Item = Response<TestBody>>) -> Self {
        let responses: VecDeque<_> = responses.into_iter().collect();
        let responses = Mutex::new(responses);
        Self::new(move |_, call| {
            let response = responses.lock().unwrap().pop_front();
            async move { response.unwrap_or_else(|| respond(200, &[], call.to_string())) }
        })
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The headers of all requests so far.
    pub fn seen(&self) -> Vec<HeaderMap> {
        self.seen.lock().unwrap().clone()
    }
}

impl Service<TestRequest> for Origin {
    type Response = Response<TestBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<TestBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: TestRequest) -> Self::Future {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.lock().unwrap().push(request.headers().clone());
        let answer = (self.answer)(request, call);
        Box::pin(async move { Ok(answer.await) })
    }
}

pub fn respond(status: u16, fields: &[(&str, &str)], body: impl Into<Bytes>) -> Response<TestBody> {
    respond_with(status, fields, whole(body))
}

pub fn respond_with(status: u16, fields: &[(&str, &str)], body: TestBody) -> Response<TestBody> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

pub fn whole(body: impl Into<Bytes>) -> TestBody {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body whose frames are sent by the test, of unknown length.
pub fn scripted() -> (
    mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>,
    TestBody,
) {
    let (send, receive) = mpsc::unbounded_channel();
    (
        send,
        Scripted {
            receive,
            announced: None,
        }
        .boxed_unsync(),
    )
}

/// A body whose frames are sent by the test, of an announced length.
pub fn scripted_of(
    length: u64,
) -> (
    mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>,
    TestBody,
) {
    let (send, receive) = mpsc::unbounded_channel();
    (
        send,
        Scripted {
            receive,
            announced: Some(length),
        }
        .boxed_unsync(),
    )
}

/// Where handlers wait until the test lets all of them on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets on all who wait, and all who come.
    pub fn open(&self) {
        self.0.close();
    }

    /// Lets on one.
    pub fn open_for_one(&self) {
        self.0.add_permits(1);
    }

    pub async fn wait(&self) {
        // An error says that the gate is open.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

pub fn chunk(data: impl Into<Bytes>) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(data.into()))
}

struct Scripted {
    receive: mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>,
    announced: Option<u64>,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.receive.poll_recv(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self.announced {
            Some(length) => http_body::SizeHint::with_exact(length),
            None => http_body::SizeHint::default(),
        }
    }
}

/// A cache over an origin, with a clock that the test moves.
pub struct Bench {
    pub service: Cache<Origin>,
    pub origin: Origin,
    pub handle: CacheHandle,
    pub clock: ManualClock,
}

impl Bench {
    /// Caches every path under one policy.
    pub fn new(policy: Policy, origin: Origin) -> Self {
        Self::with_routes(Routes::new().otherwise(policy), origin)
    }

    pub fn with_routes(routes: Routes, origin: Origin) -> Self {
        Self::with_builder(CacheLayer::builder().routes(routes), origin)
    }

    pub fn with_builder(builder: CacheLayerBuilder, origin: Origin) -> Self {
        let clock = ManualClock::new();
        let layer = builder.clock(clock.clock()).build().unwrap();
        Self {
            service: layer.layer(origin.clone()),
            handle: layer.handle(),
            origin,
            clock,
        }
    }

    pub async fn send(&self, request: TestRequest) -> Response<TestBody> {
        let service = self.service.clone();
        let response = service.oneshot(request).await.unwrap();
        response.map(BodyExt::boxed_unsync)
    }

    /// Sends a request from a task of its own, and reads the answer there.
    pub fn spawn(&self, request: TestRequest) -> JoinHandle<Answer> {
        let service = self.service.clone();
        tokio::spawn(async move {
            let response = service.oneshot(request).await.unwrap();
            Answer::read(response.map(BodyExt::boxed_unsync)).await
        })
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.ask(request("GET", uri, &[])).await
    }

    pub async fn get_with(&self, uri: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(request("GET", uri, fields)).await
    }

    pub async fn ask(&self, request: TestRequest) -> Answer {
        Answer::read(self.send(request).await).await
    }
}

/// Returns a request field as text, or a dash where there is none.
pub fn sent(request: &TestRequest, name: &str) -> String {
    let lines = request.headers().get_all(name).iter();
    let lines: Vec<_> = lines
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    match lines.is_empty() {
        true => "-".to_owned(),
        false => lines.join(", "),
    }
}

pub fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> TestRequest {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// A response that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
    pub error: Option<String>,
}

impl Answer {
    pub async fn read(response: Response<TestBody>) -> Self {
        let (head, mut body) = response.into_parts();
        let mut answer = Self {
            status: head.status,
            headers: head.headers,
            body: Bytes::new(),
            trailers: None,
            error: None,
        };
        let mut data = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(chunk)) => data.extend_from_slice(&chunk),
                Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
                Err(error) => {
                    answer.error = Some(error.to_string());
                    break;
                }
            }
        }
        answer.body = data.into();
        answer
    }

    pub fn field(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or("(absent)")
    }

    pub fn x_cache(&self) -> &str {
        self.field("x-cache")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
