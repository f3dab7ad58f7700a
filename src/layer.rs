//! The layer, its builder and its handle.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use http::Request;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::uri::Scheme;
use tower_layer::Layer;

use crate::background::Background;
use crate::body::{Budget, EmptyBody};
use crate::clock::Clock;
use crate::entry::{PreparedList, VariantHints};
use crate::error::Error;
use crate::exchange::Mount;
use crate::flight::Flights;
use crate::inspect::{self, EntryFilter, EntryPage, Explanation, WouldEvict};
use crate::invalidate::Invalidation;
use crate::pattern::Pattern;
use crate::policy::{FieldRules, Policy, Route, Routes, Treatment};
use crate::service::Cache;
use crate::state::CacheState;
use crate::status::{CacheStatusWriter, StatusHeaders};
use crate::store::{MemoryStore, Store};
use crate::telemetry::{Listener, OtelMeter, RouteId, Stats};
#[cfg(feature = "values")]
use crate::telemetry::{ValueRegistry, ValueStats};
#[cfg(feature = "values")]
use crate::values::{Counters, Values};

mod observe;
mod warm_up;

pub use observe::{Health, HealthStatus};
pub use warm_up::WarmUp;

/// A layer that caches the GET responses of the services it wraps.
///
/// Everything wrapped by one layer, or by layers from its [`handle`](Self::handle), shares one
/// store and one log of invalidations.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use tower_response_cache::{CacheLayer, Policy, Routes};
///
/// # fn main() -> Result<(), tower_response_cache::Error> {
/// let cache = CacheLayer::builder()
///     .routes(Routes::new().route("/time", Policy::ttl(Duration::from_secs(10))))
///     .build()?;
/// let app: Router = Router::new().route("/time", get(|| async { "now" })).layer(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CacheLayer {
    cache: Arc<CacheState>,
    route: Option<Arc<Route>>,
}

impl CacheLayer {
    /// Returns a builder with the safe defaults, a memory store, and no route cached yet.
    pub fn builder() -> CacheLayerBuilder {
        CacheLayerBuilder::default()
    }

    /// Returns a handle to this cache, to keep where it is needed.
    #[must_use]
    pub fn handle(&self) -> CacheHandle {
        CacheHandle {
            cache: self.cache.clone(),
        }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        if self.route.is_none() {
            self.cache.warn_without_routes();
        }
        let mount = Mount {
            cache: self.cache.clone(),
            // Shared by all services of the cache: axum makes one for each connection.
            flights: self.cache.flights.clone(),
            route: self.route.clone(),
        };
        Cache::new(inner, mount)
    }
}

/// Configures a [`CacheLayer`]; made by [`CacheLayer::builder`].
#[derive(Debug)]
#[must_use]
pub struct CacheLayerBuilder {
    store: Option<Arc<dyn Store>>,
    routes: Routes,
    fields: FieldRules,
    scheme: Scheme,
    targets: Vec<HeaderName>,
    clock: Clock,
    status_headers: StatusHeaders,
    name: Option<String>,
    store_deadline: Duration,
    collapse_budget: usize,
    background_fetches: usize,
    empty_body: Option<EmptyBody>,
    measure_latency: bool,
    hot_keys: Option<usize>,
    meter: OtelMeter,
}

/// Fetches that may run in the background at once by default.
const BACKGROUND_FETCHES: usize = 256;

/// Bytes that all running fills together may hold by default.
const COLLAPSE_BUDGET: usize = 64 << 20;

/// The least that a store with a bound takes: an eighth of it holds one small response.
const LEAST_CAPACITY: usize = 8 << 10;

impl Default for CacheLayerBuilder {
    fn default() -> Self {
        Self {
            store: None,
            routes: Routes::new(),
            fields: FieldRules::default(),
            scheme: Scheme::HTTP,
            targets: vec![HeaderName::from_static("cdn-cache-control")],
            clock: Clock::default(),
            status_headers: StatusHeaders::default(),
            name: None,
            store_deadline: Duration::from_millis(50),
            collapse_budget: COLLAPSE_BUDGET,
            background_fetches: BACKGROUND_FETCHES,
            empty_body: None,
            measure_latency: false,
            hot_keys: None,
            meter: OtelMeter::default(),
        }
    }
}

impl CacheLayerBuilder {
    /// Sets the store for responses. The default is a [`MemoryStore`] of its default size.
    pub fn store(self, store: impl Store) -> Self {
        self.shared_store(Arc::new(store))
    }

