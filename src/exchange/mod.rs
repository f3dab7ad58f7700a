//! One request's journey: from the policy it comes under to the response it is given.

use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Response, Uri};

use crate::body::{Budget, CacheBody};
use crate::clock::{self, Clock};
use crate::entry::{PreparedList, StoredResponse, Variants};
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::invalidate::{Invalidation, Position, Subject, SubjectRef, Verdict};
use crate::key::{Key, KeyBuilder};
use crate::policy::{Condition, Identity, Requested, Route, RouteTable, write_value};
use crate::semantics::cache_control::CacheControl;
use crate::status::{BypassReason, Outcome, StatusHeaders};
use crate::store::{MaybeReady, Store};
use crate::telemetry::{Operation, RequestRecord, RouteId, Stats, Timed, trace};

mod admit;
mod candidate;
mod collapse;
mod commit;
mod detached;
mod dispatch;
mod explain;
mod fetch;
mod fill;
mod handler;
mod list;
mod lookup;
mod reentrancy;
pub(crate) mod request;
mod respond;
mod retry;
mod sweep;
mod validate;
mod variant_hints;
mod warming;
mod write;

use handler::Inner;
pub(crate) use handler::{Content, Handler};
use request::{FieldRules, Flags, Signals};

pub(crate) use dispatch::{Progress, ProgressProjection, begin};
pub(crate) use explain::explain;
pub use explain::{Explanation, WouldEvict};
pub use list::{EntryFilter, EntryInfo, EntryOrder, EntryPage, EntryState, KeyInfo};
pub(crate) use respond::pass;
pub(crate) use retry::EmptyBody;
pub(crate) use variant_hints::VariantHints;
pub(crate) use warming::Warming;
pub(crate) use write::invalidate_and_pass;

/// What all services and handles of one cache share.
#[derive(Debug)]
pub(crate) struct CacheState {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) routes: RouteTable,
    pub(crate) fields: FieldRules,
    pub(crate) targets: Vec<HeaderName>,
    pub(crate) clock: Clock,
    pub(crate) status_headers: StatusHeaders,
    pub(crate) budget: Arc<Budget>,
    /// The largest body any policy may store.
    pub(crate) max_body: usize,
    pub(crate) store_deadline: Duration,
    /// Makes the body of a request that is sent a second time.
    pub(crate) empty_body: Option<EmptyBody>,
    /// The handler calls under way.
    pub(crate) flights: Arc<Flights>,
    pub(crate) variant_hints: VariantHints,
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

/// What one layered service adds to the [`CacheState`].
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) cache: Arc<CacheState>,
    /// Those of the core, but for a request that another service of the cache has passed on.
    pub(crate) flights: Arc<Flights>,
    /// The one policy of this place, where it was layered with one.
    pub(crate) route: Option<Arc<Route>>,
}

pub(crate) type Journey<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

/// A read that the cache was asked for: all that is needed once the request itself has gone to
/// the handler.
#[derive(Debug)]
pub(crate) struct ReadContext {
    mount: Arc<Mount>,
    route: Arc<Route>,
    key: Key,
    /// Path, query and the policy's tags, as invalidations match them.
    subject: Subject,
    method: Method,
    /// The request's header section as the client sent it: `Vary` may nominate any of it.
    headers: Arc<HeaderMap>,
    flags: Flags,
    directives: CacheControl,
    ttl: Requested,
    /// What the lookup found to select among, if the key has variants.
    variants: Option<Arc<Variants>>,
    began: Instant,
    warming: Option<Warming>,
    /// Whether its client has its answer: what comes after that is for the store alone.
    answered: AtomicBool,
}

