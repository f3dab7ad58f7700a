//! The language of patterns, by which invalidations select paths and queries, and values by their
//! keys: wildcards, templates with captures, and the canonical form in which everything is matched.

mod canonical;
mod glob;
mod namespace;
mod path;
mod shape;
mod tag;
mod template;

use std::fmt;
use std::str::FromStr;

pub(crate) use canonical::{UriPart, canonical, canonical_query};
#[cfg(feature = "redis")]
pub(crate) use glob::write_literal;
pub(crate) use glob::{Glob, Segment, Wild};
pub(crate) use namespace::{Namespace, SEPARATORS};
pub(crate) use shape::Shape;
pub(crate) use tag::TagTemplate;
pub(crate) use template::{Braces, Captures, Template};

use crate::error::Error;

/// A pattern over paths and queries.
///
/// | pattern | matches |
/// |---|---|
/// | `/products/7` | that path, with any query |
/// | `/products/*` | each path one segment below; `*` is any run of characters but `/`, the empty one included |
/// | `/products/**` | `/products`, `/products/` and all below; `**` is any number of whole segments |
/// | `/users/*/orders/**` | the orders of every user |
/// | `/products?page=1` | that path with exactly that query |
/// | `/products?*page=1*` | that path with a query that contains `page=1` |
/// | `/products?` | that path without a query |
/// | `/**` or `**` | everything |
/// | `values:users` | every value in a handler's namespace `users`, and no response |
/// | `values:users?1:*` | those values whose key begins with `1:`; here `*` is any run of characters |
///
/// A backslash makes a character mean itself: `\*`, `\?`, `\{`, `\}`, `\\`. There are no character
/// classes: `[a-z]` is those five characters. To put in text from elsewhere use
/// [`Pattern::escape`].
///
/// Spellings of one URI match alike: `%7E` and `~`, `%2f` and `%2F`, `/a/../b` and `/b`, `é` and
/// `%C3%A9`. An escaped reserved character is not the character: `%2F` is no slash, `%2A` no star.
///
/// A query is matched as the policy of its route leaves it: without the parameters that
/// [`ignore_query`](crate::Policy::ignore_query) and its like leave out, and where their order does not
/// count, in the order of their names.
///
/// Patterns whose only wildcard is a last segment of `*` or `**` cost the same however many there
/// are, and so do those over values whose only wildcard is at the end, behind a `:` or a `/`. Of the
/// others a log keeps a few hundred precisely, and then goes by their literal
/// beginnings, which can invalidate too much but never too little.
///
/// # Examples
///
/// ```
/// use tower_response_cache::Pattern;
///
/// let pattern = Pattern::parse("/users/*/orders/**")?;
/// assert!(pattern.matches("/users/7/orders", None));
/// assert!(pattern.matches("/users/7/orders/1/lines", Some("page=2")));
/// assert!(!pattern.matches("/users/7/8/orders", None));
/// # Ok::<_, tower_response_cache::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Shape);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Pattern`](crate::ErrorKind::Pattern) when the text does not begin with a slash,
    /// when `**` is not a whole segment, when a backslash escapes nothing, and when there is a
    /// brace: only the templates of [`Evict`](crate::Evict) have captures. The message names the
    /// character and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Template::parse(text, Braces::Refuse).map(|template| Self::compile(&template))
    }

    /// Puts a backslash before every character of `text` that means something in a pattern.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_response_cache::Pattern;
    ///
    /// let name = "a*"; // from somewhere else
    /// let pattern = Pattern::parse(&format!("/files/{}", Pattern::escape(name)))?;
    /// assert!(pattern.matches("/files/a*", None));
    /// assert!(!pattern.matches("/files/ab", None));
    /// # Ok::<_, tower_response_cache::Error>(())
    /// ```
    #[must_use]
    pub fn escape(text: &str) -> String {
        let mut escaped = String::with_capacity(text.len());
        for char in text.chars() {
            if matches!(char, '*' | '?' | '{' | '}' | '\\') {
                escaped.push('\\');
            }
            escaped.push(char);
        }
        escaped
    }

    /// Returns whether this matches a path and a query, in whatever spelling. A pattern over values
    /// matches none.
    #[must_use]
    pub fn matches(&self, path: &str, query: Option<&str>) -> bool {
        let query = query.map(canonical_query);
        self.0.matches(&canonical(path), query.as_deref())
    }

    pub(crate) fn everything() -> Self {
        Self(Shape::Everything)
    }

    /// Makes the pattern of one path, with one query or any.
    pub(crate) fn exact(path: &str, query: Option<&str>) -> Self {
        let path = canonical(path).into();
        Self(match query {
            Some(query) => Shape::PathQuery(path, canonical_query(query).into()),
            None => Shape::Path(path),
        })
    }

    pub(crate) fn of_shape(shape: Shape) -> Self {
        Self(shape)
    }

    /// Compiles what was read. A template's captures must have been bound.
    pub(crate) fn compile(template: &Template) -> Self {
        Self(namespace::compile(template).unwrap_or_else(|| path::compile(template)))
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = Error;

    /// Does what [`Pattern::parse`] does.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    /// Writes the pattern in canonical form; parsing that gives an equal pattern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

#[cfg(test)]
mod tests;
