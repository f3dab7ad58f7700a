//! Reading a key again, part by part, in the order in which [`Target`](super::Target) writes it.

use crate::key::KeyRef;
use crate::pattern::canonical;

/// A part of a key; `None` where it is absent.
pub(crate) type Part<'a> = Option<&'a [u8]>;

/// The parts of a key by their meaning.
#[derive(Debug, Default)]
pub(crate) struct KeyLayout<'a> {
    /// Names and values of the headers that are part of every key.
    pub(crate) headers: Vec<[Part<'a>; 2]>,
    pub(crate) scheme: Option<&'a [u8]>,
    pub(crate) authority: Option<&'a [u8]>,
    /// Everything else but path and query.
    pub(crate) other: Vec<Part<'a>>,
}

impl<'a> KeyLayout<'a> {
    /// Takes a key apart. Its canonical `path` says which of the parts is the path.
    pub(crate) fn new(key: KeyRef<'a>, path: &str) -> Self {
        let parts: Vec<Part<'a>> = key.parts().collect();
        let (headers, rest) = split_headers(&parts);
        let uri = find_uri(rest, path);
        let part = |at: usize| rest.get(at).copied().flatten();
        let own = |at: &usize| uri.is_none_or(|uri| !(uri..uri + 4).contains(at));
        Self {
            headers: headers
                .chunks_exact(2)
                .map(|header| [header[0], header[1]])
                .collect(),
            scheme: uri.and_then(part).filter(|scheme| !scheme.is_empty()),
            authority: uri
                .and_then(|uri| part(uri + 1))
                .filter(|authority| !authority.is_empty()),
            other: (0..rest.len()).filter(own).map(|at| rest[at]).collect(),
        }
    }
}

/// A key begins with the number of keyed headers the request has, and their names and values.
fn split_headers<'a, 'b>(parts: &'a [Part<'b>]) -> (&'a [Part<'b>], &'a [Part<'b>]) {
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

/// Finds scheme, authority, path and query: before them may stand the path and query that the handler
/// is shown and what a function was to put in their place, and did not.
fn find_uri(parts: &[Part<'_>], path: &str) -> Option<usize> {
    let is_path = |at: &usize| match parts.get(at + 2) {
        Some(Some(part)) => str::from_utf8(part).is_ok_and(|part| canonical(part) == path),
        _ => false,
    };
    (0..=3).find(is_path)
}
