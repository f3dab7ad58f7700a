//! Sending a check's requests, through the cache and past it, and comparing the answers.

use std::future::poll_fn;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tower_service::Service;

use super::outcome::XCache;
use crate::layer::CacheHandle;

/// A service to ask.
pub(super) struct Probe<'a, S, Q> {
    pub(super) app: S,
    pub(super) handle: &'a CacheHandle,
    pub(super) make_body: fn(Bytes) -> Q,
    pub(super) ignored: &'a [HeaderName],
}

/// An answer, as far as it says the same each time.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// `None` for an error of the service.
    pub(super) status: Option<StatusCode>,
    headers: HeaderMap,
    etag: Option<Bytes>,
    /// `None` for a body that broke off.
    body: Option<Bytes>,
    pub(super) x_cache: Option<XCache>,
}

/// Fields that are the cache's own, or that a replay may have where the handler's answer has not, or
/// the other way round.
const APART: [HeaderName; 10] = [
    header::AGE,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SET_COOKIE,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("cache-status"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("x-cache"),
];

impl<S, Q, B> Probe<'_, S, Q>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone,
    B: Body,
{
    /// Sends a request through the cache.
    pub(super) async fn send(&self, parts: &Parts, body: Bytes) -> Answer {
        let request = Request::from_parts(parts.clone(), (self.make_body)(body));
        let mut app = self.app.clone();
        let ready = poll_fn(|cx| app.poll_ready(cx)).await;
        let response = match ready {
            Ok(()) => app.call(request).await,
            Err(error) => Err(error),
        };
        match response {
            Ok(response) => self.read(response).await,
            Err(_) => Answer {
                status: None,
                headers: HeaderMap::new(),
                etag: None,
                body: None,
                x_cache: None,
            },
        }
    }

    /// Reads through the cache.
    pub(super) async fn cached(&self, parts: &Parts) -> Answer {
        self.send(parts, Bytes::new()).await
    }

    /// Reads past the cache.
    pub(super) async fn bypassed(&self, parts: &Parts) -> Answer {
        let _bypass = Bypass::begin(self.handle);
        self.send(parts, Bytes::new()).await
    }

    async fn read(&self, response: Response<B>) -> Answer {
        let (head, body) = response.into_parts();
        let mut headers = head.headers;
        let x_cache = XCache::in_headers(&headers);
        for name in APART.iter().chain(self.ignored) {
            headers.remove(name);
        }
        let etag = headers.remove(header::ETAG);
        let body = body.collect().await.ok();
        Answer {
            status: Some(head.status),
            headers,
            etag: etag.map(|etag| Bytes::copy_from_slice(etag.as_bytes())),
            body: body.map(|body| body.to_bytes()),
            x_cache,
        }
    }
}

impl Answer {
    /// Returns whether two answers say the same.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let etags = match (&self.etag, &other.etag) {
            (Some(one), Some(other)) => one == other,
            // The cache may give a tag to one that has none.
            _ => true,
        };
        etags
            && self.status == other.status
            && self.headers == other.headers
            && self.body == other.body
    }

    pub(super) fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| status.is_success() || status.is_redirection())
    }

    pub(super) fn is_replay(&self) -> bool {
        matches!(self.x_cache, Some(XCache::Hit | XCache::Stale))
    }
}

/// Has the cache switched off, and then as it was before.
struct Bypass<'a> {
    handle: &'a CacheHandle,
    before: bool,
}

impl<'a> Bypass<'a> {
    fn begin(handle: &'a CacheHandle) -> Self {
        let before = handle.is_bypassed();
        handle.set_bypass(true);
        Self { handle, before }
    }
}

impl Drop for Bypass<'_> {
    fn drop(&mut self) {
        self.handle.set_bypass(self.before);
    }
}
