//! The leader's fetch: one call of the inner service for everyone who waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, StatusCode};
use http_body::SizeHint;
use http_body_util::{BodyExt, Limited};
use tracing::Instrument;

use super::admit;
use super::call::{self, Call, Content, Failure, Fetch, InnerService, Received};
use super::candidate::Candidate;
use super::collapse::{stored_elsewhere, stored_result};
use super::commit::store;
use super::context::ReadContext;
use super::replay::replay_now;
use super::respond::conditionally;
use super::validate::{Validated, stale_in_place_of_error, unanswered, validate_response};
use super::{fill, retry};
use crate::body::{CacheBody, Captured, into_bytes};
use crate::entry::{StoredResponse, Variants};
use crate::flight::{FlightResult, Leader};
use crate::invalidate::{Position, Verdict};
use crate::policy::TtlPrecedence;
use crate::semantics::{preconditions, validation};
use crate::state::CacheState;
use crate::status::{Miss, Outcome, StatusParameters};
use crate::store::{FillLease, MaybeReady, Stored};
use crate::telemetry::Operation;
use crate::telemetry::trace::FillSpan;

/// Calls the inner service and answers the client that asked.
///
/// # Cancel safety
///
/// Dropped before the response's head is there, it drops the inner service's future and frees those
/// who wait; [`Detached`](super::detached::Detached) keeps it running instead.
pub(super) fn lead<S, Q, B>(
    mut fetch: Fetch,
    call: Call<S, Q>,
) -> impl Future<Output = Result<Response<CacheBody<B>>, S::Error>>
where
    S: InnerService<Q, B>,
    Q: 'static,
    B: Content,
{
    fetch.span = FillSpan::open(&fetch.read.route.row, fetch.why);
    let span = fetch.span.span.clone();
    call_and_answer(fetch, call).instrument(span)
}

