//! Answering what would happen, without making it happen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use super::candidate::Candidate;
use super::lookup::{self, Decision, Found, ReadView};
use super::request::{self, Kind, Signals};
use super::respond::Client;
use super::{Mount, admissible, credentials, write_key};
use crate::hexadecimal::hexadecimal;
use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::key::KeyBuilder;
use crate::state::CacheState;
use crate::status::{BypassReason, Miss, Outcome, StatusParameters};
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
    match Kind::of(&parts.method) {
        Kind::Read => match mount.explain_read(parts).await {
            Ok(explanation) => explanation,
            Err(bypass) => {
                Explanation::of(cache, Outcome::Bypass(bypass), StatusParameters::default())
            }
        },
        _ => Explanation::of(
            cache,
            Outcome::Bypass(BypassReason::Method),
            StatusParameters::default(),
        ),
    }
}

impl Mount {
    async fn explain_read(&self, parts: &Parts) -> Result<Explanation, BypassReason> {
        let cache = &self.cache;
        if cache.bypass.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(BypassReason::Disabled);
        }
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let route = self.route(uri.path(), &mut { RouteId::NONE })?;
        let signals = Signals::scan(&parts.headers, &cache.fields);
        if signals.flags.body {
            return Err(BypassReason::Content);
        }
        admissible(route, &signals, parts)?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key)?;
        let found = lookup::find(cache, key.key(), &parts.headers);
        let found = cache
            .bounded(Operation::Get, found)
            .await
            .map_err(|error| {
                cache.store_failed(Operation::Get, &error);
                BypassReason::Store
            })?;
        let view = ReadView {
            cache,
            route,
            client: Client {
                method: &parts.method,
                headers: &parts.headers,
                flags: signals.flags,
            },
            began: cache.clock.instant(),
        };
        let explanation = view.explain(found);
        Ok(Explanation {
            route: Some(route.template.to_string()),
            key: Some(hexadecimal(&key.key().digest())),
            ..explanation
        })
    }
}

impl ReadView<'_> {
    fn explain(&self, found: Found) -> Explanation {
        let stored = found.response.clone();
        let variants = found
            .variants
            .as_ref()
            .map_or(0, |variants| variants.known.len());
        let outcome = match self.judge(found) {
            Decision::Fresh(..) => Outcome::Hit,
            Decision::ServeAndRefresh(_, outcome) => outcome,
            Decision::Accepted(_) => Outcome::Stale(crate::status::Staleness::Accepted),
            Decision::Fetch(..) if self.only_if_cached() => Outcome::Unsatisfied,
            Decision::Fetch(why, candidate) => self.forwarded(why, &candidate),
        };
        let now = self.began;
        let stored = stored.as_deref();
        let parameters = StatusParameters {
            ttl: stored.map(|stored| stored.ttl(now)),
            ..StatusParameters::default()
        };
        let tags = stored.map_or(&[][..], |stored| stored.subject().tags());
        Explanation {
            age: stored.map(|stored| stored.age(now)),
            lifetime: stored.map(|stored| stored.lifetime()),
            tags: tags.iter().map(ToString::to_string).collect(),
            variants,
            ..Explanation::of(self.cache, outcome, parameters)
        }
    }
}

impl ReadView<'_> {
    fn forwarded(&self, why: Miss, candidate: &Candidate) -> Outcome {
        match (credentials(self.route, self.client.flags), candidate) {
            (Some(reason), Candidate::Nothing) => Outcome::Bypass(reason),
            _ => Outcome::Miss {
                why,
                stored: false,
                collapsed: false,
                detail: None,
            },
        }
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
