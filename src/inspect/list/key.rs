//! Taking a key apart again, to show what it is made of.

use crate::hexadecimal::hexadecimal;
use crate::key::KeyRef;
use crate::pattern::canonical;

/// What a key is made of.
///
/// Credentials that are part of a key stand in it as digests. What the operator's own functions
/// add, such as the name of a partition, stands in it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// The key's SHA-256 digest in hexadecimal, as [`Explanation::key`](crate::Explanation::key)
    /// tells it for what is stored without `Vary`.
    pub digest: String,
    /// The scheme of the request target, if it named one, as over HTTP/2.
    pub scheme: Option<String>,
    /// Where the request went: the target's authority, or its `Host`.
    pub authority: Option<String>,
    /// The request fields that are part of every key when present.
    pub fields: Vec<(String, String)>,
    /// All else: what the policy adds, and the names and values that `Vary` selects by. Bytes that are
    /// no text are told in hexadecimal behind `0x`.
    pub other: Vec<String>,
}

type Part<'a> = Option<&'a [u8]>;

impl KeyInfo {
    /// Takes a key apart. `uri` tells which of its parts is the path.
    pub(super) fn new(key: KeyRef<'_>, uri: &str) -> Self {
        let parts: Vec<Part<'_>> = key.parts().collect();
        let (fields, rest) = split_fields(&parts);
        let path = uri.split_once('?').map_or(uri, |(path, _)| path);
        let target = target(rest, path);
        let text_of = |at: usize| rest.get(at).copied().flatten().map(text);
        let own = |at: &usize| target.is_none_or(|target| !(target..target + 4).contains(at));
        Self {
            digest: hexadecimal(&key.digest()),
            scheme: target.and_then(text_of).filter(|scheme| !scheme.is_empty()),
            authority: target
                .and_then(|target| text_of(target + 1))
                .filter(|authority| !authority.is_empty()),
            fields: fields
                .chunks_exact(2)
                .map(|field| (shown(field[0]), shown(field[1])))
                .collect(),
            other: (0..rest.len())
                .filter(own)
                .map(|at| shown(rest[at]))
                .collect(),
        }
    }
}

/// A key begins with the number of keyed fields the request has, and their names and values.
fn split_fields<'a, 'b>(parts: &'a [Part<'b>]) -> (&'a [Part<'b>], &'a [Part<'b>]) {
    let Some((Some(count), rest)) = parts.split_first() else {
        return (&[], parts);
    };
    let fields = <[u8; 4]>::try_from(*count)
        .ok()
        .and_then(|count| usize::try_from(u32::from_le_bytes(count)).ok())
        .and_then(|count| count.checked_mul(2));
    fields
        .and_then(|fields| rest.split_at_checked(fields))
        .unwrap_or((&[], parts))
}

/// Finds scheme, authority, path and query: before them may stand the path that the handler is
/// shown and what a function was to put in their place, and did not.
fn target(parts: &[Part<'_>], path: &str) -> Option<usize> {
    let is_path = |at: &usize| match parts.get(at + 2) {
        Some(Some(part)) => str::from_utf8(part).is_ok_and(|part| canonical(part) == path),
        _ => false,
    };
    (0..=2).find(is_path)
}

fn shown(part: Part<'_>) -> String {
    part.map_or_else(|| "(none)".into(), text)
}

fn text(part: &[u8]) -> String {
    match str::from_utf8(part) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => format!("0x{}", hexadecimal(part)),
    }
}
