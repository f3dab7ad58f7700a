//! The inner service, and one call of it for a read.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Buf;
use http::response::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::error::Elapsed;
use tower_service::Service;

use super::candidate::Candidate;
use super::context::ReadContext;
use crate::body::BoxError;
use crate::clock::Now;
use crate::flight::Leader;
use crate::status::{Miss, Outcome, StatusParameters};
use crate::telemetry::Timed;
use crate::telemetry::trace::FillSpan;

/// A service that the cache stands in front of.
pub(crate) trait InnerService<Q, B>:
    Service<Request<Q>, Response = Response<B>, Future: Send + 'static, Error: Send + 'static>
    + Clone
    + Send
    + 'static
{
}

impl<S, Q, B> InnerService<Q, B> for S where
    S: Service<Request<Q>, Response = Response<B>, Future: Send + 'static, Error: Send + 'static>
        + Clone
        + Send
        + 'static
{
}

/// The body of the inner service's response.
pub(crate) trait Content: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static {}

impl<B> Content for B where B: Body<Data: Buf, Error: Into<BoxError>> + Send + 'static {}

/// The inner service: ready to be called, or still to be made ready.
pub(super) enum Inner<S> {
    Ready(S),
    Idle(S),
}

impl<S: Clone> Inner<S> {
    /// Gives back whatever the ready service holds (a place in a concurrency limit): this request
    /// may wait for another one's fetch, and must not keep that from being made.
    pub(super) fn release(&mut self) {
        if let Self::Ready(service) = self {
            *self = Self::Idle(service.clone());
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

/// A call to be made: the inner service and the request for it.
pub(super) struct Call<S, Q> {
    pub(super) inner: Inner<S>,
    pub(super) request: Request<Q>,
}

/// A fetch: a call of the inner service for a read, and all that bears on its response.
pub(super) struct Fetch {
    pub(super) read: Arc<ReadContext>,
    pub(super) why: Miss,
    /// The stored response that bears on the call.
    pub(super) candidate: Candidate,
    /// The flight that others wait for.
    pub(super) leader: Option<Arc<Leader>>,
    pub(super) span: FillSpan,
}

impl Fetch {
    pub(super) fn new(
        read: Arc<ReadContext>,
        why: Miss,
        candidate: Candidate,
        leader: Option<Leader>,
    ) -> Self {
        Self {
            read,
            why,
            candidate,
            leader: leader.map(Arc::new),
            span: FillSpan::none(),
        }
    }

    /// Frees those who wait to make their own fetches.
    pub(super) fn free(&self) {
        if let Some(leader) = &self.leader {
            leader.not_for_others();
        }
    }

    pub(super) fn miss(&self, detail: Option<&'static str>) -> Outcome {
        Outcome::Miss {
            why: self.why,
            stored: false,
            collapsed: false,
            detail,
        }
    }
}

/// The moments of a call, and of its response's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) requested: Now,
    pub(super) received: Now,
}

/// A response of the inner service, the time it took, and what its client is to know of it.
pub(super) struct Received<B> {
    pub(super) head: Parts,
    pub(super) body: B,
    pub(super) interval: Interval,
    pub(super) parameters: StatusParameters,
}

/// A call that brought no response.
pub(super) enum Failure<E> {
    Error(E),
    TimedOut,
}

impl<E> From<Elapsed> for Failure<E> {
    fn from(_: Elapsed) -> Self {
        Self::TimedOut
    }
}

/// Calls the inner service for a read, and records what it asks to have invalidated.
pub(super) async fn send<S, Q, B>(
    read: &ReadContext,
    call: Call<S, Q>,
) -> Result<Received<B>, Failure<S::Error>>
where
    S: InnerService<Q, B>,
{
    let cache = read.cache();
    let requested = cache.clock.now();
    let response = call.inner.call(call.request);
    let response = match read.route.policy.staleness.hard_timeout {
        Some(timeout) => tokio::time::timeout(timeout, response).await?,
        None => response.await,
    };
    let (head, body) = response.map_err(Failure::Error)?.into_parts();
    let received = cache.clock.now();
    if cache.stats.is_timed() {
        let took = received
            .instant
            .saturating_duration_since(requested.instant);
        cache.stats.took(Timed::Origin, took);
    }
    let parameters = cache.record_requested(head.status, &head.extensions).await;
    let interval = Interval {
        requested,
        received,
    };
    Ok(Received {
        parameters: StatusParameters {
            fwd_status: Some(head.status),
            ..parameters
        },
        head,
        body,
        interval,
    })
}
