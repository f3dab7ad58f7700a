//! An inner service that does as the test says.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::watch;
use tower_service::Service;

/// An inner service that counts its calls and answers as scripted.
///
/// It answers at once unless a [`Barrier`] holds it back. Clones share everything.
///
/// # Examples
///
/// A read that began before a write is answered after it, and must not be stored:
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Empty;
/// use tower::{Layer, ServiceExt};
/// use tower_response_cache::testing::{ScriptedOrigin, XCache, assert_outcome};
/// use tower_response_cache::{CacheLayer, Policy, Routes};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = CacheLayer::builder()
///     .routes(Routes::new().otherwise(Policy::ttl(Duration::from_secs(60))))
///     .build()?;
/// let origin = ScriptedOrigin::counting();
/// let service = cache.layer(origin.clone());
/// let get = || Request::get("/a").body(Empty::<Bytes>::new()).unwrap();
///
/// let barrier = origin.hold();
/// let early = tokio::spawn(service.clone().oneshot(get()));
/// barrier.arrived(1).await;
/// cache.handle().invalidate_uri("/a").await?;
/// barrier.open();
/// early.await??;
/// assert_outcome(&service.oneshot(get()).await?, XCache::Miss);
/// assert_eq!(origin.calls(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScriptedOrigin {
    answer: Arc<Script>,
    state: Arc<Mutex<State>>,
}

type Script = dyn Fn(&Parts, usize) -> Response<Bytes> + Send + Sync;

#[derive(Debug, Default)]
struct State {
    seen: Vec<Parts>,
    barrier: Option<Barrier>,
}

impl ScriptedOrigin {
    /// Makes an origin that answers with what the function makes of a request's head and of the
    /// number of the call, counted from 1.
    pub fn new<F>(answer: F) -> Self
    where
        F: Fn(&Parts, usize) -> Response<Bytes> + Send + Sync + 'static,
    {
        Self {
            answer: Arc::new(answer),
            state: Arc::default(),
        }
    }

    /// Makes an origin that answers 200 with the number of the call.
    #[must_use]
    pub fn counting() -> Self {
        Self::new(|_, call| Response::new(call.to_string().into()))
    }

    /// Returns how often it was called.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().seen.len()
    }

    /// Returns the heads of the requests it was called with, in their order.
    #[must_use]
    pub fn seen(&self) -> Vec<Parts> {
        self.state().seen.clone()
    }

    /// Holds back the answers to all calls from now on, until the barrier lets them pass.
    ///
    /// An answer is made when the call comes, and held then: so a handler behaves that has read its
    /// data, or written it, and is slow to say so. A barrier that was there before stays in the way
    /// of those it holds already, and of no others.
    #[must_use]
    pub fn hold(&self) -> Barrier {
        let barrier = Barrier::new();
        self.state().barrier = Some(barrier.clone());
        barrier
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q> Service<Request<Q>> for ScriptedOrigin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let parts = request.into_parts().0;
        let mut state = self.state();
        state.seen.push(parts.clone());
        let (call, barrier) = (state.seen.len(), state.barrier.clone());
        drop(state);
        let response = (self.answer)(&parts, call).map(Full::new);
        Box::pin(async move {
            if let Some(barrier) = barrier {
                barrier.wait().await;
            }
            Ok(response)
        })
    }
}

impl fmt::Debug for ScriptedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedOrigin")
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

/// Where the answers of a [`ScriptedOrigin`] wait until the test lets them go.
#[derive(Clone, Debug)]
pub struct Barrier(Arc<watch::Sender<Places>>);

#[derive(Clone, Copy, Debug, Default)]
struct Places {
    arrived: usize,
    /// How many of those who have arrived may pass.
    let_go: usize,
}

impl Barrier {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Places::default())))
    }

    /// Waits until so many calls have arrived in all, whether they have passed or not.
    pub async fn arrived(&self, calls: usize) {
        self.until(|places| places.arrived >= calls).await;
    }

    /// Lets the call pass that has waited for the longest; if none waits, the next one that comes.
    pub fn let_one_go(&self) {
        self.0
            .send_modify(|places| places.let_go = places.let_go.saturating_add(1));
    }

    /// Lets all calls pass that wait, and all that come.
    pub fn open(&self) {
        self.0.send_modify(|places| places.let_go = usize::MAX);
    }

    async fn wait(&self) {
        let mut place = 0;
        self.0.send_modify(|places| {
            place = places.arrived;
            places.arrived += 1;
        });
        self.until(|places| places.let_go > place).await;
    }

    async fn until(&self, reached: impl FnMut(&Places) -> bool + Send) {
        // The sender is this barrier's own, and so is there for as long as it is waited for.
        let _ = self.0.subscribe().wait_for(reached).await;
    }
}
