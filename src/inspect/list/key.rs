//! Taking a key apart again, to show what it is made of.

use crate::hexadecimal::hexadecimal;
use crate::key::KeyRef;
use crate::target::KeyLayout;

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

impl KeyInfo {
    /// Takes a key apart. `uri` tells which of its parts is the path.
    pub(super) fn new(key: KeyRef<'_>, uri: &str) -> Self {
        let path = uri.split_once('?').map_or(uri, |(path, _)| path);
        let layout = KeyLayout::new(key, path);
        Self {
            digest: hexadecimal(&key.digest()),
            scheme: layout.scheme.map(text),
            authority: layout.authority.map(text),
            fields: layout
                .headers
                .into_iter()
                .map(|[name, value]| (shown(name), shown(value)))
                .collect(),
            other: layout.other.into_iter().map(shown).collect(),
        }
    }
}

fn shown(part: Option<&[u8]>) -> String {
    part.map_or_else(|| "(none)".into(), text)
}

fn text(part: &[u8]) -> String {
    match str::from_utf8(part) {
        Ok(text) if !text.chars().any(char::is_control) => text.into(),
        _ => format!("0x{}", hexadecimal(part)),
    }
}
