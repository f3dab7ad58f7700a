use std::time::Duration;

/// How a store is; from [`Store::health`](crate::Store::health).
///
/// The default is that of a store that cannot fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreHealth {
    /// Whether it works.
    pub state: StoreState,
    /// What is wrong, for people to read.
    pub detail: Option<String>,
    /// Whether it is left alone for a while because it failed too often.
    pub breaker_open: bool,
    /// How often its log of invalidations was found to be another one since the store was made, so
    /// that everything stored before counted as invalidated.
    pub epoch_changes: u64,
    /// For how long after an acknowledged write an older response may be served, as things are now;
    /// zero where that never happens.
    pub staleness_bound: Duration,
    /// Invalidations of this node that are not acknowledged by all who have to know of them.
    pub pending_invalidations: u64,
    /// Invalidations since the store was made that were not acknowledged at first. They have been
    /// recorded since, but for those that are still pending.
    pub unacknowledged_invalidations: u64,
    /// Values found in the store that were damaged, or not of this crate's making, and were removed.
    pub values_refused: u64,
    /// Responses left out because too many were on their way to the store.
    pub values_left_out: u64,
    /// How long its last answer took; `None` where it never has to be waited for.
    pub latency: Option<Duration>,
}

/// Whether a store works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreState {
    /// It does all it is there for.
    #[default]
    Up,
    /// It does a part of it: it answers from memory alone, or is slow, or catching up.
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
