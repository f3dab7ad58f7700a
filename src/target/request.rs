//! The target of a request, and all that is made from it.

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use http::{Extensions, Uri};
use sha2::{Digest, Sha256};

use super::identity::{Identity, NoPartition};
use super::rule::{KeyRule, REPLACED_KEY, write_value};
use super::subject::Subject;
use crate::key::KeyBuilder;
use crate::pattern::canonical;
use crate::semantics::invalidation::is_same_authority;

/// The resource that a request asks for, or that a URI given by hand names: authority, path and query,
/// as they came. The rule of a route says which of that matters.
///
/// Everything that has to agree on what is the same is made from it: the key of a stored response, the
/// subject that invalidations are matched against, the invalidation of a URI, and the eviction of a
/// write's own path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a [u8]>,
    path: &'a str,
    query: Option<&'a str>,
    /// The URI that the handler is shown, where that may be another.
    shown: Option<&'a Uri>,
}

/// The request headers that are part of every key.
pub(crate) type KeyedHeaders<'a> = [(&'a HeaderName, &'a HeaderValue)];

impl<'a> Target<'a> {
    /// Returns the target of a request, whose URI and extensions these are.
    pub(crate) fn of(uri: &'a Uri, extensions: &'a Extensions) -> Self {
        let original = original_uri(uri, extensions);
        let is_other = !std::ptr::eq(original, uri);
        Self {
            scheme: original.scheme_str(),
            authority: original.authority().map(|known| known.as_str().as_bytes()),
            path: original.path(),
            query: original.query(),
            shown: is_other.then_some(uri),
        }
    }

    /// Reads a path with or without a query, or an absolute URI
    /// ([RFC 3986 §3](https://www.rfc-editor.org/rfc/rfc3986#section-3)), without its fragment.
    pub(crate) fn of_text(uri: &'a str) -> Self {
        let uri = uri.split_once('#').map_or(uri, |(uri, _fragment)| uri);
        let (hierarchy, query) = match uri.split_once('?') {
            Some((hierarchy, query)) => (hierarchy, Some(query)),
            None => (uri, None),
        };
        let target = Self {
            path: hierarchy,
            query,
            ..Self::default()
        };
        match hierarchy.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                let (authority, path) = match rest.find('/') {
                    Some(at) => rest.split_at(at),
                    None => (rest, "/"),
                };
                Self {
                    scheme: Some(scheme),
                    authority: Some(authority.as_bytes()),
                    path,
                    ..target
                }
            }
            _ => target,
        }
    }

    /// Takes the authority from the `Host` header, where the target names none
    /// ([RFC 9110 §7.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.1)).
    pub(crate) fn with_host(self, host: Option<&'a HeaderValue>) -> Self {
        Self {
            authority: self.authority.or(host.map(HeaderValue::as_bytes)),
            ..self
        }
    }

    /// Leaves the scheme out where it is `usual`, the one that requests come by which do not say it: over
    /// HTTP/1.1 none does, over HTTP/2 all do, and both mean the same page.
    pub(crate) fn with_usual_scheme(self, usual: &Scheme) -> Self {
        let is_other = |scheme: &&str| !scheme.eq_ignore_ascii_case(usual.as_str());
        Self {
            scheme: self.scheme.filter(is_other),
            ..self
        }
    }

    /// Returns whether `Host` names another authority than the target does. A handler may read either
    /// ([RFC 9113 §8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)).
    pub(crate) fn contradicts(self, host: Option<&HeaderValue>) -> bool {
        let (Some(authority), Some(host)) = (self.authority, host) else {
            return false;
        };
        match (str::from_utf8(authority), host.to_str()) {
            (Ok(authority), Ok(host)) => !is_same_authority(authority, host, self.scheme),
            _ => true,
        }
    }

    /// Returns the path, as it came: routes are found by it.
    pub(crate) fn path(self) -> &'a str {
        self.path
    }

    /// Returns the query, as it came.
    pub(crate) fn query(self) -> Option<&'a str> {
        self.query
    }

    /// Returns the same target with any query.
    pub(crate) fn with_any_query(self) -> Self {
        Self {
            query: None,
            ..self
        }
    }

    /// Returns the subject of a response to this target: what invalidations are matched against.
    ///
    /// It follows the route's rule as the key does: whoever came first, a stored response is found by
    /// the URI of everyone whom it may be given to.
    pub(crate) fn subject(self, rule: &KeyRule, mut tags: Vec<Box<str>>) -> Subject {
        if rule.replacement.is_some() {
            tags.push(REPLACED_KEY.into());
        }
        let query = self.query.and_then(|query| rule.query.canonical(query));
        Subject::new(self.path, query.as_deref(), tags)
    }

    /// Writes the key of a request for this target: all that the layer, the route's rule and its
    /// identity put into it.
    ///
    /// [`KeyLayout`](super::KeyLayout) reads it again.
    pub(crate) fn write_key(
        self,
        keyed: &KeyedHeaders<'_>,
        rule: &KeyRule,
        identity: &Identity,
        request: &Parts,
        key: &mut KeyBuilder,
    ) -> Result<(), NoPartition> {
        key.count(keyed.len());
        for (name, value) in keyed {
            key.part(name.as_str().as_bytes());
            write_value(name, value, key);
        }
        if let Some(shown) = self.shown.filter(|shown| self.is_rewritten(shown, rule)) {
            let query = shown.query().and_then(|query| rule.query.apply(query));
            key.part(shown.path().as_bytes())
                .optional(query.as_deref().map(str::as_bytes));
        }
        let replacement = rule.replacement(request);
        if let Some(replacement) = &replacement {
            key.optional(replacement.as_deref().map(str::as_bytes));
        }
        if replacement.flatten().is_none() {
            self.write_uri(rule, key);
        }
        rule.write_additions(request, key);
        if let Some(partition) = identity.partition(request)? {
            // Digested, for keys are listed and written to other processes.
            key.part(&Sha256::digest(partition));
        }
        Ok(())
    }

    /// Returns whether the handler is shown another path, and not one of which a prefix was taken off,
    /// or another query.
    fn is_rewritten(self, shown: &Uri, rule: &KeyRule) -> bool {
        fn applied<'q>(rule: &KeyRule, query: Option<&'q str>) -> Option<Cow<'q, str>> {
            query.and_then(|query| rule.query.apply(query))
        }
        !self.path.ends_with(shown.path())
            || self.query != shown.query()
                && applied(rule, self.query) != applied(rule, shown.query())
    }

    fn write_uri(self, rule: &KeyRule, key: &mut KeyBuilder) {
        match self.scheme {
            Some(scheme) => key.part_lowercase(scheme.as_bytes()),
            None => key.part(b""),
        };
        let query = self.query.and_then(|query| rule.query.apply(query));
        key.part_lowercase(self.authority.unwrap_or_default())
            .part(self.path.as_bytes())
            .optional(query.as_deref().map(str::as_bytes));
    }
}

/// Returns the URI that the client asked for.
///
/// axum takes the prefix off the URI before a nested router sees it: two mounts of one router
/// would share keys.
pub(crate) fn original_uri<'a>(uri: &'a Uri, extensions: &'a Extensions) -> &'a Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    #[cfg(not(feature = "axum"))]
    let _ = extensions;
    uri
}

/// Returns the canonical form of a path, where that is another text.
///
/// A path that says the same in two ways (`/%61` for `/a`, `/b/../a`) may be either to a handler, and to
/// a table of routes.
pub(crate) fn other_reading(path: &str) -> Option<Cow<'_, str>> {
    Some(canonical(path)).filter(|canonical| canonical != path)
}
