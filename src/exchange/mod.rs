//! One request's journey: from the policy it comes under to the response it is given.

use std::any::TypeId;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Buf;
use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{BoxError, Budget, CacheBody};
use crate::clock::{self, Clock};
use crate::entry::{PreparedList, StoredResponse, Variants};
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::invalidate::{Invalidation, Position, Subject, SubjectRef, Verdict};
use crate::key::{Key, KeyBuilder};
use crate::policy::{Condition, Identity, Requested, Route, RouteTable, write_value};
use crate::semantics::cache_control::CacheControl;
use crate::status::{BypassReason, Miss, Outcome, Show, Staleness, Told};
use crate::store::{Answer, Store};
use crate::telemetry::{Event, Stats};

mod admit;
mod again;
mod basis;
mod detached;
mod explain;
mod forward;
mod lookup;
mod nested;
mod refresh;
pub(crate) mod request;
mod respond;
mod share;
mod sweep;
mod write;

use basis::Basis;
use lookup::Lookup;
use request::{FieldRules, Flags, Kind, Signals};

pub(crate) use again::EmptyBody;
pub(crate) use explain::explain;
pub use explain::{Explanation, WouldEvict};
pub(crate) use respond::pass;
pub(crate) use write::invalidate_and_pass;

/// What all services and handles of one cache share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) routes: RouteTable,
    pub(crate) fields: FieldRules,
    pub(crate) targets: Vec<HeaderName>,
    pub(crate) clock: Clock,
    pub(crate) show: Show,
    pub(crate) budget: Arc<Budget>,
    /// The largest body any policy may store.
    pub(crate) max_body: usize,
    pub(crate) store_deadline: Duration,
    /// Makes the body of a request that is sent a second time.
    pub(crate) empty_body: Option<EmptyBody>,
    /// The handler calls under way.
    pub(crate) flights: Arc<Flights>,
    pub(crate) bypass: AtomicBool,
    pub(crate) stats: Stats,
    pub(crate) prepared: PreparedList,
    /// Whether a background sweep runs.
    pub(crate) sweeping: AtomicBool,
    /// The second of the last warning about the store.
    pub(crate) warned: AtomicU64,
}

/// What one layered service adds to the [`Core`].
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) core: Arc<Core>,
    /// Those of the core, but for a request that another service of the cache has passed on.
    pub(crate) flights: Arc<Flights>,
    /// The one policy of this place, where it was layered with one.
    pub(crate) route: Option<Arc<Route>>,
}

pin_project! {
    /// How a request begins, and how far it has come.
    #[project = BegunProjection]
    pub(crate) enum Begun<F, B, E> {
        /// It is answered. `None` once the answer was taken.
        Done { response: Option<Response<CacheBody<B>>> },
        /// It goes to the inner service as it is.
        Passing { #[pin] future: F, bypass: BypassReason, core: Arc<Core> },
        /// It takes some waiting.
        Journey { journey: Journey<B, E> },
    }
}

pub(crate) type Journey<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

/// A read that the cache was asked for: all that is needed once the request itself has gone to
/// the handler.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    place: Arc<Place>,
    route: Arc<Route>,
    key: Key,
    /// Path, query and the policy's tags, as invalidations match them.
    subject: Subject,
    method: Method,
    /// The request's header section as the client sent it: `Vary` may nominate any of it.
    headers: HeaderMap,
    flags: Flags,
    directives: CacheControl,
    ttl: Requested,
    /// What the lookup found to select among, if the key has variants.
    variants: Option<Arc<Variants>>,
    began: Instant,
}

