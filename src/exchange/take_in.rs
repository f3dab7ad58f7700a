//! What becomes of a handler's new response: it is stored while it is passed on, or passed on alone.

use std::sync::{Arc, OnceLock};

use http::header::HeaderMap;
use http::response::Parts;
use http::{Method, Response, StatusCode};

use super::admit::{self, Plan, Refusal};
use super::basis::Basis;
use super::forward::{Fetch, Received};
use super::{Asked, Content, respond};
use crate::body::{CacheBody, Fill, Limits};
use crate::flight::{Landing, Streaming};
use crate::invalidate::Position;
use crate::mutant::{self, Mutant};
use crate::status::{Outcome, Told};
use crate::telemetry::{Event, Timed};

impl Fetch {
    /// Stores a new response while it is passed on, or passes it on alone.
    pub(super) fn take_in<B>(
        self,
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
            told,
        } = received;
        if self.asked.method == Method::HEAD {
            return self.pass_head_on(head, body, interval, position);
        }
        let outcome = self.miss(None);
        match admit::admit(&self.asked, &head, &body.size_hint(), interval) {
            Ok(plan) => {
                let response = Response::from_parts(head, body);
                self.fill(response, plan, position, conditions, outcome, told)
            }
            Err(refusal) => self.pass_on(head, body, refusal, conditions, told),
        }
    }

    /// Passes a body on while it is captured for the store and for those who wait.
    pub(super) fn fill<B>(
        self,
        response: Response<B>,
        plan: Plan,
        position: Position,
        conditions: &HeaderMap,
        outcome: Outcome,
        told: Told,
    ) -> Response<CacheBody<B>>
    where
        B: Content,
    {
        let (head, body) = response.into_parts();
        let Self {
            asked,
            basis,
            leader,
            span,
            ..
        } = self;
        let core = asked.core().clone();
        let flight_key = asked.flight_key();
        let leader = match leader {
            Some(leader) if plan.is_always_validated() => {
                // No other request may be given it without asking the handler itself.
                leader.not_for_others();
                let now = core.clock.instant();
                asked.place.flights.is_uncacheable(&flight_key, now);
                None
            }
            leader => {
                asked.place.flights.is_cacheable(&flight_key);
                leader
            }
        };
        let limits = Limits {
            max_body: asked.route.policy.max_body.min(core.max_body),
            expected: plan.expected,
            finish_abandoned: asked.route.policy.collapsing.finish_abandoned,
            budget: core.budget.clone(),
        };
        let useful_until = plan.useful_until();
        let refused = asked.refused_by_log(position, plan.subject.borrow());
        let landing = leader.clone().map(|leader| {
            let head = (plan.fields().clone(), plan.nominated.clone());
            (leader, head, plan.subject.tags().into())
        });
        let commit = {
            let asked = asked.clone();
            Box::new(move |captured| {
                let position = match mutant::is(Mutant::PositionAtCommit) {
                    true => asked.core().store.log().position(),
                    false => position,
                };
                let nominated = plan.nominated.clone();
                // The flight goes on until it is stored, so that whoever no longer finds the flight
                // finds the response.
                let requested = plan.requested;
                let stored = plan.into_stored(captured, position, &basis);
                let stored = stored.map(|stored| Arc::new(stored.filled_by(span.number)));
                if let Some(stored) = stored
                    && asked.store_until(&stored, &nominated, leader)
                {
                    span.stored(stored.size());
                    asked.stored_since(requested);
                }
            })
        };
        let fill = Fill::new(body, limits, commit);
        let reader = fill.reader();
        if let Some((leader, (fields, nominated), tags)) = landing {
            leader.land(Landing::Streaming(Arc::new(Streaming {
                status: head.status,
                fields,
                headers: OnceLock::new(),
                fill,
                nominated,
                request: asked.headers.clone(),
                tags,
                useful_until,
            })));
        }
        let body = reader.map_or_else(CacheBody::empty, CacheBody::filling);
        let mut response = Response::from_parts(head, body);
        respond::strip(response.headers_mut());
        let outcome = outcome.stored_unless(refused);
        asked.tell(response.headers_mut(), outcome, told);
        asked.conditionally(conditions, response)
    }

    fn pass_on<B>(
        self,
        head: Parts,
        body: B,
        refusal: Refusal,
        conditions: &HeaderMap,
        told: Told,
    ) -> Response<CacheBody<B>> {
        let asked = &self.asked;
        let core = asked.core();
        self.free();
        if self.leader.is_some() && refusal.lasts(head.status) {
            let now = core.clock.instant();
            asked.place.flights.is_uncacheable(&asked.flight_key(), now);
        }
        // The handler's latest word on this key: what was stored before is no longer its answer.
        if matches!(self.basis, Basis::Stale(_)) && head.status.is_success() {
            asked.discard();
        }
        let outcome = match asked.credentials() {
            Some(reason) => Outcome::Bypass(reason),
            None => self.miss(Some(refusal.detail())),
        };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            asked.answered(outcome, None);
            return Response::from_parts(head, CacheBody::pass(body));
        }
        let mut response = Response::from_parts(head, CacheBody::pass(body));
        respond::strip(response.headers_mut());
        asked.tell(response.headers_mut(), outcome, told);
        asked.conditionally(conditions, response)
    }
}

impl Asked {
    /// Reports that the response to a call which began then is stored.
    fn stored_since(&self, requested: std::time::Instant) {
        let core = self.core();
        self.route.row.count(Event::Stored);
        if core.stats.is_timed() {
            let took = core.clock.instant().saturating_duration_since(requested);
            core.stats.took(Timed::Fill, took);
        }
    }
}
