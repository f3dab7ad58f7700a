//! The content of one key in a store.

use std::sync::Arc;
#[cfg(feature = "redis")]
use std::time::Instant;

use crate::entry::{StoredResponse, StoredValue, Variants};
#[cfg(feature = "redis")]
use crate::invalidate::{Log, Verdict};

/// The content of one key in a store. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Stored {
    /// A response.
    Response(Arc<StoredResponse>),
    /// The names of the request fields that select among several responses, each of which is
    /// stored under a key of its own
    /// ([RFC 9111 §4.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.1)).
    Variants(Arc<Variants>),
    /// A value of a handler's own, which is not an HTTP response. Its key is never a request's.
    Value(Arc<StoredValue>),
}

impl Stored {
    /// Returns about how many bytes this takes in memory, headers, body and overhead together,
    /// without its key.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Response(response) => response.size(),
            Self::Variants(variants) => variants.size(),
            Self::Value(value) => value.size(),
        }
    }

    /// Returns whether this may be used as far as invalidations go.
    #[cfg(feature = "redis")]
    pub(super) fn is_valid(&self, log: &Log) -> bool {
        match self {
            Self::Response(response) => response.verdict(log) != Verdict::Invalid,
            Self::Value(value) => value.verdict(log) == Verdict::Valid,
            Self::Variants(_) => true,
        }
    }

    /// Returns whether this can be served as it is, so that there is no need to look for a newer one
    /// that another node may have stored.
    #[cfg(feature = "redis")]
    pub(super) fn is_servable(&self, log: &Log, now: Instant) -> bool {
        let fresh = match self {
            Self::Response(response) => response.stale_by(now).is_none(),
            Self::Value(value) => value.is_fresh(now),
            Self::Variants(_) => true,
        };
        fresh && self.is_valid(log)
    }
}
