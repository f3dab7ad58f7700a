//! Where something stands in the log.

/// A position in a [`Log`](crate::Log) of invalidations: how many had been recorded so far.
///
/// A fill takes the position *before* it calls the handler, and what it makes is good for as long
/// as nothing that matches is recorded behind that position. Positions only ever grow within one
/// log, and mean nothing in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// Returns the position behind this one.
    pub(super) fn next(self) -> Self {
        // One step for each invalidation: at a billion a second, 580 years.
        Self(self.0 + 1)
    }
}

impl From<u64> for Position {
    fn from(position: u64) -> Self {
        Self(position)
    }
}

impl From<Position> for u64 {
    fn from(position: Position) -> Self {
        position.0
    }
}
