//! The decision about a read, from what is stored for it: the one table for lookups that come at
//! once, for those that are waited for, and for `explain`.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{Method, StatusCode};

use super::candidate::Candidate;
use super::conditions;
use super::context::ReadView;
use super::lookup::Found;
use crate::entry::StoredResponse;
use crate::invalidate::Verdict;
use crate::semantics::cache_control::CacheControl;
use crate::semantics::preconditions::Precondition;
use crate::semantics::reuse::{self, AgeVerdict};
use crate::status::{Miss, Outcome, StaleReason};
use crate::target::Identity;

/// The decision about a read.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Served as a hit of this age.
    Hit(Arc<StoredResponse>, Duration),
    /// Served though it is stale.
    Stale(Arc<StoredResponse>, StaleReason),
    /// Served at once, as a hit or stale, while a background fetch refreshes it.
    ServeAndRefresh(Arc<StoredResponse>, Outcome),
    /// Answered with a 504: `only-if-cached`, and nothing to answer with.
    Unsatisfied,
    /// The inner service has to be called, with regard to what is stored.
    Fetch(Miss, Candidate),
}

impl Decision {
    fn missing(why: Miss) -> Self {
        Self::Fetch(why, Candidate::Nothing)
    }

    /// To be validated before it is used; of use still if the inner service fails.
    fn validate(stored: Arc<StoredResponse>) -> Self {
        Self::Fetch(Miss::Stale, Candidate::Stale(stored))
    }
}

/// Judges what was found: whether this client may be given it, whether an invalidation has
/// overtaken it, and whether it is fresh.
pub(crate) fn judge(view: &ReadView<'_>, found: Found) -> Decision {
    let decision = match judge_stored(view, found) {
        decision if view.client.flags.precondition => unless_refused(view, decision),
        decision => decision,
    };
    match decision {
        Decision::Fetch(..) if only_if_cached(view) => Decision::Unsatisfied,
        decision => decision,
    }
}

/// Leaves a client whose `If-Match` or `If-Unmodified-Since` fails to the inner service: they are
/// not for a cache to refuse by (RFC 9111 §4.3.2), and the inner service may not look at them.
#[cold]
fn unless_refused(view: &ReadView<'_>, decision: Decision) -> Decision {
    let (Decision::Hit(stored, _)
    | Decision::Stale(stored, _)
    | Decision::ServeAndRefresh(stored, _)) = &decision
    else {
        return decision;
    };
    let field = |name: &HeaderName| stored.head().get(name);
    let clock = &view.cache.clock;
    match conditions::evaluate(stored.status, field, view.client.headers, clock) {
        Precondition::Failed => Decision::missing(Miss::Request),
        _ => decision,
    }
}

fn judge_stored(view: &ReadView<'_>, found: Found) -> Decision {
    let Some(stored) = found.response else {
        return Decision::missing(match found.variants {
            Some(_) => Miss::Vary,
            None => Miss::Uri,
        });
    };
    if !is_for_client(view, &stored) {
        return Decision::missing(match view.client.flags {
            flags if flags.authorization => Miss::Authorization,
            flags if flags.cookie => Miss::Cookie,
            _ => Miss::Credential,
        });
    }
    match view.cache.verdict(&stored) {
        Verdict::Invalid => Decision::missing(Miss::Invalidated),
        Verdict::Soft if stored.status == StatusCode::PARTIAL_CONTENT => {
            Decision::missing(Miss::Partial)
        }
        _ if stored.status == StatusCode::PARTIAL_CONTENT => judge_part(view, stored),
        verdict => judge_freshness(view, stored, verdict == Verdict::Soft),
    }
}

fn is_for_client(view: &ReadView<'_>, stored: &StoredResponse) -> bool {
    let flags = view.client.flags;
    !matches!(view.route.policy.identity, Identity::Cautious)
        || (stored.reuse.with_authorization || !flags.is_authorized())
            && (stored.reuse.with_cookie || !flags.cookie)
}

/// Judges a stored part: it answers a request for what lies within it, and saves some of the body
/// of a request for the whole (RFC 9111 §3.3, §3.4).
fn judge_part(view: &ReadView<'_>, stored: Arc<StoredResponse>) -> Decision {
    let client = view.client;
    let age = stored.age(view.began);
    let fresh = stored.stale_by_at(age).is_none() && !stored.reuse.always_validate;
    if !fresh || *client.method != Method::GET {
        Decision::missing(Miss::Partial)
    } else if conditions::part_for(&stored, client, &view.cache.clock).is_some() {
        Decision::Hit(stored, age)
    } else if client.flags.range {
        Decision::Fetch(Miss::Partial, Candidate::Beside(stored))
    } else {
        Decision::Fetch(Miss::Partial, Candidate::Part(stored))
    }
}

fn judge_freshness(
    view: &ReadView<'_>,
    stored: Arc<StoredResponse>,
    marked_stale: bool,
) -> Decision {
    let age = stored.age(view.began);
    let stale_by = match marked_stale {
        true => Some(stored.stale_by_at(age).unwrap_or(Duration::ZERO)),
        false => stored.stale_by_at(age),
    };
    if stored.reuse.always_validate {
        return Decision::validate(stored);
    }
    if view.route.policy.honour_request_directives && view.client.flags.cache_control {
        let request = CacheControl::of(view.client.headers);
        let lifetime = match marked_stale {
            true => Duration::ZERO,
            false => stored.lifetime(),
        };
        match reuse::permitted(&request, age, lifetime, stored.reuse.never_stale) {
            AgeVerdict::Validate if stale_by.is_none() => {
                return Decision::Fetch(Miss::Request, Candidate::Stale(stored));
            }
            AgeVerdict::Validate => return Decision::validate(stored),
            AgeVerdict::StaleAllowed => return Decision::Stale(stored, StaleReason::Accepted),
            AgeVerdict::Fresh | AgeVerdict::Stale => {}
        }
    }
    match stale_by {
        None if is_due(view, &stored, age) => Decision::ServeAndRefresh(stored, Outcome::Hit),
        None => Decision::Hit(stored, age),
        Some(by) if by < stored.stale_while_revalidate() && !stored.reuse.never_stale => {
            Decision::ServeAndRefresh(stored, Outcome::Stale(StaleReason::WhileRevalidating))
        }
        Some(_) => Decision::validate(stored),
    }
}

/// Returns whether a fresh response has so little of its lifetime left that it is refreshed ahead.
fn is_due(view: &ReadView<'_>, stored: &StoredResponse, age: Duration) -> bool {
    let ahead = view.route.policy.staleness.refresh_ahead;
    !ahead.is_zero()
        && *view.client.method == Method::GET
        && age.saturating_add(ahead) >= stored.lifetime()
}

/// Returns whether the request wants an answer from the cache or none (RFC 9111 §5.2.1.7).
fn only_if_cached(view: &ReadView<'_>) -> bool {
    view.client.flags.cache_control && CacheControl::of(view.client.headers).only_if_cached
}
