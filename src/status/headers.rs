//! The headers that say what the cache did with a request.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::cache_status::{CacheStatus, CacheStatusWriter, append};
use super::outcome::Outcome;

/// The headers that say what the cache did with a request.
#[derive(Clone, Debug)]
pub(crate) struct StatusHeaders {
    pub(crate) x_cache: bool,
    pub(crate) cache_status: bool,
    pub(crate) age: bool,
    pub(crate) writer: CacheStatusWriter,
}

impl Default for StatusHeaders {
    fn default() -> Self {
        Self {
            x_cache: true,
            cache_status: true,
            age: true,
            writer: CacheStatusWriter::default(),
        }
    }
}

impl StatusHeaders {
    /// The name of the field that people look at.
    pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

    /// Adds the headers that say what happened to a request.
    pub(crate) fn stamp(
        &self,
        headers: &mut HeaderMap,
        outcome: Outcome,
        parameters: StatusParameters,
    ) {
        if self.x_cache {
            // Fails with more than 32,768 headers, which go out as they are.
            let _ = headers.try_insert(Self::X_CACHE, outcome.x_cache());
        }
        if self.cache_status {
            append(headers, self.cache_status(outcome, parameters));
        }
    }

    /// Returns this cache's member of `Cache-Status`.
    pub(crate) fn cache_status(
        &self,
        outcome: Outcome,
        parameters: StatusParameters,
    ) -> HeaderValue {
        match outcome {
            Outcome::Bypass(reason) if parameters == StatusParameters::default() => {
                self.writer.bypass(reason)
            }
            Outcome::Miss { why, .. }
                if outcome == Outcome::filled(why) && parameters == StatusParameters::OK =>
            {
                self.writer.fill(why)
            }
            _ => {
                let status = CacheStatus::from(outcome);
                self.writer.value(&CacheStatus {
                    ttl: parameters.ttl,
                    fwd_status: parameters.fwd_status.or(status.fwd_status),
                    detail: parameters.detail.or(status.detail),
                    ..status
                })
            }
        }
    }
}

/// The parameters of `Cache-Status` for one response, beyond its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusParameters {
    pub(crate) ttl: Option<i64>,
    pub(crate) fwd_status: Option<StatusCode>,
    pub(crate) detail: Option<&'static str>,
}

impl StatusParameters {
    /// The handler answered 200.
    const OK: Self = Self {
        ttl: None,
        fwd_status: Some(StatusCode::OK),
        detail: None,
    };

    /// The evictions of the handler could not be recorded: other nodes do not know of them yet.
    pub(crate) const INVALIDATION_PENDING: Self = Self {
        ttl: None,
        fwd_status: None,
        detail: Some("invalidation-pending"),
    };
}
