//! Responses in JSON, including errors.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};

/// A response in JSON.
pub(super) struct JsonResponse(pub(super) Value);

/// An error response, which says what was wrong and what to change.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: StatusCode,
    error: String,
}

pub(super) type JsonResult = Result<JsonResponse, ErrorResponse>;

impl ErrorResponse {
    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn unauthorized(error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    pub(super) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(super) fn internal(error: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }
}

impl From<Error> for ErrorResponse {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Pattern | ErrorKind::Config | ErrorKind::Value => StatusCode::BAD_REQUEST,
            ErrorKind::Store | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for JsonResponse {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0.to_string()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let mut response = JsonResponse(json!({ "error": self.error })).into_response();
        *response.status_mut() = self.status;
        response
    }
}

pub(super) async fn nothing_here(uri: Uri) -> ErrorResponse {
    ErrorResponse::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is nothing at {}; use /health, /stats, /metrics, /entries, /explain, \
             /purge or /bypass, or the page at /",
            uri.path()
        ),
    )
}

pub(super) async fn other_method(method: Method, uri: Uri) -> ErrorResponse {
    let right = match uri.path() {
        "/purge" | "/bypass" => "POST",
        _ => "GET",
    };
    ErrorResponse::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} takes {right}, not {method}", uri.path()),
    )
}
