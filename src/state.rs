//! The state that all services and handles of one cache share: the store within its deadline, the
//! routes, the switches, the sweep.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::uri::Scheme;
use http::{Extensions, StatusCode};
use tokio::sync::Notify;

use crate::background::Background;
use crate::body::{Budget, EmptyBody};
use crate::clock::{self, Clock};
use crate::directive::Invalidate;
#[cfg(feature = "values")]
use crate::entry::StoredValue;
use crate::entry::{PreparedList, StoredResponse, VariantHints};
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::invalidate::{Invalidation, Position, Verdict};
use crate::policy::{FieldRules, RouteTable};
use crate::semantics::invalidation;
use crate::status::{Outcome, StatusHeaders, StatusParameters};
use crate::store::{MaybeReady, Store};
use crate::target::SubjectRef;
#[cfg(feature = "values")]
use crate::telemetry::ValueRegistry;
use crate::telemetry::{Operation, RequestRecord, RouteId, Stats, Timed, trace};

/// The pause between two rounds of a sweep where nothing is invalidated, and how many times as long
/// as the last round it is at least.
const BETWEEN_ROUNDS: (Duration, u32) = (Duration::from_secs(2), 9);

/// Invalidations that come together are swept up together.
const GATHER: Duration = Duration::from_millis(200);

/// Between two steps of a sweep hits go on undisturbed.
const PAUSE: Duration = Duration::from_millis(2);

/// The state that all services and handles of one cache share.
#[derive(Debug)]
pub(crate) struct CacheState {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) routes: RouteTable,
    pub(crate) fields: FieldRules,
    /// The scheme of requests that do not say it.
    pub(crate) scheme: Scheme,
    pub(crate) targets: Vec<HeaderName>,
    pub(crate) clock: Clock,
    pub(crate) status_headers: StatusHeaders,
    pub(crate) budget: Arc<Budget>,
    /// The largest body any policy may store.
    pub(crate) max_body: usize,
    /// The most that an entry takes in the store, all included.
    pub(crate) largest_entry: usize,
    pub(crate) store_deadline: Duration,
    /// Makes the body of a request that is sent a second time.
    pub(crate) empty_body: Option<EmptyBody>,
    /// The fetches under way.
    pub(crate) flights: Arc<Flights>,
    pub(crate) variant_hints: VariantHints,
    /// The fetches that no client waits for.
    pub(crate) background: Arc<Background>,
    pub(crate) bypass: AtomicBool,
    pub(crate) stats: Stats,
    pub(crate) prepared: PreparedList,
    /// A background task sweeps the store.
    pub(crate) sweeping: AtomicBool,
    /// Notified of what is to be swept up soon.
    pub(crate) sweep_wanted: Arc<Notify>,
    /// The closure calls under way for values.
    #[cfg(feature = "values")]
    pub(crate) value_flights: Arc<Flights<Arc<StoredValue>>>,
    /// The counts of each namespace of values.
    #[cfg(feature = "values")]
    pub(crate) value_counts: ValueRegistry,
    /// The second of the last warning about the store.
    pub(crate) warned: AtomicU64,
    /// Done when it was said that there are no routes: a router wraps each of its services.
    pub(crate) without_routes: Once,
}

impl CacheState {
    pub(crate) fn verdict(&self, stored: &StoredResponse) -> Verdict {
        stored.verdict(self.store.log())
    }

    pub(crate) fn verdict_on(&self, position: Position, subject: SubjectRef<'_>) -> Verdict {
        self.store.log().verdict(position, subject)
    }

    /// Returns whether a caller that came at `came` may be given what a call brings that began at
    /// `began`, from `position`: nothing that matches has been invalidated since, and no hold lies
    /// between.
    ///
    /// A call under way is judged as a stored response is.
    pub(crate) fn may_share(
        &self,
        position: Position,
        began: Instant,
        subject: SubjectRef<'_>,
        came: Instant,
    ) -> bool {
        self.verdict_on(position, subject) == Verdict::Valid
            && !self.outlasts_hold(subject, began, came)
    }

    /// Returns whether a call that began at `began` may have read from a replica that lagged behind
    /// a write, while a caller that came at `came` did so when none did any more: it would be given
    /// what must not be stored for it.
    pub(crate) fn outlasts_hold(
        &self,
        subject: SubjectRef<'_>,
        began: Instant,
        came: Instant,
    ) -> bool {
        let log = self.store.log();
        log.outlasts_hold(subject, began, came)
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
        let log = self.store.shared_log();
        let deadline = self.store_deadline.saturating_add(log.ack_delay());
        let recording = kept_going(log.invalidate(&self.routes.covered(what)));
        let operation = Operation::Invalidate;
        let recorded = self.within(deadline, operation, recording).await;
        match &recorded {
            Ok(()) => self.recorded(what),
            Err(error) => self.store_failed(Operation::Invalidate, error),
        }
        self.sweep_soon();
        recorded
    }

