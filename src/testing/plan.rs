//! The plan of a check.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::{Builder, Parts};
use http::{Request, Uri};
use http_body_util::Full;

use crate::layer::CacheHandle;

/// A plan of the requests that [`check`](super::check()) sends.
///
/// `Q` is the type of request bodies. [`Plan::new`] is for services that take any body, as axum's
/// `Router` does, or `Full<Bytes>`; for others use [`with_body`](Self::with_body).
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

/// Request fields from which handlers, or the frameworks and proxies around them, are known to build
/// responses.
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

/// Query parameters that keys often ignore.
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
    /// Makes a plan for a service whose request bodies the given function makes.
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

    /// Adds a read: a GET of a path, with or without a query.
    ///
    /// # Panics
    ///
    /// Panics if it is not a URI.
    pub fn read(self, uri: &str) -> Self {
        self.read_request(Request::get(uri))
    }

    /// Adds a read with fields of its own.
    ///
    /// # Panics
    ///
    /// Panics if the request is not valid.
    pub fn read_request(mut self, request: Builder) -> Self {
        self.reads.push(parts(request));
        self
    }

    /// Adds a write: a request and its body. Several writes to the same URI should change things in
    /// different ways, so that each has a visible effect.
    ///
    /// # Panics
    ///
    /// Panics if the request is not valid.
    pub fn write(mut self, request: Builder, body: impl Into<Bytes>) -> Self {
        self.writes.push((parts(request), body.into()));
        self
    }

    /// Sets the number of writes, each of which is sent between reads. The default is 100.
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets the seed from which reads and writes are chosen. The default is always the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Leaves a response field out of all comparisons because it differs each time, such as a request
    /// identifier or a timing. `Age`, `Date` and the like are always left out.
    pub fn ignore_field(mut self, name: HeaderName) -> Self {
        self.ignored.push(name);
        self
    }

    /// Adds a request field to those that are tried, in addition to the usual suspects.
    pub fn suspect(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// Adds a query parameter, such as `lang=en`, to those that are tried.
    pub fn suspect_query(mut self, parameter: impl Into<String>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// Removes all request fields and query parameters that are tried, so that only those added after
    /// this remain.
    pub fn without_usual_suspects(mut self) -> Self {
        self.fields.clear();
        self.parameters.clear();
        self
    }
}

fn parts(request: Builder) -> Parts {
    let request = request.body(()).expect("the request is valid");
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
