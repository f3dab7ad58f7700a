//! The listed facts about a stored response.

use std::time::{Duration, Instant};

use http::{StatusCode, header};

use super::KeyInfo;
use crate::entry::StoredResponse;
use crate::invalidate::Verdict;
use crate::key::KeyRef;

/// A description of a stored response, without its body; from
/// [`CacheHandle::entries`](crate::CacheHandle::entries).
///
/// Everything that comes from clients and handlers (path, query, tags, key) is reported unchanged:
/// treat it like any other input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryInfo {
    uri: String,
    key: KeyInfo,
    status: StatusCode,
    state: EntryState,
    size: usize,
    content_type: Option<String>,
    age: Duration,
    lifetime: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    tags: Vec<String>,
}

/// The state of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryState {
    /// Fresh: its age is less than its freshness lifetime
    /// ([RFC 9111 §4.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2)).
    Fresh,
    /// Stale: it is past its freshness lifetime, or was marked as stale. It has to be validated, and
    /// is served without validation only within its stale windows.
    Stale,
    /// Invalidated: an invalidation has overtaken it, so it is never used again, and its memory is
    /// about to be reclaimed.
    Invalidated,
}

impl EntryState {
    pub(super) fn of(stored: &StoredResponse, verdict: Verdict, now: Instant) -> Self {
        match verdict {
            Verdict::Invalid => Self::Invalidated,
            Verdict::Valid if stored.stale_by(now).is_none() => Self::Fresh,
            Verdict::Valid | Verdict::Soft => Self::Stale,
        }
    }

    /// Returns the state as a word: `fresh`, `stale` or `invalidated`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Invalidated => "invalidated",
        }
    }
}

impl EntryInfo {
    pub(super) fn new(uri: &str, stored: &StoredResponse, state: EntryState, now: Instant) -> Self {
        let content_type = stored.head().get(&header::CONTENT_TYPE);
        Self {
            uri: uri.to_owned(),
            key: KeyInfo::default(),
            status: stored.status,
            state,
            size: stored.size(),
            content_type: content_type.map(|value| String::from_utf8_lossy(value).into_owned()),
            age: stored.age(now),
            lifetime: stored.lifetime(),
            stale_while_revalidate: stored.stale_while_revalidate(),
            stale_if_error: stored.stale_if_error(),
            tags: stored
                .subject()
                .tags()
                .iter()
                .map(|tag| tag.to_string())
                .collect(),
        }
    }

    /// Adds the key, which only entries on the page need: its digest takes time.
    pub(super) fn with_key(self, key: KeyRef<'_>) -> Self {
        Self {
            key: KeyInfo::new(key, &self.uri),
            ..self
        }
    }

    /// Returns the path and the query in canonical form, as invalidations match them.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the parts of its key.
    #[must_use]
    pub fn key(&self) -> &KeyInfo {
        &self.key
    }

    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns its state.
    #[must_use]
    pub fn state(&self) -> EntryState {
        self.state
    }

    /// Returns its approximate size in memory in bytes, without its key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Returns its current age
    /// ([RFC 9111 §4.2.3](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3)).
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns its freshness lifetime
    /// ([RFC 9111 §4.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1)) as the policy set it.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Returns how long after its lifetime it may be served while it is refreshed.
    #[must_use]
    pub fn stale_while_revalidate(&self) -> Duration {
        self.stale_while_revalidate
    }

    /// Returns how long after its lifetime it may be served in place of an error.
    #[must_use]
    pub fn stale_if_error(&self) -> Duration {
        self.stale_if_error
    }

    /// Returns its tags.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.tags
    }
}
