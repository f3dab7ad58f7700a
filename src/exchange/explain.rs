//! Answering what would happen, without making it happen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::candidate::Candidate;
use super::context::{Mount, ReadView};
use super::judge::{Decision, judge};
use super::lookup::{self, Found};
use super::request::{RequestClass, original_uri};
use crate::hexadecimal::hexadecimal;
use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::key::KeyBuilder;
use crate::state::CacheState;
use crate::status::{self, BypassReason, Miss, Outcome, StatusParameters};
use crate::telemetry::{Operation, RouteId};

/// What would happen to a request, and why; from
/// [`CacheHandle::explain`](crate::CacheHandle::explain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The `X-Cache` its response would carry: `HIT`, `MISS`, `STALE` or `BYPASS`. A `MISS` may turn
    /// out `REVALIDATED`, and a `BYPASS` for the sake of credentials a `MISS`, if the response says
    /// that it is for everyone.
    pub x_cache: String,
    /// The `Cache-Status` member its response would carry, as far as the handler has no say in it.
    pub cache_status: String,
    /// The template of the route it comes under.
    pub route: Option<String>,
    /// The digest of its key, in hexadecimal. The key itself may hold what is not to be shown.
    pub key: Option<String>,
    /// The age of what is stored for it.
    pub age: Option<Duration>,
    /// The freshness lifetime of what is stored for it.
    pub lifetime: Option<Duration>,
    /// The tags of what is stored for it.
    pub tags: Vec<String>,
    /// How many responses are stored for its key, selected by `Vary`; zero without `Vary`.
    pub variants: usize,
}

/// What an invalidation would hit; from
/// [`CacheHandle::would_evict`](crate::CacheHandle::would_evict).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WouldEvict {
    /// Stored responses looked at.
    pub examined: u64,
    /// Stored responses that would not be used any more.
    pub matched: u64,
    /// The paths and queries of some of them, 20 at the most.
    pub examples: Vec<String>,
}

/// How many examples are given.
const EXAMPLES: usize = 20;

/// Explains what would happen to a request.
pub(crate) async fn explain(cache: &Arc<CacheState>, parts: &Parts) -> Explanation {
    let mount = Mount {
        cache: cache.clone(),
        flights: cache.flights.clone(),
        route: None,
    };
    match RequestClass::of(&parts.method) {
        RequestClass::Read => match explain_read(&mount, parts).await {
            Ok(explanation) => explanation,
            Err(bypass) => {
                let outcome = Outcome::Bypass(bypass);
                Explanation::of(cache, outcome, StatusParameters::default())
            }
        },
        _ => {
            let outcome = Outcome::Bypass(BypassReason::Method);
            Explanation::of(cache, outcome, StatusParameters::default())
        }
    }
}

async fn explain_read(mount: &Mount, parts: &Parts) -> Result<Explanation, BypassReason> {
    let cache = &mount.cache;
    if cache.is_bypassed() {
        return Err(BypassReason::Disabled);
    }
    let uri = original_uri(&parts.uri, &parts.extensions);
    let route = mount.route(uri.path(), &mut { RouteId::NONE })?;
    let mut key = KeyBuilder::default();
    let (flags, _) = mount.examine(route, parts, false, &mut key)?;
    let found = lookup::find(cache, key.key(), &parts.headers);
    let found = cache
        .bounded(Operation::Get, found)
        .await
        .map_err(|error| {
            cache.store_failed(Operation::Get, &error);
            BypassReason::Store
        })?;
    let view = mount.view(route, parts, flags);
    let explanation = explain_found(&view, found);
    Ok(Explanation {
        route: Some(route.template.to_string()),
        key: Some(hexadecimal(&key.key().digest())),
        ..explanation
    })
}

fn explain_found(view: &ReadView<'_>, found: Found) -> Explanation {
    let stored = found.response.clone();
    let variants = found
        .variants
        .as_ref()
        .map_or(0, |variants| variants.known.len());
    let outcome = match judge(view, found) {
        Decision::Hit(..) => Outcome::Hit,
        Decision::Stale(_, staleness) => Outcome::Stale(staleness),
        Decision::ServeAndRefresh(_, outcome) => outcome,
        Decision::Unsatisfied => Outcome::Unsatisfied,
        Decision::Fetch(why, candidate) => fetched(view, why, &candidate),
    };
    let now = view.began;
    let stored = stored.as_deref();
    let parameters = StatusParameters {
        ttl: stored.map(|stored| status::ttl(stored.lifetime(), stored.age(now))),
        ..StatusParameters::default()
    };
    let tags = stored.map_or(&[][..], |stored| stored.subject().tags());
    Explanation {
        age: stored.map(|stored| stored.age(now)),
        lifetime: stored.map(|stored| stored.lifetime()),
        tags: tags.iter().map(ToString::to_string).collect(),
        variants,
        ..Explanation::of(view.cache, outcome, parameters)
    }
}

/// Returns the outcome of a fetch, as far as the inner service has no say in it.
fn fetched(view: &ReadView<'_>, why: Miss, candidate: &Candidate) -> Outcome {
    match (view.credentials(), candidate) {
        (Some(reason), Candidate::Nothing) => Outcome::Bypass(reason),
        _ => Outcome::Miss {
            why,
            stored: false,
            collapsed: false,
            detail: None,
        },
    }
}

impl Explanation {
    /// Whether the answer would come from the store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(&*self.x_cache, "HIT" | "STALE")
    }

    fn of(cache: &CacheState, outcome: Outcome, parameters: StatusParameters) -> Self {
        let text = |value: http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Self {
            x_cache: text(outcome.x_cache()),
            cache_status: text(cache.status_headers.cache_status(outcome, parameters)),
            route: None,
            key: None,
            age: None,
            lifetime: None,
            tags: Vec::new(),
            variants: 0,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.x_cache, self.cache_status)?;
        if let Some(route) = &self.route {
            write!(f, ", route {route}")?;
        }
        if let (Some(age), Some(lifetime)) = (self.age, self.lifetime) {
            write!(
                f,
                ", stored {} s ago for {} s",
                age.as_secs(),
                lifetime.as_secs()
            )?;
        }
        if !self.tags.is_empty() {
            write!(f, ", tags {}", self.tags.join(" "))?;
        }
        Ok(())
    }
}

impl CacheState {
    /// Shows what an invalidation would hit; `None` where the store cannot list what it holds.
    pub(crate) fn would_evict(&self, what: &Invalidation) -> Option<WouldEvict> {
        // A log of its own, with nothing else in it: the one predicate answers here as well.
        let log = Log::with_capacity(1);
        log.append(std::slice::from_ref(what));
        let mut would = WouldEvict::default();
        let listed = self.store.visit(&mut |_, stored| {
            would.examined += 1;
            let subject = stored.subject();
            if log.verdict(Position::from(0), subject) != Verdict::Valid {
                would.matched += 1;
                if would.examples.len() < EXAMPLES {
                    would.examples.push(stored.subject().to_string());
                }
            }
        });
        listed.then_some(would)
    }
}
