//! Splitting a key into its parts, for display.

use crate::hexadecimal::hexadecimal;
use crate::key::KeyRef;
use crate::target::KeyLayout;

/// The parts of a key.
///
/// Credentials that are part of a key, and the name of a partition, appear as SHA-256 digests: so they
/// are stored. What `key_part` and `replace_key_with` return appears unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// The key's SHA-256 digest in hexadecimal. For a response stored without `Vary` it equals
    /// [`Explanation::key`](crate::Explanation::key).
    pub digest: String,
    /// The scheme of the request target, where it is not the usual one; see
    /// [`CacheLayerBuilder::scheme`](crate::CacheLayerBuilder::scheme).
    pub scheme: Option<String>,
    /// The authority of the request target, or its `Host`.
    pub authority: Option<String>,
    /// The request fields that are part of every key when present.
    pub fields: Vec<(String, String)>,
    /// All other parts: those that the policy adds, and the names and values that `Vary` selects by.
    /// Bytes that are not text appear in hexadecimal after `0x`.
    pub other: Vec<String>,
}

impl KeyInfo {
    /// Splits a key into its parts. `uri` shows which of them is the path.
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
