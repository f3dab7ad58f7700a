//! A miss: one call of the handler for everyone who waits, and what becomes of its response.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::response::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tracing::Instrument;

use super::admit::{self, Interval};
use super::basis::Basis;
use super::detached::Detached;
use super::lookup::{Lookup, Waiting};
use super::refresh::Validated;
use super::share::Waited;
use super::{Asked, Content, Handler, Inner, again, refresh, respond, write};
use crate::body::{CacheBody, Captured, into_bytes};
use crate::entry::StoredResponse;
use crate::flight::{Join, Landing, Leader};
use crate::invalidate::Position;
use crate::semantics::preconditions;
use crate::status::{BypassReason, Miss, Outcome, Staleness, Told};
use crate::store::{Answer, Claim};
use crate::telemetry::trace::{self, FillSpan};
use crate::telemetry::{Operation, Timed};

/// How often a request looks for a flight to join before it goes alone. Each turn means that the
/// flight it had joined was overtaken by a write or left by its leader.
const TURNS: usize = 4;

/// A call to be made: the inner service and the request for it.
pub(super) struct Call<S, Q> {
    pub(super) inner: Inner<S>,
    pub(super) request: Request<Q>,
}

/// Waits for a lookup, then answers from what was found or goes on to fetch.
pub(super) async fn wait_and_fetch<S, Q, B>(
    mut asked: Box<Asked>,
    waiting: Waiting,
    inner: S,
    request: Request<Q>,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let core = asked.core().clone();
    let waiting = core.bounded(Operation::Get, Answer::Later(waiting));
    let found = match waiting.instrument(trace::lookup(&asked.route.row)).await {
        Ok(found) => found,
        Err(error) => {
            core.store_failed(Operation::Get, &error);
            let response = Inner::Ready(inner).call(request).await?;
            let outcome = Outcome::Bypass(BypassReason::Store);
            let (route, told) = (asked.route.row.id, Told::default());
            return Ok(respond::pass(&core, route, outcome, told, response));
        }
    };
    asked.variants.clone_from(&found.variants);
    let asked: Arc<Asked> = Arc::from(asked);
    let (why, basis) = match asked.ask().judge(found) {
        Lookup::Fresh(stored, age) => return Ok(asked.ask().hit(&stored, age)),
        Lookup::ServeAndRefresh(stored, outcome) => {
            let response = asked.ask().replay(&stored, outcome);
            refresh::in_background(asked, inner, request, stored);
            return Ok(response);
        }
        Lookup::Accepted(stored) => {
            let outcome = Outcome::Stale(Staleness::Accepted);
            return Ok(asked.ask().replay(&stored, outcome));
        }
        Lookup::Fetch(why, basis) => (why, basis),
    };
    if asked.directives.only_if_cached {
        return Ok(asked.gateway_timeout(Outcome::Unsatisfied));
    }
    asked.ask().found_nothing();
    fetch(asked, inner, request, why, basis).await
}

/// Answers a miss, or, when that takes longer than the policy's soft timeout, with the stale
/// response there is.
pub(super) async fn fetch<S, Q, B>(
    asked: Arc<Asked>,
    inner: S,
    request: Request<Q>,
    why: Miss,
    basis: Basis,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let timeout = asked.route.policy.staleness.soft_timeout;
    let (Some(timeout), Basis::Stale(stale)) = (timeout, &basis) else {
        return share_or_lead(asked, inner, request, why, basis).await;
    };
    let stale = stale.clone();
    if !asked.permits_stale(&stale) {
        return share_or_lead(asked, inner, request, why, basis).await;
    }
    let led = share_or_lead(asked.clone(), inner, request, why, basis);
    match tokio::time::timeout(timeout, led).await {
        Ok(answered) => answered,
        // The handler's call goes on in the background.
        Err(_) => Ok(asked.replay(&stale, Outcome::Stale(Staleness::IfSlow), Told::default())),
    }
}

/// Answers a miss: from another request's flight, or by calling the handler.
async fn share_or_lead<S, Q, B>(
    asked: Arc<Asked>,
    inner: S,
    request: Request<Q>,
    why: Miss,
    basis: Basis,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let mut inner = Inner::Ready(inner);
    let turns = if asked.may_share() { TURNS } else { 0 };
    let mut give_up = None;
    for _ in 0..turns {
        match asked.join() {
            Join::Alone => break,
            Join::Lead(leader) => {
                if let Some(landed) = asked.stored_meanwhile() {
                    let response = asked.replay(&landed.stored, Outcome::Hit, Told::default());
                    leader.land(Landing::Stored(Arc::new(landed)));
                    return Ok(response);
                }
                let policy = &asked.route.policy;
                let finish =
                    policy.collapsing.finish_abandoned || policy.staleness.soft_timeout.is_some();
                let fetch = Fetch::new(asked, why, basis, Some(leader));
                let led = fetch.lead(Call { inner, request });
                return Detached::new(Box::pin(led), finish).await;
            }
            Join::Wait(flight) => {
                inner = inner.release();
                let max_wait = asked.route.policy.collapsing.max_wait;
                let give_up = *give_up.get_or_insert_with(|| Instant::now().checked_add(max_wait));
                match asked.wait_for(&flight, give_up).await {
                    Waited::Answered(response) => return Ok(response),
                    Waited::Again => {}
                    Waited::Alone => break,
                }
            }
        }
    }
    let outlives_its_client = asked.outlives_its_client(&basis);
    let fetch = Fetch::new(asked, why, basis, None);
    let led = fetch.lead(Call { inner, request });
    match outlives_its_client {
        true => Detached::new(Box::pin(led), true).await,
        false => led.await,
    }
}

