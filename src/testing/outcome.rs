//! Assertions on what the cache did.

use std::fmt;

use http::Response;
use http::header::HeaderMap;

use crate::status::StatusHeaders;

/// The outcome of a request, as its response's `X-Cache` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum XCache {
    /// Answered from a fresh stored response.
    Hit,
    /// Answered from a stale one.
    Stale,
    /// Answered from one that the handler has just confirmed.
    Revalidated,
    /// Answered by the handler, or from its answer to another request.
    Miss,
    /// The cache was not asked.
    Bypass,
}

impl XCache {
    const ALL: [Self; 5] = [
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Miss,
        Self::Bypass,
    ];

    /// Reads a response's `X-Cache`; `None` where it has none, or one that is not this crate's.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        Self::in_headers(response.headers())
    }

    pub(super) fn in_headers(headers: &HeaderMap) -> Option<Self> {
        // The last line is that of the outermost cache, which is the one the test talks to.
        let value = headers.get_all(StatusHeaders::X_CACHE).iter().next_back()?;
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().as_bytes() == value.as_bytes())
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
        }
    }
}

impl fmt::Display for XCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Asserts what the cache did with the request that was answered by `response`.
///
/// # Panics
///
/// If its `X-Cache` says something else, with what its `Cache-Status` says.
///
/// # Examples
///
/// ```
/// use http::Response;
/// use tower_response_cache::testing::{XCache, assert_outcome};
///
/// let response = Response::builder().header("x-cache", "HIT").body(()).unwrap();
/// assert_outcome(&response, XCache::Hit);
/// ```
#[track_caller]
pub fn assert_outcome<B>(response: &Response<B>, expected: XCache) {
    let headers = response.headers();
    let found = XCache::of(response);
    assert!(
        found == Some(expected),
        "expected {expected}, found X-Cache: {:?} and Cache-Status: {:?}",
        headers.get(StatusHeaders::X_CACHE),
        headers.get("cache-status"),
    );
}
