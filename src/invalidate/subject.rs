//! What an invalidation is matched against.

use std::{fmt, mem};

use super::canonical::{canonical, canonical_query};

/// What a stored response answers to: its path and query in canonical form, and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    path: Box<str>,
    query: Option<Box<str>>,
    tags: Box<[Box<str>]>,
}

/// A [`Subject`], borrowed. Its path and query are in canonical form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectRef<'a> {
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) tags: &'a [Box<str>],
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

    /// Returns the bytes this takes on the heap.
    pub(crate) fn size(&self) -> usize {
        let query = self.query.as_ref().map_or(0, |query| query.len());
        let tags: usize = self.tags.iter().map(|tag| tag.len()).sum();
        self.path.len() + query + tags + mem::size_of_val(&*self.tags)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl<'a> SubjectRef<'a> {
    /// Returns the same subject under other tags.
    pub(crate) fn with_tags(self, tags: &'a [Box<str>]) -> Self {
        Self { tags, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_kept_in_canonical_form_and_knows_its_size() {
        let subject = Subject::new("/%61/../b", Some("q=%7e"), [Box::from("t1")]);
        assert_eq!(subject.to_string(), "/b?q=~");
        assert_eq!(subject.borrow().query, Some("q=~"));
        assert_eq!(subject.size(), 2 + 3 + 2 + size_of::<Box<str>>());
        assert!(subject.with_tags([]).tags().is_empty());
    }
}
