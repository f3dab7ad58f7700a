//! One read and where it stands: the mount it came through, its route, its key, its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::header::HeaderMap;
use http::request::Parts;
use http::{Extensions, Method};

use super::lookup::variant_key;
use super::reentrancy;
use super::request::{Client, Flags, Signals};
use super::warming::Warming;
use crate::entry::{StoredResponse, Variants};
use crate::flight::Flights;
use crate::key::{Key, KeyBuilder};
use crate::opaque::{ClientHeaders, Opaque};
use crate::policy::{Condition, RequestTtl, Route};
use crate::semantics::cache_control::CacheControl;
use crate::state::CacheState;
use crate::status::{BypassReason, Outcome, StatusParameters};
use crate::target::{Identity, Subject, Target};
use crate::telemetry::{RequestRecord, RouteId, Timed};

/// One layered service's view of the [`CacheState`].
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) cache: Arc<CacheState>,
    /// Those of the cache, but for a request that another service of the cache has passed on.
    pub(crate) flights: Arc<Flights>,
    /// The one policy of this mount, where it was layered with one.
    pub(crate) route: Option<Arc<Route>>,
}

/// A request that the cache may be asked for.
pub(super) struct Examined<'a> {
    pub(super) flags: Flags,
    ttl: RequestTtl,
    target: Target<'a>,
}

/// A read, as far as judging a stored response for it goes.
#[derive(Clone, Copy)]
pub(super) struct ReadView<'a> {
    pub(super) cache: &'a CacheState,
    pub(super) route: &'a Arc<Route>,
    pub(super) client: Client<'a>,
    pub(super) began: Instant,
}

/// A read that the cache is asked for: all that is needed once the request itself has gone to the
/// inner service.
#[derive(Debug)]
pub(super) struct ReadContext {
    pub(super) mount: Arc<Mount>,
    pub(super) route: Arc<Route>,
    pub(super) key: Key,
    /// Path, query and the policy's tags, as invalidations match them.
    pub(super) subject: Subject,
    pub(super) method: Method,
    /// The request's headers as the client sent them: `Vary` may nominate any of them.
    pub(super) headers: ClientHeaders,
    pub(super) flags: Flags,
    pub(super) directives: CacheControl,
    pub(super) ttl: RequestTtl,
    /// The variants that the lookup found to select among, if the key has any.
    pub(super) variants: Option<Arc<Variants>>,
    pub(super) began: Instant,
    pub(super) warming: Option<Warming>,
    /// Its client has its answer: the rest is for the store alone.
    answered: AtomicBool,
}

impl Mount {
    /// Finds the route of a read, or the reason to bypass the cache.
    pub(super) fn route(
        &self,
        path: &str,
        under: &mut RouteId,
    ) -> Result<&Arc<Route>, BypassReason> {
        let route = match &self.route {
            Some(route) => route,
            None => self.cache.routes.of_read(path)?,
        };
        *under = route.row.id;
        match route.policy.bypass {
            true => Err(BypassReason::Policy),
            false => Ok(route),
        }
    }

    /// Decides from a read's head and body alone whether the cache may be asked, and for which key.
    /// Returns the facts that are of use later.
    pub(super) fn examine<'a>(
        &self,
        route: &Route,
        parts: &'a Parts,
        has_body: bool,
        key: &mut KeyBuilder,
    ) -> Result<Examined<'a>, BypassReason> {
        let signals = Signals::scan(&parts.headers, &self.cache.fields);
        if signals.flags.body || has_body {
            return Err(BypassReason::Content);
        }
        examine(&self.cache, route, &signals, parts, key)
    }

    /// Does the same for a request whose body is no part of what it asks for.
    pub(super) fn examine_head<'a>(
        &self,
        route: &Route,
        parts: &'a Parts,
        key: &mut KeyBuilder,
    ) -> Result<Examined<'a>, BypassReason> {
        let signals = Signals::scan(&parts.headers, &self.cache.fields);
        examine(&self.cache, route, &signals, parts, key)
    }

    pub(super) fn view<'a>(
        &'a self,
        route: &'a Arc<Route>,
        parts: &'a Parts,
        flags: Flags,
    ) -> ReadView<'a> {
        ReadView {
            cache: &self.cache,
            route,
            client: Client::of(parts, flags),
            began: self.cache.clock.instant(),
        }
    }

    /// Keeps all of a read that is needed once its request is gone.
    pub(super) fn context(
        self: &Arc<Self>,
        view: &ReadView<'_>,
        parts: &Parts,
        key: &KeyBuilder,
        examined: &Examined<'_>,
        variants: Option<Arc<Variants>>,
    ) -> ReadContext {
        let target = examined.target;
        let tags = self.cache.routes.tags(view.route, target.path());
        let flags = view.client.flags;
        let directives = match flags.cache_control {
            true => CacheControl::of(&parts.headers),
            false => CacheControl::default(),
        };
        ReadContext {
            mount: self.found_by(&parts.extensions),
            route: view.route.clone(),
            key: key.key().to_owned(),
            subject: target.subject(&view.route.policy.key, tags.into_vec()),
            method: parts.method.clone(),
            headers: Opaque(Arc::new(parts.headers.clone())),
            flags,
            directives,
            ttl: examined.ttl,
            variants,
            began: view.began,
            warming: parts.extensions.get().cloned(),
            answered: AtomicBool::new(false),
        }
    }

    /// Notes on a request that others of this cache may wait for its answer.
    pub(super) fn note_on(&self, request: &mut Extensions) {
        reentrancy::note(&self.flights, request);
    }

    /// Returns this mount as a request finds it: without others to wait for, if they may be waiting
    /// for this one.
    fn found_by(self: &Arc<Self>, request: &Extensions) -> Arc<Self> {
        match reentrancy::is_awaited(&self.flights, request) {
            true => Arc::new(Self {
                flights: Arc::default(),
                ..Self::clone(self)
            }),
            false => self.clone(),
        }
    }
}

