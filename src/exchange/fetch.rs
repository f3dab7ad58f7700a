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
use super::candidate::Candidate;
use super::collapse::Waited;
use super::detached::Detached;
use super::lookup::{Decision, Waiting};
use super::validate::Validated;
use super::{Content, Handler, Inner, ReadContext, respond, retry, validate};
use crate::body::{CacheBody, Captured, into_bytes};
use crate::entry::StoredResponse;
use crate::flight::{FlightResult, Join, Leader};
use crate::invalidate::Position;
use crate::semantics::preconditions;
use crate::status::{BypassReason, Miss, Outcome, Staleness, StatusParameters};
use crate::store::{Claim, MaybeReady};
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
    mut read: Box<ReadContext>,
    waiting: Waiting,
    inner: S,
    request: Request<Q>,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let cache = read.cache().clone();
    let waiting = cache.bounded(Operation::Get, MaybeReady::Later(waiting));
    let found = match waiting.instrument(trace::lookup(&read.route.row)).await {
        Ok(found) => found,
        Err(error) => {
            cache.store_failed(Operation::Get, &error);
            let response = Inner::Ready(inner).call(request).await?;
            let outcome = Outcome::Bypass(BypassReason::Store);
            let (route, parameters) = (read.route.row.id, StatusParameters::default());
            return Ok(respond::pass(&cache, route, outcome, parameters, response));
        }
    };
    read.variants.clone_from(&found.variants);
    let read: Arc<ReadContext> = Arc::from(read);
    let (why, candidate) = match read.view().judge(found) {
        Decision::Fresh(stored, age) => return Ok(read.view().hit(&stored, age)),
        Decision::ServeAndRefresh(stored, outcome) => {
            let response = read.view().replay(&stored, outcome);
            validate::in_background(read, inner, request, stored);
            return Ok(response);
        }
        Decision::Accepted(stored) => {
            let outcome = Outcome::Stale(Staleness::Accepted);
            return Ok(read.view().replay(&stored, outcome));
        }
        Decision::Fetch(why, candidate) => (why, candidate),
    };
    if read.directives.only_if_cached {
        return Ok(read.gateway_timeout(Outcome::Unsatisfied));
    }
    read.view().record_lookup_miss();
    fetch(read, inner, request, why, candidate).await
}

/// Answers a miss, or, when that takes longer than the policy's soft timeout, with the stale
/// response there is.
pub(super) async fn fetch<S, Q, B>(
    read: Arc<ReadContext>,
    inner: S,
    request: Request<Q>,
    why: Miss,
    candidate: Candidate,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let timeout = read.route.policy.staleness.soft_timeout;
    let (Some(timeout), Candidate::Stale(stale)) = (timeout, &candidate) else {
        return share_or_lead(read, inner, request, why, candidate).await;
    };
    let stale = stale.clone();
    if !read.permits_stale(&stale) {
        return share_or_lead(read, inner, request, why, candidate).await;
    }
    let led = share_or_lead(read.clone(), inner, request, why, candidate);
    match tokio::time::timeout(timeout, led).await {
        Ok(answered) => answered,
        // The handler's call goes on in the background.
        Err(_) => Ok(read.replay(
            &stale,
            Outcome::Stale(Staleness::IfSlow),
            StatusParameters::default(),
        )),
    }
}

/// Answers a miss: from another request's flight, or by calling the handler.
async fn share_or_lead<S, Q, B>(
    read: Arc<ReadContext>,
    inner: S,
    request: Request<Q>,
    why: Miss,
    candidate: Candidate,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let mut inner = Inner::Ready(inner);
    let turns = if read.may_share() { TURNS } else { 0 };
    let mut give_up = None;
    for _ in 0..turns {
        match read.join() {
            Join::Alone => break,
            Join::Lead(leader) => {
                if let Some(published) = read.stored_meanwhile() {
                    let response =
                        read.replay(&published.stored, Outcome::Hit, StatusParameters::default());
                    leader.publish(FlightResult::Stored(Arc::new(published)));
                    return Ok(response);
                }
                let policy = &read.route.policy;
                let finish =
                    policy.collapsing.finish_abandoned || policy.staleness.soft_timeout.is_some();
                let fetch = Fetch::new(read, why, candidate, Some(leader));
                let led = fetch.lead(Call { inner, request });
                return Detached::new(Box::pin(led), finish).await;
            }
            Join::Wait(flight) => {
                inner = inner.release();
                let max_wait = read.route.policy.collapsing.max_wait;
                let give_up = *give_up.get_or_insert_with(|| Instant::now().checked_add(max_wait));
                match read.wait_for(&flight, give_up).await {
                    Waited::Answered(response) => return Ok(response),
                    Waited::Again => {}
                    Waited::Alone => break,
                }
            }
        }
    }
    let outlives_its_client = read.outlives_its_client(&candidate);
    let fetch = Fetch::new(read, why, candidate, None);
    let led = fetch.lead(Call { inner, request });
    match outlives_its_client {
        true => Detached::new(Box::pin(led), true).await,
        false => led.await,
    }
}

impl ReadContext {
    /// Whether a call that nobody shares goes on without its client: when that is given a stale
    /// response after the soft timeout, something has to refresh it.
    fn outlives_its_client(&self, candidate: &Candidate) -> bool {
        self.route.policy.staleness.soft_timeout.is_some()
            && matches!(candidate, Candidate::Stale(_))
            && self.method == Method::GET
            && !self.flags.range
            && !self.flags.precondition
    }
}

