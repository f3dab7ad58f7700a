//! A fill: a new response is stored while it is passed on, or passed on alone.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::header::HeaderMap;
use http::response::Parts;
use http::{Method, Response, StatusCode};

use super::admit::{self, NotStorable, Plan};
use super::call::{Content, Fetch, Received};
use super::candidate::Candidate;
use super::commit::{discard, refused_by_log, store_until};
use super::context::ReadContext;
use super::respond::conditionally;
use super::validate::pass_head_on;
use crate::body::{CacheBody, Fill, FillReader, Limits};
use crate::flight::{FlightResult, StreamingResult};
use crate::invalidate::Position;
use crate::semantics::invalidation;
use crate::status::{Outcome, StatusParameters};
use crate::telemetry::{Event, Timed};

/// Stores a new response while it is passed on, or passes it on alone.
pub(super) fn deliver<B>(
    fetch: Fetch,
    received: Received<B>,
    position: Position,
    conditions: &HeaderMap,
) -> Response<CacheBody<B>>
where
    B: Content,
{
    let Received {
        head,
        body,
        interval,
        parameters,
    } = received;
    if fetch.read.method == Method::HEAD {
        let response = pass_head_on(&fetch, head, body, interval, position);
        return conditionally(&fetch.read, conditions, response);
    }
    let outcome = fetch.miss(None);
    match admit::admit(&fetch.read, &head, &body.size_hint(), interval) {
        Ok(plan) => {
            let response = Response::from_parts(head, body);
            fill(
                fetch, response, plan, position, conditions, outcome, parameters,
            )
        }
        Err(refusal) => pass_on(&fetch, head, body, refusal, conditions, parameters),
    }
}

/// Passes a body on while it is captured for the store and for those who wait.
pub(super) fn fill<B>(
    fetch: Fetch,
    response: Response<B>,
    plan: Plan,
    position: Position,
    conditions: &HeaderMap,
    outcome: Outcome,
    parameters: StatusParameters,
) -> Response<CacheBody<B>>
where
    B: Content,
{
    let (head, body) = response.into_parts();
    let Fetch {
        read,
        candidate,
        leader,
        span,
        ..
    } = fetch;
    let cache = read.cache().clone();
    let leader = match leader {
        Some(leader) if plan.is_always_validated() => {
            // No other request may be given it without asking the inner service itself.
            leader.not_for_others();
            let now = cache.clock.instant();
            read.mount.flights.is_uncacheable(leader.key(), now);
            None
        }
        Some(leader) => {
            read.mount.flights.is_cacheable(leader.key());
            Some(leader)
        }
        None => {
            read.mount.flights.is_cacheable(&read.selected_key());
            None
        }
    };
    let limits = Limits {
        max_body: plan.max_body,
        expected: plan.expected,
        finish_abandoned: match read.route.policy.collapsing.finish_abandoned {
            true => Some(cache.background.clone()),
            false => None,
        },
        budget: cache.budget.clone(),
    };
    let servable_until = plan.servable_until();
    let aged = plan.aged();
    let refused = refused_by_log(&read, position, plan.subject.borrow());
    let result = leader.clone().map(|leader| {
        let head = (plan.fields().clone(), plan.nominated.clone());
        (leader, head, plan.subject.tags().into())
    });
    let commit = {
        let read = read.clone();
        Box::new(move |captured| {
            let nominated = plan.nominated.clone();
            // The flight goes on until it is stored, so that whoever no longer finds the flight
            // finds the response.
            let requested = plan.requested;
            let stored = plan.into_stored(captured, position, &candidate);
            let stored = stored.map(|stored| Arc::new(stored.filled_by(span.number)));
            if let Some(stored) = stored
                && store_until(&read, &stored, &nominated, leader)
            {
                span.stored(stored.size());
                stored_since(&read, requested);
            }
        })
    };
    let fill = Fill::new(body, limits, commit);
    let reader = FillReader::of(&fill);
    if let Some((leader, (fields, nominated), tags)) = result {
        leader.publish(FlightResult::Streaming(Arc::new(StreamingResult {
            status: head.status,
            fields,
            headers: OnceLock::new(),
            aged,
            fill,
            nominated,
            request: read.headers.clone(),
            tags,
            servable_until,
        })));
    }
    let body = reader.map_or_else(CacheBody::empty, CacheBody::filling);
    let mut response = Response::from_parts(head, body);
    invalidation::strip(response.headers_mut());
    let outcome = outcome.stored_unless(refused);
    read.stamp(response.headers_mut(), outcome, parameters);
    conditionally(&read, conditions, response)
}

fn pass_on<B>(
    fetch: &Fetch,
    head: Parts,
    body: B,
    refusal: NotStorable,
    conditions: &HeaderMap,
    parameters: StatusParameters,
) -> Response<CacheBody<B>> {
    let read = &fetch.read;
    let cache = read.cache();
    fetch.free();
    if fetch.leader.is_some() && refusal.lasts(head.status) {
        let now = cache.clock.instant();
        read.mount.flights.is_uncacheable(&read.selected_key(), now);
    }
    // The inner service's latest word on this key: what was stored before is no longer its answer.
    if matches!(fetch.candidate, Candidate::Stale(_)) && head.status.is_success() {
        discard(read);
    }
    let outcome = match read.credentials() {
        Some(reason) => Outcome::Bypass(reason),
        None => fetch.miss(Some(refusal.detail())),
    };
    let mut response = Response::from_parts(head, CacheBody::pass(body));
    invalidation::strip(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        read.report(outcome, None);
        return response;
    }
    read.stamp(response.headers_mut(), outcome, parameters);
    conditionally(read, conditions, response)
}

/// Reports that the response to a call which began then is stored.
fn stored_since(read: &ReadContext, requested: Instant) {
    let cache = read.cache();
    read.route.row.count(Event::Stored);
    if cache.stats.is_timed() {
        let took = cache.clock.instant().saturating_duration_since(requested);
        cache.stats.took(Timed::Fill, took);
    }
}
