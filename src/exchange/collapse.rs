//! Collapsing reads that come together into one fetch: the flight that a read joins, and what it
//! takes from it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use http::Response;
use http::header::{self, HeaderName};

use super::call::Inner;
use super::context::{ReadContext, ReadView};
use super::judge::{Decision, judge};
use super::lookup::{self, Found};
use super::replay::{age_field, replay_now};
use super::respond::{conditionally, respond};
use crate::body::{CacheBody, FillReader};
use crate::entry::StoredResponse;
use crate::flight::{
    self, Flight, FlightResult, Shared, Sharer, StoredResult, StreamingResult, Taken,
};
use crate::invalidate::{Position, Verdict};
use crate::semantics::vary;
use crate::status::{Miss, Outcome, StatusParameters};
use crate::store::MaybeReady;
use crate::telemetry::{Event, Operation, WaitingRequest};

/// Joins the flight for a read or leads a new one, if its response is one to share.
pub(super) async fn join_or_lead<S: Clone, B>(
    read: &ReadContext,
    inner: &mut Inner<S>,
) -> Shared<Response<CacheBody<B>>> {
    if !read.may_share() {
        return Shared::Alone;
    }
    let max_wait = read.route.policy.collapsing.max_wait;
    let mut sharer = Collapsing {
        read,
        inner,
        body: PhantomData,
    };
    let (flights, key) = (&read.mount.flights, read.selected_key());
    flight::join_or_lead(flights, &key, max_wait, &mut sharer).await
}

/// Leads the flight for a read, unless another fetch is under way.
pub(super) fn lead_alone(read: &ReadContext) -> flight::Join {
    let cache = read.cache();
    read.mount.flights.join(
        &read.selected_key(),
        cache.clock.instant(),
        || cache.store.log().position(),
        |flight| may_join(read, flight),
    )
}

/// A read that may be collapsed with others.
struct Collapsing<'a, S, B> {
    read: &'a ReadContext,
    inner: &'a mut Inner<S>,
    body: PhantomData<fn() -> B>,
}

impl<'a, S: Clone, B> Sharer<FlightResult> for Collapsing<'a, S, B> {
    type Answer = Response<CacheBody<B>>;
    type Waiting = WaitingRequest<'a>;

    fn now(&self) -> Instant {
        self.read.now()
    }

    fn position(&self) -> Position {
        self.read.cache().store.log().position()
    }

    fn may_join(&self, flight: &Flight) -> bool {
        may_join(self.read, flight)
    }

    fn wait(&mut self) -> WaitingRequest<'a> {
        self.inner.release();
        self.read.route.row.count(Event::Collapsed);
        self.read.cache().stats.wait()
    }

    fn take(&self, flight: &Flight, result: FlightResult) -> Taken<Self::Answer> {
        match result {
            FlightResult::Stored(result) => take_stored(self.read, flight, &result),
            FlightResult::Streaming(result) => read_along(self.read, flight, &result),
        }
    }
}

/// Judges a flight as a stored response is judged, by the tags that are known.
fn may_join(read: &ReadContext, flight: &Flight) -> bool {
    flight.is_of_use(read.now(), |tags| is_valid(read, flight, tags))
}

fn is_valid(read: &ReadContext, flight: &Flight, tags: &[Box<str>]) -> bool {
    let mut subject = read.subject.borrow();
    if !tags.is_empty() {
        subject = subject.with_tags(tags);
    }
    read.cache()
        .may_share(flight.position, flight.began, subject, read.began)
}

fn take_stored<B>(
    read: &ReadContext,
    flight: &Flight,
    result: &StoredResult,
) -> Taken<Response<CacheBody<B>>> {
    let cache = read.cache();
    if cache.outlasts_hold(result.stored.subject(), flight.began, read.began) {
        return Taken::Again;
    }
    let verdict = cache.verdict(&result.stored);
    match (verdict, result.outcome) {
        (Verdict::Valid, _) | (Verdict::Soft, Outcome::Stale(_)) => {}
        _ => return Taken::Again,
    }
    if !vary::selects(&result.nominated, &result.request, &read.headers) {
        return Taken::Alone;
    }
    let parameters = StatusParameters::default();
    Taken::Answer(replay_now(read, &result.stored, result.outcome, parameters))
}

fn read_along<B>(
    read: &ReadContext,
    flight: &Flight,
    result: &StreamingResult,
) -> Taken<Response<CacheBody<B>>> {
    if !is_valid(read, flight, &result.tags) {
        return Taken::Again;
    }
    if !vary::selects(&result.nominated, &result.request, &read.headers) {
        return Taken::Alone;
    }
    let Some(reader) = FillReader::of(&result.fill) else {
        return Taken::Alone;
    };
    let outcome = Outcome::Miss {
        why: Miss::Uri,
        stored: false,
        collapsed: true,
        detail: None,
    };
    let headers = result.headers().clone();
    let mut response = respond(result.status, headers, CacheBody::filling(reader));
    if read.cache().status_headers.age {
        // RFC 9111 §5.1: it was not made for this request.
        let (initial, received) = result.aged;
        let age = initial.saturating_add(read.now().saturating_duration_since(received));
        response
            .headers_mut()
            .insert(header::AGE, age_field(age.as_secs()));
    }
    read.stamp(response.headers_mut(), outcome, StatusParameters::default());
    Taken::Answer(conditionally(read, &read.headers, response))
}

/// Looks again, as the leader of a flight: another may have ended since the first lookup.
pub(super) fn stored_meanwhile(read: &ReadContext) -> Option<StoredResult> {
    let found = match lookup::find(read.cache(), read.key.borrow(), &read.headers) {
        MaybeReady::Now(Ok(found)) => found,
        MaybeReady::Now(Err(_)) | MaybeReady::Later(_) => return None,
    };
    fresh_among(read, found)
}

/// Looks again, for what another node has stored.
pub(super) async fn stored_elsewhere(read: &ReadContext) -> Option<StoredResult> {
    let cache = read.cache();
    let found = lookup::find(cache, read.key.borrow(), &read.headers);
    fresh_among(read, cache.bounded(Operation::Get, found).await.ok()?)
}

fn fresh_among(read: &ReadContext, found: Found) -> Option<StoredResult> {
    let view = ReadView {
        began: read.now(),
        ..read.view()
    };
    let names = found.variants.as_ref().map(|variants| &variants.names);
    let nominated = names.cloned().unwrap_or_default();
    match judge(&view, found) {
        Decision::Hit(stored, _) => Some(stored_result(read, stored, nominated, Outcome::Hit)),
        _ => None,
    }
}

/// Returns what those who wait for this read's flight are given, if they are alike in the fields
/// that are `nominated`.
pub(super) fn stored_result(
    read: &ReadContext,
    stored: Arc<StoredResponse>,
    nominated: Vec<HeaderName>,
    outcome: Outcome,
) -> StoredResult {
    StoredResult {
        stored,
        nominated,
        request: read.headers.clone(),
        outcome,
    }
}
