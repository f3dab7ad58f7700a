//! The responses that this layer makes itself, and the fields that it adds to those it passes on.

use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::conditions::{evaluate, field};
use super::context::ReadContext;
use crate::body::CacheBody;
use crate::semantics::invalidation;
use crate::semantics::preconditions::{self, Precondition};
use crate::state::CacheState;
use crate::status::{Outcome, StatusParameters};
use crate::telemetry::RouteId;

pub(super) fn respond<B>(
    status: StatusCode,
    headers: HeaderMap,
    body: CacheBody<B>,
) -> Response<CacheBody<B>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Answers that no response is available in the way that the request or the response demands:
/// without the inner service (RFC 9111 §5.2.1.7), or with it (§5.2.2.2).
pub(super) fn gateway_timeout<B>(cache: &CacheState, outcome: Outcome) -> Response<CacheBody<B>> {
    let status = StatusCode::GATEWAY_TIMEOUT;
    let mut response = respond(status, HeaderMap::new(), CacheBody::empty());
    cache
        .status_headers
        .stamp(response.headers_mut(), outcome, StatusParameters::default());
    response
}

/// Turns a response's head into that of a 304 (RFC 9110 §15.4.5).
pub(super) fn not_modified<B>(mut headers: HeaderMap) -> Response<CacheBody<B>> {
    preconditions::trim_to_not_modified(&mut headers);
    respond(StatusCode::NOT_MODIFIED, headers, CacheBody::empty())
}

/// Passes on a response that bypassed the cache.
pub(crate) fn pass<B>(
    cache: &CacheState,
    route: RouteId,
    outcome: Outcome,
    parameters: StatusParameters,
    response: Response<B>,
) -> Response<CacheBody<B>> {
    let mut response = response.map(CacheBody::pass);
    invalidation::strip(response.headers_mut());
    cache.bypassed(route, outcome);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        cache
            .status_headers
            .stamp(response.headers_mut(), outcome, parameters);
    }
    response
}

/// Answers the conditions that the client set and the inner service was not shown (RFC 9110 §13.2).
pub(super) fn conditionally<B>(
    read: &ReadContext,
    conditions: &HeaderMap,
    response: Response<CacheBody<B>>,
) -> Response<CacheBody<B>> {
    if !read.flags.conditional || conditions.is_empty() || response.status() != StatusCode::OK {
        return response;
    }
    match evaluate(
        response.status(),
        field(response.headers()),
        conditions,
        &read.cache().clock,
    ) {
        Precondition::NotModified => not_modified(response.into_parts().0.headers),
        _ => response,
    }
}
