//! The cases: each has a service, and the requests sent to it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use fastrand::Rng;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::Full;
use tower::util::MapResponse;
use tower::{Layer, Service, service_fn};
use tower_response_cache::{CacheLayer, CacheLayerBuilder, MemoryStore, Policy, Routes};

/// A service under load.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The case without a cache with which this one is compared.
    pub(crate) bare: Option<&'static str>,
    pub(crate) request: Requests,
    service: fn() -> Sending,
}

/// The requests sent to a case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requests {
    /// The same request every time.
    Same,
    /// The same request, on the condition that the response has changed.
    Conditional,
    /// Each for a URI that was never requested before.
    New,
    /// For 10,000 URIs, chosen by Zipf's law.
    Zipf,
    /// A thousand for one URI, then a thousand for the next.
    Crowds,
    /// The same request every time, with a query of three parameters.
    Query,
}

/// Sends a request and reads its response to the end.
type Sending = Box<dyn FnMut(Request<Body>)>;

const BARE: &str = "bare Router, static text";
const BARE_EQUAL: &str = "bare Router, handler sending the same fields";
const BARE_NAMED: &str = "bare Router, handler naming the same fields";
const BARE_NEW: &str = "bare Router, 1 KiB and 8 fields, new URIs";
const BARE_TELLING: &str = "bare Router, telling as much in two fields";
const BARE_ZIPF: &str = "bare Router, 1 KiB and 8 fields, 10,000 URIs";
const BARE_SERVICE: &str = "bare service_fn";
const HIT: &str = "hit, 1 KiB and 8 fields";

