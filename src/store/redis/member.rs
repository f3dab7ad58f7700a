//! Invalidations as members of a Redis sorted set: short byte strings, one for each.
//!
//! The first byte is `h` or `s`, for hard or soft; the second `p` or `t`, for a pattern or a tag. The
//! text follows, a pattern's in canonical form, so that an invalidation has one member however it was
//! spelled. No member of the log's own begins with either letter.

use std::fmt;

use crate::invalidate::{Invalidation, Selector};
use crate::pattern::{Pattern, Shape, write_literal};

/// The longest member. Text captured from requests must not decide how much memory a log takes.
const LONGEST: usize = 512;

/// The longest text.
const LONGEST_TEXT: usize = LONGEST - 2;

const HARD: u8 = b'h';
const SOFT: u8 = b's';
const PATTERN: u8 = b'p';
const TAG: u8 = b't';

const SUBTREE: &str = "/**";

/// Writes an invalidation as a member.
///
/// A member has at most 512 bytes. An invalidation that takes more is coarsened, which can invalidate too
/// much but never too little: a path with a query loses its query, a namespace of values with a key the
/// key, a path its last segments, a glob everything behind its literal beginning. A tag that long stands
/// for everything.
pub(crate) fn to_member(invalidation: &Invalidation) -> Vec<u8> {
    let (kind, text) = match invalidation.selector() {
        Selector::Tag(tag) if tag.len() <= LONGEST_TEXT => (TAG, tag.to_string()),
        Selector::Tag(_) => (PATTERN, SUBTREE.to_owned()),
        Selector::Pattern(pattern) => (PATTERN, text_of(pattern)),
    };
    let strength = match invalidation.is_soft() {
        true => SOFT,
        false => HARD,
    };
    [&[strength, kind], text.as_bytes()].concat()
}

/// Reads a member. One that is not understood invalidates everything: a newer release wrote it, and for
/// something.
pub(crate) fn from_member(member: &[u8]) -> Invalidation {
    parse(member).unwrap_or_else(Invalidation::everything)
}

fn parse(member: &[u8]) -> Option<Invalidation> {
    let (&[strength, kind], text) = member.split_first_chunk()?;
    let text = str::from_utf8(text).ok()?;
    let invalidation = match kind {
        _ if text.len() > LONGEST_TEXT => return None,
        PATTERN => Invalidation::pattern(Pattern::parse(text).ok()?),
        TAG => Invalidation::tag(text),
        _ => return None,
    };
    match strength {
        HARD => Some(invalidation),
        SOFT => Some(invalidation.soft()),
        _ => None,
    }
}

/// Writes a pattern, or one that matches all that it does.
fn text_of(pattern: &Pattern) -> String {
    let text = pattern.to_string();
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    match pattern.shape() {
        Shape::Everything => SUBTREE.to_owned(),
        Shape::Path(path) | Shape::PathQuery(path, _) | Shape::KeyPrefix(path, _) => {
            path_or_subtree(path)
        }
        Shape::Children(root) | Shape::Subtree(root) => subtree(root),
        Shape::Glob(glob) => {
            let prefix = glob.literal_prefix().unwrap_or_default();
            match glob.has_literal_path() {
                true => path_or_subtree(&prefix),
                false => subtree(&prefix),
            }
        }
    }
}

fn path_or_subtree(path: &str) -> String {
    let text = Literal(path).to_string();
    match text.len() <= LONGEST_TEXT {
        true => text,
        false => subtree(path),
    }
}

/// Writes the subtree of a path, or of the longest path above it that leaves room. That of the empty
/// path is everything.
fn subtree(path: &str) -> String {
    let root = beginning(path, LONGEST_TEXT - SUBTREE.len());
    format!("{}{SUBTREE}", Literal(root))
}

/// Returns as many leading segments of a path as can be written in `most` bytes.
fn beginning(path: &str, most: usize) -> &str {
    let (mut written, mut end) = (0, 0);
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            end = at;
        }
        // A star is written behind a backslash.
        written += if byte == b'*' { 2 } else { 1 };
        if written > most {
            return &path[..end];
        }
    }
    path
}

/// Canonical text as it is written in a pattern.
struct Literal<'a>(&'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_literal(self.0, f)
    }
}

#[cfg(test)]
mod tests;
