//! Sharing a handler call: which flight a request joins, and what it is given from it.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::lookup::{self, Decision, Found, ReadView, variant_key};
use super::{ReadContext, respond};
use crate::body::{CacheBody, FillReader};
use crate::entry::StoredResponse;
use crate::flight::{Flight, FlightResult, Join, NoResult, StoredResult, StreamingResult};
use crate::invalidate::{SubjectRef, Verdict};
use crate::key::Key;
use crate::mutant::{self, Mutant};
use crate::semantics::preconditions::Precondition;
use crate::semantics::vary;
use crate::status::{Miss, Outcome, StatusParameters};
use crate::store::MaybeReady;
use crate::telemetry::{Event, Operation};

/// What waiting for another request's flight came to.
pub(super) enum Waited<B> {
    Answered(Response<CacheBody<B>>),
    /// The flight was left, or was overtaken by a write: look for another.
    Again,
    Alone,
}

impl ReadContext {
    /// Whether the response to this request is one that others may wait for, or that it may take
    /// from others.
    pub(super) fn may_share(&self) -> bool {
        self.route.policy.collapsing.on
            && self.method == Method::GET
            && self.credentials().is_none()
            && !self.flags.range
            && !self.flags.precondition
            && !self.directives.no_store
    }

    pub(super) fn join(&self) -> Join {
        let cache = self.cache();
        self.mount.flights.join(
            &self.flight_key(),
            cache.clock.instant(),
            || cache.store.log().position(),
            |flight| flight.is_of_use(cache.clock.instant(), |tags| self.may_join(flight, tags)),
        )
    }

    /// Requests that select different variants do not share a call.
    pub(super) fn flight_key(&self) -> Key {
        match &self.variants {
            Some(variants) => variant_key(self.key.borrow(), &variants.names, &self.headers),
            None => self.key.clone(),
        }
    }

    /// Judges a flight as a stored response is judged: nothing that matches may have been
    /// invalidated since its handler was called.
    fn may_join(&self, flight: &Flight, tags: &[Box<str>]) -> bool {
        let mut subject = self.subject.borrow();
        if mutant::is(Mutant::JoinAny) {
            return true;
        }
        if !tags.is_empty() && !mutant::is(Mutant::HandlerTagsIgnoredAtLanding) {
            subject = subject.with_tags(tags);
        }
        self.cache().verdict_on(flight.position, subject) == Verdict::Valid
            && !self.outlasts_hold(flight, subject)
    }

    /// Whether a flight's handler may have read from a replica that lagged behind a write, and this
    /// request began when none did any more: it would be given what must not be stored for it.
    fn outlasts_hold(&self, flight: &Flight, subject: SubjectRef<'_>) -> bool {
        let log = self.cache().store.log();
        !mutant::is(Mutant::HoldIgnoredAtJoin)
            && log.outlasts_hold(subject, flight.began, self.began)
    }

    /// Looks again, as the leader of a flight: another may have landed since the first lookup.
    pub(super) fn stored_meanwhile(&self) -> Option<StoredResult> {
        let found = match lookup::find(self.cache(), self.key.borrow(), &self.headers) {
            MaybeReady::Now(Ok(found)) => found,
            MaybeReady::Now(Err(_)) | MaybeReady::Later(_) => return None,
        };
        self.fresh_among(found)
    }

    /// Looks again, for what another node has stored.
    pub(super) async fn stored_elsewhere(&self) -> Option<StoredResult> {
        let cache = self.cache();
        let found = lookup::find(cache, self.key.borrow(), &self.headers);
        self.fresh_among(cache.bounded(Operation::Get, found).await.ok()?)
    }

    fn fresh_among(&self, found: Found) -> Option<StoredResult> {
        let view = ReadView {
            began: self.now(),
            ..self.view()
        };
        if let (true, Some(stored)) = (
            mutant::is(Mutant::StoredMeanwhileUnjudged),
            found.response.clone(),
        ) {
            return Some(self.published(stored, Vec::new(), Outcome::Hit));
        }
        let names = found.variants.as_ref().map(|variants| &variants.names);
        let nominated = names.cloned().unwrap_or_default();
        match view.judge(found) {
            Decision::Fresh(stored, _) => Some(self.published(stored, nominated, Outcome::Hit)),
            _ => None,
        }
    }

    /// What those who wait for this request's flight are given, if they are alike in the fields that
    /// are `nominated`.
    pub(super) fn published(
        &self,
        stored: Arc<StoredResponse>,
        nominated: Vec<HeaderName>,
        outcome: Outcome,
    ) -> StoredResult {
        StoredResult {
            stored,
            nominated,
            request: self.headers.clone(),
            outcome,
        }
    }

    pub(super) async fn wait_for<B>(&self, flight: &Flight, give_up: Option<Instant>) -> Waited<B> {
        let cache = self.cache();
        self.route.row.count(Event::Collapsed);
        let _waiting = cache.stats.wait();
        let result = flight.result();
        let result = match give_up {
            Some(give_up) => tokio::time::timeout_at(give_up, result).await,
            None => Ok(result.await),
        };
        match result {
            Err(_) | Ok(Err(NoResult::NotForOthers)) => Waited::Alone,
            Ok(Err(NoResult::Abandoned)) => Waited::Again,
            Ok(Ok(FlightResult::Stored(published))) => self.take_landed(flight, &published),
            Ok(Ok(FlightResult::Streaming(streaming))) => self.read_along(flight, &streaming),
        }
    }

    fn take_landed<B>(&self, flight: &Flight, published: &StoredResult) -> Waited<B> {
        if self.outlasts_hold(flight, published.stored.subject()) {
            return Waited::Again;
        }
        let judged = match mutant::is(Mutant::JoinAny) {
            true => Verdict::Valid,
            false => self.cache().verdict(&published.stored),
        };
        match (judged, published.outcome) {
            (Verdict::Valid, _) | (Verdict::Soft, Outcome::Stale(_)) => {}
            _ => return Waited::Again,
        }
        if !vary::selects(&published.nominated, &published.request, &self.headers) {
            return Waited::Alone;
        }
        Waited::Answered(self.replay(
            &published.stored,
            published.outcome,
            StatusParameters::default(),
        ))
    }

    fn read_along<B>(&self, flight: &Flight, streaming: &StreamingResult) -> Waited<B> {
        if !self.may_join(flight, &streaming.tags) {
            return Waited::Again;
        }
        if !vary::selects(&streaming.nominated, &streaming.request, &self.headers) {
            return Waited::Alone;
        }
        let Some(reader) = FillReader::of(&streaming.fill) else {
            return Waited::Alone;
        };
        let outcome = Outcome::Miss {
            why: Miss::Uri,
            stored: false,
            collapsed: true,
            detail: None,
        };
        let mut response = respond::respond(
            streaming.status,
            streaming.headers().clone(),
            CacheBody::filling(reader),
        );
        self.stamp(response.headers_mut(), outcome, StatusParameters::default());
        Waited::Answered(self.conditionally(&self.headers, response))
    }

    /// Answers the conditions that the client set and the handler was not shown (RFC 9110 §13.2).
    pub(super) fn conditionally<B>(
        &self,
        conditions: &HeaderMap,
        response: Response<CacheBody<B>>,
    ) -> Response<CacheBody<B>> {
        if !self.flags.conditional || conditions.is_empty() || response.status() != StatusCode::OK {
            return response;
        }
        match respond::evaluate(
            response.status(),
            respond::field(response.headers()),
            conditions,
            &self.cache().clock,
        ) {
            Precondition::NotModified => respond::not_modified(response.into_parts().0.headers),
            _ => response,
        }
    }
}
