//! Answers from stored responses.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use super::candidate::Candidate;
use super::conditions::{evaluate, part_for, requested_ranges};
use super::context::{ReadContext, ReadView};
use super::judge::Decision;
use super::request::Client;
use super::respond::{gateway_timeout, respond};
use crate::body::CacheBody;
use crate::clock::Clock;
use crate::entry::{Kept, ReplayStamp, StoredResponse};
use crate::semantics::preconditions::{self, Precondition};
use crate::semantics::range::{self, Resolved};
use crate::state::CacheState;
use crate::status::{self, Miss, Outcome, StatusParameters};

/// A decision, carried out as far as the store goes.
pub(super) enum Settled<B> {
    Answered(Response<CacheBody<B>>),
    /// Answered, and what is stored is to be refreshed behind the answer.
    Refreshing(Response<CacheBody<B>>, Arc<StoredResponse>),
    Fetch(Miss, Candidate),
}

/// Carries out the decision about a lookup, whether it came at once or was waited for.
#[inline]
pub(super) fn settle<B>(view: &ReadView<'_>, decision: Decision) -> Settled<B> {
    match decision {
        Decision::Hit(stored, age) => Settled::Answered(hit(view, &stored, age)),
        Decision::ServeAndRefresh(stored, outcome) => {
            Settled::Refreshing(replay(view, &stored, outcome), stored)
        }
        Decision::Stale(stored, staleness) => {
            Settled::Answered(replay(view, &stored, Outcome::Stale(staleness)))
        }
        Decision::Unsatisfied => {
            view.report(Outcome::Unsatisfied, None);
            Settled::Answered(gateway_timeout(view.cache, Outcome::Unsatisfied))
        }
        Decision::Fetch(why, candidate) => {
            view.record_lookup_miss();
            Settled::Fetch(why, candidate)
        }
    }
}

/// Replays a fresh stored response of this age.
fn hit<B>(
    view: &ReadView<'_>,
    stored: &Arc<StoredResponse>,
    age: Duration,
) -> Response<CacheBody<B>> {
    match view.cache.stats.answered(&view.route.row, Outcome::Hit) {
        true => hit_listened_to(view, stored, age),
        false => make_hit(view, stored, age),
    }
}

#[cold]
#[inline(never)]
fn hit_listened_to<B>(
    view: &ReadView<'_>,
    stored: &Arc<StoredResponse>,
    age: Duration,
) -> Response<CacheBody<B>> {
    let response = make_hit(view, stored, age);
    view.notify_listeners(Outcome::Hit, Some(stored));
    response
}

/// Makes the replay of a fresh stored response, from a head that was made ready if there is one.
fn make_hit<B>(
    view: &ReadView<'_>,
    stored: &Arc<StoredResponse>,
    age: Duration,
) -> Response<CacheBody<B>> {
    let Some(stamp) = stamp(view, stored, age) else {
        return make_replay(view, stored, Outcome::Hit);
    };
    let earlier = match stored.prepared.get(stamp) {
        Kept::Right(headers) => return whole(stored, headers),
        Kept::Earlier(headers) => renewed(view.cache, headers, stamp),
        Kept::Nothing => None,
    };
    let response = match earlier {
        Some(headers) => whole(stored, headers),
        None => make_replay(view, stored, Outcome::Hit),
    };
    let headers = response.headers();
    let prepared = &view.cache.prepared;
    prepared.note(stored, stamp, headers, view.began);
    response
}

/// Returns all that the head of a hit depends on; `None` where it depends on the request as well.
fn stamp(view: &ReadView<'_>, stored: &StoredResponse, age: Duration) -> Option<ReplayStamp> {
    if !view.client.wants_the_whole() || stored.status == StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let ttl = status::ttl(stored.lifetime(), age);
    view.cache.prepared.stamp(age.as_secs(), ttl)
}

fn replay<B>(
    view: &ReadView<'_>,
    stored: &StoredResponse,
    outcome: Outcome,
) -> Response<CacheBody<B>> {
    let response = make_replay(view, stored, outcome);
    view.report(outcome, Some(stored));
    response
}

fn make_replay<B>(
    view: &ReadView<'_>,
    stored: &StoredResponse,
    outcome: Outcome,
) -> Response<CacheBody<B>> {
    let (cache, parameters) = (view.cache, StatusParameters::default());
    make(cache, stored, view.client, view.began, outcome, parameters)
}

/// Answers a read that has waited from a stored response.
pub(super) fn replay_now<B>(
    read: &ReadContext,
    stored: &StoredResponse,
    outcome: Outcome,
    parameters: StatusParameters,
) -> Response<CacheBody<B>> {
    read.report(outcome, Some(stored));
    let (cache, now) = (read.cache(), read.now());
    make(cache, stored, read.client(), now, outcome, parameters)
}

/// Brings the headers of an earlier hit up to date; `None` where they say more about caches than we
/// do.
fn renewed(cache: &CacheState, mut headers: HeaderMap, stamp: ReplayStamp) -> Option<HeaderMap> {
    if cache.status_headers.age {
        headers.insert(header::AGE, age_field(stamp.age()));
    }
    if cache.status_headers.cache_status {
        let is_ours = headers.get_all(header::CACHE_STATUS).iter().count() == 1;
        if !is_ours {
            return None;
        }
        let parameters = StatusParameters {
            ttl: Some(stamp.ttl()),
            ..StatusParameters::default()
        };
        let status = cache.status_headers.cache_status(Outcome::Hit, parameters);
        headers.insert(header::CACHE_STATUS, status);
    }
    Some(headers)
}

