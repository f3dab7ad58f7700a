//! The decision about a request, without its consequences.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;

use super::candidate::Candidate;
use super::context::{Mount, ReadView};
use super::judge::{Decision, judge};
use super::lookup::{self, Found};
use super::request::RequestClass;
use crate::entry::StoredResponse;
use crate::key::KeyBuilder;
use crate::policy::Route;
use crate::state::CacheState;
use crate::status::{BypassReason, Miss, Outcome};
use crate::target::Target;
use crate::telemetry::{Operation, RouteId};

/// A read's outcome, foreseen.
pub(crate) struct Foreseen {
    pub(crate) outcome: Outcome,
    pub(crate) route: Arc<Route>,
    /// The digest of its key.
    pub(crate) key: [u8; 32],
    pub(crate) stored: Option<Arc<StoredResponse>>,
    /// The number of responses stored for its key, selected by `Vary`; zero without `Vary`.
    pub(crate) variants: usize,
    pub(crate) now: Instant,
}

/// Decides about a request as [`dispatch`](super::dispatch) does, from the same table, and goes no
/// further.
///
/// # Errors
///
/// Fails with the reason for which a request would bypass the cache.
pub(crate) async fn foresee(
    cache: &Arc<CacheState>,
    parts: &Parts,
) -> Result<Foreseen, BypassReason> {
    if RequestClass::of(&parts.method) != RequestClass::Read {
        return Err(BypassReason::Method);
    }
    if cache.is_bypassed() {
        return Err(BypassReason::Disabled);
    }
    let target = Target::of(&parts.uri, &parts.extensions);
    let mount = Mount {
        cache: cache.clone(),
        flights: cache.flights.clone(),
        route: None,
    };
    let route = mount.route(target.path(), &mut { RouteId::NONE })?;
    let mut key = KeyBuilder::default();
    let examined = mount.examine(route, parts, false, &mut key)?;
    let found = lookup::find(cache, key.key(), &parts.headers);
    let found = cache
        .bounded(Operation::Get, found)
        .await
        .map_err(|error| {
            cache.store_failed(Operation::Get, &error);
            BypassReason::Store
        })?;
    let view = mount.view(route, parts, examined.flags);
    Ok(Foreseen {
        route: route.clone(),
        key: key.key().digest(),
        stored: found.response.clone(),
        variants: found.variants.as_ref().map_or(0, |all| all.known.len()),
        outcome: outcome(&view, found),
        now: view.began,
    })
}

fn outcome(view: &ReadView<'_>, found: Found) -> Outcome {
    match judge(view, found) {
        Decision::Hit(..) => Outcome::Hit,
        Decision::Stale(_, staleness) => Outcome::Stale(staleness),
        Decision::ServeAndRefresh(_, outcome) => outcome,
        Decision::Unsatisfied => Outcome::Unsatisfied,
        Decision::Fetch(why, candidate) => fetched(view, why, &candidate),
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
