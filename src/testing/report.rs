//! The report of a check.

use std::fmt;

/// The findings of [`check`](super::check()).
///
/// It displays as one line per fault, and as nothing if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The faults, each once, in the order in which they were found.
    pub faults: Vec<Fault>,
    /// Notes on what could not be judged, and why.
    pub notes: Vec<Note>,
}

/// A fault of a cached service. Requests are shown as `GET /users/1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A stale response: after a write the cache still served the old response to a read, and the
    /// handler did not. A rule in [`Routes::on_write`](crate::Routes::on_write), or a tag, is missing.
    Stale {
        /// The read whose response was stale.
        read: String,
        /// The write.
        write: String,
    },
    /// An unkeyed input: a plain request got the response to one that carried an input which changes
    /// responses but is not part of the key. Whoever sends that input chooses what others see.
    Unkeyed {
        /// The field's name, or the query's parameter.
        input: String,
        /// The path and query whose response it changes.
        uri: String,
    },
}

/// A note on something that a check could not judge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// The handler's response to this read changes without a write, so it was not judged.
    Unsteady(String),
    /// This read was never answered from the cache: it cannot be stale, but gains nothing either.
    NeverStored(String),
    /// This write never succeeded, so it did not show what it should evict.
    NeverSucceeded(String),
}

impl Report {
    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Asserts that nothing is wrong.
    ///
    /// # Panics
    ///
    /// Panics if there are faults, and shows them all.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "the cached service is at fault:\n{self}");
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults
            .iter()
            .try_for_each(|fault| writeln!(f, "{fault}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { read, write } => write!(f, "{read} was stale after {write}"),
            Self::Unkeyed { input, uri } => write!(f, "unkeyed input: {input} changes {uri}"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsteady(read) => write!(f, "{read} changes without a write"),
            Self::NeverStored(read) => write!(f, "{read} was never answered from the cache"),
            Self::NeverSucceeded(write) => write!(f, "{write} never succeeded"),
        }
    }
}
