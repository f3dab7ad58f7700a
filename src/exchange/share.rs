//! Sharing a handler call: which flight a request joins, and what it is given from it.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::lookup::{self, Ask, Found, Lookup, variant_key};
use super::{Asked, respond};
use crate::body::CacheBody;
use crate::entry::StoredResponse;
use crate::flight::{Flight, Freed, Join, Landed, Landing, Streaming};
use crate::invalidate::{SubjectRef, Verdict};
use crate::key::Key;
use crate::mutant::{self, Mutant};
use crate::semantics::preconditions::Precondition;
use crate::semantics::vary;
use crate::status::{Miss, Outcome, Told};
use crate::store::Answer;
use crate::telemetry::{Event, Operation};

/// What waiting for another request's flight came to.
pub(super) enum Waited<B> {
    Answered(Response<CacheBody<B>>),
    /// The flight was left, or was overtaken by a write: look for another.
    Again,
    Alone,
}

impl Asked {
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
        let core = self.core();
        self.place.flights.join(
            &self.flight_key(),
            core.clock.instant(),
            || core.store.log().position(),
            |flight| flight.is_of_use(core.clock.instant(), |tags| self.may_join(flight, tags)),
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
        self.core().verdict_on(flight.position, subject) == Verdict::Valid
            && !self.outlasts_hold(flight, subject)
    }

    /// Whether a flight's handler may have read from a replica that lagged behind a write, and this
    /// request began when none did any more: it would be given what must not be stored for it.
    fn outlasts_hold(&self, flight: &Flight, subject: SubjectRef<'_>) -> bool {
        let log = self.core().store.log();
        !mutant::is(Mutant::HoldIgnoredAtJoin)
            && log.outlasts_hold(subject, flight.began, self.began)
    }

    /// Looks again, as the leader of a flight: another may have landed since the first lookup.
    pub(super) fn stored_meanwhile(&self) -> Option<Landed> {
        let found = match lookup::find(self.core(), self.key.borrow(), &self.headers) {
            Answer::Now(Ok(found)) => found,
            Answer::Now(Err(_)) | Answer::Later(_) => return None,
        };
        self.fresh_among(found)
    }

    /// Looks again, for what another node has stored.
    pub(super) async fn stored_elsewhere(&self) -> Option<Landed> {
        let core = self.core();
        let found = lookup::find(core, self.key.borrow(), &self.headers);
        self.fresh_among(core.bounded(Operation::Get, found).await.ok()?)
    }

    fn fresh_among(&self, found: Found) -> Option<Landed> {
        let ask = Ask {
            began: self.now(),
            ..self.ask()
        };
        if let (true, Some(stored)) = (
            mutant::is(Mutant::StoredMeanwhileUnjudged),
            found.response.clone(),
        ) {
            return Some(self.landed(stored, Vec::new(), Outcome::Hit));
        }
        let names = found.variants.as_ref().map(|variants| &variants.names);
        let nominated = names.cloned().unwrap_or_default();
        match ask.judge(found) {
            Lookup::Fresh(stored, _) => Some(self.landed(stored, nominated, Outcome::Hit)),
            _ => None,
        }
    }

    /// What those who wait for this request's flight are given, if they are alike in the fields that
    /// are `nominated`.
    pub(super) fn landed(
        &self,
        stored: Arc<StoredResponse>,
        nominated: Vec<HeaderName>,
        outcome: Outcome,
    ) -> Landed {
        Landed {
            stored,
            nominated,
            request: self.headers.clone(),
            outcome,
        }
    }

    pub(super) async fn wait_for<B>(&self, flight: &Flight, give_up: Option<Instant>) -> Waited<B> {
        let core = self.core();
        self.route.row.count(Event::Collapsed);
        let _waiting = core.stats.wait();
        let landing = flight.landing();
        let landing = match give_up {
            Some(give_up) => tokio::time::timeout_at(give_up, landing).await,
            None => Ok(landing.await),
        };
        match landing {
            Err(_) | Ok(Err(Freed::NotForOthers)) => Waited::Alone,
            Ok(Err(Freed::Abandoned)) => Waited::Again,
            Ok(Ok(Landing::Stored(landed))) => self.take_landed(flight, &landed),
            Ok(Ok(Landing::Streaming(streaming))) => self.read_along(flight, &streaming),
        }
    }

    fn take_landed<B>(&self, flight: &Flight, landed: &Landed) -> Waited<B> {
        if self.outlasts_hold(flight, landed.stored.subject()) {
            return Waited::Again;
        }
        let judged = match mutant::is(Mutant::JoinAny) {
            true => Verdict::Valid,
            false => self.core().verdict(&landed.stored),
        };
        match (judged, landed.outcome) {
            (Verdict::Valid, _) | (Verdict::Soft, Outcome::Stale(_)) => {}
            _ => return Waited::Again,
        }
        if !vary::selects(&landed.nominated, &landed.request, &self.headers) {
            return Waited::Alone;
        }
        Waited::Answered(self.replay(&landed.stored, landed.outcome, Told::default()))
    }

    fn read_along<B>(&self, flight: &Flight, streaming: &Streaming) -> Waited<B> {
        if !self.may_join(flight, &streaming.tags) {
            return Waited::Again;
        }
        if !vary::selects(&streaming.nominated, &streaming.request, &self.headers) {
            return Waited::Alone;
        }
        let Some(reader) = streaming.fill.reader() else {
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
        self.tell(response.headers_mut(), outcome, Told::default());
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
            &self.core().clock,
        ) {
            Precondition::NotModified => respond::not_modified(response.into_parts().0.headers),
            _ => response,
        }
    }
}