async fn call_and_answer<S, Q, B>(
    mut fetch: Fetch,
    mut call: Call<S, Q>,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: InnerService<Q, B>,
    Q: 'static,
    B: Content,
{
    if let Some(response) = found_by_another_node(&fetch).await {
        return Ok(response);
    }
    // Before the inner service is called: what is invalidated from here on is newer than its
    // answer.
    let position = match &fetch.leader {
        Some(leader) => leader.position(),
        None => fetch.read.cache().store.log().position(),
    };
    if let Some(variant) = stand_in(&fetch).await {
        fetch.candidate = Candidate::Variant(variant);
    }
    let conditions = take_conditions(&fetch, call.request.headers_mut());
    let mut repeat = match fetch.candidate.asks_nothing() {
        true => None,
        false => retry::prepare(&call, fetch.read.cache().empty_body.as_ref()),
    };
    fetch
        .candidate
        .ask(call.request.headers_mut(), repeat.is_some());
    loop {
        let received = match call::send(&fetch.read, call).await {
            Ok(received) => received,
            Err(Failure::Error(error)) => return in_place_of_error(&fetch).ok_or(error),
            Err(Failure::TimedOut) => {
                return Ok(
                    in_place_of_error(&fetch).unwrap_or_else(|| unanswered(&fetch, "hard-timeout"))
                );
            }
        };
        let useless = match validate_response(&fetch, &received.head, received.interval, position) {
            Validated::Confirmed(response) => return Ok(response),
            Validated::New => return Ok(fill::deliver(fetch, received, position, &conditions)),
            Validated::Useless(stored) => stored,
            Validated::Rest(part) => {
                match complete(&fetch, &part, received, position, &conditions).await {
                    Some(response) => return Ok(response),
                    None => part,
                }
            }
        };
        match repeat.take() {
            Some(unconditional) => call = unconditional,
            None => return Ok(unchanged(&fetch, &useless)),
        }
        fetch.candidate = Candidate::Nothing;
    }
}

/// Has one node call the inner service for all of them, and answers from what another has stored.
async fn found_by_another_node<B>(fetch: &Fetch) -> Option<Response<CacheBody<B>>> {
    let leader = fetch.leader.as_ref()?;
    match fetch.read.cache().store.claim(leader.key().borrow()) {
        MaybeReady::Now(FillLease::Unshared) => None,
        // Boxed, for it is large, and only needed where nodes share a store.
        claimed => Box::pin(wait_for_another_node(fetch, leader, claimed)).await,
    }
}

async fn wait_for_another_node<B>(
    fetch: &Fetch,
    leader: &Leader,
    mut claimed: MaybeReady<FillLease>,
) -> Option<Response<CacheBody<B>>> {
    let read = &fetch.read;
    let (cache, max_wait) = (read.cache(), read.route.policy.collapsing.max_wait);
    let mut pause = FIRST_LOOK;
    let found = loop {
        match within_deadline(cache, claimed).await {
            FillLease::Unshared => return None,
            FillLease::Granted(lease) => {
                leader.holds(lease);
                return None;
            }
            FillLease::Elsewhere => break stored_elsewhere(read).await?,
            FillLease::Pending if leader.is_overdue(max_wait) => return None,
            FillLease::Pending => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BETWEEN_LOOKS);
        if let Some(found) = stored_elsewhere(read).await {
            break found;
        }
        claimed = cache.store.claim(leader.key().borrow());
    };
    let found = Arc::new(found);
    let parameters = StatusParameters::default();
    let response = replay_now(read, &found.stored, found.outcome, parameters);
    leader.publish(FlightResult::Stored(found));
    Some(response)
}

/// The pauses between two looks at whether another node has finished: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// Waits for who makes the fetch. Without an answer in time, this node does.
async fn within_deadline(cache: &CacheState, claimed: MaybeReady<FillLease>) -> FillLease {
    let claimed = match claimed {
        MaybeReady::Now(lease) => return lease,
        MaybeReady::Later(lease) => MaybeReady::Later(Box::pin(async move { Ok(lease.await) })),
    };
    let claimed = cache.bounded(Operation::Get, claimed).await;
    claimed.unwrap_or_else(|error| {
        cache.store_failed(Operation::Get, &error);
        FillLease::Unshared
    })
}

/// More variants than this are not looked at for one that may stand in.
const MOST_TRIED: usize = 4;

/// Looks for a stored variant whose validator may save a body, where none was selected: for no
/// longer than the store's deadline, however many there are.
///
/// Only where the origin decides, and among variants that say the same in another form: handlers
/// often make an entity tag of the version of what a page shows, and give the pages of different
/// people the same one.
async fn stand_in(fetch: &Fetch) -> Option<Arc<StoredResponse>> {
    let (Miss::Vary, Candidate::Nothing, Some(variants)) =
        (fetch.why, &fetch.candidate, &fetch.read.variants)
    else {
        return None;
    };
    let deadline = fetch.read.cache().store_deadline;
    let found = tokio::time::timeout(deadline, stand_in_among(&fetch.read, variants));
    found.await.ok()?
}

async fn stand_in_among(read: &ReadContext, variants: &Variants) -> Option<Arc<StoredResponse>> {
    if !read.may_share()
        || read.route.policy.ttl.origin != TtlPrecedence::OriginOnly
        || !variants.differ_in_negotiation_alone()
    {
        return None;
    }
    let cache = read.cache();
    for variant in variants.known.iter().rev().take(MOST_TRIED) {
        let etag = variant.etag.as_ref().map(|etag| etag.as_bytes());
        if !validation::may_stand_in(&read.headers, etag, None) && etag.is_none() {
            continue;
        }
        let found = cache
            .bounded(Operation::Get, cache.store.get(variant.key.borrow()))
            .await;
        if let Ok(Some(Stored::Response(stored))) = found {
            let coding = stored.head().get(&header::CONTENT_ENCODING);
            if validation::may_stand_in(&read.headers, stored.head().etag(), coding)
                && stored.status == StatusCode::OK
                && cache.verdict(&stored) == Verdict::Valid
            {
                return Some(stored);
            }
        }
    }
    None
}

/// Takes the client's conditions off the request, so that the answer is one that fills the cache,
/// and returns them.
fn take_conditions(fetch: &Fetch, headers: &mut HeaderMap) -> HeaderMap {
    let nothing_comes_of_it = fetch.leader.is_none() && fetch.candidate.asks_nothing();
    if nothing_comes_of_it || !fetch.read.flags.conditional {
        // Nothing but this one answer: the client's own conditions are the best.
        return HeaderMap::new();
    }
    preconditions::strip(headers);
    HeaderMap::clone(&fetch.read.headers)
}

fn in_place_of_error<B>(fetch: &Fetch) -> Option<Response<CacheBody<B>>> {
    let response = stale_in_place_of_error(fetch, None);
    if response.is_none() {
        fetch.free();
    }
    response
}

/// Answers from a stored response that the inner service called unmodified in words that must not
/// update it: used for this once, it stays as stale as it was.
fn unchanged<B>(fetch: &Fetch, stored: &StoredResponse) -> Response<CacheBody<B>> {
    fetch.free();
    let outcome = Outcome::Revalidated {
        why: fetch.why,
        stored: false,
        collapsed: false,
    };
    replay_now(&fetch.read, stored, outcome, StatusParameters::default())
}

/// Joins the rest of a body to the part that is stored, and answers from the whole.
async fn complete<B>(
    fetch: &Fetch,
    part: &StoredResponse,
    rest: Received<B>,
    position: Position,
    conditions: &HeaderMap,
) -> Option<Response<CacheBody<B>>>
where
    B: Content,
{
    let read = &fetch.read;
    let most = read.route.policy.max_body.min(read.cache().max_body);
    let body = Limited::new(rest.body.map_frame(into_bytes), most);
    let body: Bytes = body.collect().await.ok()?.to_bytes();
    let (head, body) = part.completed_by(&rest.head, body)?;
    let length = SizeHint::with_exact(body.len() as u64);
    let plan = admit::admit(read, &head, &length, rest.interval).ok()?;
    let plan = plan.with_tags_of(part).ok()?;
    let nominated = plan.nominated.clone();
    let captured = Captured {
        body,
        trailers: None,
    };
    let stored = plan.into_stored(captured, position, &Candidate::Nothing)?;
    let stored = Arc::new(stored.filled_by(fetch.span.number));
    store(read, &stored, &nominated);
    let outcome = Outcome::Miss {
        why: Miss::Partial,
        stored: true,
        collapsed: false,
        detail: None,
    };
    if let Some(leader) = &fetch.leader {
        let result = stored_result(read, stored.clone(), nominated, outcome.collapsed());
        leader.publish(FlightResult::Stored(Arc::new(result)));
    }
    let response = replay_now(read, &stored, outcome, rest.parameters);
    Some(conditionally(read, conditions, response))
}