    /// Sets a store that the caller shares with others.
    pub fn shared_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the routes: what is cached, and what writes evict. By default nothing is cached, and a
    /// warning says so once when a service is wrapped all the same.
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = routes;
        self
    }

    /// Makes a request header part of every key when present, besides those that are by default:
    /// headers that handlers build links from (`Forwarded`, `X-Forwarded-Host`,
    /// `X-Forwarded-Proto`, `X-Host` and their kin), and headers that name a tenant (`X-Tenant-Id`,
    /// `X-Org-Id`, `X-Account-Id` and the like).
    ///
    /// For each header the last of `also_key`, [`also_bypass`](Self::also_bypass),
    /// [`credential_header`](Self::credential_header) and [`ignore_header`](Self::ignore_header)
    /// counts, and takes the place of its default.
    pub fn also_key(mut self, name: HeaderName) -> Self {
        self.fields.set(name, Treatment::Keyed);
        self
    }

    /// Sets the scheme of requests that do not say theirs, as none does over HTTP/1.1. The default is
    /// `http`. A service that terminates TLS itself sets `https`: then a page is stored once for
    /// HTTP/1.1 and HTTP/2.
    ///
    /// Behind a proxy that terminates TLS the default is right: `X-Forwarded-Proto` is part of the key.
    pub fn scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// Makes requests that carry a header bypass the cache, as requests do by default that carry
    /// `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`, `X-Original-URL` or
    /// `X-Rewrite-URL`: frameworks treat such a request as a different one.
    pub fn also_bypass(mut self, name: HeaderName) -> Self {
        self.fields.set(name, Treatment::Bypassed);
        self
    }

    /// Treats a request header as a credential, as `Authorization` is: requests that carry it bypass
    /// the cache, unless the response says that it is for everyone (`public`, `s-maxage` or
    /// `must-revalidate`, [RFC 9111 §3.5](https://www.rfc-editor.org/rfc/rfc9111#section-3.5)), or
    /// the policy is [`shared_with_everyone`](Policy::shared_with_everyone) or
    /// [`partition_by`](Policy::partition_by).
    ///
    /// By default some two hundred headers are: API keys (`X-Api-Key`, `X-Auth-Token`,
    /// `Private-Token`), identities that a gateway or a proxy has established (`X-Forwarded-User`,
    /// `Remote-User`, `X-Auth-Request-*`, `Cf-Access-*`, `X-Amzn-Oidc-*`, `X-Goog-Iap-*`,
    /// `X-Ms-Client-Principal*`), client certificates, sessions, and `Proxy-Authorization`. CSRF
    /// tokens are not: they come with every page, and the page rarely depends on them.
    pub fn credential_header(mut self, name: HeaderName) -> Self {
        self.fields.set(name, Treatment::Credential);
        self
    }

    /// Takes a default away: the header is neither part of the key, nor a reason to bypass, nor a
    /// credential.
    ///
    /// **If a handler's response depends on it, one user's response is shown to another.** Use it
    /// only if no handler reads the header. `Authorization` and `Cookie` cannot be ignored: see
    /// [`Policy::shared_with_everyone`].
    pub fn ignore_header(mut self, name: HeaderName) -> Self {
        self.fields.set(name, Treatment::Ignored);
        self
    }

    /// Sets the response fields that are read in place of `Cache-Control`; the first one present
    /// wins ([RFC 9213](https://www.rfc-editor.org/rfc/rfc9213)). The default is `CDN-Cache-Control`.
    pub fn targeted_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.targets = names.into_iter().collect();
        self
    }

    /// Sets the clock. The default reads the system's clocks.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets whether responses carry `X-Cache`. By default they do.
    pub fn x_cache(mut self, on: bool) -> Self {
        self.status_headers.x_cache = on;
        self
    }

    /// Sets whether responses carry `Cache-Status`
    /// ([RFC 9211](https://www.rfc-editor.org/rfc/rfc9211)). By default they do.
    pub fn cache_status(mut self, on: bool) -> Self {
        self.status_headers.cache_status = on;
        self
    }

    /// Sets whether replayed responses carry `Age`. By default they do, as
    /// [RFC 9111 §5.1](https://www.rfc-editor.org/rfc/rfc9111#section-5.1) demands; without it,
    /// downstream caches take a replay for a new response.
    pub fn age(mut self, on: bool) -> Self {
        self.status_headers.age = on;
        self
    }

    /// Sets the name under which this cache reports in `Cache-Status`. The default is
    /// `tower-response-cache`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bounds how long a request waits for the store. The default is 50 ms; after that the request
    /// goes to the inner service. Requests never wait for a memory store.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.store_deadline = deadline;
        self
    }

    /// Bounds the bytes that all responses on their way into the store hold together. The default is
    /// 64 MiB; beyond that, responses are passed on and not stored.
    pub fn fill_budget(mut self, bytes: usize) -> Self {
        self.collapse_budget = bytes;
        self
    }

    /// Bounds how many fetches run at once that no client waits for: background refreshes, and
    /// fetches whose clients have left. The default is 256.
    ///
    /// Such a fetch takes no place in a concurrency limit outside of the cache. Beyond the bound, the
    /// fetch of a client that leaves is dropped, as it is without a cache, and a refresh is left to
    /// the next request that is served the stale response.
    pub fn background_fetches(mut self, most: usize) -> Self {
        self.background_fetches = most;
        self
    }

    /// Sets the function that makes an empty request body of the service's type.
    ///
    /// When the inner service answers a conditional or partial request about something that is not
    /// stored, the cache has to send the request again without conditions, and needs a new, empty
    /// body for it. It knows axum's bodies, and `http-body-util`'s `Empty`, `Full` and boxed bodies.
    /// For any other type that is not given here, it leaves out the few optimisations that could
    /// need a second request: sending the validators of other variants, and completing parts.
    pub fn empty_request_body<Q: 'static>(mut self, make: fn() -> Q) -> Self {
        self.empty_body = Some(EmptyBody::new(make));
        self
    }

    /// Sets whether durations are measured, for [`CacheHandle::prometheus`] to show. By default they
    /// are not, because a hit then reads the clock one more time.
    ///
    /// [`CacheHandle::measure_latency`] changes this later.
    pub fn measure_latency(mut self, on: bool) -> Self {
        self.measure_latency = on;
        self
    }

    /// Watches for the most requested keys, and reports up to `most` of them, 256 at most. By
    /// default they are not watched.
    ///
    /// One request in 16 is sampled, so a hit costs next to nothing more. Watching takes at most
    /// 400 kB of memory.
    pub fn hot_keys(mut self, most: usize) -> Self {
        self.hot_keys = Some(most);
        self
    }

    /// Sets the meter that receives the [metrics](crate::metrics). The default is a meter of the
    /// global provider, which has to be set before the cache is built; it carries the cache's
    /// [name](Self::name) as `cache.name`. Use one meter per cache.
    #[cfg(feature = "otel")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otel")))]
    pub fn meter(mut self, meter: opentelemetry::metrics::Meter) -> Self {
        self.meter = meter.into();
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::ErrorKind::Config) if a route, an eviction rule
    /// or a name cannot work, or the store has no room for any response; the message names it and
    /// says what to change.
    pub fn build(self) -> Result<CacheLayer, Error> {
        let mut status_headers = self.status_headers;
        if let Some(name) = &self.name {
            status_headers.writer = CacheStatusWriter::new(name).ok_or_else(|| {
                Error::config(format!(
                    "name `{name}` cannot stand in `Cache-Status`: use a token, which begins with a \
                     letter and has no spaces, such as `edge-cache`"
                ))
            })?;
        }
        let mut ignored = self.fields.named(Treatment::Ignored);
        if let Some(name) = ignored.find(|name| [AUTHORIZATION, COOKIE].contains(name)) {
            return Err(Error::config(format!(
                "`{name}` cannot be ignored on all routes: use `Policy::shared_with_everyone` for \
                 those that are the same for everyone"
            )));
        }
        drop(ignored);
        let store = self
            .store
            .unwrap_or_else(|| Arc::new(MemoryStore::default()));
        let usage = store.usage();
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (capacity, largest_entry) = (bytes(usage.capacity), bytes(usage.largest_entry));
        if capacity != 0 && capacity < LEAST_CAPACITY {
            return Err(Error::config(format!(
                "a store of {capacity} bytes is too small for any response: give it \
                 {LEAST_CAPACITY} at least, or take `NoStore` to store nothing"
            )));
        }
        let routes = self.routes.build()?;
        let stats = Stats::new(routes.rows().clone());
        stats.listen(Listener::Latencies, self.measure_latency);
        if let Some(most) = self.hot_keys {
            stats.watch_keys(most);
        }
        let cache = CacheState {
            max_body: if capacity == 0 {
                usize::MAX
            } else {
                capacity / 8
            },
            largest_entry: match largest_entry {
                0 => usize::MAX,
                largest => largest,
            },
            store,
            routes,
            fields: self.fields,
            scheme: self.scheme,
            targets: self.targets,
            clock: self.clock,
            status_headers,
            budget: Budget::new(self.collapse_budget),
            store_deadline: self.store_deadline,
            empty_body: self.empty_body,
            flights: Arc::new(Flights::default()),
            variant_hints: VariantHints::default(),
            background: Background::new(self.background_fetches),
            bypass: AtomicBool::new(false),
            stats,
            prepared: PreparedList::new(capacity),
            sweeping: AtomicBool::new(false),
            sweep_wanted: Arc::default(),
            #[cfg(feature = "values")]
            value_flights: Arc::default(),
            #[cfg(feature = "values")]
            value_counts: ValueRegistry::default(),
            warned: AtomicU64::new(0),
            without_routes: Once::new(),
        };
        let cache = Arc::new(cache);
        let source = Arc::downgrade(&cache);
        self.meter
            .attach(cache.status_headers.writer.name(), &cache.stats, source);
        Ok(CacheLayer { cache, route: None })
    }
}

