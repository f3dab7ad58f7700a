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

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cautious => "Cautious",
            Self::Everyone => "Everyone",
            Self::Partition(_) => "Partition(..)",
        })
    }
}
