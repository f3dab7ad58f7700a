//! The future of a response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::body::{BoxError, CacheBody};
use crate::directive::Invalidate;
use crate::exchange::{self, Begun, Core, Journey};
use crate::status::{BypassReason, Outcome};
use crate::telemetry::RouteId;

pin_project! {
    /// The future of [`Cache`](crate::Cache)'s response.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time. A write that had reached the handler is taken for one that
    /// succeeded. A read that others wait for, or that can be stored, goes on in the background
    /// unless [`Policy::stop_when_abandoned`](crate::Policy::stop_when_abandoned) is set.
    pub struct ResponseFuture<F, B, E> {
        #[pin]
        state: State<F, B, E>,
        core: Arc<Core>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, E> {
        Done { response: Option<Response<CacheBody<B>>> },
        Passing { #[pin] future: F, bypass: BypassReason, route: RouteId },
        Journey { journey: Journey<B, E> },
    }
}

impl<F, B, E> ResponseFuture<F, B, E> {
    pub(crate) fn new(core: Arc<Core>, begun: Begun<F, B, E>) -> Self {
        let state = match begun {
            Begun::Done(response) => State::Done {
                response: Some(response),
            },
            Begun::Passing(future, bypass, route) => State::Passing {
                future,
                bypass,
                route,
            },
            Begun::Journey(journey) => State::Journey { journey },
        };
        Self { state, core }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<BoxError>,
    E: Send + 'static,
{
    type Output = Result<Response<CacheBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let journey = match this.state.as_mut().project() {
                StateProjection::Done { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        // Polled after it was ready, which `Future` leaves open.
                        None => Poll::Pending,
                    };
                }
                StateProjection::Journey { journey } => return journey.as_mut().poll(cx),
                StateProjection::Passing {
                    future,
                    bypass,
                    route,
                } => {
                    let response = ready!(future.poll(cx))?;
                    let (bypass, route) = (*bypass, *route);
                    if response.extensions().get::<Invalidate>().is_none() {
                        return Poll::Ready(Ok(exchange::pass(
                            this.core,
                            route,
                            Outcome::Bypass(bypass),
                            response,
                        )));
                    }
                    exchange::invalidate_and_pass(this.core.clone(), route, bypass, response)
                }
            };
            this.state.set(State::Journey { journey });
        }
    }
}

impl<F, B, E> std::fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
