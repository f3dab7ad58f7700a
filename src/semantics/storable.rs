//! Which responses may be stored, and what of them
//! ([RFC 9111 §3](https://www.rfc-editor.org/rfc/rfc9111#section-3)).

use std::fmt;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::semantics::cache_control::{CacheControl, Scope};
use crate::semantics::freshness;
use crate::semantics::targeted::Directives;

#[cfg(test)]
mod tests;

/// The facts of a request that bear on storing its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFacts {
    /// `Cache-Control: no-store` (§5.2.1.5).
    pub(crate) no_store: bool,
    /// `Authorization`, unless the policy keeps users apart or the answer is the same for all.
    pub(crate) authorization: bool,
    /// `Cookie`, with the same exception. No standard speaks of it; we treat a response to a
    /// request with cookies as private unless its origin states how it may be cached.
    pub(crate) cookie: bool,
}

/// The caller's abilities and wishes beyond what a response says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// The caller can store and serve this partial response.
    pub(crate) partial: bool,
    /// The policy gives a response of this status a lifetime of its own.
    pub(crate) lifetime: bool,
}

/// A response that may be stored, and on what conditions it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Storable {
    /// `no-cache`: never without a successful validation (§5.2.2.4).
    pub(crate) always_validate: bool,
    /// `must-revalidate`, `proxy-revalidate`, `s-maxage` or `no-cache`: never stale (§4.2.4).
    pub(crate) never_stale: bool,
    /// May answer requests that carry `Authorization`, and was allowed to be stored from one
    /// (§3.5).
    pub(crate) with_authorization: bool,
    /// The origin states a lifetime, or `public`.
    pub(crate) stated: bool,
}

/// Why a response is not stored. `Display` gives the word for logs and `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unstorable {
    /// The request's `no-store`.
    NoStoreRequest,
    /// The response's `no-store`.
    NoStore,
    /// The response's `private`.
    Private,
    /// `no-cache` on a response that has no validator.
    NoCache,
    /// A status that is not final, or that is never stored.
    Status,
    /// `must-understand` on a status whose caching is not known here.
    MustUnderstand,
    /// 206, or a range that cannot be stored.
    Partial,
    /// Neither a lifetime, nor `public`, nor a status that is heuristically cacheable.
    NoFreshness,
    /// The request had `Authorization` and the response is not explicitly shared.
    Authorization,
    /// The request had `Cookie` and the response states nothing.
    Cookie,
}

impl Unstorable {
    /// Returns the word for logs and `Cache-Status`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoStoreRequest => "no-store-request",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::Status => "status",
            Self::MustUnderstand => "must-understand",
            Self::Partial => "partial",
            Self::NoFreshness => "no-freshness",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
        }
    }
}

impl fmt::Display for Unstorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells whether a shared cache may store a response
/// ([RFC 9111 §3](https://www.rfc-editor.org/rfc/rfc9111#section-3)).
///
/// Give it the headers as they came: judged after [`stored_fields`], a `Connection:
/// cache-control` would have taken the directives away. `Vary` and `Set-Cookie` are the caller's.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    request: &RequestFacts,
    grants: &Grants,
) -> Result<Storable, Unstorable> {
    let cache_control = &directives.cache_control;
    let storable = Storable {
        always_validate: cache_control.no_cache.is_whole(),
        never_stale: forbids_stale(cache_control),
        with_authorization: allows_authorization(cache_control),
        stated: cache_control.public || freshness::is_explicit(headers, directives),
    };
    judge_status(status, cache_control, grants)?;
    judge_directives(status, headers, cache_control, request)?;
    if request.authorization && !storable.with_authorization {
        return Err(Unstorable::Authorization);
    }
    if request.cookie && !storable.stated {
        return Err(Unstorable::Cookie);
    }
    let has_lifetime =
        storable.stated || grants.lifetime || freshness::is_heuristically_cacheable(status);
    has_lifetime
        .then_some(storable)
        .ok_or(Unstorable::NoFreshness)
}

/// More header fields than are worth storing. Room for a few more could not be added: a header map
/// holds 24,576.
const MOST_FIELDS: usize = 4096;

/// Returns whether a response has so many header fields that it is neither stored nor updates what is.
pub(crate) fn has_too_many_fields(headers: &HeaderMap) -> bool {
    headers.len() > MOST_FIELDS
}

