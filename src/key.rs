//! Which requests share stored responses.
//!
//! A key is a list of parts (scheme, authority, raw path, raw query, then whatever the policy adds),
//! each with its length before it, so that no two lists of parts make the same bytes. In memory a
//! key is found by a 64-bit hash, seeded anew in every process, and then compared byte for byte;
//! outside the process it is named by its SHA-256 digest and compared there too.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

/// The key of a stored response, owned. A clone shares the bytes: a miss needs the key in the table of
/// handler calls, with its leader and in the store.
#[derive(Clone)]
pub struct Key {
    hash: u64,
    bytes: Arc<[u8]>,
}

/// A key on its way to a lookup: borrowed, and free to copy.
#[derive(Clone, Copy)]
pub struct KeyRef<'a> {
    hash: u64,
    bytes: &'a [u8],
}

/// Writes a key part by part, on the stack for keys of ordinary length.
#[derive(Debug)]
pub(crate) struct KeyBuilder {
    short: [u8; SHORT],
    /// How many bytes of `short` are written.
    written: usize,
    /// All of the key, once it is too long for `short`.
    long: Vec<u8>,
}

/// The length of keys that take no allocation.
const SHORT: usize = 256;

impl Key {
    /// Borrows this key for a lookup.
    #[must_use]
    pub fn borrow(&self) -> KeyRef<'_> {
        KeyRef {
            hash: self.hash,
            bytes: &self.bytes,
        }
    }

    /// Returns the key's bytes: every part behind its length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the bytes of a key that was made in another process.
    #[cfg(feature = "redis")]
    pub(crate) fn from_bytes(bytes: Box<[u8]>) -> Self {
        Self {
            hash: seed().hash_one(&*bytes),
            bytes: bytes.into(),
        }
    }
}

impl<'a> KeyRef<'a> {
    /// Returns the key's bytes: every part behind its length.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the hash of the bytes. It is seeded per process: never let it leave.
    #[must_use]
    pub fn hash64(self) -> u64 {
        self.hash
    }

    /// Returns the SHA-256 digest of the bytes, to name the key outside this process.
    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        Sha256::digest(self.bytes).into()
    }

    /// Returns the parts that were written, to show them: `None` for one that is absent.
    pub(crate) fn parts(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let length = u32::from_le_bytes(*length);
            let (part, behind) = match length {
                u32::MAX => (None, behind),
                // A key that was not written part by part has its remains returned as one.
                length => match behind.split_at_checked(length as usize) {
                    Some((part, behind)) => (Some(part), behind),
                    None => (Some(rest), &[][..]),
                },
            };
            rest = behind;
            Some(part)
        })
    }

    /// Copies the key. Costs one allocation.
    #[must_use]
    pub fn to_owned(self) -> Key {
        Key {
            hash: self.hash,
            bytes: self.bytes.into(),
        }
    }

    #[cfg(any(feature = "testing", test))]
    pub(crate) fn with_hash(bytes: &'a [u8], hash: u64) -> Self {
        Self { hash, bytes }
    }
}

impl KeyBuilder {
    /// Adds one part.
    pub(crate) fn part(&mut self, part: &[u8]) -> &mut Self {
        self.append_part(part);
        self
    }

    /// Adds one part in lower case (an authority, a scheme).
    pub(crate) fn part_lowercase(&mut self, part: &[u8]) -> &mut Self {
        self.append_part(part).make_ascii_lowercase();
        self
    }

    /// Adds one part that may be absent; an absent part differs from an empty one.
    pub(crate) fn optional(&mut self, part: Option<&[u8]>) -> &mut Self {
        match part {
            Some(part) => self.part(part),
            None => {
                let absent = u32::MAX.to_le_bytes();
                self.append(absent.len()).copy_from_slice(&absent);
                self
            }
        }
    }

    /// Adds how many parts follow where their number is the request's to choose, so that the last of
    /// them is never taken for what comes behind.
    pub(crate) fn count(&mut self, parts: usize) -> &mut Self {
        // As many as there are lines in a request head.
        self.part(&(parts as u32).to_le_bytes())
    }

    /// Goes on from an existing key: a variant's key begins with the key it is a variant of.
    pub(crate) fn extend(key: KeyRef<'_>) -> Self {
        let mut builder = Self::default();
        builder.append(key.bytes.len()).copy_from_slice(key.bytes);
        builder
    }

