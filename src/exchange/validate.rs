//! Validation: whether a stored response still holds, by the inner service's answer, and what to do
//! when the inner service fails.

use std::sync::Arc;

use http::header::{self, HeaderName};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::SizeHint;

use super::admit::{self, NotStorable};
use super::call::{Fetch, Interval};
use super::candidate::Candidate;
use super::collapse::stored_result;
use super::commit::{discard, refused_by_log, store};
use super::context::ReadContext;
use super::replay::replay_now;
use super::respond::gateway_timeout;
use crate::body::{CacheBody, Captured};
use crate::directive::{KeptLifetime, OriginUnreachable};
use crate::entry::StoredResponse;
use crate::flight::FlightResult;
use crate::invalidate::{Position, Verdict};
use crate::semantics::cache_control::Scope;
use crate::semantics::validation::{self, HeadVerdict};
use crate::semantics::{invalidation, reuse, storable};
use crate::status::{Outcome, StaleReason, StatusParameters};

/// A verdict on what is stored, from the inner service's answer.
pub(super) enum Validated<B> {
    /// It still holds, or has to do in place of an error; this is the answer from it.
    Confirmed(Response<CacheBody<B>>),
    /// The answer is the rest of it.
    Rest(Arc<StoredResponse>),
    /// The answer stands for itself.
    New,
    /// The answer is about something else than this, which it was asked about.
    Useless(Arc<StoredResponse>),
}

/// Holds the inner service's answer against what is stored.
pub(super) fn validate_response<B>(
    fetch: &Fetch,
    head: &Parts,
    interval: Interval,
    position: Position,
) -> Validated<B> {
    match &fetch.candidate {
        Candidate::Stale(stored) | Candidate::Variant(stored)
            if head.status == StatusCode::NOT_MODIFIED =>
        {
            confirmed(fetch, stored, head, interval, position)
        }
        Candidate::Part(part) if head.status == StatusCode::PARTIAL_CONTENT => {
            Validated::Rest(part.clone())
        }
        Candidate::Part(part) if head.status == StatusCode::RANGE_NOT_SATISFIABLE => {
            Validated::Useless(part.clone())
        }
        Candidate::Stale(stored) if is_unreachable(head) || reuse::stale_if_error(head.status) => {
            match stale_in_place_of_error(fetch, Some(head.status)) {
                Some(response) => Validated::Confirmed(response),
                None if is_unreachable(head) && stored.reuse.never_stale => {
                    Validated::Confirmed(disconnected(fetch))
                }
                None => Validated::New,
            }
        }
        _ => Validated::New,
    }
}

/// Freshens what is stored with a 304's fields and answers from it (RFC 9111 §4.3.4). It is as
/// new as the call that confirmed it.
fn confirmed<B>(
    fetch: &Fetch,
    stored: &Arc<StoredResponse>,
    head: &Parts,
    interval: Interval,
    position: Position,
) -> Validated<B> {
    if storable::has_too_many_fields(&head.headers)
        || validation::select(&head.headers, &[stored.validators()]).is_none()
    {
        return Validated::Useless(stored.clone());
    }
    let read = &fetch.read;
    let mut fresh = freshened(stored, head, interval);
    let outcome = |stored| Outcome::Revalidated {
        why: fetch.why,
        stored,
        collapsed: false,
    };
    let parameters = |detail| StatusParameters {
        fwd_status: Some(head.status),
        detail,
        ..StatusParameters::default()
    };
    match update(fetch, stored, &fresh, interval, position) {
        Ok((stored, nominated)) => {
            let refused = refused_by_log(read, position, stored.subject());
            let outcome = outcome(refused.is_none());
            match &fetch.leader {
                Some(leader) if !stored.reuse.always_validate => {
                    let published =
                        stored_result(read, stored.clone(), nominated, outcome.collapsed());
                    leader.publish(FlightResult::Stored(Arc::new(published)));
                }
                _ => fetch.free(),
            }
            Validated::Confirmed(replay_now(read, &stored, outcome, parameters(refused)))
        }
        Err(refusal) => {
            // Confirmed for this once, and not to be stored any longer.
            fetch.free();
            discard(read);
            fresh.headers.remove(header::AGE);
            let once = stored.once(&fresh.headers, interval.received.instant);
            let parameters = parameters(Some(refusal.detail()));
            Validated::Confirmed(replay_now(read, &once, outcome(false), parameters))
        }
    }
}

/// Stores what is stored anew, under a head that was updated. Returns it and the fields that
/// select it.
fn update(
    fetch: &Fetch,
    stored: &StoredResponse,
    head: &Parts,
    interval: Interval,
    position: Position,
) -> Result<(Arc<StoredResponse>, Vec<HeaderName>), NotStorable> {
    let length = SizeHint::with_exact(stored.body_len() as u64);
    let plan = admit::admit(&fetch.read, head, &length, interval)?.with_tags_of(stored)?;
    let nominated = plan.nominated.clone();
    let captured = Captured {
        body: stored.body(),
        trailers: stored.trailers().cloned(),
    };
    let updated = plan
        .into_stored(captured, position, &Candidate::Nothing)
        .ok_or(NotStorable::Stream)?;
    let updated = Arc::new(updated.filled_by(fetch.span.number));
    store(&fetch.read, &updated, &nominated);
    Ok((updated, nominated))
}

