//! The service that the cache stands in front of.

use std::future::poll_fn;

use bytes::Buf;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::BoxError;

/// A service that the cache stands in front of.
pub(crate) trait Handler<Q, B>:
    Service<Request<Q>, Response = Response<B>, Future: Send + 'static, Error: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S, Q, B> Handler<Q, B> for S where
    S: Service<Request<Q>, Response = Response<B>, Future: Send + 'static, Error: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// The body of a handler's response.
pub(crate) trait Content: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static {}

impl<B> Content for B where B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static {}

/// The inner service: ready to be called, or still to be made ready.
pub(super) enum Inner<S> {
    Ready(S),
    Idle(S),
}

impl<S: Clone> Inner<S> {
    /// Gives back whatever the ready service holds (a place in a concurrency limit): this request
    /// may wait for another one's call, and must not keep that from being made.
    pub(super) fn release(self) -> Self {
        match self {
            Self::Ready(service) => Self::Idle(service.clone()),
            idle => idle,
        }
    }

    pub(super) async fn call<Q>(self, request: Request<Q>) -> Result<S::Response, S::Error>
    where
        S: Service<Request<Q>>,
    {
        let mut service = match self {
            Self::Ready(service) => service,
            Self::Idle(mut service) => {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service
            }
        };
        service.call(request).await
    }
}
