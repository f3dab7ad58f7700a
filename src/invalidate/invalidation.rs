//! Invalidations: of a URI, a pattern, a tag, or everything.

use std::fmt;

use crate::error::Error;
use crate::pattern::{Namespace, Pattern, Shape};
use crate::target::Target;

/// One thing to invalidate: a URI, a pattern, a tag, or everything.
///
/// Every cached response that it matches, and whose handler was called before it was recorded, is
/// used no more. It takes the same time however many responses those are.
#[derive(Clone, PartialEq, Eq)]
pub struct Invalidation {
    pub(super) selector: Selector,
    pub(super) soft: bool,
}

/// The subjects that an invalidation matches.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Selector {
    Pattern(Pattern),
    Tag(Box<str>),
}

/// The kind of an invalidation, by what it selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidationKind {
    Uri,
    Pattern,
    Tag,
    Everything,
}

impl InvalidationKind {
    pub(crate) const ALL: [Self; 4] = [Self::Uri, Self::Pattern, Self::Tag, Self::Everything];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Pattern => "pattern",
            Self::Tag => "tag",
            Self::Everything => "everything",
        }
    }
}

impl Invalidation {
    /// Invalidates a URI: with a query that query only, without one every query of the path.
    ///
    /// A query is read by the policy of the route that reads of the path come under: what the policy
    /// leaves out of keys does not count here either, nor does the order of parameters where it does
    /// not count there. So this covers all that a GET of the URI may be given. Where a policy
    /// [replaces the key](crate::Policy::replace_key_with), that is everything stored under such keys.
    ///
    /// Takes a path with or without a query, or an absolute URI, of which only the path and the
    /// query count: the same path under another host is invalidated too. No character is a
    /// wildcard. A lone `?` means no query.
    #[must_use]
    pub fn uri(uri: impl AsRef<str>) -> Self {
        Self::of_target(Target::of_text(uri.as_ref()))
    }

    /// Does what [`uri`](Self::uri) does, unless the text is no URI: then it would invalidate nothing,
    /// and nobody would notice.
    pub(crate) fn parse_uri(text: &str) -> Result<Self, Error> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let absolute = scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        });
        match absolute || text.starts_with('/') {
            true => Ok(Self::uri(text)),
            false => Err(Error::pattern(format!(
                "`{text}` is not a URI: write a path such as `/products/7`, or an absolute URI with \
                 http or https"
            ))),
        }
    }

    /// Invalidates the paths and queries that match a pattern.
    #[must_use]
    pub fn pattern(pattern: Pattern) -> Self {
        Self::hard(Selector::Pattern(pattern))
    }

    /// Invalidates the responses that carry a tag. Tags are compared byte for byte.
    #[must_use]
    pub fn tag(tag: impl Into<Box<str>>) -> Self {
        Self::hard(Selector::Tag(tag.into()))
    }

    /// Invalidates everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::pattern(Pattern::everything())
    }

    /// Invalidates what a URI names: with a query that query only, without one every query of the path.
    pub(crate) fn of_target(target: Target<'_>) -> Self {
        Self::pattern(Pattern::exact(target.path(), target.query()))
    }

    /// Invalidates one value.
    #[cfg(feature = "values")]
    pub(crate) fn value(namespace: &Namespace, key: &str) -> Self {
        Self::pattern(Pattern::of_shape(namespace.exactly(key)))
    }

    /// Invalidates the values whose keys match a pattern.
    #[cfg_attr(
        not(feature = "values"),
        allow(dead_code, reason = "values are made by features only")
    )]
    pub(crate) fn values(namespace: &Namespace, pattern: &str) -> Result<Self, Error> {
        Ok(Self::pattern(Pattern::of_shape(
            namespace.matching(pattern)?,
        )))
    }

    /// Marks what matches as stale instead of ending its use: it may still be served while it is
    /// refreshed or in place of an error, as far as its policy allows that of a stale response.
    ///
    /// This waives the promise that no response is older than a write that was acknowledged.
    #[must_use]
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// Returns what this matches.
    pub(crate) fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Returns an invalidation of something else to the same effect.
    pub(crate) fn with_selector(&self, selector: Selector) -> Self {
        Self { selector, ..*self }
    }

    /// Returns whether this only marks what matches as stale.
    pub(crate) fn is_soft(&self) -> bool {
        self.soft
    }

    /// Returns the kind of this. A pattern without wildcards is that of a URI.
    pub(crate) fn kind(&self) -> InvalidationKind {
        match &self.selector {
            Selector::Tag(_) => InvalidationKind::Tag,
            Selector::Pattern(pattern) => match pattern.shape() {
                Shape::Path(_) | Shape::PathQuery(..) => InvalidationKind::Uri,
                Shape::Everything => InvalidationKind::Everything,
                _ => InvalidationKind::Pattern,
            },
        }
    }

    fn hard(selector: Selector) -> Self {
        Self {
            selector,
            soft: false,
        }
    }
}

impl From<Pattern> for Invalidation {
    fn from(pattern: Pattern) -> Self {
        Self::pattern(pattern)
    }
}

impl fmt::Display for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.soft {
            f.write_str("soft ")?;
        }
        match &self.selector {
            Selector::Pattern(pattern) => pattern.fmt(f),
            Selector::Tag(tag) => write!(f, "tag {tag:?}"),
        }
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalidation({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_its_path_and_query() {
        let cases = [
            ("/a?b=1", "/a?b=1"),
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("http://example.com/a?b=1#c", "/a?b=1"),
            ("https://example.com:8443", "/"),
            ("https://example.com?q=http://x/y", "/?q=http://x/y"),
            ("/redirect/http://x/y", "/redirect/http://x/y"),
            ("//a/b", "//a/b"),
            ("a/b", "/a/b"),
            ("", "/"),
            ("/a/*/**", "/a/\\*/\\*\\*"),
        ];
        for (uri, expected) in cases {
            assert_eq!(Invalidation::uri(uri).to_string(), expected, "{uri}");
        }
    }

    #[test]
    fn a_text_that_is_no_uri_is_refused() {
        for text in [
            "",
            "not a uri",
            "a/b",
            "ftp://a/b",
            "?q",
            "a://b",
            "mailto:me",
            "*",
        ] {
            let error = Invalidation::parse_uri(text).expect_err(text);
            assert_eq!(error.kind(), crate::ErrorKind::Pattern);
            assert!(error.to_string().contains(text), "{error}");
        }
        for text in [
            "/",
            "/a b",
            "/é?q",
            "//a",
            "/x?to=ftp://y",
            "http://a",
            "HTTPS://a/b?c",
        ] {
            let same = Invalidation::uri(text);
            assert_eq!(Invalidation::parse_uri(text).expect(text), same);
        }
    }

    #[test]
    fn an_invalidation_shows_what_it_is_meant_for() {
        assert_eq!(Invalidation::everything().soft().to_string(), "soft /**");
        assert_eq!(Invalidation::tag("user:1").to_string(), "tag \"user:1\"");
    }
}