/// Begins the journey of a request. `inner` is the service that was found ready.
pub(crate) fn begin<S, Q, B>(
    place: &Arc<Place>,
    inner: &mut S,
    request: Request<Q>,
) -> Begun<S::Future, B, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<BoxError>,
    S: Clone,
{
    let route = match place.way(&request) {
        // Nothing was taken apart so far, and need not be put together again.
        Way::Pass(bypass) => {
            let core = place.core.clone();
            return Begun::Passing {
                future: inner.call(request),
                bypass,
                core,
            };
        }
        Way::Write => {
            let (parts, body) = request.into_parts();
            let write = write::Write::new(place, &parts);
            let request = Request::from_parts(parts, body);
            return Begun::taking(write.run(take_ready(inner), request));
        }
        Way::Read(route) => route,
    };
    let has_body = !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0);
    let (mut parts, body) = request.into_parts();
    match place.ask(route, &parts, has_body) {
        Course::Pass(bypass) => {
            let core = place.core.clone();
            Begun::Passing {
                future: inner.call(Request::from_parts(parts, body)),
                bypass,
                core,
            }
        }
        Course::Replay(replay) => {
            give_back(inner);
            Begun::done(replay.of(&place.core, &parts))
        }
        Course::ReplayAndRefresh(replay, asked) => {
            let response = replay.of(&place.core, &parts);
            place.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            refresh::in_background(asked, take_ready(inner), request, replay.stored);
            Begun::done(response)
        }
        Course::Unsatisfied => {
            give_back(inner);
            Begun::done(respond::gateway_timeout(&place.core, Outcome::Unsatisfied))
        }
        Course::Fetch(asked, why, basis) => {
            place.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            let inner = take_ready(inner);
            Begun::taking(forward::fetch(asked, inner, request, why, basis))
        }
        Course::Wait(asked, found) => {
            place.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            let inner = take_ready(inner);
            Begun::taking(forward::wait_and_fetch(asked, found, inner, request))
        }
    }
}

impl<F, B, E> Begun<F, B, E> {
    fn done(response: Response<CacheBody<B>>) -> Self {
        Self::Done {
            response: Some(response),
        }
    }

    fn taking(
        journey: impl Future<Output = Result<Response<CacheBody<B>>, E>> + Send + 'static,
    ) -> Self {
        Self::Journey {
            journey: Box::pin(journey),
        }
    }
}

/// Takes the service that was found ready, for that is the one to call: its clone may not be ready.
fn take_ready<S: Clone>(inner: &mut S) -> S {
    let clone = inner.clone();
    mem::replace(inner, clone)
}

/// Gives back what a ready service that is not called has reserved, such as a place in a
/// concurrency limit.
fn give_back<S: Clone + 'static>(inner: &mut S) {
    if !reserves_nothing::<S>() {
        take_ready(inner);
    }
}

/// Whether a service is known to reserve nothing when it is found ready. Under `Router::layer` the
/// inner service is one of these, and costs several allocations to clone.
fn reserves_nothing<S: 'static>() -> bool {
    #[cfg(feature = "axum")]
    let known = [
        TypeId::of::<axum::routing::Route>(),
        TypeId::of::<axum::Router>(),
    ];
    #[cfg(not(feature = "axum"))]
    let known: [TypeId; 0] = [];
    known.contains(&TypeId::of::<S>())
}

/// Which way a request goes, by its method and its route.
enum Way<'a> {
    Pass(BypassReason),
    Write,
    Read(&'a Arc<Route>),
}

/// What is to be done with a read.
enum Course {
    Pass(BypassReason),
    Replay(Replay),
    ReplayAndRefresh(Replay, Arc<Asked>),
    /// `only-if-cached`, and nothing to answer with.
    Unsatisfied,
    Fetch(Arc<Asked>, Miss, Basis),
    Wait(Arc<Asked>, lookup::Waiting),
}

/// A stored response that answers a request. The answer is made at the last: it is large, and each
/// hand it goes through would move it.
struct Replay {
    stored: Arc<StoredResponse>,
    as_it: As,
    flags: Flags,
    began: Instant,
}

/// As what a stored response is served.
enum As {
    /// Fresh, and of such an age.
    Fresh(Duration),
    Told(Outcome),
}