impl Asked {
    /// Whether a call that nobody shares goes on without its client: when that is given a stale
    /// response after the soft timeout, something has to refresh it.
    fn outlives_its_client(&self, basis: &Basis) -> bool {
        self.route.policy.staleness.soft_timeout.is_some()
            && matches!(basis, Basis::Stale(_))
            && self.method == Method::GET
            && !self.flags.range
            && !self.flags.precondition
    }
}

/// A call of the handler, and what is to become of its response.
pub(super) struct Fetch {
    pub(super) asked: Arc<Asked>,
    pub(super) why: Miss,
    /// What is stored already and bears on the call.
    pub(super) basis: Basis,
    /// The flight that others wait for.
    pub(super) leader: Option<Arc<Leader>>,
    pub(super) span: FillSpan,
}

/// A handler's response, the time it took, and what its client is told of it.
pub(super) struct Received<B> {
    pub(super) head: Parts,
    pub(super) body: B,
    pub(super) interval: Interval,
    pub(super) told: Told,
}

/// A handler call that brought no response.
enum Failure<E> {
    Error(E),
    TimedOut,
}

impl<E> From<Elapsed> for Failure<E> {
    fn from(_: Elapsed) -> Self {
        Self::TimedOut
    }
}

impl Fetch {
    pub(super) fn new(asked: Arc<Asked>, why: Miss, basis: Basis, leader: Option<Leader>) -> Self {
        Self {
            asked,
            why,
            basis,
            leader: leader.map(Arc::new),
            span: FillSpan::none(),
        }
    }

    /// Calls the handler and answers the client that asked.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the response's head is there, it drops the handler's future and frees those
    /// who wait; [`Detached`] keeps it running instead.
    pub(super) fn lead<S, Q, B>(
        mut self,
        call: Call<S, Q>,
    ) -> impl Future<Output = Result<Response<CacheBody<B>>, S::Error>>
    where
        S: Handler<Q, B>,
        Q: 'static,
        B: Content,
    {
        self.span = FillSpan::open(&self.asked.route.row, self.why);
        let span = self.span.span.clone();
        self.call_and_answer(call).instrument(span)
    }

    async fn call_and_answer<S, Q, B>(
        mut self,
        mut call: Call<S, Q>,
    ) -> Result<Response<CacheBody<B>>, S::Error>
    where
        S: Handler<Q, B>,
        Q: 'static,
        B: Content,
    {
        if let Some(response) = self.found_by_another_node().await {
            return Ok(response);
        }
        // Before the handler is called: what is invalidated from here on is newer than its answer.
        let position = match &self.leader {
            Some(leader) => leader.position(),
            None => self.asked.core().store.log().position(),
        };
        self.find_stand_in().await;
        let conditions = self.take_conditions(call.request.headers_mut());
        let mut repeat = match self.basis.asks_nothing() {
            true => None,
            false => again::prepare(&call, self.asked.core().empty_body.as_ref()),
        };
        self.basis.ask(call.request.headers_mut(), repeat.is_some());
        loop {
            let received = match self.send(call).await {
                Ok(received) => received,
                Err(Failure::Error(error)) => return self.in_place_of_error().ok_or(error),
                Err(Failure::TimedOut) => {
                    return Ok(self.in_place_of_error().unwrap_or_else(|| self.timed_out()));
                }
            };
            let useless = match self.held_against(&received.head, received.interval, position) {
                Validated::Confirmed(response) => return Ok(response),
                Validated::New => return Ok(self.take_in(received, position, &conditions)),
                Validated::Useless(stored) => stored,
                Validated::Rest(part) => {
                    let whole = self.complete(&part, received, position, &conditions).await;
                    match whole {
                        Some(response) => return Ok(response),
                        None => part,
                    }
                }
            };
            match repeat.take() {
                Some(unconditional) => call = unconditional,
                None => return Ok(self.unchanged(&useless)),
            }
            self.basis = Basis::Nothing;
        }
    }

