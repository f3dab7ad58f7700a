//! The future of a response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::body::{BoxError, CacheBody};
use crate::directive::Invalidate;
use crate::exchange::{self, Progress, ProgressProjection};
use crate::status::{Outcome, StatusParameters};

pin_project! {
    /// The future of [`Cache`](crate::Cache)'s response.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time. A write that had reached the inner service counts as one that
    /// succeeded. A read that others wait for, or that can be stored, continues in the background
    /// unless [`Policy::stop_when_abandoned`](crate::Policy::stop_when_abandoned) is set.
    pub struct ResponseFuture<F, B, E> {
        #[pin]
        begun: Progress<F, B, E>,
    }
}

impl<F, B, E> ResponseFuture<F, B, E> {
    pub(crate) fn new(begun: Progress<F, B, E>) -> Self {
        Self { begun }
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
        let mut begun = self.project().begun;
        loop {
            let journey = match begun.as_mut().project() {
                ProgressProjection::Done { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        // Polled after it was ready, which `Future` leaves open.
                        None => Poll::Pending,
                    };
                }
                ProgressProjection::Journey { journey } => return journey.as_mut().poll(cx),
                ProgressProjection::Passing { future, passed } => {
                    let response = ready!(future.poll(cx))?;
                    let (cache, route) = (&passed.cache, passed.route);
                    if response.extensions().get::<Invalidate>().is_none() {
                        let outcome = Outcome::Bypass(passed.bypass);
                        let parameters = StatusParameters::default();
                        return Poll::Ready(Ok(exchange::pass(
                            cache, route, outcome, parameters, response,
                        )));
                    }
                    exchange::invalidate_and_pass(cache.clone(), route, passed.bypass, response)
                }
            };
            begun.set(Progress::Journey { journey });
        }
    }
}

impl<F, B, E> std::fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