impl Replay {
    fn of<B>(&self, core: &Core, request: &Parts) -> Response<CacheBody<B>> {
        let client = respond::Client {
            method: &request.method,
            headers: &request.headers,
            flags: self.flags,
        };
        match self.as_it {
            As::Fresh(age) => core.hit(&self.stored, client, self.began, age),
            As::Told(outcome) => {
                core.replay(&self.stored, client, self.began, outcome, Told::default())
            }
        }
    }
}

impl Place {
    fn way<Q>(&self, request: &Request<Q>) -> Way<'_> {
        match Kind::of(request.method()) {
            // Relaxed: a switch thrown by hand, which orders nothing.
            Kind::Read if self.core.bypass.load(Ordering::Relaxed) => {
                Way::Pass(BypassReason::Disabled)
            }
            Kind::Read => {
                let uri = request::original_uri(request.uri(), request.extensions());
                self.route(uri.path()).map_or_else(Way::Pass, Way::Read)
            }
            Kind::Write => Way::Write,
            Kind::OtherSafe | Kind::Tunnel => Way::Pass(BypassReason::Method),
        }
    }

    fn ask(self: &Arc<Self>, route: &Arc<Route>, parts: &Parts, has_body: bool) -> Course {
        self.ask_for_read(route, parts, has_body)
            .unwrap_or_else(Course::Pass)
    }

    fn ask_for_read(
        self: &Arc<Self>,
        route: &Arc<Route>,
        parts: &Parts,
        has_body: bool,
    ) -> Result<Course, BypassReason> {
        let core = &*self.core;
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let signals = Signals::scan(&parts.headers, &core.fields);
        if signals.flags.body || has_body {
            return Err(BypassReason::Content);
        }
        let ttl = admissible(route, &signals, parts)?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key)?;
        let began = core.clock.instant();
        let ask = lookup::Ask {
            core,
            route,
            client: respond::Client {
                method: &parts.method,
                headers: &parts.headers,
                flags: signals.flags,
            },
            began,
        };
        let asked = || self.asked(route, parts, &key, signals.flags, ttl, began);
        let found = match lookup::find(&self.core, key.key(), &parts.headers) {
            Answer::Now(Ok(found)) => found,
            Answer::Now(Err(error)) => {
                core.store_failed(&error);
                return Err(BypassReason::Store);
            }
            Answer::Later(waiting) => return Ok(Course::Wait(Arc::new(asked()), waiting)),
        };
        let variants = found.variants.clone();
        let asked = || {
            Arc::new(Asked {
                variants,
                ..asked()
            })
        };
        let replay = |stored, as_it| Replay {
            stored,
            as_it,
            flags: signals.flags,
            began,
        };
        Ok(match ask.judge(found) {
            Lookup::Fresh(stored, age) => Course::Replay(replay(stored, As::Fresh(age))),
            Lookup::ServeAndRefresh(stored, outcome) => {
                Course::ReplayAndRefresh(replay(stored, As::Told(outcome)), asked())
            }
            Lookup::Accepted(stored) => {
                let outcome = Outcome::Stale(Staleness::Accepted);
                Course::Replay(replay(stored, As::Told(outcome)))
            }
            Lookup::Fetch(..) if ask.only_if_cached() => Course::Unsatisfied,
            Lookup::Fetch(why, basis) => Course::Fetch(asked(), why, basis),
        })
    }

    /// Takes the request that a GET for the same target would be: what a POST answers may be stored
    /// for that (RFC 9110 §9.3.3).
    fn as_get(self: &Arc<Self>, parts: &Parts) -> Option<Asked> {
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let route = self.route(uri.path()).ok()?;
        let signals = Signals::scan(&parts.headers, &self.core.fields);
        let ttl = admissible(route, &signals, parts).ok()?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key).ok()?;
        let began = self.core.clock.instant();
        let asked = self.asked(route, parts, &key, signals.flags, ttl, began);
        Some(Asked {
            method: Method::GET,
            ..asked
        })
    }

    /// Finds the route of a read, and takes the request by if it has none.
    fn route(&self, path: &str) -> Result<&Arc<Route>, BypassReason> {
        let route = match &self.route {
            Some(route) => route,
            None => lookup::route(&self.core.routes, path)?,
        };
        match route.policy.bypass {
            true => Err(BypassReason::Policy),
            false => Ok(route),
        }
    }

    fn asked(
        self: &Arc<Self>,
        route: &Arc<Route>,
        parts: &Parts,
        key: &KeyBuilder,
        flags: Flags,
        ttl: Requested,
        began: Instant,
    ) -> Asked {
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let tags = self.core.routes.tags(route, uri.path());
        let directives = match flags.cache_control {
            true => CacheControl::of(&parts.headers),
            false => CacheControl::default(),
        };
        Asked {
            place: self.found_by(&parts.extensions),
            route: route.clone(),
            key: key.key().to_owned(),
            subject: Subject::new(uri.path(), uri.query(), tags.into_vec()),
            method: parts.method.clone(),
            headers: parts.headers.clone(),
            flags,
            directives,
            ttl,
            variants: None,
            began,
        }
    }
}

