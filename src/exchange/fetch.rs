//! A miss: answered from another request's fetch, or by a fetch of its own.

use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use tracing::Instrument;

use super::call::{Call, Content, Fetch, Inner, InnerService};
use super::candidate::Candidate;
use super::collapse::{self, join_or_lead, stored_meanwhile};
use super::context::ReadContext;
use super::detached::{ABANDONED, Detached};
use super::judge::judge;
use super::lead::lead;
use super::lookup::Waiting;
use super::replay::{Settled, replay_now, settle};
use super::respond;
use super::validate::permits_stale;
use crate::body::CacheBody;
use crate::entry::StoredResponse;
use crate::flight::{FlightResult, Join, Leader, Shared};
use crate::status::{BypassReason, Miss, Outcome, StaleReason, StatusParameters};
use crate::store::MaybeReady;
use crate::telemetry::{Event, Operation, trace};

/// Waits for a lookup, then answers from what was found or goes on to fetch.
pub(super) async fn wait_and_fetch<S, Q, B>(
    mut read: Box<ReadContext>,
    waiting: Waiting,
    inner: S,
    request: Request<Q>,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: InnerService<Q, B>,
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
    let view = read.view();
    match settle(&view, judge(&view, found)) {
        Settled::Answered(response) => Ok(response),
        Settled::Refreshing(response, stored) => {
            refresh_in_background(read, inner, request, stored);
            Ok(response)
        }
        Settled::Fetch(why, candidate) => fetch(read, inner, request, why, candidate).await,
    }
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
    S: InnerService<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let timeout = read.route.policy.staleness.soft_timeout;
    let (Some(timeout), Candidate::Stale(stale)) = (timeout, &candidate) else {
        return share_or_lead(read, inner, request, why, candidate).await;
    };
    let stale = stale.clone();
    if !permits_stale(&read, &stale) {
        return share_or_lead(read, inner, request, why, candidate).await;
    }
    let led = share_or_lead(read.clone(), inner, request, why, candidate);
    match tokio::time::timeout(timeout, led).await {
        Ok(answered) => answered,
        Err(_) => {
            // The fetch goes on in the background.
            let outcome = Outcome::Stale(StaleReason::IfSlow);
            let parameters = StatusParameters::default();
            Ok(replay_now(&read, &stale, outcome, parameters))
        }
    }
}

/// Answers a miss: from another request's flight, or by calling the inner service.
async fn share_or_lead<S, Q, B>(
    read: Arc<ReadContext>,
    inner: S,
    request: Request<Q>,
    why: Miss,
    candidate: Candidate,
) -> Result<Response<CacheBody<B>>, S::Error>
where
    S: InnerService<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let mut inner = Inner::Ready(inner);
    let leader = match join_or_lead(&read, &mut inner).await {
        Shared::Answer(response) => return Ok(response),
        Shared::Lead(leader) => Some(leader),
        Shared::Alone => None,
    };
    if let Some(response) = leader
        .as_ref()
        .and_then(|leader| hit_meanwhile(&read, leader))
    {
        return Ok(response);
    }
    // Whether the fetch goes on in the background when its client goes away; `None` where it may
    // simply be dropped.
    let finish = match leader {
        Some(_) => {
            let policy = &read.route.policy;
            Some(policy.collapsing.finish_abandoned || policy.staleness.soft_timeout.is_some())
        }
        None => outlives_its_client(&read, &candidate).then_some(true),
    };
    let finish = finish.map(|finish| finish.then(|| read.cache().background.clone()));
    let fetch = Fetch::new(read, why, candidate, leader);
    let call = Call { inner, request };
    match finish {
        Some(finish) => Detached::new(Box::pin(lead(fetch, call)), finish).await,
        // Not held in a variable: a future of its size would be moved once more.
        None => lead(fetch, call).await,
    }
}

/// Answers the leader of a flight from what another flight has stored since its lookup.
fn hit_meanwhile<B>(read: &ReadContext, leader: &Leader) -> Option<Response<CacheBody<B>>> {
    let result = stored_meanwhile(read)?;
    let parameters = StatusParameters::default();
    let response = replay_now(read, &result.stored, Outcome::Hit, parameters);
    leader.publish(FlightResult::Stored(Arc::new(result)));
    Some(response)
}

/// Returns whether a fetch that nobody shares goes on without its client: when that is given a
/// stale response after the soft timeout, something has to refresh it.
fn outlives_its_client(read: &ReadContext, candidate: &Candidate) -> bool {
    read.route.policy.staleness.soft_timeout.is_some()
        && matches!(candidate, Candidate::Stale(_))
        && read.asks_for_the_whole()
        && !read.directives.no_store
}

/// Refreshes a stored response that was served stale, unless that is under way, was found useless a
/// moment ago, or finds no room in the background.
pub(super) fn refresh_in_background<S, Q, B>(
    read: Arc<ReadContext>,
    inner: S,
    request: Request<Q>,
    stale: Arc<StoredResponse>,
) where
    S: InnerService<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    if !read.asks_for_the_whole() || read.directives.no_store {
        // Its answer would be none to store.
        return;
    }
    let Join::Lead(leader) = collapse::lead_alone(&read) else {
        return;
    };
    let Some(place) = read.cache().background.enter() else {
        return;
    };
    read.route.row.count(Event::Refreshed);
    read.counts_as_answered();
    let span = trace::refresh(&read.route.row);
    let fetch = Fetch::new(read, Miss::Stale, Candidate::Stale(stale), Some(leader));
    let refresh = async move {
        let call = Call {
            inner: Inner::Ready(inner),
            request,
        };
        // An inner service that hangs would keep the next refresh from beginning.
        if let Ok(Ok(response)) = tokio::time::timeout(ABANDONED, lead(fetch, call)).await {
            response.into_body().read_on().await;
        }
        drop(place);
    };
    runtime.spawn(refresh.instrument(span));
}
