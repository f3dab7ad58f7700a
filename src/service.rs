//! The service that the layer builds.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::{BoxError, CacheBody};
use crate::exchange::{self, Mount};
use crate::future::ResponseFuture;

/// A service whose GET responses are cached; see [`CacheLayer`](crate::CacheLayer).
///
/// Its error type is that of the inner service: the cache itself never makes a request fail.
///
/// # Readiness
///
/// It is ready when the inner service is, so backpressure reaches the caller. A request that turns
/// out not to need the inner service releases at once what readiness had reserved, such as a permit
/// of a concurrency limit.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    inner: S,
    /// Behind one pointer: axum clones a service for every request.
    mount: Arc<Mount>,
}

impl<S> Cache<S> {
    pub(crate) fn new(inner: S, mount: Mount) -> Self {
        Self {
            inner,
            mount: Arc::new(mount),
        }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Cache<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ReqBody: Body + Send + 'static,
    ResBody: Body + Send + 'static,
    ResBody::Data: Buf,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<CacheBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        ResponseFuture::new(exchange::dispatch(&self.mount, &mut self.inner, request))
    }
}
