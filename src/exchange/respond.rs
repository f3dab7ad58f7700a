//! The responses this layer makes itself, and what it adds to those it passes on.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};

use super::lookup::Ask;
use super::request::Flags;
use super::{Asked, Core};
use crate::body::CacheBody;
use crate::clock::Now;
use crate::entry::StoredResponse;
use crate::semantics::date;
use crate::semantics::preconditions::{self, Precondition};
use crate::status::{Outcome, Staleness, Told};

/// The side of a request that a replay looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) flags: Flags,
}

impl Ask<'_> {
    pub(super) fn replay<B>(&self, stored: &StoredResponse) -> Response<CacheBody<B>> {
        self.core.replay(
            stored,
            self.client,
            self.began,
            Outcome::Hit,
            Told::default(),
        )
    }

    pub(super) fn replay_stale<B>(
        &self,
        stored: &StoredResponse,
        staleness: Staleness,
    ) -> Response<CacheBody<B>> {
        let outcome = Outcome::Stale(staleness);
        self.core
            .replay(stored, self.client, self.began, outcome, Told::default())
    }
}

impl Asked {
    pub(super) fn replay<B>(
        &self,
        stored: &StoredResponse,
        outcome: Outcome,
        told: Told,
    ) -> Response<CacheBody<B>> {
        self.core()
            .replay(stored, self.client(), self.now(), outcome, told)
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client {
            method: &self.method,
            headers: &self.headers,
            flags: self.flags,
        }
    }
}

impl StoredResponse {
    /// Returns the freshness lifetime that is left, in seconds; negative once stale (RFC 9211 §2.4).
    pub(super) fn ttl(&self, now: std::time::Instant) -> i64 {
        let lifetime = self.times.lifetime.as_secs_f64();
        (lifetime - self.age(now).as_secs_f64()).floor() as i64
    }
}

impl Core {
    /// Answers a request from a stored response: in whole, in part, or by saying that the client
    /// has it already.
    pub(super) fn replay<B>(
        &self,
        stored: &StoredResponse,
        client: Client<'_>,
        now: Now,
        outcome: Outcome,
        told: Told,
    ) -> Response<CacheBody<B>> {
        let mut response = selected(stored, client, now);
        if self.show.age {
            let age = stored.age(now.instant).as_secs().min(MOST_AGE);
            response
                .headers_mut()
                .insert(header::AGE, HeaderValue::from(age));
        }
        let ttl = Some(stored.ttl(now.instant));
        self.tell(response.headers_mut(), outcome, Told { ttl, ..told });
        response
    }

    /// Counts an outcome and adds the fields that tell it.
    pub(super) fn tell(&self, headers: &mut HeaderMap, outcome: Outcome, told: Told) {
        self.stats.count(outcome);
        self.show.stamp(headers, outcome, told);
    }
}

/// The greatest age that is sent (RFC 9111 §1.2.2).
const MOST_AGE: u64 = (1 << 31) - 1;

/// Fields that are added to a replay, besides those stored.
const ADDED: usize = 3;

fn selected<B>(stored: &StoredResponse, client: Client<'_>, now: Now) -> Response<CacheBody<B>> {
    let headers = stored.head.to_map(ADDED);
    if client.flags.conditional || client.flags.precondition {
        match evaluate(stored.status, &headers, client.headers, now) {
            Precondition::Proceed => {}
            Precondition::NotModified => return not_modified(headers),
            Precondition::Failed => return precondition_failed(),
        }
    }
    if *client.method == Method::HEAD {
        return head(stored, headers);
    }
    let body = CacheBody::stored(stored.body.clone(), stored.trailers.clone());
    respond(stored.status, headers, body)
}

/// Evaluates the client's preconditions against a response's validators (RFC 9110 §13.2.2).
pub(super) fn evaluate(
    status: StatusCode,
    response: &HeaderMap,
    request: &HeaderMap,
    now: Now,
) -> Precondition {
    if !status.is_success() {
        // RFC 9110 §13.2.1: only where the answer without them would be a success.
        return Precondition::Proceed;
    }
    let stored = preconditions::Stored {
        etag: response.get(header::ETAG).map(HeaderValue::as_bytes),
        last_modified: response
            .get(header::LAST_MODIFIED)
            .map(HeaderValue::as_bytes),
        date: response
            .get(header::DATE)
            .and_then(|date| date::parse(date.as_bytes(), now.wall)),
    };
    preconditions::evaluate(request, &stored, now.wall)
}

/// Turns a response's head into that of a 304 (RFC 9110 §15.4.5).
pub(super) fn not_modified<B>(mut headers: HeaderMap) -> Response<CacheBody<B>> {
    preconditions::trim_to_not_modified(&mut headers);
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
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
    }
    respond(stored.status, headers, CacheBody::empty())
}

/// Says that the client wanted a stored response or none, and there is none (RFC 9111 §5.2.1.7).
pub(super) fn gateway_timeout<B>(core: &Core) -> Response<CacheBody<B>> {
    let mut response = respond(
        StatusCode::GATEWAY_TIMEOUT,
        HeaderMap::new(),
        CacheBody::empty(),
    );
    core.tell(
        response.headers_mut(),
        Outcome::Unsatisfied,
        Told::default(),
    );
    response
}

pub(super) fn respond<B>(
    status: StatusCode,
    headers: HeaderMap,
    body: CacheBody<B>,
) -> Response<CacheBody<B>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Passes on a response that the cache was not asked for.
pub(crate) fn pass<B>(
    core: &Core,
    outcome: Outcome,
    response: Response<B>,
) -> Response<CacheBody<B>> {
    let mut response = response.map(CacheBody::pass);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        core.stats.count(outcome);
    } else {
        core.tell(response.headers_mut(), outcome, Told::default());
    }
    response
}
