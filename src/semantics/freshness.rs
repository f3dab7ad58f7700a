//! Freshness lifetimes
//! ([RFC 9111 §4.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1)).
//!
//! `Pragma` says nothing of a lifetime: it never had a meaning in responses
//! ([§5.4](https://www.rfc-editor.org/rfc/rfc9111#section-5.4)). But an origin that sends
//! `Pragma: no-cache`, and nothing else that says how to cache, did not mean us to guess one.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{CACHE_CONTROL, DATE, EXPIRES, HeaderMap, LAST_MODIFIED, PRAGMA};

use crate::clock::Now;
use crate::semantics::cache_control::MAX_DELTA_SECONDS;
use crate::semantics::date;
use crate::semantics::targeted::Directives;

#[cfg(test)]
mod tests;

/// The longest lifetime that is ever guessed: a day.
///
/// A tenth of an old file's age can be months. A guess that long would only be found wrong by
/// someone who is shown the old page, so the guess ends where a person would look again.
const MAX_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long a response may be used without validation, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The origin says so.
    Explicit(Duration),
    /// A tenth of the time since the last modification.
    Heuristic(Duration),
    /// Nobody says anything: the response is not fresh unless a policy gives it a lifetime.
    Unstated,
}

/// Returns the freshness lifetime of a response in a shared cache.
///
/// `s-maxage` wins over `max-age`, which wins over `Expires` minus `Date`, which wins over the
/// heuristic. Both fields are taken as they were sent, so that an origin whose clock is wrong
/// still says how long it means; without a valid `Date` the time of receipt stands in for it.
///
/// `Expires` is not looked at beside a valid targeted field
/// ([RFC 9213 §2.2](https://www.rfc-editor.org/rfc/rfc9213#section-2.2)).
pub(crate) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    received: Now,
) -> Lifetime {
    let cache_control = &directives.cache_control;
    if let Some(lifetime) = cache_control.s_maxage.or(cache_control.max_age) {
        return Lifetime::Explicit(lifetime);
    }
    if expires_counts(headers, directives) {
        return Lifetime::Explicit(until_expires(headers, received.wall));
    }
    let may_guess = is_heuristically_cacheable(status) || cache_control.public;
    let guessed = may_guess.then(|| heuristic(headers, received.wall));
    match guessed.flatten() {
        Some(lifetime) if !is_pragma_alone(headers, directives) => Lifetime::Heuristic(lifetime),
        _ => Lifetime::Unstated,
    }
}

/// Tells whether the origin states a lifetime, be it zero
/// ([RFC 9111 §4.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1)).
pub(crate) fn is_explicit(headers: &HeaderMap, directives: &Directives) -> bool {
    let cache_control = &directives.cache_control;
    cache_control.s_maxage.is_some()
        || cache_control.max_age.is_some()
        || expires_counts(headers, directives)
}

/// Tells whether a status code is defined as heuristically cacheable
/// ([RFC 9110 §15.1](https://www.rfc-editor.org/rfc/rfc9110#section-15.1)).
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Returns whether `Pragma: no-cache` is all that the origin says about caching.
fn is_pragma_alone(headers: &HeaderMap, directives: &Directives) -> bool {
    let mut members = headers
        .get_all(PRAGMA)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    !directives.targeted
        && !headers.contains_key(CACHE_CONTROL)
        && members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
}

fn expires_counts(headers: &HeaderMap, directives: &Directives) -> bool {
    !directives.targeted && headers.contains_key(EXPIRES)
}

/// Returns the time from `Date` to `Expires`, zero if that is over, invalid or said twice
/// ([RFC 9111 §5.3](https://www.rfc-editor.org/rfc/rfc9111#section-5.3)).
fn until_expires(headers: &HeaderMap, received: SystemTime) -> Duration {
    let mut lines = headers.get_all(EXPIRES).iter();
    let (Some(expires), None) = (lines.next(), lines.next()) else {
        return Duration::ZERO;
    };
    date::parse(expires.as_bytes(), received)
        .and_then(|expires| expires.duration_since(date_or(headers, received)).ok())
        .unwrap_or_default()
        .min(Duration::from_secs(MAX_DELTA_SECONDS))
}

/// Returns 10 % of the time from `Last-Modified` to `Date`, at most a day; `None` without a valid
/// `Last-Modified` before `Date`
/// ([RFC 9111 §4.2.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2)).
fn heuristic(headers: &HeaderMap, received: SystemTime) -> Option<Duration> {
    let last_modified = date::parse(headers.get(LAST_MODIFIED)?.as_bytes(), received)?;
    let unmodified = date_or(headers, received)
        .duration_since(last_modified)
        .ok()?;
    Some((unmodified / 10).min(MAX_HEURISTIC))
}

fn date_or(headers: &HeaderMap, received: SystemTime) -> SystemTime {
    headers
        .get(DATE)
        .and_then(|value| date::parse(value.as_bytes(), received))
        .unwrap_or(received)
}
