//! A write: what it invalidates is recorded before its response's head leaves, and also when nobody
//! is left to see that head.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use super::admit::{self, Plan};
use super::call::{Content, Fetch, Interval};
use super::candidate::Candidate;
use super::context::{Mount, ReadContext};
use super::detached::Journey;
use super::fill::fill;
use super::respond;
use crate::body::CacheBody;
use crate::directive::{Invalidate, OriginUnreachable};
use crate::invalidate::{Intent, Invalidation, Position, Verdict};
use crate::key::KeyBuilder;
use crate::policy::{Evictions, Terms};
use crate::semantics::invalidation;
use crate::state::CacheState;
use crate::status::{BypassReason, Miss, Outcome, StatusParameters};
use crate::target::{Target, original_uri};
use crate::telemetry::RouteId;

/// A request with an unsafe method.
pub(super) struct Write {
    cache: Arc<CacheState>,
    uri: Uri,
    authority: Option<HeaderValue>,
    /// The invalidations it causes: those its route names and its own path, then those its response
    /// names.
    evicted: Evictions,
    terms: Terms,
    /// The GET that its response may be stored for, and the log's position before the inner service
    /// was called.
    as_get: Option<(ReadContext, Position)>,
}

impl Write {
    pub(super) fn new(mount: &Arc<Mount>, parts: &Parts) -> Self {
        let cache = &mount.cache;
        let host = parts.headers.get(header::HOST);
        let target = Target::of(&parts.uri, &parts.extensions).with_host(host);
        let (mut evicted, terms) = cache.routes.evicted_by(&parts.method, target.path());
        evicted.push(Invalidation::of_target(target.with_any_query()));
        let as_get = match parts.method {
            Method::POST => as_get(mount, parts),
            _ => None,
        };
        Self {
            cache: cache.clone(),
            authority: host.cloned(),
            uri: original_uri(&parts.uri, &parts.extensions).clone(),
            evicted,
            terms,
            as_get: as_get.map(|read| (read, cache.store.log().position())),
        }
    }

    /// Calls the inner service, and acknowledges what it wrote.
    ///
    /// # Cancel safety
    ///
    /// Dropped after the inner service was called, it records the invalidation all the same: the
    /// inner service may have written before it was dropped. The same goes for a panic and for an
    /// error of the inner service.
    pub(super) async fn run<S, Q, B>(
        self,
        mut inner: S,
        request: Request<Q>,
    ) -> Result<Response<CacheBody<B>>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Content,
    {
        // Declared before the inner service's future, and so dropped after it: nothing can be
        // written once the invalidation is recorded.
        let mut pending = Pending {
            intent: self.announced(),
            write: self,
            done: false,
        };
        let requested = pending.write.cache.clock.now();
        let response = inner.call(request).await?;
        if !pending.write.takes_effect(&response) {
            pending.done = true;
            pending.forget_intent();
            return Ok(pending.write.pass(response, StatusParameters::default()));
        }
        let received = pending.write.cache.clock.now();
        let write = &mut pending.write;
        write.add_what_is_named_by(&response);
        let before = write.undisturbed_until(&response);
        write.hold();
        let recorded = write.cache.invalidate(&write.evicted).await;
        pending.done = true;
        if recorded.is_ok() {
            // What it announced is recorded now.
            pending.forget_intent();
        } else {
            // Dropped, the intent at least has this node know.
            drop(pending.intent.take());
        }
        if recorded.is_err() {
            return Ok(pending
                .write
                .pass(response, StatusParameters::INVALIDATION_PENDING));
        }
        let interval = Interval {
            requested,
            received,
        };
        Ok(match pending.write.admit(&response, before, interval) {
            Some((fetch, plan, position)) => {
                let outcome = Outcome::Bypass(BypassReason::Method);
                let parameters = StatusParameters {
                    fwd_status: Some(response.status()),
                    ..StatusParameters::default()
                };
                fill(
                    fetch,
                    response,
                    plan,
                    position,
                    &HeaderMap::new(),
                    outcome,
                    parameters,
                )
            }
            None => pending.write.pass(response, StatusParameters::default()),
        })
    }

    /// Takes what is about to be written out of use, where the route wants that.
    fn announced(&self) -> Option<Intent> {
        let log = self.cache.store.log();
        self.terms
            .two_phase
            .then(|| log.begin_write(&self.covered()))
    }

    /// Returns whether something was written, or may have been: nobody saw the answer of an origin
    /// for which another stands in.
    fn takes_effect<B>(&self, response: &Response<B>) -> bool {
        self.terms.even_if_failed
            || invalidation::invalidates(response.status())
            || response.extensions().get::<OriginUnreachable>().is_some()
    }

    /// Keeps what replicas may still show from being stored.
    fn hold(&self) {
        // As good as forever, and a clock still counts that far.
        const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let now = self.cache.clock.instant();
        let until = now.checked_add(self.terms.hold_after.min(LONGEST));
        if let (false, Some(until)) = (self.terms.hold_after.is_zero(), until) {
            self.cache.store.log().hold(&self.covered(), now, until);
        }
    }

