//! For whom a stored response may be used.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;

/// For whom a stored response may be used.
#[derive(Clone)]
pub(crate) enum Identity {
    /// For requests without credentials, and for others only where the response says so.
    Cautious,
    /// For everyone, credentials or not: the operator's word.
    Everyone,
    /// For those whom this function gives the same name; nobody where it gives none.
    Partition(Naming),
}

/// A function of the operator's that names something about a request.
pub(crate) type Naming = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// A function that was to name the request's partition gave no name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoPartition;

impl Identity {
    /// Returns the partition of a request; `None` where the route has none.
    pub(super) fn partition(&self, request: &Parts) -> Result<Option<String>, NoPartition> {
        match self {
            Self::Partition(partition) => partition(request).map(Some).ok_or(NoPartition),
            Self::Cautious | Self::Everyone => Ok(None),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cautious => "Cautious",
            Self::Everyone => "Everyone",
            Self::Partition(_) => "Partition(..)",
        })
    }
}