/// A handle to a cache, which invalidates by hand, reports, and switches the cache off.
///
/// Cheap to clone. All clones and all services of the cache share one state.
#[derive(Clone, Debug)]
pub struct CacheHandle {
    pub(crate) cache: Arc<CacheState>,
}

impl CacheHandle {
    /// Returns a layer for one route, with a policy of its own in place of the route table.
    ///
    /// Nobody can know for which paths it is. If the policy or the route table has a rule for queries on a
    /// path, an invalidation of the path with a query covers every query of it from now on; if the policy
    /// [replaces the key](Policy::replace_key_with), an invalidation of any path covers all that is
    /// stored under replaced keys.
    ///
    /// # Errors
    ///
    /// Fails if the policy's tags name captures: there is no template to take them from.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::{Router, routing::get};
    /// use tower_response_cache::{CacheLayer, Policy};
    ///
    /// # fn main() -> Result<(), tower_response_cache::Error> {
    /// let handle = CacheLayer::builder().build()?.handle();
    /// let minute = handle.layer(Policy::ttl(Duration::from_secs(60)))?;
    /// let app: Router = Router::new().route("/report", get(|| async { "…" }).layer(minute));
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer(&self, policy: Policy) -> Result<CacheLayer, Error> {
        let row = self.cache.stats.row(RouteId::LAYER);
        let route = Route::new("layer", policy, &[], row)?;
        self.cache.routes.note_unlisted(&route);
        Ok(CacheLayer {
            cache: self.cache.clone(),
            route: Some(Arc::new(route)),
        })
    }