    /// Returns the invalidations it causes, as the log takes them.
    fn covered(&self) -> Cow<'_, [Invalidation]> {
        self.cache.routes.covered(&self.evicted)
    }

    fn pass<B>(
        &self,
        response: Response<B>,
        parameters: StatusParameters,
    ) -> Response<CacheBody<B>> {
        let outcome = Outcome::Bypass(BypassReason::Method);
        respond::pass(&self.cache, RouteId::NONE, outcome, parameters, response)
    }

    /// Adds what the response names: `Location` and `Content-Location` of the same origin
    /// (RFC 9111 §4.4), cache groups (RFC 9875 §3), and what the inner service asks for.
    fn add_what_is_named_by<B>(&mut self, response: &Response<B>) {
        let authority = self.authority();
        let targets = invalidation::targets(&self.uri, authority.as_deref(), response.headers());
        self.evicted.extend(targets.iter().map(Invalidation::uri));
        let groups = invalidation::group_invalidations(response.headers());
        if groups.overflow {
            self.evicted.push(Invalidation::everything());
        }
        self.evicted
            .extend(groups.names.into_iter().map(Invalidation::tag));
        if let Some(Invalidate(what)) = response.extensions().get() {
            self.evicted.extend(what.iter().cloned());
        }
    }

    /// Returns the log's position, if nothing that bears on the response to this POST has been
    /// invalidated since its fetch began, by the tags that the inner service gave it either.
    fn undisturbed_until<B>(&self, response: &Response<B>) -> Option<Position> {
        let (read, position) = self.as_get.as_ref()?;
        let directive = response.extensions().get();
        let subject = admit::subject(read, response.headers(), directive)?;
        let log = self.cache.store.log();
        let (verdict, until) = log.verdict_at(*position, subject.borrow());
        (verdict == Verdict::Valid).then_some(until)
    }

    fn authority(&self) -> Option<String> {
        let authority = self.authority.as_ref()?.to_str().ok()?;
        Some(authority.to_owned())
    }

    /// Decides whether the response to a POST is stored as that to a GET: it states a freshness and
    /// says that it is the representation of the target itself (RFC 9110 §9.3.3).
    ///
    /// It counts from this write's own place in the log, which is right only if no other write came
    /// between the fetch and that place: one that did may have changed what was answered.
    fn admit<B: Body>(
        &mut self,
        response: &Response<B>,
        before: Option<Position>,
        interval: Interval,
    ) -> Option<(Fetch, Plan, Position)> {
        let (read, _) = self.as_get.take()?;
        let authority = self.authority();
        let location =
            invalidation::content_location(&self.uri, authority.as_deref(), response.headers())?;
        let own = self.cache.store.log().position();
        let undisturbed = before.is_some_and(|before| u64::from(own) == u64::from(before) + 1);
        let states_freshness = admit::states_freshness(&read, response.headers());
        if location != path_and_query(&self.uri) || !states_freshness || !undisturbed {
            return None;
        }
        let mut head = Response::new(()).into_parts().0;
        head.status = response.status();
        head.headers = response.headers().clone();
        head.extensions = response.extensions().clone();
        let plan = admit::admit(&read, &head, &response.body().size_hint(), interval).ok()?;
        let fetch = Fetch::new(Arc::new(read), Miss::Uri, Candidate::Nothing, None);
        Some((fetch, plan, own))
    }
}

/// Takes the request that a GET for the same target would be: the response to a POST may be stored
/// for that (RFC 9110 §9.3.3).
fn as_get(mount: &Arc<Mount>, parts: &Parts) -> Option<ReadContext> {
    let target = Target::of(&parts.uri, &parts.extensions);
    let route = mount.route(target.path(), &mut { RouteId::NONE }).ok()?;
    let mut key = KeyBuilder::default();
    let examined = mount.examine_head(route, parts, &mut key).ok()?;
    let view = mount.view(route, parts, examined.flags);
    let mut read = mount.context(&view, parts, &key, &examined, None);
    read.method = Method::GET;
    Some(read)
}

/// A write whose outcome is not known yet. Dropped before it is done, it counts as one that
/// succeeded.
struct Pending {
    write: Write,
    /// Dropped last, so that what was announced is recorded before it ends.
    intent: Option<Intent>,
    done: bool,
}

impl Pending {
    fn forget_intent(&mut self) {
        if let Some(intent) = self.intent.take() {
            intent.abandon();
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            let cache = &self.write.cache;
            self.write.hold();
            cache.in_background(cache.store.shared_log().invalidate(&self.write.covered()));
            cache.recorded(&self.write.evicted);
            cache.sweep_soon();
        }
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// Records the invalidations that a bypassing request's response asks for, then passes it on.
pub(crate) fn invalidate_and_pass<B, E>(
    cache: Arc<CacheState>,
    route: RouteId,
    bypass: BypassReason,
    response: Response<B>,
) -> Journey<B, E>
where
    B: Body + Send + 'static,
    E: Send + 'static,
{
    Box::pin(async move {
        let parameters = cache
            .record_requested(response.status(), response.extensions())
            .await;
        let outcome = Outcome::Bypass(bypass);
        Ok(respond::pass(&cache, route, outcome, parameters, response))
    })
}
