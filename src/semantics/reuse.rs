//! When a stored response may be used without asking
//! ([RFC 9111 §4](https://www.rfc-editor.org/rfc/rfc9111#section-4)).

use std::time::Duration;

use http::StatusCode;

use crate::semantics::cache_control::{CacheControl, MaxStale};

#[cfg(test)]
mod tests;

/// The verdict on a stored response by its age alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgeVerdict {
    /// It is fresh, and fresh enough for the client.
    Fresh,
    /// It is stale, and the client's `max-stale` allows that.
    StaleAllowed,
    /// It is stale, and the client says nothing about that.
    Stale,
    /// The client does not want it without a successful validation.
    Validate,
}

/// Judges a stored response of this `age` by its `lifetime` and by what the client asks for
/// ([RFC 9111 §5.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1)).
///
/// Where request directives are not honoured, `request` is `CacheControl::default()`. A response
/// that forbids being stale (`never_stale`) is not used stale whatever the client allows
/// ([§4.2.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4)). `only-if-cached` says what to
/// do when the answer is neither [`AgeVerdict::Fresh`] nor [`AgeVerdict::StaleAllowed`], and `no-store`
/// nothing about reuse; both are the caller's.
pub(crate) fn permitted(
    request: &CacheControl,
    age: Duration,
    lifetime: Duration,
    never_stale: bool,
) -> AgeVerdict {
    if request.no_cache.is_present() || exceeds_request(request, age, lifetime) {
        return AgeVerdict::Validate;
    }
    match age.checked_sub(lifetime) {
        // Fresh means freshness_lifetime > current_age (§4.2): at equality it is stale by nothing.
        None => AgeVerdict::Fresh,
        Some(stale_by) if !never_stale && accepts_stale(request, stale_by) => {
            AgeVerdict::StaleAllowed
        }
        Some(_) if request.max_stale.is_some() => AgeVerdict::Validate,
        Some(_) => AgeVerdict::Stale,
    }
}

/// Tells whether a response of this status, to a validation or a miss, lets a stored response be
/// used in its place ([RFC 5861 §4](https://www.rfc-editor.org/rfc/rfc5861#section-4)).
///
/// A handler that gives no response at all is treated the same by the caller. Whether staleness is
/// allowed at all and for how long is for the stored response to say.
pub(crate) fn stale_if_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// The response is older than `max-age` (§5.2.1.1), or has less left than `min-fresh` (§5.2.1.3).
fn exceeds_request(request: &CacheControl, age: Duration, lifetime: Duration) -> bool {
    let too_old = request.max_age.is_some_and(|max_age| age > max_age);
    let too_near = request
        .min_fresh
        .is_some_and(|min_fresh| lifetime < age.saturating_add(min_fresh));
    too_old || too_near
}

/// §5.2.1.2
fn accepts_stale(request: &CacheControl, stale_by: Duration) -> bool {
    match request.max_stale {
        None => false,
        Some(MaxStale::By(limit)) => stale_by <= limit,
        Some(MaxStale::Any) => true,
    }
}