    /// Invalidates stored responses, running calls of the inner service, and refreshes.
    ///
    /// Once it has returned `Ok`, no request that starts later gets a response whose call of the
    /// inner service began before.
    ///
    /// # Errors
    ///
    /// Fails if the store could not record the invalidation; a memory store always can.
    pub async fn invalidate(&self, what: impl Into<Invalidation>) -> Result<(), Error> {
        self.cache.invalidate(&[what.into()]).await
    }

    /// Invalidates the responses stored for a URI: `/products/7` covers any query, `/search?q=a`
    /// only this one, and what the route's policy counts as the same; see [`Invalidation::uri`].
    ///
    /// # Errors
    ///
    /// Fails as [`invalidate`](Self::invalidate) does, and with
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) if the text is neither a path, which begins
    /// with a slash, nor an absolute URI.
    pub async fn invalidate_uri(&self, uri: &str) -> Result<(), Error> {
        self.invalidate(Invalidation::parse_uri(uri)?).await
    }

    /// Invalidates the responses stored for all paths that match a pattern such as `/products/**`.
    ///
    /// # Errors
    ///
    /// Fails as [`invalidate`](Self::invalidate) does, and with
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) if the pattern does not parse.
    pub async fn invalidate_pattern(&self, pattern: &str) -> Result<(), Error> {
        self.invalidate(Pattern::parse(pattern)?).await
    }

    /// Invalidates everything that carries a tag.
    ///
    /// # Errors
    ///
    /// Fails as [`invalidate`](Self::invalidate) does.
    pub async fn invalidate_tag(&self, tag: &str) -> Result<(), Error> {
        self.invalidate(Invalidation::tag(tag)).await
    }

    /// Invalidates everything.
    ///
    /// # Errors
    ///
    /// Fails as [`invalidate`](Self::invalidate) does.
    pub async fn invalidate_all(&self) -> Result<(), Error> {
        self.invalidate(Invalidation::everything()).await
    }

    /// Explains what would happen to a request now, and why, without calling the inner service,
    /// storing anything or counting anything.
    ///
    /// The explanation follows the route table. It does not apply to a service under
    /// [`layer`](Self::layer), which has a policy of its own and does not use the table.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_response_cache::Error> {
    /// use http::Request;
    /// use tower_response_cache::CacheLayer;
    ///
    /// let handle = CacheLayer::builder().build()?.handle();
    /// let explanation = handle.explain(&Request::get("/products/7").body(()).unwrap()).await;
    /// assert_eq!(explanation.x_cache, "BYPASS");
    /// assert!(explanation.cache_status.ends_with("fwd=bypass; detail=no-route"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain<B>(&self, request: &Request<B>) -> Explanation {
        let mut asked = Request::new(());
        *asked.method_mut() = request.method().clone();
        *asked.uri_mut() = request.uri().clone();
        *asked.headers_mut() = request.headers().clone();
        *asked.extensions_mut() = request.extensions().clone();
        inspect::explain(&self.cache, &asked.into_parts().0).await
    }

    /// Reports what an invalidation would hit, without making it; `None` if the store cannot list
    /// its entries.
    ///
    /// It examines every stored response: use it by hand, not on a request's path.
    #[must_use]
    pub fn would_evict(&self, what: impl Into<Invalidation>) -> Option<WouldEvict> {
        inspect::would_evict(&self.cache, &what.into())
    }

    /// Lists stored responses, including those that an invalidation has overtaken; `None` if the
    /// store cannot list its entries. A tiered store lists its near cache.
    ///
    /// It examines every stored response: use it by hand, not on a request's path, and if there are
    /// very many, on a thread that may block.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, EntryFilter};
    ///
    /// # fn main() -> Result<(), tower_response_cache::Error> {
    /// let handle = CacheLayer::builder().build()?.handle();
    /// let page = handle.entries(&EntryFilter::new().containing("/products")).unwrap();
    /// assert_eq!(page.matched, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn entries(&self, filter: &EntryFilter) -> Option<EntryPage> {
        inspect::entries(&self.cache, filter)
    }

    /// Returns a namespace of values of one type, as JSON, for five minutes each: see
    /// [`Values`](crate::Values).
    ///
    /// A namespace exists as soon as it is named. Use a handful of fixed names; what comes from a
    /// request belongs in the key.
    #[cfg(feature = "values")]
    #[cfg_attr(docsrs, doc(cfg(feature = "values")))]
    #[must_use]
    pub fn values<T>(&self, namespace: &str) -> Values<T> {
        Values::new(self.cache.clone(), namespace)
    }

    /// Returns a namespace of counters that end five minutes after they began: see
    /// [`Counters`](crate::Counters).
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::ErrorKind::Config) if the cache's store has no
    /// counters. [`MemoryStore`](crate::MemoryStore) and the Redis stores have them.
    #[cfg(feature = "values")]
    #[cfg_attr(docsrs, doc(cfg(feature = "values")))]
    pub fn counters(&self, namespace: &str) -> Result<Counters, Error> {
        Counters::new(self.cache.clone(), namespace)
    }

    /// Returns the counts of each namespace of values, by name. Beyond 1,024 namespaces, new ones
    /// are not listed.
    #[cfg(feature = "values")]
    #[cfg_attr(docsrs, doc(cfg(feature = "values")))]
    #[must_use]
    pub fn value_stats(&self) -> Vec<(String, ValueStats)> {
        self.cache.value_counts.snapshot()
    }

    /// Returns the histogram of request durations for each outcome.
    #[cfg(feature = "admin")]
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, Vec<u64>)> {
        self.cache.stats.durations()
    }

    /// Switches the cache off or on again. While it is off, every read goes to the inner service;
    /// writes still invalidate, so nothing is stale when it is switched on again.
    pub fn set_bypass(&self, bypass: bool) {
        // Relaxed: a manual switch, which orders nothing.
        self.cache.bypass.store(bypass, Ordering::Relaxed);
    }

    /// Returns whether the cache is switched off.
    #[must_use]
    pub fn is_bypassed(&self) -> bool {
        self.cache.is_bypassed()
    }
}
