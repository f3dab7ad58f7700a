//! The plan of a check.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::{Builder, Parts};
use http::{Request, Uri};
use http_body_util::Full;

use crate::layer::CacheHandle;

/// The requests that [`check`](super::check()) sends, and how often.
///
/// `Q` is the type of request bodies. A [`Plan::new`] is for services that take any, as axum's
/// `Router` does, or `Full<Bytes>`; for others there is [`with_body`](Self::with_body).
#[must_use]
pub struct Plan<Q = Full<Bytes>> {
    pub(super) handle: CacheHandle,
    pub(super) make_body: fn(Bytes) -> Q,
    pub(super) reads: Vec<Parts>,
    pub(super) writes: Vec<(Parts, Bytes)>,
    pub(super) rounds: usize,
    pub(super) seed: u64,
    pub(super) ignored: Vec<HeaderName>,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    pub(super) parameters: Vec<String>,
}

/// Request fields that handlers, or the frameworks and proxies around them, are known to build
/// answers from.
const FIELDS: [(&str, &str); 26] = [
    ("accept", "application/x-unkeyed"),
    ("accept-language", "tlh"),
    ("authorization", "Bearer unkeyed"),
    ("cookie", "session=unkeyed; theme=unkeyed; lang=unkeyed"),
    ("forwarded", "for=unkeyed;host=unkeyed.example;proto=https"),
    ("host", "unkeyed.example"),
    ("origin", "https://unkeyed.example"),
    ("referer", "https://unkeyed.example/"),
    ("true-client-ip", "203.0.113.99"),
    ("user-agent", "unkeyed (Mobile; iPhone; Android)"),
    ("x-forwarded-for", "203.0.113.99"),
    ("x-forwarded-host", "unkeyed.example"),
    ("x-forwarded-port", "4443"),
    ("x-forwarded-prefix", "/unkeyed"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-scheme", "http"),
    ("x-forwarded-server", "unkeyed.example"),
    ("x-host", "unkeyed.example"),
    ("x-http-method-override", "DELETE"),
    ("x-original-host", "unkeyed.example"),
    ("x-original-url", "/unkeyed"),
    ("x-real-ip", "203.0.113.99"),
    ("x-requested-with", "XMLHttpRequest"),
    ("x-rewrite-url", "/unkeyed"),
    ("x-tenant-id", "unkeyed"),
];

/// Query parameters that keys often leave out.
const PARAMETERS: [&str; 7] = [
    "utm_source=unkeyed",
    "utm_medium=unkeyed",
    "utm_campaign=unkeyed",
    "utm_content=unkeyed",
    "fbclid=unkeyed",
    "gclid=unkeyed",
    "callback=unkeyed",
];

impl Plan {
    /// Makes a plan without reads and writes, for the cache of this handle.
    pub fn new(handle: CacheHandle) -> Self {
        Self::with_body(handle, Full::new)
    }
}

impl<Q> Plan<Q> {
    /// Makes a plan for a service whose request bodies are made by the given function.
    pub fn with_body(handle: CacheHandle, make_body: fn(Bytes) -> Q) -> Self {
        let fields = FIELDS.map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        Self {
            handle,
            make_body,
            reads: Vec::new(),
            writes: Vec::new(),
            rounds: 100,
            seed: 1,
            ignored: Vec::new(),
            fields: fields.into(),
            parameters: PARAMETERS.map(str::to_owned).into(),
        }
    }

    /// Adds a read: GET of a path, with or without a query.
    ///
    /// # Panics
    ///
    /// If it is not a URI.
    pub fn read(self, uri: &str) -> Self {
        self.read_request(Request::get(uri))
    }

    /// Adds a read that carries fields of its own.
    ///
    /// # Panics
    ///
    /// If the request is not a valid one.
    pub fn read_request(mut self, request: Builder) -> Self {
        self.reads.push(parts(request));
        self
    }

    /// Adds a write: a request and its body. Several of the same URI should change things in
    /// different ways, so that each of them differs from the one before.
    ///
    /// # Panics
    ///
    /// If the request is not a valid one.
    pub fn write(mut self, request: Builder, body: impl Into<Bytes>) -> Self {
        self.writes.push((parts(request), body.into()));
        self
    }

    /// Sets how many writes are made, each between reads. By default 100.
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets what the choice of reads and writes is drawn from. By default it is always the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Leaves a response field out of all comparisons, as it differs each time: a request's
    /// identifier, a timing. `Age`, `Date` and the like are left out without being named.
    pub fn ignore_field(mut self, name: HeaderName) -> Self {
        self.ignored.push(name);
        self
    }

    /// Adds a request field to those that are tried, besides the usual suspects.
    pub fn suspect(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Adds a query parameter, as in `lang=en`, to those that are tried.
    pub fn suspect_query(mut self, parameter: impl Into<String>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// Tries no request field or query parameter but those that are added after this.
    pub fn without_usual_suspects(mut self) -> Self {
        self.fields.clear();
        self.parameters.clear();
        self
    }
}

fn parts(request: Builder) -> Parts {
    let request = request.body(()).expect("the request is a valid one");
    request.into_parts().0
}

/// Adds a parameter to the query of a URI.
pub(super) fn with_parameter(uri: &Uri, parameter: &str) -> Option<Uri> {
    let separator = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{separator}{parameter}").parse().ok()
}

impl<Q> fmt::Debug for Plan<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("reads", &self.reads.len())
            .field("writes", &self.writes.len())
            .field("rounds", &self.rounds)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