/// Returns whether a status answers one request for what it carries or lacks, and says nothing of what
/// others would be answered: credentials, a precondition, a range, `Expect`, `Accept` and its kin, the
/// rate or the connection it came by. Such a response is never stored.
///
/// A 403 does so if the request carries credentials.
pub(crate) fn answers_one_request(status: StatusCode, credentials: bool) -> bool {
    match status.as_u16() {
        401 | 406..=408 | 411 | 412 | 415..=417 | 421 | 425 | 426 | 428 | 429 => true,
        403 => credentials,
        _ => false,
    }
}

/// Returns whether a status is an error that the request has brought upon itself, as far as one can
/// tell without knowing the origin.
pub(crate) fn is_requests_own_fault(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 410 | 451)
}

/// The status is final, and understood where that matters.
fn judge_status(
    status: StatusCode,
    cache_control: &CacheControl,
    grants: &Grants,
) -> Result<(), Unstorable> {
    match status {
        StatusCode::NOT_MODIFIED => Err(Unstorable::Status),
        StatusCode::PARTIAL_CONTENT if !grants.partial => Err(Unstorable::Partial),
        _ if status.is_informational() => Err(Unstorable::Status),
        _ if cache_control.must_understand && !is_understood(status) => {
            Err(Unstorable::MustUnderstand)
        }
        _ => Ok(()),
    }
}

fn judge_directives(
    status: StatusCode,
    headers: &HeaderMap,
    cache_control: &CacheControl,
    request: &RequestFacts,
) -> Result<(), Unstorable> {
    // Beside must-understand, no-store is meant for caches that do not know it or the status
    // (RFC 9111 §5.2.2.3).
    let understood = cache_control.must_understand && is_understood(status);
    if request.no_store {
        return Err(Unstorable::NoStoreRequest);
    }
    if cache_control.no_store && !understood {
        return Err(Unstorable::NoStore);
    }
    // The qualified form lets us store the rest, but an origin that means one user by some fields
    // rarely means everyone by the others.
    if cache_control.private.is_present() {
        return Err(Unstorable::Private);
    }
    if cache_control.no_cache.is_whole() && !has_validator(headers) {
        return Err(Unstorable::NoCache);
    }
    Ok(())
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// Tells whether a stale response is forbidden whatever happens
/// ([RFC 9111 §4.2.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4)); `s-maxage` implies
/// `proxy-revalidate` (§5.2.2.10).
fn forbids_stale(cache_control: &CacheControl) -> bool {
    cache_control.must_revalidate
        || cache_control.proxy_revalidate
        || cache_control.s_maxage.is_some()
        || cache_control.no_cache.is_whole()
}

/// Tells whether a response to a request with `Authorization` may be shared
/// ([RFC 9111 §3.5](https://www.rfc-editor.org/rfc/rfc9111#section-3.5)).
fn allows_authorization(cache_control: &CacheControl) -> bool {
    cache_control.public || cache_control.must_revalidate || cache_control.s_maxage.is_some()
}

/// Tells whether this cache knows how a status code is cached: those of RFC 9110 and the
/// registered ones that add nothing to caching
/// ([RFC 9111 §5.2.2.3](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.3)).
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=426 | 428 | 429 | 431 | 451
            | 500..=508 | 510 | 511
    )
}

/// Returns the fields of a response that are stored
/// ([RFC 9111 §3.1](https://www.rfc-editor.org/rfc/rfc9111#section-3.1)).
///
/// Left out are `Connection` and the fields it names, the other fields of one connection, the
/// fields that `no-cache="…"` lists (they must not be used without validation, §5.2.2.4), `Age`,
/// which is part of the stored response's age from now on, and `Content-Length`, which is known
/// better from the body.
pub(crate) fn stored_fields<'a>(
    headers: &'a HeaderMap,
    no_cache: &'a Scope,
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let named: Vec<_> = named_by_connection(headers).collect();
    headers.iter().filter(move |(name, _)| {
        !is_never_stored(name) && !named.contains(name) && !no_cache.fields().contains(name)
    })
}

/// Returns the same as a header map.
pub(crate) fn stored_headers(headers: &HeaderMap, no_cache: &Scope) -> HeaderMap {
    // Not as many as there are lines: more than a map can have names would make it panic.
    let mut stored = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in stored_fields(headers, no_cache) {
        stored.append(name, value.clone());
    }
    stored
}

fn is_never_stored(name: &HeaderName) -> bool {
    // Constants as patterns: standard names are distinguished by one jump.
    match *name {
        header::AGE
        | header::CONNECTION
        | header::CONTENT_LENGTH
        | header::PROXY_AUTHENTICATE
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE => true,
        _ => matches!(
            name.as_str(),
            "keep-alive" | "proxy-authentication-info" | "proxy-connection"
        ),
    }
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}
