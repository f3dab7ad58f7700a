//! Subjects, against which invalidations are matched.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "redis")]
use crate::key::KeyRef;
use crate::pattern::{Namespace, canonical, canonical_query};

/// The path and query of a stored response in canonical form, and its tags; or the namespace of a
/// stored value, its key and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    // Shared: a miss hands its subject on to what it stores.
    path: Arc<str>,
    query: Option<Arc<str>>,
    tags: Box<[Box<str>]>,
}

/// A [`Subject`], borrowed. Its path and query are in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubjectRef<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) tags: &'a [Box<str>],
}

impl Subject {
    /// Makes the subject of a request for `path` and `query`, raw as they came.
    pub(crate) fn new(path: &str, query: Option<&str>, tags: impl Into<Box<[Box<str>]>>) -> Self {
        Self {
            path: canonical(path).into(),
            query: query.map(|query| canonical_query(query).into()),
            tags: tags.into(),
        }
    }

    /// Makes the subject of a value.
    #[cfg_attr(
        not(any(feature = "redis", feature = "values")),
        allow(dead_code, reason = "values are made by features only")
    )]
    pub(crate) fn of_value(
        namespace: &Namespace,
        key: &str,
        tags: impl Into<Box<[Box<str>]>>,
    ) -> Self {
        Self {
            path: namespace.path().into(),
            query: Some(Namespace::query(key).into()),
            tags: tags.into(),
        }
    }

    /// Makes the subject of what is stored under a key, where that is a value's.
    #[cfg(feature = "redis")]
    pub(crate) fn of_value_key(key: KeyRef<'_>, tags: impl Into<Box<[Box<str>]>>) -> Option<Self> {
        let mut parts = key.parts();
        let mut part = || str::from_utf8(parts.next()??).ok();
        let (kind, name, key) = (part()?, part()?, part()?);
        let is_value = kind == Namespace::KIND && parts.next().is_none();
        is_value.then(|| Self::of_value(&Namespace::new(name), key, tags))
    }

    /// Returns the same subject under other tags: a handler names its tags only in its response.
    pub(crate) fn with_tags(self, tags: impl Into<Box<[Box<str>]>>) -> Self {
        Self {
            tags: tags.into(),
            ..self
        }
    }

    /// Borrows this subject for a verdict.
    pub(crate) fn borrow(&self) -> SubjectRef<'_> {
        SubjectRef {
            path: &self.path,
            query: self.query.as_deref(),
            tags: &self.tags,
        }
    }

    /// Returns the tags.
    pub(crate) fn tags(&self) -> &[Box<str>] {
        &self.tags
    }
}

impl fmt::Display for SubjectRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl<'a> SubjectRef<'a> {
    /// Makes a subject of a path and a query that are in canonical form.
    pub(crate) fn new(path: &'a str, query: Option<&'a str>, tags: &'a [Box<str>]) -> Self {
        Self { path, query, tags }
    }

    /// Returns the canonical path.
    pub(crate) fn path(self) -> &'a str {
        self.path
    }

    /// Returns the canonical query.
    pub(crate) fn query(self) -> Option<&'a str> {
        self.query
    }

    /// Returns the tags.
    pub(crate) fn tags(self) -> &'a [Box<str>] {
        self.tags
    }

    /// Returns whether path and query are in canonical form, outside of which nothing matches them.
    #[cfg(feature = "redis")]
    pub(crate) fn is_canonical(self) -> bool {
        let is_canonical = |query| canonical_query(query) == query;
        canonical(self.path) == self.path && self.query.is_none_or(is_canonical)
    }

    pub(crate) fn to_owned(self) -> Subject {
        Subject {
            path: self.path.into(),
            query: self.query.map(Into::into),
            tags: self.tags.into(),
        }
    }

    /// Returns the same subject under other tags.
    pub(crate) fn with_tags(self, tags: &'a [Box<str>]) -> Self {
        Self { tags, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_kept_in_canonical_form() {
        let subject = Subject::new("/%61/../b", Some("q=%7e"), [Box::from("t1")]);
        assert_eq!(subject.borrow().to_string(), "/b?q=~");
        assert_eq!(subject.borrow().query, Some("q=~"));
        assert!(subject.with_tags([]).tags().is_empty());
    }
}
