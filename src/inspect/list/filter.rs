//! The filter, order and page of a listing of stored responses.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::EntryState;
use crate::entry::StoredResponse;
use crate::pattern::Pattern;

/// A filter for stored responses to list; for [`CacheHandle::entries`](crate::CacheHandle::entries).
///
/// A new filter matches everything, and lists the first 50 by path. Each condition narrows it
/// further.
///
/// # Examples
///
/// ```
/// use tower_response_cache::{EntryFilter, EntryOrder, Pattern};
///
/// let largest = EntryFilter::new()
///     .pattern(Pattern::parse("/products/**")?)
///     .tag("catalogue")
///     .order(EntryOrder::Largest)
///     .limit(10);
/// # Ok::<_, tower_response_cache::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct EntryFilter {
    containing: Vec<String>,
    pattern: Option<Pattern>,
    tag: Option<String>,
    status: Option<StatusCode>,
    state: Option<EntryState>,
    order: EntryOrder,
    offset: usize,
    limit: usize,
}

/// The order in which stored responses are listed. Equal ones are listed by path, then by the bytes
/// of their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryOrder {
    /// By path and query, byte for byte.
    #[default]
    Path,
    /// By age, youngest first.
    Newest,
    /// By age, oldest first.
    Oldest,
    /// By memory taken, largest first.
    Largest,
    /// By remaining freshness: those that have been stale for longest first, then those that go stale
    /// soonest.
    Expiring,
}

impl Default for EntryFilter {
    fn default() -> Self {
        Self {
            containing: Vec::new(),
            pattern: None,
            tag: None,
            status: None,
            state: None,
            order: EntryOrder::default(),
            offset: 0,
            limit: 50,
        }
    }
}

impl EntryFilter {
    /// Returns a filter that matches everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires a text in path and query as they are listed: in canonical form, where a space is
    /// `%20`. Given several times, every text has to occur.
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.containing.push(text.into());
        self
    }

    /// Requires a path and a query that match a pattern.
    pub fn pattern(mut self, pattern: Pattern) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Requires a tag, compared byte for byte.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Requires a status code.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Requires a state: fresh, stale or invalidated.
    pub fn state(mut self, state: EntryState) -> Self {
        self.state = Some(state);
        self
    }

    /// Sets the order. The default is [`EntryOrder::Path`].
    pub fn order(mut self, order: EntryOrder) -> Self {
        self.order = order;
        self
    }

    /// Skips the first matches. The default is to skip none.
    ///
    /// Entries that are stored or removed between two pages shift the ones after them.
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Sets the most entries listed. The default is 50.
    ///
    /// The memory that a listing takes grows with the sum of `offset` and `limit`.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the number of entries to keep while scanning, to know which are on the page.
    pub(super) fn room(&self) -> usize {
        match self.limit {
            0 => 0,
            limit => self.offset.saturating_add(limit),
        }
    }

    pub(super) fn skipped(&self) -> usize {
        self.offset
    }

    pub(super) fn order_by(&self) -> EntryOrder {
        self.order
    }

    pub(super) fn lets_through(
        &self,
        uri: &str,
        stored: &StoredResponse,
        state: EntryState,
    ) -> bool {
        let subject = stored.subject();
        let has_tag = |tag: &String| subject.tags().iter().any(|own| **own == **tag);
        let matches = |pattern: &Pattern| pattern.matches(subject.path(), subject.query());
        self.state.is_none_or(|wanted| wanted == state)
            && self.status.is_none_or(|wanted| wanted == stored.status)
            && self.containing.iter().all(|text| uri.contains(&**text))
            && self.tag.as_ref().is_none_or(has_tag)
            && self.pattern.as_ref().is_none_or(matches)
    }
}

impl EntryOrder {
    /// Returns the rank of a stored response: the lower, the earlier it is listed.
    pub(super) fn rank(self, stored: &StoredResponse, now: Instant) -> i64 {
        match self {
            Self::Path => 0,
            Self::Newest => milliseconds(stored.age(now)),
            Self::Oldest => -milliseconds(stored.age(now)),
            Self::Largest => -i64::try_from(stored.size()).unwrap_or(i64::MAX),
            Self::Expiring => {
                milliseconds(stored.lifetime()).saturating_sub(milliseconds(stored.age(now)))
            }
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
