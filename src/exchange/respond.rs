//! The responses this layer makes itself, and what it adds to those it passes on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::ReadContext;
use super::lookup::ReadView;
use super::request::Flags;
use crate::body::CacheBody;
use crate::clock::Clock;
use crate::entry::{Kept, ReplayStamp, StoredResponse};
use crate::semantics::date;
use crate::semantics::partial::Part;
use crate::semantics::preconditions::{self, Precondition, RangeVerdict};
use crate::semantics::range::{self, RangeSet, Resolved};
use crate::state::CacheState;
use crate::status::{self, Outcome, StatusParameters};
use crate::telemetry::{RequestRecord, RouteId, Timed};

/// The side of a request that a replay looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) flags: Flags,
}

impl<'a> Client<'a> {
    pub(super) fn of(parts: &'a Parts, flags: Flags) -> Self {
        Self {
            method: &parts.method,
            headers: &parts.headers,
            flags,
        }
    }

    /// Whether the answer is the whole of a stored response, whatever the response.
    fn wants_the_whole(&self) -> bool {
        let flags = self.flags;
        *self.method == Method::GET && !flags.conditional && !flags.precondition && !flags.range
    }
}

impl ReadView<'_> {
    /// Replays a fresh stored response of this age.
    pub(super) fn hit<B>(
        &self,
        stored: &Arc<StoredResponse>,
        age: Duration,
    ) -> Response<CacheBody<B>> {
        match self.cache.stats.answered(&self.route.row, Outcome::Hit) {
            true => self.hit_listened_to(stored, age),
            false => self.make_hit(stored, age),
        }
    }

    #[cold]
    #[inline(never)]
    fn hit_listened_to<B>(
        &self,
        stored: &Arc<StoredResponse>,
        age: Duration,
    ) -> Response<CacheBody<B>> {
        let response = self.make_hit(stored, age);
        self.notify_listeners(Outcome::Hit, Some(stored));
        response
    }

    /// Makes the replay of a fresh stored response, from a head that was made ready if there is one.
    fn make_hit<B>(&self, stored: &Arc<StoredResponse>, age: Duration) -> Response<CacheBody<B>> {
        let Some(stamp) = self.stamp(stored, age) else {
            return self.make_replay(stored, Outcome::Hit);
        };
        let earlier = match stored.prepared.get(stamp) {
            Kept::Right(headers) => return whole(stored, headers),
            Kept::Earlier(headers) => self.cache.renewed(headers, stamp),
            Kept::Nothing => None,
        };
        let response = match earlier {
            Some(headers) => whole(stored, headers),
            None => self.make_replay(stored, Outcome::Hit),
        };
        let headers = response.headers();
        let prepared = &self.cache.prepared;
        prepared.note(stored, stamp, headers, self.began);
        response
    }

    /// Returns what the head of a hit depends on; `None` where it depends on the request as well.
    fn stamp(&self, stored: &StoredResponse, age: Duration) -> Option<ReplayStamp> {
        if !self.client.wants_the_whole() || stored.status == StatusCode::PARTIAL_CONTENT {
            return None;
        }
        let ttl = status::ttl(stored.lifetime(), age);
        self.cache.prepared.stamp(age.as_secs(), ttl)
    }

    pub(super) fn replay<B>(
        &self,
        stored: &StoredResponse,
        outcome: Outcome,
    ) -> Response<CacheBody<B>> {
        let response = self.make_replay(stored, outcome);
        self.answered(outcome, Some(stored));
        response
    }

    fn make_replay<B>(&self, stored: &StoredResponse, outcome: Outcome) -> Response<CacheBody<B>> {
        self.cache.replay(
            stored,
            self.client,
            self.began,
            outcome,
            StatusParameters::default(),
        )
    }

    /// Reports what became of this request, and what it was answered from.
    pub(super) fn answered(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
        if self.cache.stats.answered(&self.route.row, outcome) {
            self.notify_listeners(outcome, stored);
        }
    }

    fn notify_listeners(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
        let record = RequestRecord {
            began: Some(self.began),
            by_store: stored.is_some(),
            subject: None,
            stored,
        };
        let (cache, row) = (self.cache, &self.route.row);
        cache
            .stats
            .notify_listeners(&cache.clock, row, outcome, &record);
    }

    /// Reports that the lookup is over, and the handler has to be called.
    pub(super) fn record_lookup_miss(&self) {
        if self.cache.stats.is_timed() {
            let now = self.cache.clock.instant();
            let took = now.saturating_duration_since(self.began);
            self.cache.stats.took(Timed::Lookup, took);
        }
    }
}

