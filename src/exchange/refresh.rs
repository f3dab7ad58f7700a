//! Validation: asking the handler whether a stored response still holds, in the foreground or behind
//! a stale answer, and what to do when the handler fails.

use std::sync::Arc;

use bytes::Buf;
use http::response::Parts;
use http::{Request, Response, StatusCode};
use http_body::{Body, SizeHint};
use tower_service::Service;
use tracing::Instrument;

use super::admit::{self, Interval};
use super::forward::{ABANDONED, Call, Fetch};
use super::{Asked, Inner};
use crate::body::{BoxError, CacheBody, Captured};
use crate::entry::StoredResponse;
use crate::flight::{Join, Landing};
use crate::invalidate::{Position, Verdict};
use crate::semantics::cache_control::Scope;
use crate::semantics::validation::{self, Validators};
use crate::semantics::{reuse, storable};
use crate::status::{Miss, Outcome, Staleness, Told};

/// What the handler's answer says about what is stored.
pub(super) enum Validated<B> {
    /// It still holds, or has to do in place of an error; this is the answer from it.
    Confirmed(Response<CacheBody<B>>),
    /// The answer stands for itself.
    New,
}

/// Refreshes a stored response that was served stale, unless that is under way or was found
/// useless a moment ago.
pub(super) fn in_background<S, Q, B>(
    asked: Asked,
    inner: S,
    request: Request<Q>,
    stale: Arc<StoredResponse>,
) where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    Q: Body + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Buf,
    B::Error: Into<BoxError>,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let Join::Lead(leader) = asked.join() else {
        return;
    };
    let fetch = Fetch {
        asked: Arc::new(asked),
        why: Miss::Stale,
        stale: Some(stale),
        leader: Some(Arc::new(leader)),
    };
    let refresh = async move {
        let call = Call {
            inner: Inner::Ready(inner),
            request,
        };
        // A handler that hangs would keep the next refresh from beginning.
        if let Ok(Ok(response)) = tokio::time::timeout(ABANDONED, fetch.lead(call)).await {
            response.into_body().read_on().await;
        }
    };
    runtime.spawn(refresh.in_current_span());
}

impl Fetch {
    /// Holds the handler's answer against what is stored.
    pub(super) fn validated<B>(
        &self,
        head: &Parts,
        interval: Interval,
        position: Position,
    ) -> Validated<B> {
        if head.status == StatusCode::NOT_MODIFIED {
            if let Some(response) = self.confirmed(head, interval, position) {
                return Validated::Confirmed(response);
            }
        }
        if reuse::stale_if_error(head.status) {
            if let Some(response) = self.stale_in_place_of_error(Some(head.status)) {
                return Validated::Confirmed(response);
            }
        }
        Validated::New
    }

    /// Freshens what is stored with a 304's fields and answers from it (RFC 9111 §4.3.4). It is as
    /// new as the call that confirmed it.
    fn confirmed<B>(
        &self,
        head: &Parts,
        interval: Interval,
        position: Position,
    ) -> Option<Response<CacheBody<B>>> {
        let stale = self.stale.as_ref()?;
        let before = stale.head.to_map(head.headers.len());
        validation::select(&head.headers, &[Validators::of(&before)])?;
        let mut fresh = Response::new(());
        *fresh.status_mut() = stale.status;
        // What this connection says of itself is no news of the stored response.
        let mut update = storable::stored_headers(&head.headers, &Scope::Absent);
        // Without one of its own, a 304 is of the moment it came (RFC 9110 §6.6.1): by the old date
        // the response would stay stale.
        admit::add_date(&mut update, interval.received);
        *fresh.headers_mut() = validation::freshen(&before, &update);
        *fresh.extensions_mut() = head.extensions.clone();
        let (fresh, ()) = fresh.into_parts();
        let length = SizeHint::with_exact(stale.body.len() as u64);
        let asked = &self.asked;
        let outcome = Outcome::Revalidated { collapsed: false };
        let told = Told {
            fwd_status: Some(head.status),
            ..Told::default()
        };
        let captured = Captured {
            body: stale.body.clone(),
            trailers: stale.trailers.as_deref().cloned(),
        };
        match admit::admit(asked, &fresh, &length, interval) {
            Ok(plan) => {
                let nominated = plan.nominated.clone();
                let for_others = !plan.is_always_validated();
                let stored = Arc::new(plan.into_stored(captured, position));
                asked.store(&stored, &nominated);
                match &self.leader {
                    Some(leader) if for_others => {
                        let outcome = Outcome::Revalidated { collapsed: true };
                        leader.land(Landing::Stored(stored.clone(), outcome));
                    }
                    _ => self.free(),
                }
                Some(asked.replay(&stored, outcome, told))
            }
            Err(refusal) => {
                // Confirmed for this once, and not to be stored any longer.
                self.free();
                asked.discard();
                let once = stale.once(&fresh.headers, interval.received.instant);
                let told = Told {
                    detail: Some(refusal.detail()),
                    ..told
                };
                Some(asked.replay(&once, outcome, told))
            }
        }
    }

    /// Answers with what is stored where the handler failed, if it is still good enough for that
    /// (RFC 9111 §4.2.4, RFC 5861 §4): never what an invalidation has overtaken.
    pub(super) fn stale_in_place_of_error<B>(
        &self,
        fwd_status: Option<StatusCode>,
    ) -> Option<Response<CacheBody<B>>> {
        let stale = self.stale.as_ref()?;
        let asked = &self.asked;
        let stale_by = stale.stale_by(asked.now().instant).unwrap_or_default();
        let permitted = !stale.reuse.never_stale
            && !stale.reuse.always_validate
            && stale_by < stale.times.stale_if_error
            && asked.core().verdict(stale) != Verdict::Invalid;
        if !permitted {
            return None;
        }
        let outcome = Outcome::Stale(Staleness::IfError);
        if let Some(leader) = &self.leader {
            leader.land(Landing::Stored(stale.clone(), outcome));
        }
        let told = Told {
            fwd_status,
            ..Told::default()
        };
        Some(asked.replay(stale, outcome, told))
    }
}
