//! The headers that select among several responses stored for one key, and those responses.

use std::mem;

use http::header::{self, HeaderName, HeaderValue};

use crate::key::Key;

/// The fields that select among the responses stored for one key, and the responses known.
///
/// The names are the union of all `Vary` fields seen for the key, so that a response stored when
/// less was nominated never answers a request it was not selected for.
#[derive(Clone, Debug, Default)]
pub struct Variants {
    pub(crate) names: Vec<HeaderName>,
    /// The oldest first; bounded by the policy.
    pub(crate) known: Vec<Variant>,
}

/// More names than this for one key come from an origin that makes them up: each costs work in every
/// lookup.
pub(crate) const MOST_NAMES: usize = 32;

/// One of the responses stored for a key.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) key: Key,
    /// The key of what was selected apart from the language, where the language selects.
    pub(crate) any_language: Option<Key>,
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) content_language: Option<HeaderValue>,
}

impl Variants {
    /// Adds names to those that select. If any is new, the responses stored without it are dropped and
    /// returned. Where the names get too many, it starts over with the new ones.
    pub(crate) fn nominate(&mut self, names: &[HeaderName]) -> Vec<Variant> {
        let before = self.names.len();
        for name in names {
            if !self.names.contains(name) {
                self.names.push(name.clone());
            }
        }
        let added = self.names.len() > before;
        if self.names.len() > MOST_NAMES {
            self.names = names.to_vec();
        }
        self.names
            .sort_by(|one, other| one.as_str().cmp(other.as_str()));
        match added {
            false => Vec::new(),
            true => mem::take(&mut self.known),
        }
    }

    /// Returns whether the responses say the same in other forms, as far as the fields that select
    /// them tell ([RFC 9110 §12.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.1)).
    pub(crate) fn differ_in_negotiation_alone(&self) -> bool {
        let is_negotiation = |name: &HeaderName| {
            matches!(
                *name,
                header::ACCEPT | header::ACCEPT_ENCODING | header::ACCEPT_LANGUAGE
            )
        };
        self.names.iter().all(is_negotiation)
    }

    /// Adds a response to those known, and returns the one that has to go for it.
    pub(crate) fn add(&mut self, variant: Variant, most: usize) -> Option<Variant> {
        self.known.retain(|known| known.key != variant.key);
        self.known.push(variant);
        (self.known.len() > most).then(|| self.known.remove(0))
    }

    /// Returns about how many bytes this takes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let value = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let key = |key: &Option<Key>| key.as_ref().map_or(0, |key| key.as_bytes().len());
        let known: usize = self
            .known
            .iter()
            .map(|variant| {
                mem::size_of::<Variant>()
                    + variant.key.as_bytes().len()
                    + key(&variant.any_language)
                    + value(&variant.etag)
                    + value(&variant.content_language)
            })
            .sum();
        mem::size_of::<Self>() + known + self.names.len() * (mem::size_of::<HeaderName>() + 16)
    }
}