    /// Returns the key that has been written so far.
    pub(crate) fn key(&self) -> KeyRef<'_> {
        KeyRef {
            hash: seed().hash_one(self.bytes()),
            bytes: self.bytes(),
        }
    }

    /// Appends a part behind its length, and returns it.
    #[inline]
    fn append_part(&mut self, part: &[u8]) -> &mut [u8] {
        // A part of 4 GiB cannot come out of a request head.
        let length = (part.len() as u32).to_le_bytes();
        let appended = self.append(length.len() + part.len());
        let (first, rest) = appended.split_at_mut(length.len());
        first.copy_from_slice(&length);
        rest.copy_from_slice(part);
        rest
    }

    /// Makes room for so many bytes more, and returns it.
    #[inline]
    fn append(&mut self, bytes: usize) -> &mut [u8] {
        let (start, end) = (self.written, self.written + bytes);
        if end <= SHORT && self.long.is_empty() {
            self.written = end;
            &mut self.short[start..end]
        } else {
            self.append_long(bytes)
        }
    }

    #[cold]
    fn append_long(&mut self, bytes: usize) -> &mut [u8] {
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short[..self.written]);
        }
        let start = self.long.len();
        self.long.resize(start + bytes, 0);
        &mut self.long[start..]
    }

    fn bytes(&self) -> &[u8] {
        match self.long.is_empty() {
            true => &self.short[..self.written],
            false => &self.long,
        }
    }
}

impl Default for KeyBuilder {
    fn default() -> Self {
        Self {
            short: [0; SHORT],
            written: 0,
            long: Vec::new(),
        }
    }
}

fn seed() -> &'static foldhash::quality::RandomState {
    static SEED: OnceLock<foldhash::quality::RandomState> = OnceLock::new();
    SEED.get_or_init(foldhash::quality::RandomState::default)
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.borrow() == other.borrow()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for KeyRef<'_> {}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq<Key> for KeyRef<'_> {
    fn eq(&self, other: &Key) -> bool {
        *self == other.borrow()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

impl fmt::Debug for KeyRef<'_> {
    /// Shows the digest's beginning: the key itself may hold what a log must not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest();
        f.write_str("Key(")?;
        for byte in &digest[..6] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

/// Hands a key's own hash to a hash map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher;

/// See [`KeyHasher`].
#[derive(Debug, Default)]
pub(crate) struct PassThrough(u64);

impl BuildHasher for KeyHasher {
    type Hasher = PassThrough;

    fn build_hasher(&self) -> PassThrough {
        PassThrough(0)
    }
}

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only keys are hashed with this hasher, and a key writes one u64; anything else is folded
        // in so that a mistake is slow rather than wrong.
        for byte in bytes {
            self.0 = self.0.rotate_left(5) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[Option<&str>]) -> Key {
        let mut builder = KeyBuilder::default();
        for part in parts {
            builder.optional(part.map(str::as_bytes));
        }
        builder.key().to_owned()
    }

    #[test]
    fn parts_never_run_into_each_other() {
        assert_ne!(key(&[Some("ab"), Some("c")]), key(&[Some("a"), Some("bc")]));
        assert_ne!(key(&[Some("")]), key(&[None]));
        assert_ne!(key(&[Some(""), Some("")]), key(&[Some("")]));
        assert_eq!(key(&[Some("a"), None]), key(&[Some("a"), None]));
    }

    #[test]
    fn a_key_comes_apart_into_its_parts() {
        let parts = [Some("a"), None, Some(""), Some("bc")];
        let key = key(&parts);
        let apart: Vec<_> = key.borrow().parts().collect();
        assert_eq!(apart, parts.map(|part| part.map(str::as_bytes)));
        let torn = KeyRef::with_hash(&[9, 0, 0, 0, b'x'], 0);
        let apart: Vec<_> = torn.parts().collect();
        assert_eq!(apart, [Some(&[9, 0, 0, 0, b'x'][..])]);
    }

    #[test]
    fn a_key_is_the_same_on_the_stack_and_on_the_heap() {
        for long in [0, 240, 248, 249, 252, 253, 300] {
            let text = "x".repeat(long);
            let mut at_once = Vec::from((long as u32).to_le_bytes());
            at_once.extend(text.as_bytes());
            at_once.extend(3_u32.to_le_bytes());
            at_once.extend(b"abc");
            let mut builder = KeyBuilder::default();
            builder.part(text.as_bytes()).part_lowercase(b"aBc");
            assert_eq!(builder.key().as_bytes(), at_once, "{long}");
            let extended = KeyBuilder::extend(builder.key());
            assert_eq!(extended.key(), builder.key());
        }
    }

    #[test]
    fn keys_of_equal_hash_are_told_apart_by_their_bytes() {
        let one = KeyRef::with_hash(b"one", 7).to_owned();
        let two = KeyRef::with_hash(b"two", 7).to_owned();
        assert_ne!(one, two);
        assert_ne!(one.borrow(), two.borrow());
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_key_that_was_elsewhere_is_the_same_key() {
        let here = key(&[Some("a"), None]);
        let back = Key::from_bytes(here.as_bytes().into());
        assert_eq!(back, here);
        assert_eq!(back.borrow().hash64(), here.borrow().hash64());
    }

    #[test]
    fn a_part_in_lower_case_equals_its_upper_case_spelling() {
        let mut upper = KeyBuilder::default();
        upper.part_lowercase(b"EXAMPLE.com");
        let mut lower = KeyBuilder::default();
        lower.part_lowercase(b"example.COM");
        assert_eq!(upper.key(), lower.key());
    }

    #[test]
    fn debug_output_shows_no_part_of_the_request() {
        let shown = format!("{:?}", key(&[Some("secret-token")]));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
