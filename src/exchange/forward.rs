//! A miss: one call of the handler for everyone who waits, and what becomes of its response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::header::HeaderMap;
use http::response::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;
use tracing::Instrument;

use super::admit::{self, Interval, Plan, Refusal};
use super::lookup::{Ask, Lookup, Waiting, variant_key};
use super::request::take_conditions;
use super::{Asked, Inner, Journey, refresh, respond};
use crate::body::{BoxError, CacheBody, Fill, Limits};
use crate::directive::Invalidate;
use crate::entry::StoredResponse;
use crate::flight::{Flight, Freed, Join, Landing, Leader, Streaming};
use crate::invalidate::{Position, Verdict};
use crate::key::Key;
use crate::semantics::invalidation;
use crate::semantics::preconditions::Precondition;
use crate::semantics::validation::{self, Validators};
use crate::semantics::vary;
use crate::status::{BypassReason, Miss, Outcome, Told};
use crate::store::Answer;
use crate::telemetry::Event;

/// How often a request looks for a flight to join before it goes alone. Each turn means that the
/// flight it had joined was overtaken by a write or left by its leader.
const TURNS: usize = 4;

/// A handler call that nobody waits for any more is given this long.
pub(super) const ABANDONED: Duration = Duration::from_secs(60);

/// A call to be made: the inner service and the request for it.
pub(super) struct Call<S, Q> {
    pub(super) inner: Inner<S>,
    pub(super) request: Request<Q>,
}

