//! The findings of a check.

use std::fmt;

/// The findings of [`check`](super::check()).
///
/// Shown, it is one line for each fault, and nothing where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The faults, each once, in the order in which they were found.
    pub faults: Vec<Fault>,
    /// The things that could not be checked, and why.
    pub notes: Vec<Note>,
}

/// Something wrong with a cached service. Requests are shown as `GET /users/1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// After a write the cache went on answering a read as before, and the handler did not: a rule
    /// is missing in [`Routes::on_write`](crate::Routes::on_write), or a tag.
    Stale {
        /// The read that was answered from before the write.
        read: String,
        /// The write.
        write: String,
    },
    /// A plain request was given the answer to one that carried something which changes answers and
    /// is no part of the key: whoever sends that chooses what others see.
    Unkeyed {
        /// The field's name, or the query's parameter.
        input: String,
        /// The path and query whose answer it changes.
        uri: String,
    },
}

/// Something that a check could not tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// The handler's answer to this read changes without a write; it was not judged.
    Unsteady(String),
    /// This read was never answered from the cache: nothing can be wrong with it, and nothing gained.
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
    /// If something is, with all of it.
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