/// Passes the response to a HEAD on, after taking from it what it says of the stored response
/// to a GET (RFC 9111 §4.3.5). It is never stored itself.
pub(super) fn pass_head_on<B>(
    fetch: &Fetch,
    head: Parts,
    body: B,
    interval: Interval,
    position: Position,
) -> Response<CacheBody<B>> {
    let read = &fetch.read;
    if let Candidate::Stale(stored) = &fetch.candidate
        && !storable::has_too_many_fields(&head.headers)
    {
        let length = stored.body_len() as u64;
        let validators = stored.validators();
        match validation::judge_head(head.status, &head.headers, &validators, length) {
            HeadVerdict::Freshen => {
                let fresh = freshened(stored, &head, interval);
                if update(fetch, stored, &fresh, interval, position).is_err() {
                    discard(read);
                }
            }
            HeadVerdict::Invalidate => discard(read),
            HeadVerdict::Keep => {}
        }
    }
    let parameters = StatusParameters {
        fwd_status: Some(head.status),
        ..StatusParameters::default()
    };
    let outcome = match read.credentials() {
        Some(reason) => Outcome::Bypass(reason),
        None => fetch.miss(None),
    };
    let mut response = Response::from_parts(head, CacheBody::pass(body));
    invalidation::strip(response.headers_mut());
    read.stamp(response.headers_mut(), outcome, parameters);
    response
}

/// Answers that what is stored must not be used without asking an origin that cannot be asked
/// (RFC 9111 §5.2.2.2).
fn disconnected<B>(fetch: &Fetch) -> Response<CacheBody<B>> {
    fetch.free();
    unanswered(fetch, "origin-unreachable")
}

/// Answers with a 504 where the inner service brought no response.
pub(super) fn unanswered<B>(fetch: &Fetch, detail: &'static str) -> Response<CacheBody<B>> {
    let outcome = fetch.miss(Some(detail));
    fetch.read.report(outcome, None);
    gateway_timeout(fetch.read.cache(), outcome)
}

/// Answers with what is stored where the inner service failed, if that is permitted.
pub(super) fn stale_in_place_of_error<B>(
    fetch: &Fetch,
    fwd_status: Option<StatusCode>,
) -> Option<Response<CacheBody<B>>> {
    let Candidate::Stale(stale) = &fetch.candidate else {
        return None;
    };
    let read = &fetch.read;
    if !permits_stale(read, stale) {
        return None;
    }
    let outcome = Outcome::Stale(StaleReason::IfError);
    if let Some(leader) = &fetch.leader {
        // Those who wait select the same variant: the names were known before the flight.
        let published = stored_result(read, stale.clone(), Vec::new(), outcome);
        leader.publish(FlightResult::Stored(Arc::new(published)));
    }
    let parameters = StatusParameters {
        fwd_status,
        ..StatusParameters::default()
    };
    Some(replay_now(read, stale, outcome, parameters))
}

fn is_unreachable(head: &Parts) -> bool {
    head.extensions.get::<OriginUnreachable>().is_some()
}

/// Returns whether a stale response may be used in place of an inner service that fails or does not
/// answer (RFC 9111 §4.2.4, RFC 5861 §4): never what an invalidation has overtaken.
pub(super) fn permits_stale(read: &ReadContext, stale: &StoredResponse) -> bool {
    let stale_by = stale.stale_by(read.now()).unwrap_or_default();
    // An error that was stored is no better than another.
    !reuse::stale_if_error(stale.status)
        && !stale.reuse.never_stale
        && !stale.reuse.always_validate
        && stale_by < stale.stale_if_error()
        && read.cache().verdict(stale) != Verdict::Invalid
}

/// Returns the head of a stored response as an answer about it updates it (RFC 9111 §3.2), with the
/// answer's age, which is the stored response's from now on (§4.2.3).
fn freshened(stored: &StoredResponse, update: &Parts, interval: Interval) -> Parts {
    // What this connection says of itself is no news of the stored response.
    let mut fields = storable::stored_headers(&update.headers, &Scope::Absent);
    if !fields.contains_key(header::DATE) {
        // Or else the date of what is stored would count, and it would be stale at once.
        admit::add_date(&mut fields, interval.received);
    }
    let mut fresh = Response::new(()).into_parts().0;
    fresh.status = stored.status;
    for age in update.headers.get_all(header::AGE) {
        // Fails, like the rest of the section, only beside more than 32,768 fields.
        let _ = fields.try_append(header::AGE, age.clone());
    }
    fresh.headers = validation::freshen(&stored.head().to_map(fields.len()), &fields);
    fresh.extensions = update.extensions.clone();
    if stored.reuse.lifetime_by_handler {
        let lifetime = KeptLifetime(stored.lifetime());
        fresh.extensions.insert(lifetime);
    }
    fresh
}