impl Mount {
    /// Takes the request that a GET for the same target would be: what a POST answers may be stored
    /// for that (RFC 9110 §9.3.3).
    fn as_get(self: &Arc<Self>, parts: &Parts) -> Option<ReadContext> {
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let route = self.route(uri.path(), &mut { RouteId::NONE }).ok()?;
        let signals = Signals::scan(&parts.headers, &self.cache.fields);
        let ttl = admissible(route, &signals, parts).ok()?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key).ok()?;
        let began = self.cache.clock.instant();
        let read = self.read(route, parts, &key, signals.flags, ttl, began);
        Some(ReadContext {
            method: Method::GET,
            ..read
        })
    }

    /// Finds the route of a read, and takes the request by if it has none.
    fn route(&self, path: &str, under: &mut RouteId) -> Result<&Arc<Route>, BypassReason> {
        let route = match &self.route {
            Some(route) => route,
            None => lookup::route(&self.cache.routes, path)?,
        };
        *under = route.row.id;
        match route.policy.bypass {
            true => Err(BypassReason::Policy),
            false => Ok(route),
        }
    }

    fn read(
        self: &Arc<Self>,
        route: &Arc<Route>,
        parts: &Parts,
        key: &KeyBuilder,
        flags: Flags,
        ttl: Requested,
        began: Instant,
    ) -> ReadContext {
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let tags = self.cache.routes.tags(route, uri.path());
        let directives = match flags.cache_control {
            true => CacheControl::of(&parts.headers),
            false => CacheControl::default(),
        };
        ReadContext {
            mount: self.found_by(&parts.extensions),
            route: route.clone(),
            key: key.key().to_owned(),
            subject: Subject::new(uri.path(), uri.query(), tags.into_vec()),
            method: parts.method.clone(),
            headers: Arc::new(parts.headers.clone()),
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

impl CacheState {
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
        answer: MaybeReady<Result<T, Error>>,
    ) -> Result<T, Error> {
        self.within(self.store_deadline, operation, answer).await
    }

    async fn within<T>(
        &self,
        deadline: Duration,
        operation: Operation,
        answer: MaybeReady<Result<T, Error>>,
    ) -> Result<T, Error> {
        match answer {
            MaybeReady::Now(answer) => answer,
            MaybeReady::Later(answer) => {
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
        let read = self.clock.instant();
        let answer = answer.await;
        let took = self.clock.instant().saturating_duration_since(read);
        self.stats.took(Timed::Store(operation), took);
        answer
    }

    /// Hands an answer nobody waits for to the runtime, if it takes any waiting.
    pub(crate) fn in_background(self: &Arc<Self>, answer: MaybeReady<Result<(), Error>>) {
        self.in_background_with(answer, ());
    }

    /// Does the same, and drops something when it is done.
    pub(crate) fn in_background_with<T>(
        self: &Arc<Self>,
        answer: MaybeReady<Result<(), Error>>,
        until_done: T,
    ) where
        T: Send + 'static,
    {
        match answer {
            MaybeReady::Now(Ok(())) => {}
            MaybeReady::Now(Err(error)) => self.store_failed(Operation::Change, &error),
            MaybeReady::Later(answer) => match tokio::runtime::Handle::try_current() {
                Ok(runtime) => {
                    let cache = self.clone();
                    runtime.spawn(async move {
                        if let Err(error) = cache.timed(Operation::Change, answer).await {
                            cache.store_failed(Operation::Change, &error);
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
        let deadline = self.store_deadline.saturating_add(self.store.ack_delay());
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

impl ReadContext {
    fn cache(&self) -> &Arc<CacheState> {
        &self.mount.cache
    }

    /// Returns which credentials the request carries that the policy is cautious about.
    fn credentials(&self) -> Option<BypassReason> {
        credentials(&self.route, self.flags)
    }

    fn now(&self) -> Instant {
        self.cache().clock.instant()
    }

    /// Reports what became of this request, once, and what it was answered from.
    fn answered(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
        // Relaxed: it guards nothing but a count.
        if self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let cache = self.cache();
        if cache.stats.answered(&self.route.row, outcome) {
            let record = RequestRecord {
                began: Some(self.began),
                by_store: false,
                subject: Some(&self.subject),
                stored,
            };
            let row = &self.route.row;
            cache
                .stats
                .notify_listeners(&cache.clock, row, outcome, &record);
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
fn kept_going(answer: MaybeReady<Result<(), Error>>) -> MaybeReady<Result<(), Error>> {
    match (answer, tokio::runtime::Handle::try_current()) {
        (MaybeReady::Later(answer), Ok(runtime)) => {
            let done = runtime.spawn(answer);
            MaybeReady::Later(Box::pin(async move {
                done.await.unwrap_or_else(|gone| {
                    Err(Error::store("the store did not finish").with_source(gone))
                })
            }))
        }
        (answer, _) => answer,
    }
}
