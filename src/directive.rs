//! Handlers' directives about caching, in response extensions.

use std::time::Duration;

use crate::invalidate::Invalidation;

/// A handler's word on how its response is cached, put into the response's extensions.
///
/// It goes further than header fields: it never leaves the process, and it names tags.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use http::Response;
/// use tower_response_cache::CacheDirective;
///
/// let mut response = Response::new("…");
/// response.extensions_mut().insert(
///     CacheDirective::new().ttl(Duration::from_secs(5)).tag("user:7"),
/// );
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CacheDirective {
    pub(crate) ttl: Option<Duration>,
    pub(crate) tags: Vec<String>,
    pub(crate) no_store: bool,
}

impl CacheDirective {
    /// Returns a directive that says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a directive that keeps the response out of the cache.
    pub fn no_store() -> Self {
        Self {
            no_store: true,
            ..Self::default()
        }
    }

    /// Sets the freshness lifetime. It wins over the route's TTL and over the response's
    /// `Cache-Control: max-age`; `no-store`, `private` and `no-cache` there still win.
    ///
    /// A `304` that says nothing of it confirms the stored response for as long again.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Adds a tag to those of the route's policy.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

/// The lifetime that a stored response was given by a [`CacheDirective`], on a `304` that updates it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptLifetime(pub(crate) Duration);

/// Invalidations that a handler asks for, put into the response's extensions.
///
/// They are recorded before the response's head leaves, whatever the method, as long as the
/// response is a success or a redirection.
///
/// # Examples
///
/// ```
/// use http::Response;
/// use tower_response_cache::{Invalidate, Invalidation};
///
/// let mut response = Response::new("…");
/// response.extensions_mut().insert(Invalidate::new([Invalidation::tag("catalogue")]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Invalidate(pub(crate) Vec<Invalidation>);

impl Invalidate {
    /// Returns a request for these invalidations.
    pub fn new(invalidations: impl IntoIterator<Item = Invalidation>) -> Self {
        Self(invalidations.into_iter().collect())
    }
}

/// Says that a response was made in place of an origin that did not answer; put into the response's
/// extensions by an inner service that asks one over the network.
///
/// The cache is then disconnected in the sense of
/// [RFC 9111 §4.2.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4): what is stored may be
/// used stale as far as the policy allows, whatever the response's status, and where
/// `must-revalidate` and its like forbid that the answer is
/// [504](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.2).
///
/// On the response to a write it says that nobody knows whether the origin carried it out, so the
/// write counts as made and evicts. Leave it out where the write never reached the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginUnreachable;
