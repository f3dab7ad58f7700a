//! The guard that every request passes on its way in, and every answer on its way out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;

use super::access::Refused;
use super::answer::Refusal;
use super::state::AdminState;
use crate::directive::CacheDirective;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets requests pass that have access and come from nobody else's page.
pub(super) async fn admit(
    State(shared): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if is_from_elsewhere(&parts) {
        return Refusal::forbidden(
            "a page of another site may not ask here; open the inspector or use a command line",
        )
        .into_response();
    }
    match shared.access.check(&parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refuse(refused),
    }
}

fn refuse(refused: Refused) -> Response {
    let refusal = match refused {
        Refused::Unnamed => Refusal::unauthorized("send the token: Authorization: Bearer TOKEN"),
        Refused::Wrong => Refusal::unauthorized("that is not the token"),
        Refused::NotLocal => Refusal::forbidden(
            "this is for whoever is on the machine itself, under a name such as localhost",
        ),
        Refused::NoPeer => Refusal::internal(
            "where a request is from is not known: serve the router with \
             into_make_service_with_connect_info::<SocketAddr>()",
        ),
        Refused::Predicate => Refusal::forbidden("you have no access"),
    };
    let mut response = refusal.into_response();
    // Only who can send something that would help is challenged (RFC 9110 §15.5.2).
    let challenge = match refused {
        Refused::Unnamed => r#"Bearer realm="cache admin""#,
        Refused::Wrong => r#"Bearer realm="cache admin", error="invalid_token""#,
        Refused::NotLocal | Refused::NoPeer | Refused::Predicate => return response,
    };
    let challenge = HeaderValue::from_static(challenge);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Returns whether a browser sent this on behalf of another site's page. Without CORS such a page is not
/// shown the answer, but a purge is done all the same.
///
/// Browsers say so in `Sec-Fetch-Site` wherever the connection cannot be tampered with, and in
/// `Origin` elsewhere. The same site is not near enough: a port of one host is another program.
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

/// Returns host and port of an `Origin`; `None` for `null` and what is none.
fn authority_of(origin: &HeaderValue) -> Option<Authority> {
    let (scheme, authority) = origin.to_str().ok()?.split_once("://")?;
    matches!(scheme, "http" | "https").then(|| authority.parse().ok())?
}

/// Marks an answer as one to be kept by nobody and shown inside of nothing else.
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