impl ReadContext {
    pub(super) fn replay<B>(
        &self,
        stored: &StoredResponse,
        outcome: Outcome,
        parameters: StatusParameters,
    ) -> Response<CacheBody<B>> {
        self.answered(outcome, Some(stored));
        self.cache()
            .replay(stored, self.client(), self.now(), outcome, parameters)
    }

    /// Reports what became of this request, and adds the fields that tell it.
    pub(super) fn stamp(
        &self,
        headers: &mut HeaderMap,
        outcome: Outcome,
        parameters: StatusParameters,
    ) {
        self.answered(outcome, None);
        self.cache()
            .status_headers
            .stamp(headers, outcome, parameters);
    }

    /// Says that no response could be had in the way the request or the response demands.
    pub(super) fn gateway_timeout<B>(&self, outcome: Outcome) -> Response<CacheBody<B>> {
        self.answered(outcome, None);
        gateway_timeout(self.cache(), outcome)
    }

    pub(super) fn view(&self) -> ReadView<'_> {
        ReadView {
            cache: self.cache(),
            route: &self.route,
            client: self.client(),
            began: self.began,
        }
    }

    fn client(&self) -> Client<'_> {
        Client {
            method: &self.method,
            headers: &self.headers,
            flags: self.flags,
        }
    }
}

impl StoredResponse {
    pub(super) fn ttl(&self, now: Instant) -> i64 {
        status::ttl(self.lifetime(), self.age(now))
    }
}

impl CacheState {
    /// Makes the header section of a hit right for another moment; `None` where it says more about
    /// caches than we do.
    fn renewed(&self, mut headers: HeaderMap, stamp: ReplayStamp) -> Option<HeaderMap> {
        if self.status_headers.age {
            headers.insert(header::AGE, age_field(stamp.age()));
        }
        if self.status_headers.cache_status {
            let is_ours = headers.get_all(header::CACHE_STATUS).iter().count() == 1;
            if !is_ours {
                return None;
            }
            let parameters = StatusParameters {
                ttl: Some(stamp.ttl()),
                ..StatusParameters::default()
            };
            let status = self.status_headers.cache_status(Outcome::Hit, parameters);
            headers.insert(header::CACHE_STATUS, status);
        }
        Some(headers)
    }

    /// Answers a request from a stored response: in whole, in part, or by saying that the client
    /// has it already.
    pub(super) fn replay<B>(
        &self,
        stored: &StoredResponse,
        client: Client<'_>,
        now: Instant,
        outcome: Outcome,
        parameters: StatusParameters,
    ) -> Response<CacheBody<B>> {
        let mut response = selected(stored, client, &self.clock);
        if self.status_headers.age {
            let age = age_field(stored.age(now).as_secs());
            response.headers_mut().insert(header::AGE, age);
        }
        let ttl = Some(stored.ttl(now));
        let parameters = StatusParameters { ttl, ..parameters };
        self.status_headers
            .stamp(response.headers_mut(), outcome, parameters);
        response
    }
}

/// The greatest age that is sent (RFC 9111 §1.2.2).
const MOST_AGE: u64 = (1 << 31) - 1;