    /// Reports invalidations that are recorded.
    pub(crate) fn recorded(&self, what: &[Invalidation]) {
        for one in what {
            self.stats.invalidated(one.kind(), one.is_soft());
            trace::invalidated(one);
        }
    }

    pub(crate) fn store_failed(&self, operation: Operation, error: &Error) {
        self.stats.store_failed(operation);
        let operation = operation.as_str();
        match error.kind() {
            // The store has reported that itself, once.
            ErrorKind::Unavailable => {}
            _ if self.may_warn() => {
                tracing::warn!(%error, operation, "the store failed; the request goes on without it");
            }
            _ => {
                tracing::debug!(%error, operation, "the store failed; the request goes on without it");
            }
        }
    }

    /// Warns, once, if there are no routes by which anything could be cached.
    pub(crate) fn warn_without_routes(&self) {
        if self.routes.is_empty() {
            self.without_routes.call_once(|| {
                tracing::warn!(
                    "this cache has no routes, so nothing is cached under its layer; \
                     give the builder `routes`, or wrap services with `CacheHandle::layer`"
                );
            });
        }
    }

    /// Returns whether a second has gone by since the last warning: there may be thousands of
    /// failures.
    fn may_warn(&self) -> bool {
        let since = self
            .clock
            .instant()
            .saturating_duration_since(clock::origin());
        let second = since.as_secs() + 1;
        // Relaxed: orders nothing.
        self.warned.swap(second, Ordering::Relaxed) != second
    }

    /// Has the store reclaim the room of what has just been invalidated.
    pub(crate) fn sweep_soon(self: &Arc<Self>) {
        // Kept until the sweeper hears it.
        self.sweep_wanted.notify_one();
        self.keep_swept();
    }

    /// Has the store reclaim the room of what nothing may serve any more, in the background, for as
    /// long as the cache and the runtime last; the next call after that begins again.
    pub(crate) fn keep_swept(self: &Arc<Self>) {
        // AcqRel: pairs with the release at a sweeper's end.
        if self.sweeping.load(Ordering::Relaxed) || self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweeper = Sweeper {
            cache: Arc::downgrade(self),
            wanted: self.sweep_wanted.clone(),
        };
        // Without a runtime nothing is lost but time: what may not be served never is, swept up or
        // not.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(sweeper.run());
        }
    }

    /// Records what the inner service asks for with its response to a request that is no write, and
    /// returns what the response has to say of that. The response does not wait for a store that
    /// fails to come back.
    pub(crate) fn record_requested(
        self: &Arc<Self>,
        status: StatusCode,
        extensions: &Extensions,
    ) -> impl Future<Output = StatusParameters> + Send + use<> {
        let requested = match invalidation::invalidates(status) {
            true => extensions.get::<Invalidate>().cloned(),
            false => None,
        };
        let cache = requested.is_some().then(|| self.clone());
        async move {
            match (cache, requested) {
                (Some(cache), Some(Invalidate(what))) if cache.invalidate(&what).await.is_err() => {
                    StatusParameters::INVALIDATION_PENDING
                }
                _ => StatusParameters::default(),
            }
        }
    }

    /// Reports what became of a request that bypassed the cache.
    pub(crate) fn bypassed(&self, route: RouteId, outcome: Outcome) {
        let row = self.stats.row(route);
        if self.stats.answered(row, outcome) {
            let record = RequestRecord::default();
            self.stats
                .notify_listeners(&self.clock, row, outcome, &record);
        }
    }
}

/// Sweeps a cache's store, round after round. It keeps no cache alive.
struct Sweeper {
    cache: Weak<CacheState>,
    wanted: Arc<Notify>,
}

impl Sweeper {
    async fn run(self) {
        let mut rest = BETWEEN_ROUNDS.0;
        while self.cache.strong_count() > 0 {
            if tokio::time::timeout(rest, self.wanted.notified())
                .await
                .is_ok()
            {
                tokio::time::sleep(GATHER).await;
            }
            let began = tokio::time::Instant::now();
            while self.step() {
                tokio::time::sleep(PAUSE).await;
            }
            rest = BETWEEN_ROUNDS.0.max(began.elapsed() * BETWEEN_ROUNDS.1);
        }
    }

    fn step(&self) -> bool {
        self.cache
            .upgrade()
            .is_some_and(|cache| cache.store.sweep())
    }
}

impl Drop for Sweeper {
    /// Lets another begin: the runtime may end before the cache does.
    fn drop(&mut self) {
        // One that panicked, as it does on a runtime without a timer, would panic again.
        if let (Some(cache), false) = (self.cache.upgrade(), std::thread::panicking()) {
            cache.sweeping.store(false, Ordering::Release);
        }
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
