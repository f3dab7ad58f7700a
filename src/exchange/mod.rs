//! One request's journey: from the policy it comes under to the response it is given.

use std::any::TypeId;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Buf;
use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use crate::body::{BoxError, Budget, CacheBody};
use crate::clock::{self, Clock, Now};
use crate::entry::{PreparedList, StoredResponse, Variants};
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::invalidate::{Invalidation, Position, Subject, SubjectRef, Verdict};
use crate::key::{Key, KeyBuilder};
use crate::policy::{Condition, Identity, Requested, Route, RouteTable, write_value};
use crate::semantics::cache_control::CacheControl;
use crate::status::{BypassReason, Miss, Outcome, Show, Staleness};
use crate::store::{Answer, Store};
use crate::telemetry::{Account, Operation, RouteId, Stats, Timed, trace};

mod admit;
mod again;
mod basis;
mod detached;
mod explain;
mod forward;
mod list;
mod lookup;
mod nested;
mod refresh;
pub(crate) mod request;
mod respond;
mod share;
mod sweep;
mod warming;
mod write;

use basis::Basis;
use lookup::Lookup;
use request::{FieldRules, Flags, Kind, Signals};

pub(crate) use again::EmptyBody;
pub(crate) use explain::explain;
pub use explain::{Explanation, WouldEvict};
pub use list::{EntryFilter, EntryInfo, EntryOrder, EntryPage, EntryState, KeyInfo};
pub(crate) use respond::pass;
pub(crate) use warming::Warming;
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
    /// What the handlers' own values share.
    #[cfg(feature = "values")]
    pub(crate) values: crate::values::Shared,
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

/// How a request begins.
pub(crate) enum Begun<F, B, E> {
    /// It is answered.
    Done(Response<CacheBody<B>>),
    /// It goes to the inner service as it is.
    Passing(F, BypassReason, RouteId),
    /// It takes some waiting.
    Journey(Journey<B, E>),
}

pub(crate) type Journey<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

/// A read that the cache was asked for: all that is needed once the request itself has gone to
/// the handler.
#[derive(Debug)]
pub(crate) struct Asked {
    place: Place,
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
    began: Now,
    warming: Option<Warming>,
    /// Whether its client has its answer: what comes after that is for the store alone.
    answered: AtomicBool,
}