/// Decides from the request alone whether the cache may be asked, and asks the policy for its TTL.
fn admissible(
    route: &Route,
    signals: &Signals<'_>,
    parts: &Parts,
) -> Result<Requested, BypassReason> {
    let flags = signals.flags;
    let policy = &route.policy;
    if flags.upgrade {
        return Err(BypassReason::Upgrade);
    }
    if flags.bypassed {
        return Err(BypassReason::Header);
    }
    if flags.ambiguous_host {
        return Err(BypassReason::Host);
    }
    let refused = |condition: &Condition| !(condition.0)(parts);
    if policy.condition.as_ref().is_some_and(refused) {
        return Err(BypassReason::Policy);
    }
    match policy.ttl.of(parts) {
        Requested::Declined => Err(BypassReason::Policy),
        ttl => Ok(ttl),
    }
}

/// Writes a request's key.
fn write_key<'a>(
    route: &Route,
    uri: &'a Uri,
    signals: &Signals<'a>,
    parts: &Parts,
    key: &mut KeyBuilder,
) -> Result<(), BypassReason> {
    key.count(signals.keyed.len());
    for (name, value) in &signals.keyed {
        key.part(name.as_str().as_bytes());
        write_value(name, value, key);
    }
    let target = request::target(uri, signals);
    if !ptr::eq(uri, &parts.uri) && !uri.path().ends_with(parts.uri.path()) {
        // Not a prefix that was taken off, but another path that the handler is shown.
        key.part(parts.uri.path().as_bytes());
    }
    let policy = &route.policy;
    policy
        .key
        .write(target, parts, &policy.identity, key)
        .map_err(|_| BypassReason::Partition)
}

impl Core {
    fn verdict(&self, stored: &StoredResponse) -> Verdict {
        stored.verdict(self.store.log())
    }

    fn verdict_on(&self, position: Position, subject: SubjectRef<'_>) -> Verdict {
        self.store.log().verdict(position, subject)
    }

    /// Waits for a store no longer than its deadline.
    async fn bounded<T>(&self, answer: Answer<Result<T, Error>>) -> Result<T, Error> {
        Self::within(self.store_deadline, answer).await
    }

