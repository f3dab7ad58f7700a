//! The stored response that bears on a fetch.

use std::sync::Arc;

use http::header::HeaderMap;

use crate::entry::StoredResponse;
use crate::semantics::validation;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) enum Candidate {
    Nothing,
    /// The response that the request selects, to be validated.
    Stale(Arc<StoredResponse>),
    /// Another variant, which the inner service may find to be the right one (RFC 9111 §4.3.1).
    Variant(Arc<StoredResponse>),
    /// A part of the response, to be completed (RFC 9111 §3.4).
    Part(Arc<StoredResponse>),
    /// A part of the response, which the part that is asked for may be joined to.
    Beside(Arc<StoredResponse>),
}

impl Candidate {
    /// Returns whether the request goes to the inner service as the client made it.
    pub(super) fn asks_nothing(&self) -> bool {
        matches!(self, Self::Nothing | Self::Beside(_))
    }

    /// Puts what is to be asked on a request. What could be answered in a way that is of no use is
    /// asked only if the request can be sent again.
    pub(super) fn ask(&mut self, headers: &mut HeaderMap, repeatable: bool) {
        let read = match self {
            Self::Nothing | Self::Beside(_) => return,
            Self::Stale(stored) => offer(headers, stored),
            Self::Variant(stored) => repeatable && offer(headers, stored),
            Self::Part(stored) => {
                repeatable
                    && stored
                        .part()
                        .is_some_and(|part| part.ask_for_rest(headers, stored.head().etag()))
            }
        };
        // A stale response stays of use if the inner service fails, validator or not.
        if !read && !matches!(self, Self::Stale(_)) {
            *self = Self::Nothing;
        }
    }
}

fn offer(headers: &mut HeaderMap, stored: &StoredResponse) -> bool {
    validation::make_conditional(headers, &[stored.validators()]) > 0
}