    /// Has one node call the handler for all of them, and answers from what another has stored.
    async fn found_by_another_node<B>(&self) -> Option<Response<CacheBody<B>>> {
        let leader = self.leader.as_ref()?;
        let asked = &self.asked;
        match asked
            .core()
            .store
            .claim(asked.flight_key().borrow())
            .get()
            .await
        {
            Claim::Granted(right) => {
                if let Some(right) = right {
                    leader.holds(right);
                }
                None
            }
            Claim::Elsewhere => {
                let landed = Arc::new(asked.stored_elsewhere().await?);
                let response = asked.replay(&landed.stored, landed.outcome, Told::default());
                leader.land(Landing::Stored(landed));
                Some(response)
            }
        }
    }

    async fn send<S, Q, B>(&self, call: Call<S, Q>) -> Result<Received<B>, Failure<S::Error>>
    where
        S: Handler<Q, B>,
    {
        let core = self.asked.core();
        let requested = core.clock.now();
        let response = call.inner.call(call.request);
        let response = match self.asked.route.policy.staleness.hard_timeout {
            Some(timeout) => tokio::time::timeout(timeout, response).await?,
            None => response.await,
        };
        let (head, body) = response.map_err(Failure::Error)?.into_parts();
        let received = core.clock.now();
        if core.stats.is_timed() {
            let took = received
                .instant
                .saturating_duration_since(requested.instant);
            core.stats.took(Timed::Origin, took);
        }
        let told = write::record_what_is_asked_for(core, head.status, &head.extensions).await;
        let interval = Interval {
            requested,
            received,
        };
        Ok(Received {
            told: Told {
                fwd_status: Some(head.status),
                ..told
            },
            head,
            body,
            interval,
        })
    }

    /// Takes the client's conditions off the request, so that the answer is one that fills the
    /// cache, and returns them.
    fn take_conditions(&self, headers: &mut HeaderMap) -> HeaderMap {
        let nothing_comes_of_it = self.leader.is_none() && self.basis.asks_nothing();
        if nothing_comes_of_it || !self.asked.flags.conditional {
            // Nothing but this one answer: the client's own conditions are the best.
            return HeaderMap::new();
        }
        preconditions::strip(headers);
        HeaderMap::clone(&self.asked.headers)
    }

    /// Frees those who wait to make their own calls.
    pub(super) fn free(&self) {
        if let Some(leader) = &self.leader {
            leader.not_for_others();
        }
    }

    fn in_place_of_error<B>(&self) -> Option<Response<CacheBody<B>>> {
        let response = self.stale_in_place_of_error(None);
        if response.is_none() {
            self.free();
        }
        response
    }

    fn timed_out<B>(&self) -> Response<CacheBody<B>> {
        self.asked.gateway_timeout(self.miss(Some("hard-timeout")))
    }

    /// Answers from a stored response that the handler called unmodified in words that must not
    /// update it: used for this once, it stays as stale as it was.
    fn unchanged<B>(&self, stored: &StoredResponse) -> Response<CacheBody<B>> {
        self.free();
        let outcome = Outcome::Revalidated {
            why: self.why,
            stored: false,
            collapsed: false,
        };
        self.asked.replay(stored, outcome, Told::default())
    }

    /// Joins the rest of a body to the part that is stored, and answers from the whole.
    async fn complete<B>(
        &self,
        part: &StoredResponse,
        rest: Received<B>,
        position: Position,
        conditions: &HeaderMap,
    ) -> Option<Response<CacheBody<B>>>
    where
        B: Content,
    {
        let asked = &self.asked;
        let core = asked.core();
        let most = asked.route.policy.max_body.min(core.max_body);
        let body = Limited::new(rest.body.map_frame(into_bytes), most);
        let body: Bytes = body.collect().await.ok()?.to_bytes();
        let (head, body) = part.completed_by(&rest.head, body)?;
        let length = http_body::SizeHint::with_exact(body.len() as u64);
        let plan = admit::admit(asked, &head, &length, rest.interval).ok()?;
        let plan = plan.with_tags_of(part).ok()?;
        let nominated = plan.nominated.clone();
        let captured = Captured {
            body,
            trailers: None,
        };
        let stored = plan.into_stored(captured, position, &Basis::Nothing)?;
        let stored = Arc::new(stored.filled_by(self.span.number));
        asked.store(&stored, &nominated);
        let outcome = Outcome::Miss {
            why: Miss::Partial,
            stored: true,
            collapsed: false,
            detail: None,
        };
        if let Some(leader) = &self.leader {
            let landed = asked.landed(stored.clone(), nominated, outcome.collapsed());
            leader.land(Landing::Stored(Arc::new(landed)));
        }
        let response = asked.replay(&stored, outcome, rest.told);
        Some(asked.conditionally(conditions, response))
    }

    pub(super) fn miss(&self, detail: Option<&'static str>) -> Outcome {
        Outcome::Miss {
            why: self.why,
            stored: false,
            collapsed: false,
            detail,
        }
    }
}