/// Begins the journey of a request. `inner` is the service that was found ready.
pub(crate) fn begin<S, Q, B>(
    place: &Place,
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
    let (mut parts, body) = request.into_parts();
    let has_body = !body.is_end_stream() && body.size_hint().exact() != Some(0);
    match place.ask(&parts, has_body) {
        Course::Pass(bypass, route) => {
            let passed = inner.call(Request::from_parts(parts, body));
            Begun::Passing(passed, bypass, route)
        }
        Course::Write => {
            let write = write::Write::new(place, &parts);
            let request = Request::from_parts(parts, body);
            Begun::Journey(Box::pin(write.run(take_ready(inner), request)))
        }
        Course::Replay(response) => {
            give_back(inner);
            Begun::Done(response)
        }
        Course::ReplayAndRefresh(response, asked, stale) => {
            place.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            refresh::in_background(*asked, take_ready(inner), request, stale);
            Begun::Done(response)
        }
        Course::Fetch(asked, why, basis) => {
            place.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            let inner = take_ready(inner);
            Begun::Journey(Box::pin(forward::fetch(*asked, inner, request, why, basis)))
        }
        Course::Wait(asked, found) => {
            place.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            let inner = take_ready(inner);
            Begun::Journey(Box::pin(forward::wait_and_fetch(
                *asked, found, inner, request,
            )))
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

/// What is to be done with a request.
enum Course<B> {
    Pass(BypassReason, RouteId),
    Write,
    Replay(Response<CacheBody<B>>),
    ReplayAndRefresh(Response<CacheBody<B>>, Box<Asked>, Arc<StoredResponse>),
    Fetch(Box<Asked>, Miss, Basis),
    Wait(Box<Asked>, lookup::Waiting),
}

impl Place {
    fn ask<B>(&self, parts: &Parts, has_body: bool) -> Course<B> {
        let mut under = RouteId::NONE;
        match Kind::of(&parts.method) {
            Kind::Read => self
                .ask_for_read(parts, has_body, &mut under)
                .unwrap_or_else(|reason| Course::Pass(reason, under)),
            Kind::Write => Course::Write,
            Kind::OtherSafe => Course::Pass(BypassReason::Method, under),
            Kind::Tunnel => Course::Pass(BypassReason::Method, under),
        }
    }

    /// `under` is told the route as soon as it is found.
    fn ask_for_read<B>(
        &self,
        parts: &Parts,
        has_body: bool,
        under: &mut RouteId,
    ) -> Result<Course<B>, BypassReason> {
        let core = &*self.core;
        if core.is_bypassed() {
            return Err(BypassReason::Disabled);
        }
        let uri = request::original_uri(parts);
        let route = self.route(uri.path(), under)?;
        let signals = Signals::scan(&parts.headers, &core.fields);
        if signals.flags.body || has_body {
            return Err(BypassReason::Content);
        }
        let ttl = admissible(route, &signals, parts)?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key)?;
        let began = core.clock.now();
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
                core.store_failed(Operation::Get, &error);
                return Err(BypassReason::Store);
            }
            Answer::Later(waiting) => return Ok(Course::Wait(Box::new(asked()), waiting)),
        };
        let variants = found.variants.clone();
        let asked = || {
            Box::new(Asked {
                variants,
                ..asked()
            })
        };
        Ok(match ask.judge(found) {
            Lookup::Fresh(stored) => Course::Replay(ask.hit(&stored)),
            Lookup::ServeAndRefresh(stored, outcome) => {
                Course::ReplayAndRefresh(ask.replay(&stored, outcome), asked(), stored)
            }
            Lookup::Accepted(stored) => {
                let outcome = Outcome::Stale(Staleness::Accepted);
                Course::Replay(ask.replay(&stored, outcome))
            }
            Lookup::Fetch(..) if ask.only_if_cached() => {
                ask.answered(Outcome::Unsatisfied, None);
                Course::Replay(respond::gateway_timeout(core, Outcome::Unsatisfied))
            }
            Lookup::Fetch(why, basis) => {
                ask.found_nothing();
                Course::Fetch(asked(), why, basis)
            }
        })
    }

    /// Takes the request that a GET for the same target would be: what a POST answers may be stored
    /// for that (RFC 9110 §9.3.3).
    fn as_get(&self, parts: &Parts) -> Option<Asked> {
        let uri = request::original_uri(parts);
        let route = self.route(uri.path(), &mut { RouteId::NONE }).ok()?;
        let signals = Signals::scan(&parts.headers, &self.core.fields);
        let ttl = admissible(route, &signals, parts).ok()?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key).ok()?;
        let began = self.core.clock.now();
        let asked = self.asked(route, parts, &key, signals.flags, ttl, began);
        Some(Asked {
            method: Method::GET,
            ..asked
        })
    }

    /// Finds the route of a read, and takes the request by if it has none.
    fn route(&self, path: &str, under: &mut RouteId) -> Result<&Arc<Route>, BypassReason> {
        let route = match &self.route {
            Some(route) => route,
            None => lookup::route(&self.core.routes, path)?,
        };
        *under = route.row.id;
        match route.policy.bypass {
            true => Err(BypassReason::Policy),
            false => Ok(route),
        }
    }

    fn asked(
        &self,
        route: &Arc<Route>,
        parts: &Parts,
        key: &KeyBuilder,
        flags: Flags,
        ttl: Requested,
        began: Now,
    ) -> Asked {
        let uri = request::original_uri(parts);
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
            warming: parts.extensions.get().cloned(),
            answered: AtomicBool::new(false),
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
    if !uri.path().ends_with(parts.uri.path()) {
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

    pub(crate) fn is_bypassed(&self) -> bool {
        // Relaxed: a switch thrown by hand, which orders nothing.
        self.bypass.load(Ordering::Relaxed)
    }

    /// Waits for a store no longer than its deadline.
    pub(crate) async fn bounded<T>(
        &self,
        operation: Operation,
        answer: Answer<Result<T, Error>>,
    ) -> Result<T, Error> {
        self.within(self.store_deadline, operation, answer).await
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        operation: Operation,
        answer: Answer<Result<T, Error>>,
    ) -> Result<T, Error> {
        match answer {
            Answer::Now(answer) => answer,
            Answer::Later(answer) => {
                let answer = tokio::time::timeout(deadline, answer);
                match self.timed(operation, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Error::store("the store did not answer in time")),
                }
            }
        }
    }

    /// Waits for a store, and reports how long that took if anybody wants to know.
    async fn timed<T>(&self, operation: Operation, answer: impl Future<Output = T>) -> T {
        if !self.stats.is_timed() {
            return answer.await;
        }
        let asked = self.clock.instant();
        let answer = answer.await;
        let took = self.clock.instant().saturating_duration_since(asked);
        self.stats.took(Timed::Store(operation), took);
        answer
    }

    /// Hands an answer nobody waits for to the runtime, if it takes any waiting.
    pub(crate) fn in_background(self: &Arc<Self>, answer: Answer<Result<(), Error>>) {
        self.in_background_with(answer, ());
    }

    /// Does the same, and drops something when it is done.
    pub(crate) fn in_background_with<T>(
        self: &Arc<Self>,
        answer: Answer<Result<(), Error>>,
        until_done: T,
    ) where
        T: Send + 'static,
    {
        match answer {
            Answer::Now(Ok(())) => {}
            Answer::Now(Err(error)) => self.store_failed(Operation::Change, &error),
            Answer::Later(answer) => match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let core = self.clone();
                    runtime.spawn(async move {
                        if let Err(error) = core.timed(Operation::Change, answer).await {
                            core.store_failed(Operation::Change, &error);
                        }
                        drop(until_done);
                    });
                }
                Err(_) => {
                    let error = Error::store("no runtime to finish a store's work on");
                    self.store_failed(Operation::Change, &error);
                }
            },
        }
    }

    /// Records invalidations, and has what they hit swept up.
    pub(crate) async fn invalidate(self: &Arc<Self>, what: &[Invalidation]) -> Result<(), Error> {
        let deadline = self.store_deadline + self.store.acknowledges_after();
        let recording = kept_going(self.store.invalidate(what));
        let operation = Operation::Invalidate;
        let recorded = self.within(deadline, operation, recording).await;
        match &recorded {
            Ok(()) => self.recorded(what),
            Err(error) => self.store_failed(Operation::Invalidate, error),
        }
        sweep::soon(self);
        recorded
    }

    /// Reports invalidations that are recorded.
    fn recorded(&self, what: &[Invalidation]) {
        for one in what {
            self.stats.invalidated(one.kind(), one.is_soft());
            trace::invalidated(one);
        }
    }

    pub(crate) fn store_failed(&self, operation: Operation, error: &Error) {
        self.stats.store_failed(operation);
        let operation = operation.as_str();
        match error.kind() {
            // It has told of that itself, once.
            ErrorKind::Unavailable => {}
            _ if self.may_warn() => {
                tracing::warn!(%error, operation, "the store failed; the request goes on without it");
            }
            _ => {
                tracing::debug!(%error, operation, "the store failed; the request goes on without it");
            }
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

    fn now(&self) -> Now {
        self.core().clock.now()
    }

    /// Reports what became of this request, once, and what it was answered from.
    fn answered(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
        // Relaxed: it guards nothing but a count.
        if self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let core = self.core();
        if core.stats.answered(&self.route.row, outcome) {
            let account = Account {
                began: Some(self.began.instant),
                by_store: false,
                filled_by: stored.and_then(StoredResponse::fill),
                subject: Some(self.subject.borrow()),
            };
            let row = &self.route.row;
            core.stats
                .tell_listeners(&core.clock, row, outcome, &account);
        }
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
