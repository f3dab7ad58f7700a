//! A fetch that goes on when the one who waits for it goes away.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use tracing::Instrument;

use crate::background::Background;
use crate::body::CacheBody;

/// The time that a fetch is given when nobody waits for it any more.
pub(super) const ABANDONED: Duration = Duration::from_secs(60);

/// The future of a request that takes some waiting.
pub(crate) type Journey<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

/// A journey that is finished in the background when it is dropped: others may wait for what it
/// brings, and that can be stored.
pub(super) struct Detached<B: 'static, E: 'static> {
    journey: Option<Journey<B, E>>,
    /// Where it is finished, if there is room; `None` if it is dropped in any case.
    finish: Option<Arc<Background>>,
}

impl<B, E> Detached<B, E> {
    pub(super) fn new(journey: Journey<B, E>, finish: Option<Arc<Background>>) -> Self {
        Self {
            journey: Some(journey),
            finish,
        }
    }
}

impl<B, E> Future for Detached<B, E>
where
    B: Send + 'static,
    E: Send + 'static,
{
    type Output = Result<Response<CacheBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out, so that one that panics is not polled again in the background.
        let Some(mut journey) = self.journey.take() else {
            // Polled after it was ready, which no caller of ours does.
            return Poll::Pending;
        };
        let polled = journey.as_mut().poll(cx);
        if polled.is_pending() {
            self.journey = Some(journey);
        }
        polled
    }
}

impl<B, E> Drop for Detached<B, E> {
    fn drop(&mut self) {
        let Some(journey) = self.journey.take() else {
            return;
        };
        let Some(background) = self.finish.take().filter(|_| !std::thread::panicking()) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Some(place) = background.enter()
        {
            // Whoever waits for this flight gets its landing; the response itself has no reader
            // left, and is read on for the store.
            let finished = async move {
                let reader = match tokio::time::timeout(ABANDONED, journey).await {
                    Ok(Ok(response)) => response.into_body().into_reader(),
                    _ => None,
                };
                if let Some(reader) = reader {
                    reader.read_on().await;
                }
                drop(place);
            };
            runtime.spawn(finished.in_current_span());
        }
    }
}