macro_rules! cases {
    ($($(@$feature:literal)? $name:expr, $bare:expr, $request:ident, $service:expr;)*) => {
        &[$($(#[cfg(feature = $feature)])? Case { name: $name, bare: $bare, request: Requests::$request, service: || $service },)*]
    };
}

pub(crate) const CASES: &[Case] = cases! {
    "request", None, Same, Box::new(drop);
    "request with If-None-Match", None, Conditional, Box::new(drop);
    "request for a new URI", None, New, Box::new(drop);
    "request for one of 10,000 URIs", None, Zipf, Box::new(drop);
    "request for the URI of a crowd", None, Crowds, Box::new(drop);
    "request with a query", None, Query, Box::new(drop);
    BARE, None, Same, send(text());
    "bare Router, 1 KiB and 8 fields", None, Same, send(fields(KIB));
    BARE_EQUAL, None, Same, send(equal());
    "the same under an empty layer", None, Same, send(ready(equal().layer(Empty)));
    BARE_NAMED, None, Same, send(named());
    BARE_NEW, None, New, send(fields(KIB));
    BARE_ZIPF, None, Zipf, send(fields(KIB));
    BARE_TELLING, None, Same, send(MapResponse::new(text(), telling));
    BARE_SERVICE, None, Same, send(service_fn(full));
    "hit, static text", Some(BARE), Same, send(hot().layer(text()));
    HIT, Some(BARE), Same, send(hot().layer(fields(KIB)));
    "hit, measured", Some(HIT), Same, send(built(builder(64 * KIB * KIB).measure_latency(true)).layer(fields(KIB)));
    "hit, hot keys watched", Some(HIT), Same, send(built(builder(64 * KIB * KIB).hot_keys(20)).layer(fields(KIB)));
    @"otel" "hit, with a reader attached", Some(HIT), Same, send(built(collected()).layer(fields(KIB)));
    "hit, 64 KiB and 8 fields", Some(BARE), Same, send(hot().layer(fields(64 * KIB)));
    "hit, 1 MiB and 8 fields", Some(BARE), Same, send(hot().layer(fields(KIB * KIB)));
    "hit, 10,000 keys by Zipf's law", Some(BARE_ZIPF), Zipf, send(hot().layer(fields(KIB)));
    "hit, key of a sorted query", Some(HIT), Query, send(keyed(Policy::sort_query).layer(fields(KIB)));
    "hit, key of a header field", Some(HIT), Same, send(keyed(|policy| policy.key_header(header::ACCEPT_LANGUAGE)).layer(fields(KIB)));
    "hit, key by the policy's own function", Some(HIT), Same, send(keyed(|policy| policy.key_part(|parts| Some(parts.uri.path().to_owned()))).layer(fields(KIB)));
    "hit inside Router::layer", Some(BARE_EQUAL), Same, send(ready(fields(KIB).layer(hot())));
    "conditional hit (304)", Some(BARE), Conditional, send(hot().layer(fields(KIB)));
    "hit with Vary", Some(BARE), Same, send(hot().layer(varying()));
    "bypass (no route), Router", Some(BARE_TELLING), Same, send(cold().layer(text()));
    "bypass (no route), service_fn", Some(BARE_SERVICE), Same, send(cold().layer(service_fn(full)));
    "miss stored, 1 KiB and 8 fields", Some(BARE_NEW), New, send(small().layer(fields(KIB)));
    "miss not stored, 1 KiB and 8 fields", Some(BARE_NEW), New, send(small().layer(unstorable()));
    "one of 1,000 that share a miss", Some(BARE), Crowds, crowd();
};

pub(crate) fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

/// A case that is running.
pub(crate) struct Client {
    service: Sending,
    request: Requests,
    template: Request<()>,
    uris: Vec<Uri>,
    draws: Zipf,
    sent: u64,
    /// A runtime for spawned tasks, which never run: every future here is ready at once.
    runtime: tokio::runtime::Runtime,
}

impl Case {
    pub(crate) fn is_request(&self) -> bool {
        self.name.starts_with("request")
    }

    /// Sets the case up, and runs it until hits are hits and the store is full.
    pub(crate) fn client(&self) -> Client {
        let mut client = Client::new(self.service, self.request);
        client.warm_up();
        client
    }
}

/// A service shared by several threads.
pub(crate) struct Shared {
    cache: Option<CacheLayer>,
    router: Router,
}

impl Shared {
    pub(crate) fn bare() -> Self {
        let (cache, router) = (None, fields(KIB));
        Self { cache, router }
    }

    pub(crate) fn cached() -> Self {
        let (cache, router) = (Some(hot()), fields(KIB));
        Self { cache, router }
    }

    /// Returns the client of one thread. Each client draws different keys.
    pub(crate) fn client(&self, request: Requests, thread: u64) -> Client {
        let router = self.router.clone();
        let service = || match &self.cache {
            Some(cache) => send(cache.layer(router)),
            None => send(router),
        };
        let mut client = Client::new(service, request);
        // Responses from the warm-up are stored already.
        client.sent = URIS;
        client.draws = Zipf::seeded(thread);
        client
    }
}

impl Client {
    fn new(service: impl FnOnce() -> Sending, request: Requests) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a timer needs nothing");
        Self {
            service: service(),
            request,
            template: template(request),
            uris: match request {
                Requests::Zipf => (0..URIS).map(article).collect(),
                _ => Vec::new(),
            },
            draws: Zipf::seeded(0),
            sent: 0,
            runtime,
        }
    }

    /// Runs until hits are hits and the store is full.
    pub(crate) fn warm_up(&mut self) {
        self.sent = 0;
        self.send(match self.request {
            Requests::Same | Requests::Conditional | Requests::Query => 100,
            Requests::New => 3_000,
            Requests::Zipf => URIS,
            Requests::Crowds => CROWD,
        });
    }

    pub(crate) fn send(&mut self, requests: u64) {
        let _entered = self.runtime.enter();
        for _ in 0..requests {
            self.sent += 1;
            let mut request = self.template.clone().map(|()| Body::empty());
            if self.sent == 1 {
                // The first is read to its end, and so stored.
                request.headers_mut().remove(header::IF_NONE_MATCH);
            }
            match self.request {
                Requests::Same | Requests::Conditional | Requests::Query => {}
                Requests::New => *request.uri_mut() = article(self.sent),
                Requests::Crowds => *request.uri_mut() = article(self.sent.div_ceil(CROWD)),
                // Each URI once at first, so that all are stored.
                Requests::Zipf if self.sent <= URIS => {
                    *request.uri_mut() = self.uris[self.sent as usize - 1].clone();
                }
                Requests::Zipf => *request.uri_mut() = self.uris[self.draws.draw()].clone(),
            }
            (self.service)(request);
        }
    }
}

/// Fills a store that evicts nothing, and returns the bytes of each response's headers and body.
pub(crate) fn storing() -> (Client, usize) {
    let service = || send(cached(64 * KIB * KIB).layer(fields(KIB)));
    let head: usize = common()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let client = Client::new(service, Requests::New);
    // axum adds `Content-Length`, and the cache adds `Date`.
    let added = "content-length1024".len() + "dateSun, 06 Nov 1994 08:49:37 GMT".len();
    (client, head + added + KIB)
}

const KIB: usize = 1024;

/// The number of URIs to choose from.
const URIS: u64 = 10_000;

/// The number of requests that share a miss.
const CROWD: u64 = 1_000;

fn article(number: u64) -> Uri {
    let uri = format!("/articles/{number}");
    uri.try_into().expect("it is a path")
}

/// Draws one of [`URIS`] ranks by Zipf's law with an exponent of one, approximately: the logarithm of
/// the rank is distributed evenly.
struct Zipf(Rng);

impl Zipf {
    fn seeded(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    fn draw(&mut self) -> usize {
        // The same ranks in every run.
        ((URIS as f64).powf(self.0.f64()) as usize - 1).min(URIS as usize - 1)
    }
}

/// The entity tag that the handlers send.
const TAG: &str = "\"5f2b-61a1c9e3d2f40\"";

/// Makes a request as browsers send it.
fn template(request: Requests) -> Request<()> {
    let mut fields = vec![
        ("host", "shop.example.com"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://shop.example.com/articles"),
        ("connection", "keep-alive"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ];
    if request == Requests::Conditional {
        fields.push(("if-none-match", TAG));
    }
    let mut request = Request::get(match request {
        Requests::Query => "/articles/7?page=2&order=newest&author=12",
        _ => "/articles/7",
    });
    for (name, value) in fields {
        request = request.header(name, value);
    }
    request.body(()).expect("they are fields")
}

/// Builds a cache with a route for the requests.
fn cached(bytes: usize) -> CacheLayer {
    built(builder(bytes))
}

fn builder(bytes: usize) -> CacheLayerBuilder {
    under(policy(), bytes)
}

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(3_600)).max_body(2 * KIB * KIB)
}

fn under(policy: Policy, bytes: usize) -> CacheLayerBuilder {
    CacheLayer::builder()
        .store(MemoryStore::new(bytes))
        .routes(Routes::new().route("/articles/{id}", policy))
}

/// Builds a cache whose policy adds to the key.
fn keyed(add: fn(Policy) -> Policy) -> CacheLayer {
    built(under(add(policy()), 64 * KIB * KIB))
}

fn built(builder: CacheLayerBuilder) -> CacheLayer {
    builder.build().expect("the route is a good one")
}

/// Configures a cache whose metrics an OpenTelemetry reader collects.
#[cfg(feature = "otel")]
fn collected() -> CacheLayerBuilder {
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
    let reader = PeriodicReader::builder(InMemoryMetricExporter::default())
        .with_interval(Duration::from_secs(3_600))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let builder = builder(64 * KIB * KIB).meter(provider.meter("cost"));
    // Dropping it would shut it down.
    Box::leak(Box::new(provider));
    builder
}

fn hot() -> CacheLayer {
    cached(64 * KIB * KIB)
}

/// Builds a cache whose store is soon full.
fn small() -> CacheLayer {
    cached(2 * KIB * KIB)
}

/// Builds a cache without a route for the requests.
fn cold() -> CacheLayer {
    let routes = Routes::new().route("/products/{id}", Policy::ttl(Duration::from_secs(60)));
    let builder = CacheLayer::builder().routes(routes);
    builder.build().expect("the route is a good one")
}

fn text() -> Router {
    ready(Router::new().route("/articles/{id}", get(|| async { "An article." })))
}

/// Makes a router that responds with seven fields, to which axum adds `Content-Length`.
fn fields(bytes: usize) -> Router {
    answering(common().into_iter().collect(), bytes)
}

/// Makes a router that responds with all the fields of a hit.
fn equal() -> Router {
    let mut headers: HeaderMap = common().into_iter().collect();
    headers.insert(header::AGE, HeaderValue::from_static("7"));
    let status = "tower-response-cache; hit; ttl=3593";
    headers.insert("cache-status", HeaderValue::from_static(status));
    headers.insert("x-cache", HeaderValue::from_static("HIT"));
    answering(headers, KIB)
}

/// Makes a router that responds with the same fields, each set by name as handlers usually do.
fn named() -> Router {
    static ARTICLE: [u8; KIB] = [b'x'; KIB];
    let handler = || async {
        let fields = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::ETAG, TAG),
            (header::LAST_MODIFIED, "Tue, 07 Jul 2026 08:49:37 GMT"),
            (header::CACHE_CONTROL, "public, max-age=3600"),
            (header::CONTENT_LANGUAGE, "en"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::DATE, "Tue, 07 Jul 2026 08:49:37 GMT"),
            (header::AGE, "7"),
            (header::CACHE_STATUS, "tower-response-cache; hit; ttl=3593"),
            (HeaderName::from_static("x-cache"), "HIT"),
        ];
        (fields, &ARTICLE[..])
    };
    ready(Router::new().route("/articles/{id}", get(handler)))
}

fn varying() -> Router {
    let mut headers: HeaderMap = common().into_iter().collect();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    answering(headers, KIB)
}

/// Adds the two status fields that a bypass adds.
fn telling(mut response: Response<Body>) -> Response<Body> {
    const STATUS: HeaderValue =
        HeaderValue::from_static("tower-response-cache; fwd=bypass; detail=no-route");
    let headers = response.headers_mut();
    headers.insert(
        HeaderName::from_static("x-cache"),
        const { HeaderValue::from_static("BYPASS") },
    );
    headers.append(header::CACHE_STATUS, STATUS);
    response
}

/// Makes a thousand requests wait for one call of the handler, and then answers them all.
fn crowd() -> Sending {
    let open = Arc::new(AtomicBool::new(false));
    let waits = open.clone();
    let handler = move || {
        let open = waits.clone();
        std::future::poll_fn(move |_| match open.load(Ordering::Relaxed) {
            true => Poll::Ready("An article."),
            false => Poll::Pending,
        })
    };
    let router = ready(Router::new().route("/articles/{id}", get(handler)));
    let mut service = hot().layer(router);
    let mut waiting = Vec::new();
    Box::new(move |request| {
        let mut answer = Box::pin(service.call(request));
        let mut context = Context::from_waker(Waker::noop());
        assert!(answer.as_mut().poll(&mut context).is_pending());
        waiting.push(answer);
        if waiting.len() as u64 == CROWD {
            open.store(true, Ordering::Relaxed);
            for answer in waiting.drain(..) {
                let answered = now(answer).unwrap_or_else(|_| unreachable!("it cannot fail"));
                read(answered.into_body());
            }
            open.store(false, Ordering::Relaxed);
        }
    })
}

fn unstorable() -> Router {
    let mut headers: HeaderMap = common().into_iter().collect();
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    answering(headers, KIB)
}

fn common() -> [(HeaderName, HeaderValue); 7] {
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::ETAG, TAG),
        (header::LAST_MODIFIED, "Tue, 07 Jul 2026 08:49:37 GMT"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::CONTENT_LANGUAGE, "en"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

fn answering(headers: HeaderMap, bytes: usize) -> Router {
    // The cheapest way is a ready-made map. It is not the handler's own, because axum clones a handler
    // and everything it holds for every request.
    let ready_made = Arc::new((headers, Bytes::from(vec![b'x'; bytes])));
    let handler = move || {
        let (headers, body) = &*ready_made;
        let mut response = Response::new(Body::from(body.clone()));
        *response.headers_mut() = headers.clone();
        std::future::ready(response)
    };
    ready(Router::new().route("/articles/{id}", get(handler)))
}

/// Turns handlers into services once, as `axum::serve` does, and not for every request.
fn ready(router: Router) -> Router {
    router.with_state(())
}

/// A layer that does nothing.
#[derive(Clone)]
struct Empty;

#[derive(Clone)]
struct Around<S>(S);

impl<S> Layer<S> for Empty {
    type Service = Around<S>;

    fn layer(&self, inner: S) -> Around<S> {
        Around(inner)
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Around<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.0.call(request)
    }
}

/// Answers a request with nothing around it at all.
async fn full(_: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"An article."))))
}

fn send<S, B>(mut service: S) -> Sending
where
    S: Service<Request<Body>, Response = Response<B>> + 'static,
    B: http_body::Body,
{
    Box::new(move |request| {
        let response = now(exchange(&mut service, request));
        read(response.into_body());
    })
}

async fn exchange<S, B>(service: &mut S, request: Request<Body>) -> Response<B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
    let answered = match ready {
        Ok(()) => service.call(request).await,
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|_| unreachable!("no service here fails"))
}

fn read(body: impl http_body::Body) {
    let mut body = pin!(body);
    while !body.is_end_stream() {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        match now(frame) {
            Some(frame) => drop(frame.unwrap_or_else(|_| unreachable!("no body here fails"))),
            None => break,
        }
    }
}

/// Polls a future once: nothing in this program waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match Pin::as_mut(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}