fn age_field(seconds: u64) -> HeaderValue {
    HeaderValue::from(seconds.min(MOST_AGE))
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

/// Returns what a stored 206 holds of what a request asks for.
pub(super) fn part_for(stored: &StoredResponse, client: Client<'_>, clock: &Clock) -> Option<Part> {
    let headers = stored.head().to_map(0);
    stored
        .part()?
        .answer(&requested_ranges(&headers, client, clock)?)
}

/// Returns the ranges to answer with, unless `If-Range` asks for the whole (RFC 9110 §13.1.5).
fn requested_ranges(headers: &HeaderMap, client: Client<'_>, clock: &Clock) -> Option<RangeSet> {
    let ranges = RangeSet::of(client.method, client.headers)?;
    let wall = clock.wall_now();
    match preconditions::if_range(client.headers, &conditions_on(field(headers), wall), wall) {
        RangeVerdict::Use => Some(ranges),
        RangeVerdict::Ignore => None,
    }
}

/// Takes the fields out of a response that are a word to this cache alone.
pub(super) fn strip(headers: &mut HeaderMap) {
    // Looking for each of them would take several times as long, and they are rarely there.
    if headers.keys().any(is_stripped) {
        headers.remove(&SURROGATE_KEY);
        headers.remove(&CACHE_TAG);
    }
}

/// Whether a field is a word to this cache alone.
pub(super) fn is_stripped(name: &HeaderName) -> bool {
    static NAMES: [HeaderName; 2] = [SURROGATE_KEY, CACHE_TAG];
    NAMES.contains(name)
}

const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// Evaluates the client's preconditions against a response's validators (RFC 9110 §13.2.2).
pub(super) fn evaluate<'a>(
    status: StatusCode,
    response: impl Fn(&HeaderName) -> Option<&'a [u8]>,
    request: &HeaderMap,
    clock: &Clock,
) -> Precondition {
    if !status.is_success() {
        // RFC 9110 §13.2.1: only where the answer without them would be a success.
        return Precondition::Proceed;
    }
    let wall = clock.wall_now();
    let stored = match response(&header::LAST_MODIFIED) {
        // Beside that the date does not count, and parsing it is a good part of the work.
        Some(_) => validators(response),
        None => conditions_on(response, wall),
    };
    preconditions::evaluate(request, &stored, wall)
}

fn conditions_on<'a>(
    response: impl Fn(&HeaderName) -> Option<&'a [u8]>,
    wall: SystemTime,
) -> preconditions::Stored<'a> {
    preconditions::Stored {
        date: response(&header::DATE).and_then(|date| date::parse(date, wall)),
        ..validators(response)
    }
}

fn validators<'a>(response: impl Fn(&HeaderName) -> Option<&'a [u8]>) -> preconditions::Stored<'a> {
    preconditions::Stored {
        etag: response(&header::ETAG),
        last_modified: response(&header::LAST_MODIFIED),
        date: None,
    }
}

/// Looks up the fields of a response that is not stored.
pub(super) fn field<'a>(headers: &'a HeaderMap) -> impl Fn(&HeaderName) -> Option<&'a [u8]> {
    |name| headers.get(name).map(HeaderValue::as_bytes)
}

/// Turns a response's head into that of a 304 (RFC 9110 §15.4.5).
pub(super) fn not_modified<B>(mut headers: HeaderMap) -> Response<CacheBody<B>> {
    preconditions::trim_to_not_modified(&mut headers);
    respond(StatusCode::NOT_MODIFIED, headers, CacheBody::empty())
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

/// Says that no response could be had in the way the request or the response demands: without the
/// handler (RFC 9111 §5.2.1.7), or with it (§5.2.2.2).
pub(super) fn gateway_timeout<B>(cache: &CacheState, outcome: Outcome) -> Response<CacheBody<B>> {
    let status = StatusCode::GATEWAY_TIMEOUT;
    let mut response = respond(status, HeaderMap::new(), CacheBody::empty());
    cache
        .status_headers
        .stamp(response.headers_mut(), outcome, StatusParameters::default());
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
    cache: &CacheState,
    route: RouteId,
    outcome: Outcome,
    parameters: StatusParameters,
    response: Response<B>,
) -> Response<CacheBody<B>> {
    let mut response = response.map(CacheBody::pass);
    cache.bypassed(route, outcome);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        cache
            .status_headers
            .stamp(response.headers_mut(), outcome, parameters);
    }
    response
}
