//! The outcome of a request, and its reason.

use http::header::HeaderValue;

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered from a fresh stored response.
    Hit,
    /// Answered from a stored response past its freshness lifetime.
    Stale(StaleReason),
    /// Answered from a stored response that the handler has just confirmed.
    Revalidated {
        why: Miss,
        /// It is stored anew.
        stored: bool,
        /// Another request had it confirmed.
        collapsed: bool,
    },
    /// Answered by the handler.
    Miss {
        why: Miss,
        /// The response is being stored.
        stored: bool,
        /// The handler was called for another request, and this one shares the answer.
        collapsed: bool,
        /// Why it is not stored, in a word.
        detail: Option<&'static str>,
    },
    /// `only-if-cached`, and nothing to answer with: 504.
    Unsatisfied,
    /// Passed to the handler as if there were no cache.
    Bypass(BypassReason),
}

/// The reason why a stale response was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StaleReason {
    /// `stale-while-revalidate`: a refresh runs behind it.
    WhileRevalidating,
    /// `stale-if-error`: the handler was asked, and failed.
    IfError,
    /// The handler was asked, and takes longer than the policy's soft timeout.
    IfSlow,
    /// The client's `max-stale`.
    Accepted,
}

/// The reason why the store did not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// Nothing is stored for the URI.
    Uri,
    /// Something is, but its selecting fields do not match.
    Vary,
    /// The stored response was stale, and could not be confirmed.
    Stale,
    /// The stored response was invalidated.
    Invalidated,
    /// The request's directives did not allow the stored response.
    Request,
    /// Only a part of what was asked for is stored.
    Partial,
    /// The stored response is not for requests with `Authorization`.
    Authorization,
    /// The stored response is not for requests with `Cookie`.
    Cookie,
    /// The stored response is not for requests with another credential.
    Credential,
}

/// The reason why the cache was never asked, or could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BypassReason {
    /// The method is not one whose responses are stored.
    Method,
    /// No route matches the path.
    NoRoute,
    /// The route's policy says so.
    Policy,
    /// The operator has switched the cache off.
    Disabled,
    /// The request carries `Authorization`.
    Authorization,
    /// The request carries `Cookie`.
    Cookie,
    /// The request carries another header that says who asks.
    Credential,
    /// The request carries a field that may change the answer and is not part of the key.
    Header,
    /// The request has content.
    Content,
    /// The request asks for another protocol.
    Upgrade,
    /// The request names several hosts.
    Host,
    /// The path can be read in two ways that come under different routes.
    Path,
    /// The policy's function gave the request no partition.
    Partition,
    /// The store did not answer.
    Store,
}

impl Outcome {
    /// Returns the outcome in a word, for labels and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale(_) => "stale",
            Self::Revalidated { .. } => "revalidated",
            Self::Miss { .. } => "miss",
            Self::Unsatisfied => "unsatisfied",
            Self::Bypass(_) => "bypass",
        }
    }

    /// Returns why it came to that, in a word. A hit needs no reason.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Hit => None,
            Self::Stale(staleness) => Some(staleness.as_str()),
            Self::Revalidated { why, .. } | Self::Miss { why, .. } => Some(why.as_str()),
            Self::Unsatisfied => Some("only-if-cached"),
            Self::Bypass(reason) => Some(reason.as_str()),
        }
    }

    /// Returns the same outcome for a request that shared it with another.
    pub(crate) fn collapsed(self) -> Self {
        match self {
            Self::Miss {
                why,
                stored,
                detail,
                ..
            } => Self::Miss {
                why,
                stored,
                collapsed: true,
                detail,
            },
            Self::Revalidated { why, stored, .. } => Self::Revalidated {
                why,
                stored,
                collapsed: true,
            },
            other => other,
        }
    }

    /// Returns the commonest outcome of a miss: the response is being stored.
    pub(super) fn filled(why: Miss) -> Self {
        Self::Miss {
            why,
            stored: true,
            collapsed: false,
            detail: None,
        }
    }

    /// Returns the same outcome of a response that is being stored, or that something keeps from it.
    pub(crate) fn stored_unless(self, refused: Option<&'static str>) -> Self {
        match self {
            Self::Miss { why, collapsed, .. } => Self::Miss {
                why,
                stored: refused.is_none(),
                collapsed,
                detail: refused,
            },
            other => other,
        }
    }

    /// Returns the value of `X-Cache`.
    pub(crate) fn x_cache(self) -> HeaderValue {
        // Constants: elsewhere each letter would be looked at for every response.
        match self {
            Self::Hit => const { HeaderValue::from_static("HIT") },
            Self::Stale(_) => const { HeaderValue::from_static("STALE") },
            Self::Revalidated { .. } => const { HeaderValue::from_static("REVALIDATED") },
            Self::Miss { .. } | Self::Unsatisfied => const { HeaderValue::from_static("MISS") },
            Self::Bypass(_) => const { HeaderValue::from_static("BYPASS") },
        }
    }
}

impl StaleReason {
    pub(crate) const ALL: [Self; 4] = [
        Self::WhileRevalidating,
        Self::IfError,
        Self::IfSlow,
        Self::Accepted,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::WhileRevalidating => "stale-while-revalidate",
            Self::IfError => "stale-if-error",
            Self::IfSlow => "soft-timeout",
            Self::Accepted => "max-stale",
        }
    }
}

impl Miss {
    pub(crate) const ALL: [Self; 9] = [
        Self::Uri,
        Self::Vary,
        Self::Stale,
        Self::Invalidated,
        Self::Request,
        Self::Partial,
        Self::Authorization,
        Self::Cookie,
        Self::Credential,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri-miss",
            Self::Vary => "vary-miss",
            Self::Stale => "stale",
            Self::Invalidated => "invalidated",
            Self::Request => "request",
            Self::Partial => "partial",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Credential => "credential",
        }
    }

    pub(super) fn detail(self) -> Option<&'static str> {
        match self {
            Self::Credential => Some("credential"),
            Self::Invalidated => Some("invalidated"),
            Self::Authorization => Some("authorization"),
            Self::Cookie => Some("cookie"),
            _ => None,
        }
    }
}

impl BypassReason {
    pub(crate) const ALL: [Self; 14] = [
        Self::Method,
        Self::NoRoute,
        Self::Policy,
        Self::Disabled,
        Self::Authorization,
        Self::Cookie,
        Self::Credential,
        Self::Header,
        Self::Content,
        Self::Upgrade,
        Self::Host,
        Self::Path,
        Self::Partition,
        Self::Store,
    ];

    /// Returns the reason in a word, for labels and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NoRoute => "no-route",
            Self::Policy => "policy",
            Self::Disabled => "disabled",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Credential => "credential",
            Self::Header => "header",
            Self::Content => "content",
            Self::Upgrade => "upgrade",
            Self::Host => "host",
            Self::Path => "path",
            Self::Partition => "partition",
            Self::Store => "store",
        }
    }

    pub(super) fn detail(self) -> Option<&'static str> {
        (self != Self::Method).then(|| self.as_str())
    }
}