    async fn within<T>(deadline: Duration, answer: Answer<Result<T, Error>>) -> Result<T, Error> {
        match answer {
            Answer::Now(answer) => answer,
            Answer::Later(answer) => match tokio::time::timeout(deadline, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::store("the store did not answer in time")),
            },
        }
    }

    /// Hands an answer nobody waits for to the runtime, if it takes any waiting.
    fn in_background(self: &Arc<Self>, answer: Answer<Result<(), Error>>) {
        self.in_background_with(answer, ());
    }

    /// Does the same, and drops something when it is done.
    fn in_background_with<T>(self: &Arc<Self>, answer: Answer<Result<(), Error>>, until_done: T)
    where
        T: Send + 'static,
    {
        match answer {
            Answer::Now(Ok(())) => {}
            Answer::Now(Err(error)) => self.store_failed(&error),
            Answer::Later(answer) => match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let core = self.clone();
                    runtime.spawn(async move {
                        if let Err(error) = answer.await {
                            core.store_failed(&error);
                        }
                        drop(until_done);
                    });
                }
                Err(_) => {
                    self.store_failed(&Error::store("no runtime to finish a store's work on"))
                }
            },
        }
    }

    /// Records invalidations, and has what they hit swept up.
    pub(crate) async fn invalidate(self: &Arc<Self>, what: &[Invalidation]) -> Result<(), Error> {
        let deadline = self.store_deadline + self.store.acknowledges_after();
        let recorded = Self::within(deadline, kept_going(self.store.invalidate(what))).await;
        match &recorded {
            Ok(()) => self.stats.count(Event::Invalidation),
            Err(error) => self.store_failed(error),
        }
        sweep::soon(self);
        recorded
    }

    fn store_failed(&self, error: &Error) {
        self.stats.count(Event::StoreError);
        match error.kind() {
            // It has told of that itself, once.
            ErrorKind::Unavailable => {}
            _ if self.may_warn() => {
                tracing::warn!(%error, "the store failed; the request goes on without it");
            }
            _ => tracing::debug!(%error, "the store failed; the request goes on without it"),
        }
    }

    /// Whether a second has gone by since the last warning: there may be thousands of failures.
    fn may_warn(&self) -> bool {
        let since = self
            .clock
            .instant()
            .saturating_duration_since(clock::origin());
        let second = since.as_secs() + 1;
        // Relaxed: orders nothing.
        self.warned.swap(second, Ordering::Relaxed) != second
    }
}

impl Asked {
    fn core(&self) -> &Arc<Core> {
        &self.place.core
    }

    /// Returns which credentials the request carries that the policy is cautious about.
    fn credentials(&self) -> Option<BypassReason> {
        credentials(&self.route, self.flags)
    }

    fn now(&self) -> Instant {
        self.core().clock.instant()
    }
}

/// Returns which credentials a request carries that the route's policy is cautious about.
fn credentials(route: &Route, flags: Flags) -> Option<BypassReason> {
    match (&route.policy.identity, flags) {
        (Identity::Cautious, flags) if flags.authorization => Some(BypassReason::Authorization),
        (Identity::Cautious, flags) if flags.cookie => Some(BypassReason::Cookie),
        _ => None,
    }
}

/// Has a store's work done to its end, whether or not somebody waits for it that long: a write that
/// was made stays made when its client goes away.
fn kept_going(answer: Answer<Result<(), Error>>) -> Answer<Result<(), Error>> {
    match (answer, tokio::runtime::Handle::try_current()) {
        (Answer::Later(answer), Ok(runtime)) => {
            let done = runtime.spawn(answer);
            Answer::Later(Box::pin(async move {
                done.await.unwrap_or_else(|gone| {
                    Err(Error::store("the store did not finish").with_source(gone))
                })
            }))
        }
        (answer, _) => answer,
    }
}

/// The inner service: ready to be called, or still to be made ready.
enum Inner<S> {
    Ready(S),
    Idle(S),
}

impl<S: Clone> Inner<S> {
    /// Gives back whatever the ready service holds (a place in a concurrency limit): this request
    /// may wait for another one's call, and must not keep that from being made.
    fn release(self) -> Self {
        match self {
            Self::Ready(service) => Self::Idle(service.clone()),
            idle => idle,
        }
    }

    async fn call<Q>(self, request: Request<Q>) -> Result<S::Response, S::Error>
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
