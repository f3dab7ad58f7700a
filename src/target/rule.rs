//! The key rule: the share of a request in its key.

use std::fmt;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::identity::Naming;
use super::query::QueryRule;
use crate::key::KeyBuilder;
use crate::semantics::no_vary_search;
use crate::semantics::vary;

/// A route's key rule: the query's share of the key, and what is added to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRule {
    pub(crate) query: QueryRule,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) cookies: Vec<String>,
    pub(crate) parts: Vec<KeyPart>,
    pub(crate) replacement: Option<KeyPart>,
}

/// The tag of every response that is stored on a route whose policy replaces the key.
///
/// Nobody can say without a request which URIs such a policy counts as the same. So an invalidation of
/// one of them is one of all.
pub(crate) const REPLACED_KEY: &str = "replaced-key";

/// A part of a key computed by the operator's function.
#[derive(Clone)]
pub(crate) struct KeyPart(pub(crate) Naming);

impl KeyRule {
    /// Asks the operator's function for what stands in the key in place of scheme, authority, path
    /// and query. `None` where there is no such function.
    pub(super) fn replacement(&self, request: &Parts) -> Option<Option<String>> {
        self.replacement.as_ref().map(|part| part.0(request))
    }

    /// Writes the headers, the cookies and the parts that this rule adds to the key of a request.
    pub(super) fn write_additions(&self, request: &Parts, key: &mut KeyBuilder) {
        for name in &self.headers {
            let values = request.headers.get_all(name);
            key.part(name.as_str().as_bytes())
                .count(values.iter().count());
            for value in values {
                write_value(name, value, key);
            }
        }
        for name in &self.cookies {
            let digest = cookie_digest(request, name);
            key.part(name.as_bytes())
                .optional(digest.as_ref().map(|digest| &digest[..]));
        }
        for part in &self.parts {
            key.optional(part.0(request).as_deref().map(str::as_bytes));
        }
    }
}

/// Writes a request field's value into a key: credentials as their SHA-256 digest, for keys are listed
/// and written to other processes.
pub(super) fn write_value(name: &HeaderName, value: &HeaderValue, key: &mut KeyBuilder) {
    match vary::sensitive(name) {
        true => key.part(&Sha256::digest(value)),
        false => key.part(value.as_bytes()),
    };
}

/// Returns a digest of what a request's cookies of one name say; `None` where it has none.
///
/// Handlers differ in which they take of several, and some trim and decode names
/// ([RFC 6265 §4.2.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.2.1) wants neither of clients).
/// So all that any of them could take for this cookie counts, in its own spelling where that is not
/// the usual one.
fn cookie_digest(request: &Parts, name: &str) -> Option<[u8; 32]> {
    let lines = request.headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut found = pairs.map(<[u8]>::trim_ascii).filter(|pair| {
        let named = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        *no_vary_search::unescaped(named.trim_ascii()) == *name.as_bytes()
    });
    let first = found.next()?;
    let mut found = found.peekable();
    let usual = |pair: &'_ [u8]| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(Sha256::digest(value).into())
    };
    if let (Some(digest), None) = (usual(first), found.peek()) {
        return Some(digest);
    }
    // Their lengths hold bytes that no value can: no single value has this digest.
    let mut digest = Sha256::new();
    for pair in std::iter::once(first).chain(found) {
        digest.update((pair.len() as u64).to_be_bytes());
        digest.update(pair);
    }
    Some(digest.finalize().into())
}

impl fmt::Debug for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPart(..)")
    }
}