/// A call of the handler, and what is to become of its response.
pub(super) struct Fetch {
    pub(super) read: Arc<ReadContext>,
    pub(super) why: Miss,
    /// What is stored already and bears on the call.
    pub(super) candidate: Candidate,
    /// The flight that others wait for.
    pub(super) leader: Option<Arc<Leader>>,
    pub(super) span: FillSpan,
}

/// A handler's response, the time it took, and what its client is told of it.
pub(super) struct Received<B> {
    pub(super) head: Parts,
    pub(super) body: B,
    pub(super) interval: Interval,
    pub(super) parameters: StatusParameters,
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
    pub(super) fn new(
        read: Arc<ReadContext>,
        why: Miss,
        candidate: Candidate,
        leader: Option<Leader>,
    ) -> Self {
        Self {
            read,
            why,
            candidate,
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
        self.span = FillSpan::open(&self.read.route.row, self.why);
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
            None => self.read.cache().store.log().position(),
        };
        self.find_stand_in().await;
        let conditions = self.take_conditions(call.request.headers_mut());
        let mut repeat = match self.candidate.asks_nothing() {
            true => None,
            false => retry::prepare(&call, self.read.cache().empty_body.as_ref()),
        };
        self.candidate
            .ask(call.request.headers_mut(), repeat.is_some());
        loop {
            let received = match self.send(call).await {
                Ok(received) => received,
                Err(Failure::Error(error)) => return self.in_place_of_error().ok_or(error),
                Err(Failure::TimedOut) => {
                    return Ok(self.in_place_of_error().unwrap_or_else(|| self.timed_out()));
                }
            };
            let useless = match self.validate_response(&received.head, received.interval, position)
            {
                Validated::Confirmed(response) => return Ok(response),
                Validated::New => return Ok(self.deliver(received, position, &conditions)),
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
            self.candidate = Candidate::Nothing;
        }
    }

    /// Has one node call the handler for all of them, and answers from what another has stored.
    async fn found_by_another_node<B>(&self) -> Option<Response<CacheBody<B>>> {
        let leader = self.leader.as_ref()?;
        let read = &self.read;
        match read
            .cache()
            .store
            .claim(read.flight_key().borrow())
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
                let published = Arc::new(read.stored_elsewhere().await?);
                let response = read.replay(
                    &published.stored,
                    published.outcome,
                    StatusParameters::default(),
                );
                leader.publish(FlightResult::Stored(published));
                Some(response)
            }
        }
    }

    async fn send<S, Q, B>(&self, call: Call<S, Q>) -> Result<Received<B>, Failure<S::Error>>
    where
        S: Handler<Q, B>,
    {
        let cache = self.read.cache();
        let requested = cache.clock.now();
        let response = call.inner.call(call.request);
        let response = match self.read.route.policy.staleness.hard_timeout {
            Some(timeout) => tokio::time::timeout(timeout, response).await?,
            None => response.await,
        };
        let (head, body) = response.map_err(Failure::Error)?.into_parts();
        let received = cache.clock.now();
        if cache.stats.is_timed() {
            let took = received
                .instant
                .saturating_duration_since(requested.instant);
            cache.stats.took(Timed::Origin, took);
        }
        let parameters = cache.record_requested(head.status, &head.extensions).await;
        let interval = Interval {
            requested,
            received,
        };
        Ok(Received {
            parameters: StatusParameters {
                fwd_status: Some(head.status),
                ..parameters
            },
            head,
            body,
            interval,
        })
    }

    /// Takes the client's conditions off the request, so that the answer is one that fills the
    /// cache, and returns them.
    fn take_conditions(&self, headers: &mut HeaderMap) -> HeaderMap {
        let nothing_comes_of_it = self.leader.is_none() && self.candidate.asks_nothing();
        if nothing_comes_of_it || !self.read.flags.conditional {
            // Nothing but this one answer: the client's own conditions are the best.
            return HeaderMap::new();
        }
        preconditions::strip(headers);
        HeaderMap::clone(&self.read.headers)
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
        self.read.gateway_timeout(self.miss(Some("hard-timeout")))
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
        self.read
            .replay(stored, outcome, StatusParameters::default())
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
        let read = &self.read;
        let cache = read.cache();
        let most = read.route.policy.max_body.min(cache.max_body);
        let body = Limited::new(rest.body.map_frame(into_bytes), most);
        let body: Bytes = body.collect().await.ok()?.to_bytes();
        let (head, body) = part.completed_by(&rest.head, body)?;
        let length = http_body::SizeHint::with_exact(body.len() as u64);
        let plan = admit::admit(read, &head, &length, rest.interval).ok()?;
        let plan = plan.with_tags_of(part).ok()?;
        let nominated = plan.nominated.clone();
        let captured = Captured {
            body,
            trailers: None,
        };
        let stored = plan.into_stored(captured, position, &Candidate::Nothing)?;
        let stored = Arc::new(stored.filled_by(self.span.number));
        read.store(&stored, &nominated);
        let outcome = Outcome::Miss {
            why: Miss::Partial,
            stored: true,
            collapsed: false,
            detail: None,
        };
        if let Some(leader) = &self.leader {
            let published = read.published(stored.clone(), nominated, outcome.collapsed());
            leader.publish(FlightResult::Stored(Arc::new(published)));
        }
        let response = read.replay(&stored, outcome, rest.parameters);
        Some(read.conditionally(conditions, response))
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
