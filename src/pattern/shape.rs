//! Patterns by the way their matches are found.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::glob::{Glob, write_literal};

/// A pattern by the way its matches are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Everything,
    /// A path with any query.
    Path(Box<str>),
    /// A path with one query; no query is an empty one.
    PathQuery(Box<str>, Box<str>),
    /// The paths one segment below a path.
    Children(Box<str>),
    /// A path and everything below it.
    Subtree(Box<str>),
    /// The keys of a namespace of values that begin with some whole parts.
    KeyPrefix(Box<str>, Box<str>),
    Glob(Arc<Glob>),
}

impl Shape {
    /// Returns the text with which every path begins that this matches; `None` for a pattern over
    /// values.
    pub(crate) fn literal_beginning(&self) -> Option<Cow<'_, str>> {
        let beginning = match self {
            Self::Everything => return Some("".into()),
            Self::Path(path) | Self::PathQuery(path, _) => Cow::from(&**path),
            Self::Children(root) | Self::Subtree(root) => Cow::from(&**root),
            Self::KeyPrefix(..) => return None,
            Self::Glob(glob) if glob.namespace().is_some() => return None,
            Self::Glob(glob) => glob.literal_prefix().unwrap_or_default().into(),
        };
        // The path of a namespace begins with no slash.
        (beginning.is_empty() || beginning.starts_with('/')).then_some(beginning)
    }

    /// Returns whether this matches a path and query in canonical form.
    pub(crate) fn matches(&self, path: &str, query: Option<&str>) -> bool {
        match self {
            Self::Everything => true,
            Self::Path(exact) => path == &**exact,
            Self::PathQuery(exact, wanted) => path == &**exact && query.unwrap_or("") == &**wanted,
            Self::Children(parent) => path.rsplit_once('/').is_some_and(|(up, _)| up == &**parent),
            Self::Subtree(root) => path
                .strip_prefix(&**root)
                .is_some_and(|below| below.is_empty() || below.starts_with('/')),
            Self::KeyPrefix(namespace, prefix) => {
                path == &**namespace && query.unwrap_or("").starts_with(&**prefix)
            }
            Self::Glob(glob) => glob.matches(path, query),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Everything => f.write_str("/**"),
            Shape::Path(path) => write_literal(path, f),
            Shape::PathQuery(path, query) => {
                write_literal(path, f)?;
                f.write_str("?")?;
                write_literal(query, f)
            }
            Shape::Children(parent) => {
                write_literal(parent, f)?;
                f.write_str("/*")
            }
            Shape::Subtree(root) => {
                write_literal(root, f)?;
                f.write_str("/**")
            }
            Shape::KeyPrefix(namespace, prefix) => {
                write_literal(namespace, f)?;
                f.write_str("?")?;
                write_literal(prefix, f)?;
                f.write_str("*")
            }
            Shape::Glob(glob) => glob.fmt(f),
        }
    }
}
