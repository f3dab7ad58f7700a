//! The client's conditions and ranges, held against a response.

use std::time::SystemTime;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::request::Client;
use crate::clock::Clock;
use crate::entry::StoredResponse;
use crate::semantics::date;
use crate::semantics::partial::HeldPart;
use crate::semantics::preconditions::{self, Precondition, RangeVerdict};
use crate::semantics::range::RangeSet;

/// Evaluates the client's preconditions against a response's validators (RFC 9110 §13.2.2).
pub(super) fn evaluate<'a>(
    status: StatusCode,
    response: impl Fn(&HeaderName) -> Option<&'a [u8]>,
    request: &HeaderMap,
    clock: &Clock,
) -> Precondition {
    if !status.is_success() {
        // RFC 9110 §13.2.1: only where the answer without them would be a success.
        return Precondition::Proceed;
    }
    let wall = clock.wall_now();
    let stored = match response(&header::LAST_MODIFIED) {
        // Beside that the date does not count, and parsing it is a good part of the work.
        Some(_) => validators(response),
        None => conditions_on(response, wall),
    };
    preconditions::evaluate(request, &stored, wall)
}

fn conditions_on<'a>(
    response: impl Fn(&HeaderName) -> Option<&'a [u8]>,
    wall: SystemTime,
) -> preconditions::StoredValidators<'a> {
    preconditions::StoredValidators {
        date: response(&header::DATE).and_then(|date| date::parse(date, wall)),
        ..validators(response)
    }
}

fn validators<'a>(
    response: impl Fn(&HeaderName) -> Option<&'a [u8]>,
) -> preconditions::StoredValidators<'a> {
    preconditions::StoredValidators {
        etag: response(&header::ETAG),
        last_modified: response(&header::LAST_MODIFIED),
        date: None,
    }
}

/// Looks up the fields of a response that is not stored.
pub(super) fn field<'a>(headers: &'a HeaderMap) -> impl Fn(&HeaderName) -> Option<&'a [u8]> {
    |name| headers.get(name).map(HeaderValue::as_bytes)
}

/// Returns what a stored 206 holds of what a request asks for.
pub(super) fn part_for(
    stored: &StoredResponse,
    client: Client<'_>,
    clock: &Clock,
) -> Option<HeldPart> {
    let headers = stored.head().to_map(0);
    stored
        .part()?
        .answer(&requested_ranges(&headers, client, clock)?)
}

/// Returns the ranges to answer with, unless `If-Range` asks for the whole (RFC 9110 §13.1.5).
pub(super) fn requested_ranges(
    headers: &HeaderMap,
    client: Client<'_>,
    clock: &Clock,
) -> Option<RangeSet> {
    let ranges = RangeSet::of(client.method, client.headers)?;
    let wall = clock.wall_now();
    match preconditions::if_range(client.headers, &conditions_on(field(headers), wall), wall) {
        RangeVerdict::Use => Some(ranges),
        RangeVerdict::Ignore => None,
    }
}