/// Waits for a lookup, then answers from what was found or goes on to fetch.
pub(super) async fn wait_and_fetch<S, Q, B>(
    mut asked: Asked,
    waiting: Waiting,
    inner: S,
    request: Request<Q>,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<BoxError>,
{
    let core = asked.core().clone();
    let found = match core.bounded(Answer::Later(waiting)).await {
        Ok(found) => found,
        Err(error) => {
            core.store_failed(&error);
            let response = Inner::Ready(inner).call(request).await?;
            return Ok(respond::pass(
                &core,
                Outcome::Bypass(BypassReason::Store),
                response,
            ));
        }
    };
    asked.variants.clone_from(&found.variants);
    let (why, stale) = match asked.ask().judge(found) {
        Lookup::Fresh(stored) => return Ok(asked.ask().replay(&stored)),
        Lookup::ServeStale(stored) => {
            let response = asked.ask().replay_stale(&stored);
            refresh::in_background(asked, inner, request, stored);
            return Ok(response);
        }
        Lookup::Validate(stored) => (Miss::Stale, Some(stored)),
        Lookup::Missing(why) => (why, None),
    };
    if asked.directives.only_if_cached {
        return Ok(respond::gateway_timeout(&core));
    }
    fetch(asked, inner, request, why, stale).await
}

/// Answers a miss: from another request's flight, or by calling the handler.
pub(super) async fn fetch<S, Q, B>(
    asked: Asked,
    inner: S,
    request: Request<Q>,
    why: Miss,
    stale: Option<Arc<StoredResponse>>,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<BoxError>,
{
    let asked = Arc::new(asked);
    let mut inner = Inner::Ready(inner);
    let turns = if asked.may_share() { TURNS } else { 0 };
    let give_up = Instant::now().checked_add(asked.route.policy.collapsing.max_wait);
    for _ in 0..turns {
        match asked.join() {
            Join::Alone => break,
            Join::Lead(leader) => {
                if let Some(stored) = asked.stored_meanwhile() {
                    leader.land(Landing::Stored(stored.clone(), Outcome::Hit));
                    return Ok(asked.replay(&stored, Outcome::Hit, Told::default()));
                }
                let finish = asked.route.policy.collapsing.finish_abandoned;
                let fetch = Fetch {
                    asked,
                    why,
                    stale,
                    leader: Some(Arc::new(leader)),
                };
                let led = fetch.lead(Call { inner, request });
                return Detached::new(Box::pin(led), finish).await;
            }
            Join::Wait(flight) => {
                inner = inner.release();
                match asked.wait_for(&flight, give_up).await {
                    Waited::Answered(response) => return Ok(response),
                    Waited::Again => {}
                    Waited::Alone => break,
                }
            }
        }
    }
    let fetch = Fetch {
        asked,
        why,
        stale,
        leader: None,
    };
    fetch.lead(Call { inner, request }).await
}

/// What waiting for another request's flight came to.
enum Waited<B> {
    Answered(Response<CacheBody<B>>),
    /// The flight was left, or was overtaken by a write: look for another.
    Again,
    Alone,
}

impl Asked {
    fn ask(&self) -> Ask<'_> {
        Ask {
            core: self.core(),
            route: &self.route,
            client: self.client(),
            began: self.began,
        }
    }

    /// Whether the response to this request is one that others may wait for, or that it may take
    /// from others.
    fn may_share(&self) -> bool {
        self.route.policy.collapsing.on
            && self.method == http::Method::GET
            && self.credentials().is_none()
            && !self.flags.range
            && !self.flags.precondition
            && !self.directives.no_store
    }

    pub(super) fn join(&self) -> Join {
        let core = self.core();
        self.place.flights.join(
            self.flight_key().borrow(),
            core.clock.instant(),
            || core.store.log().position(),
            |flight| {
                flight.is_of_use(core.clock.instant(), |tags| {
                    self.may_join(flight.position, tags)
                })
            },
        )
    }

    /// Requests that select different variants do not share a call.
    fn flight_key(&self) -> Key {
        match &self.variants {
            Some(variants) => variant_key(self.key.borrow(), &variants.names, &self.headers),
            None => self.key.clone(),
        }
    }

    /// Judges a flight as a stored response is judged: nothing that matches may have been
    /// invalidated since its handler was called.
    fn may_join(&self, position: Position, tags: &[Box<str>]) -> bool {
        let mut subject = self.subject.borrow();
        if !tags.is_empty() {
            subject = subject.with_tags(tags);
        }
        self.core().verdict_on(position, subject) == Verdict::Valid
    }

    /// Looks again, as the leader of a flight: another may have landed since the first lookup.
    fn stored_meanwhile(&self) -> Option<Arc<StoredResponse>> {
        let found = match super::lookup::find(self.core(), self.key.borrow(), &self.headers) {
            Answer::Now(Ok(found)) => found,
            Answer::Now(Err(_)) | Answer::Later(_) => return None,
        };
        let ask = Ask {
            began: self.now(),
            ..self.ask()
        };
        match ask.judge(found) {
            Lookup::Fresh(stored) => Some(stored),
            _ => None,
        }
    }

    async fn wait_for<B>(&self, flight: &Flight, give_up: Option<Instant>) -> Waited<B> {
        let core = self.core();
        core.stats.count(Event::Collapsed);
        let landing = flight.landing();
        let landing = match give_up {
            Some(give_up) => tokio::time::timeout_at(give_up, landing).await,
            None => Ok(landing.await),
        };
        match landing {
            Err(_) | Ok(Err(Freed::NotForOthers)) => Waited::Alone,
            Ok(Err(Freed::Abandoned)) => Waited::Again,
            Ok(Ok(Landing::Stored(stored, outcome))) => match (core.verdict(&stored), outcome) {
                (Verdict::Valid, _) | (Verdict::Soft, Outcome::Stale(_)) => {
                    Waited::Answered(self.replay(&stored, outcome, Told::default()))
                }
                _ => Waited::Again,
            },
            Ok(Ok(Landing::Streaming(streaming))) => self.read_along(flight, &streaming),
        }
    }

    fn read_along<B>(&self, flight: &Flight, streaming: &Streaming) -> Waited<B> {
        if !self.may_join(flight.position, &streaming.tags) {
            return Waited::Again;
        }
        if !vary::selects(&streaming.nominated, &streaming.request, &self.headers) {
            return Waited::Alone;
        }
        let Some(reader) = streaming.fill.reader() else {
            return Waited::Alone;
        };
        let outcome = Outcome::Miss {
            why: Miss::Uri,
            stored: false,
            collapsed: true,
            detail: None,
        };
        let mut response = respond::respond(
            streaming.status,
            streaming.headers.clone(),
            CacheBody::filling(reader),
        );
        self.core()
            .tell(response.headers_mut(), outcome, Told::default());
        Waited::Answered(self.conditionally(&self.headers, response))
    }
}

/// A call of the handler, and what is to become of its response.
pub(super) struct Fetch {
    pub(super) asked: Arc<Asked>,
    pub(super) why: Miss,
    /// What is stored but may not be used as it is.
    pub(super) stale: Option<Arc<StoredResponse>>,
    /// The flight that others wait for.
    pub(super) leader: Option<Arc<Leader>>,
}

impl Fetch {
    /// Calls the handler and answers the client that asked.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the response's head is there, it drops the handler's future and frees those
    /// who wait; [`Detached`] keeps it running instead.
    pub(super) async fn lead<S, Q, B>(
        self,
        mut call: Call<S, Q>,
    ) -> Result<Response<CacheBody<B>>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone,
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<BoxError>,
    {
        let core = self.asked.core().clone();
        // Before the handler is called: what is invalidated from here on is newer than its answer.
        let position = match &self.leader {
            Some(leader) => leader.position(),
            None => core.store.log().position(),
        };
        let conditions = self.prepare(call.request.headers_mut());
        let requested = core.clock.now();
        let response = match call.inner.call(call.request).await {
            Ok(response) => response,
            Err(error) => return self.in_place_of_error().ok_or(error),
        };
        let received = core.clock.now();
        let (head, body) = response.into_parts();
        let asked_for = head.extensions.get::<Invalidate>().cloned();
        if let Some(Invalidate(invalidations)) =
            asked_for.filter(|_| invalidation::invalidates(head.status))
        {
            // A failure is counted; the response does not wait for the store to come back.
            let _ = core.invalidate(&invalidations).await;
        }
        let interval = Interval {
            requested,
            received,
        };
        match self.validated(&head, interval, position) {
            refresh::Validated::Confirmed(response) => Ok(response),
            refresh::Validated::New => {
                Ok(self.take_in(head, body, interval, position, &conditions))
            }
        }
    }

    /// Takes the client's conditions off the request, so that the answer is one that fills the
    /// cache, and puts on those that validate what is stored. Returns what was taken.
    fn prepare(&self, headers: &mut HeaderMap) -> HeaderMap {
        if self.leader.is_none() && self.stale.is_none() {
            // Nothing may come of it but this one answer: the client's conditions are the best.
            return HeaderMap::new();
        }
        let conditions = take_conditions(headers);
        if let Some(stale) = &self.stale {
            let validators = Validators {
                etag: stale.head.etag(),
                last_modified: stale.head.last_modified(),
            };
            validation::make_conditional(headers, &[validators]);
        }
        conditions
    }

    fn in_place_of_error<B>(&self) -> Option<Response<CacheBody<B>>> {
        let response = self.stale_in_place_of_error(None);
        if response.is_none() {
            self.free();
        }
        response
    }

    /// Frees those who wait to make their own calls.
    pub(super) fn free(&self) {
        if let Some(leader) = &self.leader {
            leader.not_for_others();
        }
    }

    /// Stores a new response while it is passed on, or passes it on alone.
    fn take_in<B>(
        self,
        head: Parts,
        body: B,
        interval: Interval,
        position: Position,
        conditions: &HeaderMap,
    ) -> Response<CacheBody<B>>
    where
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<BoxError>,
    {
        match admit::admit(&self.asked, &head, &body.size_hint(), interval) {
            Ok(plan) => self.fill(head, body, plan, position, conditions),
            Err(refusal) => self.pass_on(head, body, refusal, conditions),
        }
    }

    fn fill<B>(
        self,
        head: Parts,
        body: B,
        plan: Plan,
        position: Position,
        conditions: &HeaderMap,
    ) -> Response<CacheBody<B>>
    where
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<BoxError>,
    {
        let Self {
            asked, why, leader, ..
        } = self;
        let core = asked.core().clone();
        let flight_key = asked.flight_key();
        let leader = match leader {
            Some(leader) if plan.is_always_validated() => {
                // No other request may be given it without asking the handler itself.
                leader.not_for_others();
                let now = core.clock.instant();
                asked.place.flights.is_uncacheable(flight_key.borrow(), now);
                None
            }
            leader => {
                asked.place.flights.is_cacheable(flight_key.borrow());
                leader
            }
        };
        let limits = Limits {
            max_body: asked.route.policy.max_body.min(core.max_body),
            expected: plan.expected,
            finish_abandoned: asked.route.policy.collapsing.finish_abandoned,
            budget: core.budget.clone(),
        };
        let useful_until = plan.useful_until();
        let landing = leader.is_some().then(|| {
            (
                plan.headers().clone(),
                plan.nominated.clone(),
                plan.subject.tags().into(),
            )
        });
        let commit = {
            let (asked, leader) = (asked.clone(), leader.clone());
            Box::new(move |captured| {
                let nominated = plan.nominated.clone();
                let stored = Arc::new(plan.into_stored(captured, position));
                asked.core().stats.count(Event::Stored);
                asked.store(&stored, &nominated);
                // Only now, so that whoever no longer finds the flight finds the response.
                drop(leader);
            })
        };
        let fill = Fill::new(body, limits, commit);
        let reader = fill.reader();
        if let (Some(leader), Some((headers, nominated, tags))) = (leader, landing) {
            leader.land(Landing::Streaming(Arc::new(Streaming {
                status: head.status,
                headers,
                fill,
                nominated,
                request: asked.headers.clone(),
                tags,
                useful_until,
            })));
        }
        let outcome = Outcome::Miss {
            why,
            stored: true,
            collapsed: false,
            detail: None,
        };
        let told = Told {
            fwd_status: Some(head.status),
            ..Told::default()
        };
        let body = reader.map_or_else(CacheBody::empty, CacheBody::filling);
        let mut response = Response::from_parts(head, body);
        core.tell(response.headers_mut(), outcome, told);
        asked.conditionally(conditions, response)
    }

    fn pass_on<B>(
        self,
        head: Parts,
        body: B,
        refusal: Refusal,
        conditions: &HeaderMap,
    ) -> Response<CacheBody<B>> {
        let asked = &self.asked;
        let core = asked.core();
        self.free();
        if self.leader.is_some() && refusal.lasts(head.status) {
            asked
                .place
                .flights
                .is_uncacheable(asked.flight_key().borrow(), core.clock.instant());
        }
        // The handler's latest word on this key: what was stored before is no longer its answer.
        if self.stale.is_some() && head.status.is_success() {
            asked.discard();
        }
        let outcome = match asked.credentials() {
            Some(reason) => Outcome::Bypass(reason),
            None => Outcome::Miss {
                why: self.why,
                stored: false,
                collapsed: false,
                detail: Some(refusal.detail()),
            },
        };
        let told = Told {
            fwd_status: Some(head.status),
            ..Told::default()
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return respond::pass(core, outcome, Response::from_parts(head, body));
        }
        let mut response = Response::from_parts(head, CacheBody::pass(body));
        core.tell(response.headers_mut(), outcome, told);
        asked.conditionally(conditions, response)
    }
}

impl Asked {
    /// Answers the conditions that the client set and the handler was not shown (RFC 9110 §13.2).
    fn conditionally<B>(
        &self,
        conditions: &HeaderMap,
        response: Response<CacheBody<B>>,
    ) -> Response<CacheBody<B>> {
        if !self.flags.conditional || conditions.is_empty() || response.status() != StatusCode::OK {
            return response;
        }
        match respond::evaluate(
            response.status(),
            response.headers(),
            conditions,
            self.now(),
        ) {
            Precondition::NotModified => {
                let (head, body) = response.into_parts();
                drop(body);
                let mut head = head;
                head.headers.remove(http::header::CONTENT_LENGTH);
                respond::not_modified(head.headers)
            }
            _ => response,
        }
    }
}

/// A handler call that goes on in the background when the one who waits for it goes away: others
/// may wait for it, and what it brings can be stored.
struct Detached<B: 'static, E: 'static> {
    journey: Option<Journey<B, E>>,
    finish: bool,
}

impl<B, E> Detached<B, E> {
    fn new(journey: Journey<B, E>, finish: bool) -> Self {
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
        let Some(journey) = &mut self.journey else {
            // Polled after it was ready, which no caller of ours does.
            return Poll::Pending;
        };
        let polled = journey.as_mut().poll(cx);
        if polled.is_ready() {
            self.journey = None;
        }
        polled
    }
}

impl<B, E> Drop for Detached<B, E> {
    fn drop(&mut self) {
        let Some(journey) = self.journey.take() else {
            return;
        };
        if !self.finish || std::thread::panicking() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Whoever waits for this flight gets its landing; the response itself has no reader left.
            let finished = async move { drop(tokio::time::timeout(ABANDONED, journey).await) };
            runtime.spawn(finished.in_current_span());
        }
    }
}
