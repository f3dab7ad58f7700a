//! Namespaces of the handlers' own values. To an invalidation, a value has a namespace where a response
//! has its path, and a key where it has its query.
//!
//! A response's path begins with a slash and a namespace's with `values:`, so that no pattern over
//! paths matches a value and none over keys a response. Tags, and an invalidation of everything, hit
//! both.

use super::canonical::{decode, escape_key, escape_namespace};
use super::glob::{Glob, Wild};
use super::shape::Shape;
use super::template::{Template, Token, VALUES};
use crate::error::Error;

/// The characters that end a part of a key. Patterns that end behind a part need no glob.
pub(crate) const SEPARATORS: [char; 2] = [':', '/'];

/// A namespace, as subjects and patterns have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace(Box<str>);

#[cfg_attr(
    not(all(feature = "redis", feature = "values")),
    allow(dead_code, reason = "values are made by features only")
)]
impl Namespace {
    /// The first part of a value's key. No request has such a key: those begin with four bytes.
    pub(crate) const KIND: &str = "value";

    pub(crate) fn new(name: &str) -> Self {
        Self(format!("{VALUES}{}", escape_namespace(name)).into())
    }

    /// Returns what stands where a response has its path.
    pub(crate) fn path(&self) -> &str {
        &self.0
    }

    /// Returns the form in which a key is matched, which stands where a response has its query.
    pub(crate) fn query(key: &str) -> String {
        escape_key(key)
    }

    /// Matches one key.
    pub(crate) fn exactly(&self, key: &str) -> Shape {
        Shape::PathQuery(self.0.clone(), escape_key(key).into())
    }

    /// Reads a pattern over keys.
    pub(crate) fn matching(&self, pattern: &str) -> Result<Shape, Error> {
        let tokens = Template::parse_key(pattern)?;
        Ok(classify(self.0.clone(), wild(&tokens, escape_key)))
    }
}

/// Makes the pattern of a template that names a namespace; `None` where it is one over paths.
pub(super) fn compile(template: &Template) -> Option<Shape> {
    let [Token::Text(path)] = &template.path[..] else {
        return None;
    };
    let path = Namespace::new(&decoded(path.strip_prefix(VALUES)?)).0;
    Some(match &template.query {
        Some(tokens) => classify(path, wild(tokens, |text| escape_key(&decoded(text)))),
        None => Shape::Path(path),
    })
}

/// Undoes the escapes of a pattern that was written as text. What makes no text has none.
fn decoded(text: &str) -> String {
    decode(text).unwrap_or(text.into()).into_owned()
}

/// Makes the pieces between the stars.
fn wild(tokens: &[Token], escape: impl Fn(&str) -> String) -> Wild {
    let mut pieces = vec![String::new()];
    for token in tokens {
        match (token, pieces.last_mut()) {
            (Token::Text(text), Some(piece)) => piece.push_str(text),
            _ => pieces.push(String::new()),
        }
    }
    Wild::new(pieces.iter().map(|piece| escape(piece)).collect())
}

fn classify(path: Box<str>, key: Wild) -> Shape {
    if key.is_star() {
        return Shape::Path(path);
    }
    if let Some(exact) = key.literal() {
        return Shape::PathQuery(path, exact.into());
    }
    match key.prefix() {
        Some(prefix) if prefix.ends_with(SEPARATORS) => Shape::KeyPrefix(path, prefix.into()),
        _ => Shape::Glob(Glob::of_keys(path, key).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_another_wildcard_is_refused() {
        for pattern in ["user:?", "a{b}", "a}", r"a\", r"a\b"] {
            let refused = Namespace::new("users").matching(pattern).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Pattern, "{pattern}");
            assert!(refused.to_string().contains(pattern), "{refused}");
        }
    }
}
