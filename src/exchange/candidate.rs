//! What is stored already and bears on a call of the handler.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::response::Parts;
use http::{Response, StatusCode};

use super::admit;
use crate::entry::StoredResponse;
use crate::semantics::cache_control::Scope;
use crate::semantics::partial::{self, Partial};
use crate::semantics::validation::{self, Validators};
use crate::semantics::{storable, validation::freshen};

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) enum Candidate {
    Nothing,
    /// The response that the request selects, to be validated.
    Stale(Arc<StoredResponse>),
    /// Another variant, which the handler may find to be the right one (RFC 9111 §4.3.1).
    Variant(Arc<StoredResponse>),
    /// A part of the response, to be completed (RFC 9111 §3.4).
    Part(Arc<StoredResponse>),
    /// A part of the response, which the part that is asked for may be joined to.
    Beside(Arc<StoredResponse>),
}

impl Candidate {
    /// Whether the request goes to the handler as the client made it.
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
        // A stale response stays of use if the handler fails, validator or not.
        if !read && !matches!(self, Self::Stale(_)) {
            *self = Self::Nothing;
        }
    }
}

fn offer(headers: &mut HeaderMap, stored: &StoredResponse) -> bool {
    validation::make_conditional(headers, &[stored.validators()]) > 0
}

impl StoredResponse {
    pub(super) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.head().etag(),
            last_modified: self.head().last_modified(),
        }
    }

    /// Returns the part that a stored 206 holds.
    pub(super) fn part(&self) -> Option<Partial> {
        if self.status != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        Partial::new(self.head().get(&header::CONTENT_RANGE), self.body())
    }

    /// Joins the rest of a representation to this part: the head and the body of the whole
    /// (RFC 9111 §3.4). `None` where they do not go together.
    pub(super) fn completed_by(&self, rest: &Parts, body: Bytes) -> Option<(Parts, Bytes)> {
        let etag = rest.headers.get(header::ETAG).map(|etag| etag.as_bytes());
        if admit::is_too_long(&rest.headers)
            || !partial::same_representation(self.head().etag(), etag)
        {
            return None;
        }
        let range = rest.headers.get(header::CONTENT_RANGE);
        let rest_part = Partial::new(range.map(|range| range.as_bytes()), body)?;
        let whole = self.part()?.combine(&rest_part)?.whole()?.clone();
        let update = storable::stored_headers(&rest.headers, &Scope::Absent);
        let mut head = Response::new(()).into_parts().0;
        head.headers = freshen(&self.head().to_map(0), &update);
        partial::set_whole(&mut head.headers, whole.len() as u64);
        head.extensions = rest.extensions.clone();
        Some((head, whole))
    }
}
