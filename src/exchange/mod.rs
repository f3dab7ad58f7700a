//! One request's journey: from the policy it comes under to the response it is given.

use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::header::HeaderMap;
use http::request::Parts;
use http::{Method, Response, Uri};

use crate::body::CacheBody;
use crate::entry::{StoredResponse, Variants};
use crate::flight::Flights;
use crate::invalidate::Subject;
use crate::key::{Key, KeyBuilder};
use crate::policy::{Condition, Identity, Requested, Route, write_value};
use crate::semantics::cache_control::CacheControl;
use crate::state::CacheState;
use crate::status::{BypassReason, Outcome};
use crate::telemetry::{RequestRecord, RouteId};

mod admit;
mod candidate;
mod collapse;
mod commit;
mod detached;
mod dispatch;
mod explain;
mod fetch;
mod fill;
mod handler;
mod list;
mod lookup;
mod reentrancy;
mod request;
mod respond;
mod retry;
mod validate;
mod warming;
mod write;

use handler::Inner;
pub(crate) use handler::{Content, Handler};
use request::{Flags, Signals};

pub(crate) use dispatch::{Progress, ProgressProjection, begin};
pub(crate) use explain::explain;
pub use explain::{Explanation, WouldEvict};
pub use list::{EntryFilter, EntryInfo, EntryOrder, EntryPage, EntryState, KeyInfo};
pub(crate) use respond::pass;
pub(crate) use warming::Warming;
pub(crate) use write::invalidate_and_pass;

/// What one layered service adds to the [`CacheState`].
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) cache: Arc<CacheState>,
    /// Those of the cache, but for a request that another service of the cache has passed on.
    pub(crate) flights: Arc<Flights>,
    /// The one policy of this place, where it was layered with one.
    pub(crate) route: Option<Arc<Route>>,
}

pub(crate) type Journey<B, E> =
    Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

/// A read that the cache was asked for: all that is needed once the request itself has gone to
/// the handler.
#[derive(Debug)]
pub(crate) struct ReadContext {
    mount: Arc<Mount>,
    route: Arc<Route>,
    key: Key,
    /// Path, query and the policy's tags, as invalidations match them.
    subject: Subject,
    method: Method,
    /// The request's header section as the client sent it: `Vary` may nominate any of it.
    headers: Arc<HeaderMap>,
    flags: Flags,
    directives: CacheControl,
    ttl: Requested,
    /// What the lookup found to select among, if the key has variants.
    variants: Option<Arc<Variants>>,
    began: Instant,
    warming: Option<Warming>,
    /// Whether its client has its answer: what comes after that is for the store alone.
    answered: AtomicBool,
}

impl Mount {
    /// Takes the request that a GET for the same target would be: what a POST answers may be stored
    /// for that (RFC 9110 §9.3.3).
    fn as_get(self: &Arc<Self>, parts: &Parts) -> Option<ReadContext> {
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let route = self.route(uri.path(), &mut { RouteId::NONE }).ok()?;
        let signals = Signals::scan(&parts.headers, &self.cache.fields);
        let ttl = admissible(route, &signals, parts).ok()?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key).ok()?;
        let began = self.cache.clock.instant();
        let read = self.read(route, parts, &key, signals.flags, ttl, began);
        Some(ReadContext {
            method: Method::GET,
            ..read
        })
    }

    /// Finds the route of a read, and takes the request by if it has none.
    fn route(&self, path: &str, under: &mut RouteId) -> Result<&Arc<Route>, BypassReason> {
        let route = match &self.route {
            Some(route) => route,
            None => lookup::route(&self.cache.routes, path)?,
        };
        *under = route.row.id;
        match route.policy.bypass {
            true => Err(BypassReason::Policy),
            false => Ok(route),
        }
    }

    fn read(
        self: &Arc<Self>,
        route: &Arc<Route>,
        parts: &Parts,
        key: &KeyBuilder,
        flags: Flags,
        ttl: Requested,
        began: Instant,
    ) -> ReadContext {
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let tags = self.cache.routes.tags(route, uri.path());
        let directives = match flags.cache_control {
            true => CacheControl::of(&parts.headers),
            false => CacheControl::default(),
        };
        ReadContext {
            mount: self.found_by(&parts.extensions),
            route: route.clone(),
            key: key.key().to_owned(),
            subject: Subject::new(uri.path(), uri.query(), tags.into_vec()),
            method: parts.method.clone(),
            headers: Arc::new(parts.headers.clone()),
            flags,
            directives,
            ttl,
            variants: None,
            began,
            warming: parts.extensions.get().cloned(),
            answered: AtomicBool::new(false),
        }
    }
}

/// Decides from the request alone whether the cache may be asked, and asks the policy for its TTL.
fn admissible(
    route: &Route,
    signals: &Signals<'_>,
    parts: &Parts,
) -> Result<Requested, BypassReason> {
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
        Requested::Declined => Err(BypassReason::Policy),
        ttl => Ok(ttl),
    }
}

/// Writes a request's key.
fn write_key<'a>(
    route: &Route,
    uri: &'a Uri,
    signals: &Signals<'a>,
    parts: &Parts,
    key: &mut KeyBuilder,
) -> Result<(), BypassReason> {
    key.count(signals.keyed.len());
    for (name, value) in &signals.keyed {
        key.part(name.as_str().as_bytes());
        write_value(name, value, key);
    }
    let target = request::target(uri, signals);
    if !ptr::eq(uri, &parts.uri) && !uri.path().ends_with(parts.uri.path()) {
        // Not a prefix that was taken off, but another path that the handler is shown.
        key.part(parts.uri.path().as_bytes());
    }
    let policy = &route.policy;
    policy
        .key
        .write(target, parts, &policy.identity, key)
        .map_err(|_| BypassReason::Partition)
}

impl ReadContext {
    fn cache(&self) -> &Arc<CacheState> {
        &self.mount.cache
    }

    /// Returns which credentials the request carries that the policy is cautious about.
    fn credentials(&self) -> Option<BypassReason> {
        credentials(&self.route, self.flags)
    }

    fn now(&self) -> Instant {
        self.cache().clock.instant()
    }

    /// Reports what became of this request, once, and what it was answered from.
    fn answered(&self, outcome: Outcome, stored: Option<&StoredResponse>) {
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
        _ => None,
    }
}
