//! The guard around the router: it admits requests, and marks responses.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;

use super::access::AccessDenied;
use super::answer::ErrorResponse;
use super::state::AdminState;
use crate::directive::CacheDirective;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets requests pass that have access and do not come from another site's page.
pub(super) async fn admit(
    State(shared): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if is_from_elsewhere(&parts) {
        return ErrorResponse::forbidden(
            "pages of other sites have no access; open the inspector or use a command line",
        )
        .into_response();
    }
    match shared.access.check(&parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(denied) => deny(denied),
    }
}

fn deny(denied: AccessDenied) -> Response {
    let answer = match denied {
        AccessDenied::Unnamed => {
            ErrorResponse::unauthorized("send the token: Authorization: Bearer TOKEN")
        }
        AccessDenied::Wrong => ErrorResponse::unauthorized("that is not the token"),
        AccessDenied::NotLocal => ErrorResponse::forbidden(
            "access is only from this machine itself, under a name such as localhost",
        ),
        AccessDenied::NoPeer => ErrorResponse::internal(
            "the peer's address is unknown: serve the router with \
             into_make_service_with_connect_info::<SocketAddr>()",
        ),
        AccessDenied::Predicate => ErrorResponse::forbidden("you have no access"),
    };
    let mut response = answer.into_response();
    // Only clients whose credentials could help are challenged (RFC 9110 §15.5.2).
    let challenge = match denied {
        AccessDenied::Unnamed => r#"Bearer realm="cache admin""#,
        AccessDenied::Wrong => r#"Bearer realm="cache admin", error="invalid_token""#,
        AccessDenied::NotLocal | AccessDenied::NoPeer | AccessDenied::Predicate => return response,
    };
    let challenge = HeaderValue::from_static(challenge);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Returns whether a browser sent this on behalf of another site's page. Without CORS such a page
/// cannot read the response, but its purge would still happen.
///
/// Browsers say so in `Sec-Fetch-Site` if the connection cannot be tampered with, and in `Origin`
/// otherwise. The same site is not enough: another port of the same host is another program.
fn is_from_elsewhere(request: &Parts) -> bool {
    let headers = &request.headers;
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = match request.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => headers.get(header::HOST).map(HeaderValue::as_bytes),
    };
    let same = |host: &[u8]| {
        authority_of(origin).is_some_and(|own| own.as_str().as_bytes().eq_ignore_ascii_case(host))
    };
    !host.is_some_and(same)
}

/// Returns host and port of an `Origin`; `None` for `null` and for anything invalid.
fn authority_of(origin: &HeaderValue) -> Option<Authority> {
    let (scheme, authority) = origin.to_str().ok()?.split_once("://")?;
    matches!(scheme, "http" | "https").then(|| authority.parse().ok())?
}

/// Marks a response as one that no cache may keep and no other page may embed.
pub(super) async fn mark(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
    }
    response.extensions_mut().insert(CacheDirective::no_store());
    response
}
