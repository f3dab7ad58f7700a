//! The names under which things are kept in Redis.

use crate::hexadecimal::push_hexadecimal;
use crate::key::KeyRef;

/// The name of a value in Redis. Made of the namespace and digests alone: nothing that a client sends
/// gets into it.
pub(super) type Name = Box<str>;

/// The names of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Names {
    namespace: Box<str>,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
        }
    }

    /// Returns the name of an entry, or of a counter.
    pub(super) fn entry(&self, key: KeyRef<'_>) -> Name {
        self.digested(key, 'e')
    }

    /// Returns the name of the lease of a fill.
    pub(super) fn fill(&self, key: KeyRef<'_>) -> Name {
        self.digested(key, 'f')
    }

    /// Returns the name of the log.
    pub(super) fn log(&self) -> String {
        format!("{{{}}}:L", self.namespace)
    }

    /// Returns the channel on which new invalidations are announced.
    pub(super) fn channel(&self) -> String {
        format!("{{{}}}:P", self.namespace)
    }

    /// Names a key by 128 bits of its digest. The key itself is in the value, and is compared.
    fn digested(&self, key: KeyRef<'_>, kind: char) -> Name {
        let digest = key.digest();
        let mut name = String::with_capacity(self.namespace.len() + 3 + 32);
        name.push_str(&self.namespace);
        name.push(':');
        name.push(kind);
        name.push(':');
        push_hexadecimal(&mut name, &digest[..16]);
        name.into()
    }
}
