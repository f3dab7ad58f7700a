//! The compared services: one axum router, and caches around it.
//!
//! Each cache is configured as its documentation shows, with room for everything that is requested.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_cache::{MokaCache, MokaManager};
use http_cache_tower_server::ServerCacheLayer;
use moka::future::Cache;
use sync_wrapper::SyncWrapper;
use tower::{Layer, Service, ServiceExt};
use tower_http_cache::prelude::InMemoryBackend;
use tower_http_cache_plus::CachingLayer;
use tower_http_cache_plus::cache::CommonCacheKey;
use tower_http_cache_plus::cache::implementation::moka::{
    ForHttpResponse, MokaCacheImplementation,
};
use tower_response_cache::{CacheLayer, MemoryStore, Policy, Routes};

pub const KIB: usize = 1024;

/// The path of a response of 1 KiB; the identifier follows.
pub const SMALL: &str = "/articles/";
/// The path of a response of 64 KiB.
pub const LARGE: &str = "/pictures/";

const HOUR: Duration = Duration::from_secs(3_600);
const ROOM: usize = 256 << 20;
/// The capacity of caches that count entries.
const ENTRIES: u64 = 20_000;

/// The compared services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Bare,
    /// A bare router with a separate body for each article, like a cache with as many entries: the
    /// single body of the other never leaves the processor's cache. Not one of [`PEERS`].
    BareOfMany,
    Ours,
    OursInside,
    AxumResponseCache,
    TowerHttpCache,
    TowerHttpCachePlus,
    HttpCacheTowerServer,
}

pub const PEERS: [Peer; 7] = [
    Peer::Bare,
    Peer::Ours,
    Peer::OursInside,
    Peer::AxumResponseCache,
    Peer::TowerHttpCache,
    Peer::TowerHttpCachePlus,
    Peer::HttpCacheTowerServer,
];

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare Router",
            Self::BareOfMany => "bare Router, as many bodies",
            Self::Ours => "tower-response-cache",
            Self::OursInside => "tower-response-cache in Router::layer",
            Self::AxumResponseCache => "axum-response-cache",
            Self::TowerHttpCache => "tower-http-cache",
            Self::TowerHttpCachePlus => "tower-http-cache-plus",
            Self::HttpCacheTowerServer => "http-cache-tower-server",
        }
    }

    pub fn find(name: &str) -> Option<Self> {
        let all = PEERS.into_iter().chain([Self::BareOfMany]);
        all.into_iter().find(|peer| peer.name() == name)
    }

    /// Wraps the router with the cache, outside if its types allow that, and passes it on.
    pub fn build<U: Use>(self, router: Router, then: U) -> U::Output {
        match self {
            Self::Bare => then.with(router),
            Self::BareOfMany => then.with(router_of_many()),
            Self::Ours => then.with(ours().layer(router)),
            Self::OursInside => then.with(router.layer(ours()).with_state::<()>(())),
            Self::AxumResponseCache => {
                let layer = axum_response_cache::CacheLayer::with_lifespan(HOUR);
                then.with(layer.layer(router))
            }
            Self::TowerHttpCache => {
                let backend = InMemoryBackend::new(ENTRIES);
                let layer = tower_http_cache::prelude::CacheLayer::builder(backend)
                    .ttl(HOUR)
                    .build();
                // It requires bodies that threads may share.
                let shareable = |response: Response<Body>| response.map(Shareable::new);
                let router = ServiceExt::<Request<Body>>::map_response(router, shareable);
                then.with(layer.layer(router))
            }
            Self::TowerHttpCachePlus => {
                let cache = Cache::<CommonCacheKey, _, _>::builder()
                    .for_http_response()
                    .max_capacity(ROOM as u64)
                    .time_to_live(HOUR)
                    .build();
                let layer = CachingLayer::default()
                    .cache(MokaCacheImplementation::new(cache))
                    .keep_identity_encoding(false);
                then.with(layer.layer(router))
            }
            Self::HttpCacheTowerServer => {
                let manager = MokaManager::new(MokaCache::new(ENTRIES));
                then.with(ServerCacheLayer::new(manager).layer(router))
            }
        }
    }
}

/// A body that threads may share, because none of them can do anything with it.
struct Shareable(SyncWrapper<Body>, SizeHint);

impl Shareable {
    fn new(body: Body) -> Self {
        let hint = body.size_hint();
        Self(SyncWrapper::new(body), hint)
    }
}

impl http_body::Body for Shareable {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(self.0.get_mut()).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.1
    }
}

fn ours() -> CacheLayer {
    let hour = || Policy::ttl(HOUR);
    CacheLayer::builder()
        .store(MemoryStore::new(ROOM))
        .routes(
            Routes::new()
                .route("/articles/{id}", hour())
                .route("/pictures/{id}", hour()),
        )
        .build()
        .expect("the routes are good ones")
}

/// A use of a service of any type.
pub trait Use {
    type Output;

    fn with<S, B>(self, service: S) -> Self::Output
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>;
}

/// Makes a router whose handlers answer from memory, and a count of their calls.
pub fn router() -> (Router, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let answering = |bytes: usize| {
        // The cheapest way is a ready-made map behind one pointer, because axum clones a handler for
        // every request.
        let ready_made = Arc::new((fields(), Bytes::from(vec![b'x'; bytes]), calls.clone()));
        move || {
            let ready_made = ready_made.clone();
            // Counted in the future: a cache that makes one and drops it has not called the handler.
            async move {
                let (headers, body, calls) = &*ready_made;
                calls.fetch_add(1, Relaxed);
                let mut response = Response::new(Body::from(body.clone()));
                *response.headers_mut() = headers.clone();
                response
            }
        }
    };
    let router = Router::new()
        .route("/articles/{id}", get(answering(KIB)))
        .route("/pictures/{id}", get(answering(64 * KIB)));
    // Turns handlers into services once, as `axum::serve` does, and not for every request.
    (router.with_state(()), calls)
}

/// Makes a router like [`router`] that looks up which body to send.
fn router_of_many() -> Router {
    const MANY: usize = 10_000;
    let bodies: Vec<Bytes> = (0..=MANY).map(|_| vec![b'x'; KIB].into()).collect();
    let ready_made = Arc::new((fields(), bodies));
    let article = move |Path(id): Path<usize>| {
        let ready_made = ready_made.clone();
        async move {
            let (headers, bodies) = &*ready_made;
            let body = bodies.get(id).cloned().unwrap_or_default();
            let mut response = Response::new(Body::from(body));
            *response.headers_mut() = headers.clone();
            response
        }
    };
    let router = Router::new().route("/articles/{id}", get(article));
    let large = Bytes::from(vec![b'x'; 64 * KIB]);
    let picture = move || std::future::ready((fields(), large.clone()));
    router.route("/pictures/{id}", get(picture)).with_state(())
}

/// Makes seven fields, to which axum adds `Content-Length`.
fn fields() -> HeaderMap {
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::ETAG, "\"5f2b-61a1c9e3d2f40\""),
        (header::LAST_MODIFIED, "Tue, 07 Jul 2026 08:49:37 GMT"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::CONTENT_LANGUAGE, "en"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ]
    .map(|(name, value): (HeaderName, _)| (name, HeaderValue::from_static(value)))
    .into_iter()
    .collect()
}