fn examine<'a>(
    cache: &CacheState,
    route: &Route,
    signals: &Signals<'a>,
    parts: &'a Parts,
    key: &mut KeyBuilder,
) -> Result<Examined<'a>, BypassReason> {
    let target = Target::of(&parts.uri, &parts.extensions);
    if target.contradicts(signals.host) {
        return Err(BypassReason::Host);
    }
    let ttl = admissible(route, signals, parts)?;
    let policy = &route.policy;
    target
        .with_usual_scheme(&cache.scheme)
        .with_host(signals.host)
        .write_key(&signals.keyed, &policy.key, &policy.identity, parts, key)
        .map_err(|_| BypassReason::Partition)?;
    Ok(Examined {
        flags: signals.flags,
        ttl,
        target,
    })
}

/// Decides from the request alone whether the cache may be asked, and asks the policy for its TTL.
fn admissible(
    route: &Route,
    signals: &Signals<'_>,
    parts: &Parts,
) -> Result<RequestTtl, BypassReason> {
    let flags = signals.flags;
    let policy = &route.policy;
    if flags.upgrade {
        return Err(BypassReason::Upgrade);
    }
    if flags.bypassed {
        return Err(BypassReason::Header);
    }
    if flags.ambiguous_host {
        return Err(BypassReason::Host);
    }
    let refused = |condition: &Condition| !(condition.0)(parts);
    if policy.condition.as_ref().is_some_and(refused) {
        return Err(BypassReason::Policy);
    }
    match policy.ttl.of(parts) {
        RequestTtl::Declined => Err(BypassReason::Policy),
        ttl => Ok(ttl),
    }
}

impl ReadView<'_> {
    /// Returns which credentials the request carries that the policy is cautious about.
    pub(super) fn credentials(&self) -> Option<BypassReason> {
        credentials(self.route, self.client.flags)
    }

    /// Reports what became of this request, and what it was answered from.
    pub(super) fn report(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
        if self.cache.stats.answered(&self.route.row, outcome) {
            self.notify_listeners(outcome, stored);
        }
    }

    pub(super) fn notify_listeners(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
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

    /// Reports that the lookup is over, and the inner service has to be called.
    pub(super) fn record_lookup_miss(&self) {
        if self.cache.stats.is_timed() {
            let now = self.cache.clock.instant();
            let took = now.saturating_duration_since(self.began);
            self.cache.stats.took(Timed::Lookup, took);
        }
    }
}

impl ReadContext {
    pub(super) fn cache(&self) -> &Arc<CacheState> {
        &self.mount.cache
    }

    pub(super) fn now(&self) -> Instant {
        self.cache().clock.instant()
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client {
            method: &self.method,
            headers: &self.headers,
            flags: self.flags,
        }
    }

    pub(super) fn view(&self) -> ReadView<'_> {
        ReadView {
            cache: self.cache(),
            route: &self.route,
            client: self.client(),
            began: self.began,
        }
    }

    /// Returns which credentials the request carries that the policy is cautious about.
    pub(super) fn credentials(&self) -> Option<BypassReason> {
        credentials(&self.route, self.flags)
    }

    /// Returns the key of the variant that this request selects, among those that are known.
    /// Requests that select different variants do not share a fetch.
    pub(super) fn selected_key(&self) -> Key {
        match &self.variants {
            Some(variants) => variant_key(self.key.borrow(), &variants.names, &self.headers),
            None => self.key.clone(),
        }
    }

    /// Returns whether the response to this request is one that others may wait for, or that it may
    /// take from others.
    pub(super) fn may_share(&self) -> bool {
        self.route.policy.collapsing.on
            && self.credentials().is_none()
            && !self.directives.no_store
            && self.asks_for_the_whole()
    }

    /// Returns whether this request's response is the whole of what others with the same key want.
    pub(super) fn asks_for_the_whole(&self) -> bool {
        self.method == Method::GET && !self.flags.range && !self.flags.precondition
    }

    /// Reports what became of this request, and adds the fields that say so to its response.
    pub(super) fn stamp(
        &self,
        headers: &mut HeaderMap,
        outcome: Outcome,
        parameters: StatusParameters,
    ) {
        self.report(outcome, None);
        self.cache()
            .status_headers
            .stamp(headers, outcome, parameters);
    }

    /// Counts this request as answered already: the rest is for the store alone.
    pub(super) fn counts_as_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Reports what became of this request, once, and what it was answered from.
    pub(super) fn report(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
        // Relaxed: it guards nothing but a count.
        if self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let cache = self.cache();
        if cache.stats.answered(&self.route.row, outcome) {
            let record = RequestRecord {
                began: Some(self.began),
                by_store: false,
                subject: Some(&self.subject),
                stored,
            };
            let row = &self.route.row;
            cache
                .stats
                .notify_listeners(&cache.clock, row, outcome, &record);
        }
    }
}

/// Returns which credentials a request carries that the route's policy is cautious about.
fn credentials(route: &Route, flags: Flags) -> Option<BypassReason> {
    match (&route.policy.identity, flags) {
        (Identity::Cautious, flags) if flags.authorization => Some(BypassReason::Authorization),
        (Identity::Cautious, flags) if flags.cookie => Some(BypassReason::Cookie),
        (Identity::Cautious, flags) if flags.credential => Some(BypassReason::Credential),
        _ => None,
    }
}
