//! Filling a cache before the first requests come.

use std::future::poll_fn;
use std::pin::pin;

use http::{Request, Response};
use http_body::Body;
use tokio::task::JoinSet;
use tower_service::Service;

use super::CacheHandle;
use crate::exchange::Warming;

/// The result of a warm-up; from [`CacheHandle::warm_up`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmUp {
    /// Requests sent.
    pub requests: u64,
    /// Requests whose response is now stored, by this or by another request.
    pub stored: u64,
    /// Requests whose response is not stored: the response or its route does not allow it, or it was
    /// invalidated meanwhile. [`CacheHandle::explain`] gives the reason for a request, and
    /// `Cache-Status` for a response.
    pub not_stored: u64,
    /// Requests that failed: by an error of the service, in the middle of a body, or by a panic.
    pub failed: u64,
}

/// The number of requests under way at once.
const CONCURRENCY: usize = 8;

enum Warmed {
    Stored,
    NotStored,
    Failed,
}

impl CacheHandle {
    /// Sends requests through a service that is wrapped by this cache, such as the whole `Router`,
    /// and reads their responses to the end, so that they are stored before the first clients come.
    ///
    /// It sends eight at a time, so as not to overload the inner service. For responses that are
    /// already stored the cache answers, which costs little. Each request counts in the statistics.
    /// It needs a tokio runtime.
    ///
    /// An inner service that never answers keeps this waiting: bound it with `tokio::time::timeout`,
    /// or with [`Policy::hard_timeout`](crate::Policy::hard_timeout).
    ///
    /// # Cancel safety
    ///
    /// When dropped, it drops the requests under way as their clients would, and sends no more.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use axum::{Router, body::Body, extract::Request, routing::get};
    /// use tower_response_cache::{CacheLayer, Policy, Routes};
    ///
    /// let cache = CacheLayer::builder()
    ///     .routes(Routes::new().route("/products", Policy::ttl(Duration::from_secs(60))))
    ///     .build()?;
    /// let handle = cache.handle();
    /// let app = Router::new().route("/products", get(|| async { "all" })).layer(cache);
    ///
    /// let requests = ["/products", "/unknown"].map(|uri| Request::get(uri).body(Body::empty()));
    /// let requests = requests.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// let warmed = handle.warm_up(app, requests).await;
    /// assert_eq!((warmed.stored, warmed.not_stored), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn warm_up<S, Q, B>(
        &self,
        service: S,
        requests: impl IntoIterator<Item = Request<Q>>,
    ) -> WarmUp
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        Q: Send + 'static,
        B: Body + Send + 'static,
    {
        let mut warm_up = WarmUp::default();
        let mut running = JoinSet::new();
        for request in requests {
            if running.len() >= CONCURRENCY {
                warm_up.add(running.join_next().await);
            }
            running.spawn(self.clone().warm(service.clone(), request));
        }
        while let Some(warmed) = running.join_next().await {
            warm_up.add(Some(warmed));
        }
        warm_up
    }

    async fn warm<S, Q, B>(self, service: S, request: Request<Q>) -> Warmed
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body,
    {
        let (mut parts, body) = request.into_parts();
        let asked = Request::from_parts(parts.clone(), ());
        let warming = Warming::default();
        parts.extensions.insert(warming.clone());
        if !is_answered(service, Request::from_parts(parts, body)).await {
            return Warmed::Failed;
        }
        // Another request may have stored it, or it was there before.
        match warming.was_stored() || self.explain(&asked).await.is_stored() {
            true => Warmed::Stored,
            false => Warmed::NotStored,
        }
    }
}

/// Returns whether a complete response arrived.
async fn is_answered<S, Q, B>(mut service: S, request: Request<Q>) -> bool
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body,
{
    if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
        return false;
    }
    let Ok(response) = service.call(request).await else {
        return false;
    };
    let mut body = pin!(response.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if frame.is_err() {
            return false;
        }
    }
    true
}

impl WarmUp {
    /// Counts a request. A task that could not be joined has panicked.
    fn add(&mut self, warmed: Option<Result<Warmed, tokio::task::JoinError>>) {
        let count = match warmed {
            None => return,
            Some(Ok(Warmed::Stored)) => &mut self.stored,
            Some(Ok(Warmed::NotStored)) => &mut self.not_stored,
            Some(Ok(Warmed::Failed) | Err(_)) => &mut self.failed,
        };
        *count += 1;
        self.requests += 1;
    }
}
