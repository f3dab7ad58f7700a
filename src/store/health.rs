//! How well a store works.

use std::time::Duration;

/// How well a store works; from [`Store::health`](crate::Store::health).
///
/// The default is the health of a store that cannot fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreHealth {
    /// The state in short.
    pub state: StoreState,
    /// The problem, for people to read.
    pub detail: Option<String>,
    /// Set while the store is not asked because it failed too often.
    pub breaker_open: bool,
    /// How often its log of invalidations turned out to be another one since the store was made, so
    /// that everything stored before counted as invalidated.
    pub epoch_changes: u64,
    /// How long after an acknowledged write an older response may be served at present; zero where
    /// that never happens.
    pub staleness_bound: Duration,
    /// Invalidations of this node that are not recorded yet where other nodes see them.
    pub pending_invalidations: u64,
    /// Invalidations that were not acknowledged at first, since the store was made. All but those that
    /// are still pending have been recorded since.
    pub unacknowledged_invalidations: u64,
    /// Values found in the store that were damaged or not written by this crate, and were removed.
    pub values_refused: u64,
    /// Responses not stored because too many were on their way to the store.
    pub values_left_out: u64,
    /// How long its latest answer took; `None` for a store that answers at once.
    pub latency: Option<Duration>,
}

/// The state of a store in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreState {
    /// It works.
    #[default]
    Up,
    /// It works in part: it answers from memory alone, is slow, or is catching up.
    Degraded,
    /// It does not answer. Requests go to the handlers.
    Down,
}

impl StoreState {
    pub(crate) const ALL: [Self; 3] = [Self::Up, Self::Degraded, Self::Down];

    /// Returns the state in a word: `up`, `degraded` or `down`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}
