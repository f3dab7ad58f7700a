//! Patterns: which paths and queries an invalidation is meant for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

mod canonical;
mod glob;
mod namespace;
mod template;

pub(crate) use canonical::{canonical, canonical_query, decode};
pub(crate) use glob::{Glob, Segment, Wild, write_literal};
pub(crate) use namespace::{Namespace, SEPARATORS};
pub(crate) use template::{Braces, Captures, Template, Token, capture_name, captured, names};

use crate::error::Error;
use canonical::{Part, encode};

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

/// A pattern by the way its matches are found.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Everything,
    /// A path with any query.
    Path(Box<str>),
    /// A path with one query; no query is an empty one.
    PathQuery(Box<str>, Box<str>),
    /// What is one segment below a path.
    Children(Box<str>),
    /// A path and all that is below it.
    Subtree(Box<str>),
    /// The keys of a namespace of values that begin with some whole parts.
    KeyPrefix(Box<str>, Box<str>),
    Glob(Arc<Glob>),
}

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
        if let Some(shape) = namespace::compile(template) {
            return Self(shape);
        }
        let segments = segments(&template.path);
        let query = template.query.as_ref().map(|tokens| wild(tokens));
        // An absent query counts as empty, so a star alone asks nothing of it.
        Self(classify(segments, query.filter(|query| !query.is_star())))
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.0
    }
}

fn classify(segments: Vec<Segment>, query: Option<Wild>) -> Shape {
    let literals = segments.iter().map_while(Segment::literal).count();
    let prefix = || join(&segments[..literals]);
    match (&segments[literals..], query.as_ref().map(Wild::literal)) {
        ([], None) => Shape::Path(prefix()),
        ([], Some(Some(query))) => Shape::PathQuery(prefix(), query.into()),
        ([Segment::Any], None) if literals == 0 => Shape::Everything,
        ([Segment::Any], None) => Shape::Subtree(prefix()),
        ([Segment::Wild(last)], None) if last.is_star() => Shape::Children(prefix()),
        _ => Shape::Glob(Arc::new(Glob::new(segments, query))),
    }
}

fn join(segments: &[Segment]) -> Box<str> {
    let literals = segments.iter().filter_map(Segment::literal);
    literals
        .fold(String::new(), |path, segment| path + "/" + segment)
        .into()
}

/// Splits a path's tokens into segments in canonical form.
fn segments(tokens: &[Token]) -> Vec<Segment> {
    let mut path = PathBuilder::default();
    for token in tokens {
        match token {
            Token::Text(text) => path.text(text),
            Token::Star => path.pieces.push(String::new()),
            Token::Stars => path.any = true,
            Token::Capture(_) => debug_assert!(false, "captures are bound before compiling"),
        }
    }
    path.finish()
}

/// Makes the pieces between the stars of a query, in canonical form.
fn wild(tokens: &[Token]) -> Wild {
    let mut pieces = vec![String::new()];
    for token in tokens {
        match (token, pieces.last_mut()) {
            (Token::Text(text), Some(piece)) => piece.push_str(text),
            _ => pieces.push(String::new()),
        }
    }
    encoded(pieces, Part::Query)
}

fn encoded(pieces: Vec<String>, part: Part) -> Wild {
    let encode = |piece: String| {
        let mut encoded = String::with_capacity(piece.len());
        encode(&piece, part, &mut encoded);
        encoded
    };
    Wild::new(pieces.into_iter().map(encode).collect())
}

#[derive(Default)]
struct PathBuilder {
    segments: Vec<Segment>,
    /// Whether the first slash was met: what comes before it is no segment.
    begun: bool,
    /// The raw pieces between the stars of the segment at hand.
    pieces: Vec<String>,
    /// Whether the segment at hand is `**`.
    any: bool,
}

impl PathBuilder {
    fn text(&mut self, text: &str) {
        for (at, run) in text.split('/').enumerate() {
            if at > 0 {
                self.end_segment(false);
            }
            match self.pieces.last_mut() {
                Some(piece) => piece.push_str(run),
                None => self.pieces.push(run.to_owned()),
            }
        }
    }

    fn finish(mut self) -> Vec<Segment> {
        self.end_segment(true);
        self.segments
    }

    fn end_segment(&mut self, last: bool) {
        let pieces = std::mem::take(&mut self.pieces);
        let any = std::mem::take(&mut self.any);
        if !std::mem::replace(&mut self.begun, true) {
            return;
        }
        let segment = if any {
            Segment::Any
        } else {
            encoded(pieces, Part::Path).into()
        };
        self.push(segment, last);
    }

    /// Adds a segment as RFC 3986 §5.2.4 would: what is matched against has no dot segments.
    fn push(&mut self, segment: Segment, last: bool) {
        let behind_any = self.segments.last() == Some(&Segment::Any);
        match segment.literal() {
            // Whatever `..` would take from `**` is among what `**` covers.
            Some("." | "..") if behind_any => {}
            Some(dots @ ("." | "..")) => {
                if dots == ".." {
                    self.segments.pop();
                }
                if last {
                    self.segments.push(Segment::Literal("".into()));
                }
            }
            None if behind_any && segment == Segment::Any => {}
            _ => self.segments.push(segment),
        }
    }
}

impl Shape {
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
        match &self.0 {
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

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

#[cfg(test)]
mod tests;