/// Answers a request from a stored response: in whole, in part, or by saying that the client has it
/// already.
fn make<B>(
    cache: &CacheState,
    stored: &StoredResponse,
    client: Client<'_>,
    now: Instant,
    outcome: Outcome,
    parameters: StatusParameters,
) -> Response<CacheBody<B>> {
    let mut response = selected(stored, client, &cache.clock);
    if cache.status_headers.age {
        let age = age_field(stored.age(now).as_secs());
        response.headers_mut().insert(header::AGE, age);
    }
    let ttl = Some(status::ttl(stored.lifetime(), stored.age(now)));
    let parameters = StatusParameters { ttl, ..parameters };
    cache
        .status_headers
        .stamp(response.headers_mut(), outcome, parameters);
    response
}

/// The greatest age that is sent (RFC 9111 §1.2.2).
const MOST_AGE: u64 = (1 << 31) - 1;

pub(super) fn age_field(seconds: u64) -> HeaderValue {
    match seconds {
        // The age of most answers that are shared. A constant takes no allocation.
        0 => const { HeaderValue::from_static("0") },
        _ => HeaderValue::from(seconds.min(MOST_AGE)),
    }
}

/// Fields that are added to a replay, besides those stored.
const ADDED: usize = 3;

fn selected<B>(
    stored: &StoredResponse,
    client: Client<'_>,
    clock: &Clock,
) -> Response<CacheBody<B>> {
    if client.flags.conditional || client.flags.precondition {
        let field = |name: &HeaderName| stored.head().get(name);
        match evaluate(stored.status, field, client.headers, clock) {
            Precondition::Proceed => {}
            Precondition::NotModified => return stored_not_modified(stored),
            Precondition::Failed => return precondition_failed(),
        }
    }
    let headers = stored.head().to_map(ADDED);
    if stored.status == StatusCode::PARTIAL_CONTENT
        && let Some(part) = part_for(stored, client, clock)
    {
        return single(headers, &part.range, part.complete_length, part.body);
    }
    if *client.method == Method::HEAD {
        return head(stored, headers);
    }
    if let (true, StatusCode::OK) = (client.flags.range, stored.status) {
        return ranges(stored, headers, client, clock);
    }
    whole(stored, headers)
}

fn whole<B>(stored: &StoredResponse, headers: HeaderMap) -> Response<CacheBody<B>> {
    let body = CacheBody::stored(stored.body(), stored.trailers().cloned().map(Box::new));
    respond(stored.status, headers, body)
}

/// Answers a range request from a stored 200 (RFC 9110 §14.2, §15.3.7).
fn ranges<B>(
    stored: &StoredResponse,
    mut headers: HeaderMap,
    client: Client<'_>,
    clock: &Clock,
) -> Response<CacheBody<B>> {
    let length = stored.body_len() as u64;
    let resolved = requested_ranges(&headers, client, clock).map(|ranges| ranges.resolve(length));
    match resolved {
        None | Some(Resolved::Whole) => whole(stored, headers),
        Some(Resolved::Single(part)) => {
            let body = range::slice(&stored.body(), &part);
            single(headers, &part, Some(length), body)
        }
        Some(Resolved::Several(parts)) => {
            let content_type = headers.get(header::CONTENT_TYPE);
            let multipart = range::multipart(&stored.body(), content_type, &parts);
            range::set_multipart(&mut headers, &multipart);
            let body = CacheBody::chunks(multipart.chunks.into());
            respond(StatusCode::PARTIAL_CONTENT, headers, body)
        }
        Some(Resolved::Unsatisfiable) => {
            let mut headers = HeaderMap::with_capacity(1 + ADDED);
            headers.insert(header::CONTENT_RANGE, range::unsatisfied_range(length));
            respond(
                StatusCode::RANGE_NOT_SATISFIABLE,
                headers,
                CacheBody::empty(),
            )
        }
    }
}

fn single<B>(
    mut headers: HeaderMap,
    part: &Range<u64>,
    complete_length: Option<u64>,
    body: Bytes,
) -> Response<CacheBody<B>> {
    range::set_single(&mut headers, part, complete_length);
    respond(
        StatusCode::PARTIAL_CONTENT,
        headers,
        CacheBody::stored(body, None),
    )
}

/// Makes the 304 that stands for a stored response, of no more fields than it has.
fn stored_not_modified<B>(stored: &StoredResponse) -> Response<CacheBody<B>> {
    let has_etag = stored.head().etag().is_some();
    let stays = |name: &[u8]| preconditions::is_in_not_modified(name, has_etag);
    let headers = stored.head().some_to_map(ADDED, stays);
    respond(StatusCode::NOT_MODIFIED, headers, CacheBody::empty())
}

fn precondition_failed<B>() -> Response<CacheBody<B>> {
    respond(
        StatusCode::PRECONDITION_FAILED,
        HeaderMap::new(),
        CacheBody::empty(),
    )
}

/// Answers HEAD from a stored GET: the same head, with the length its body has (RFC 9110 §9.3.2).
fn head<B>(stored: &StoredResponse, mut headers: HeaderMap) -> Response<CacheBody<B>> {
    let has_body = !matches!(stored.status.as_u16(), 204 | 304);
    if has_body && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(stored.body_len()));
    }
    respond(stored.status, headers, CacheBody::empty())
}
