//! Conditional requests, answered from a stored response
//! ([RFC 9110 §13](https://www.rfc-editor.org/rfc/rfc9110#section-13),
//! [RFC 9111 §4.3.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2)).

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName};

use super::date::parse as parse_date;
use super::entity_tag::{EntityTag, EntityTags};

/// The validators and the date of a stored response, against which conditions are evaluated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoredValidators<'a> {
    pub(crate) etag: Option<&'a [u8]>,
    pub(crate) last_modified: Option<&'a [u8]>,
    /// Its `Date`; where it has none, when it was received.
    pub(crate) date: Option<SystemTime>,
}

/// The answer to a request's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// The stored response is what the client wants.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// The client does not want it as it is: 412.
    Failed,
}

/// The fate of the `Range` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeVerdict {
    Use,
    /// The client's part belongs to another representation: it is sent the whole of this one.
    Ignore,
}

/// Evaluates the conditions of a GET or HEAD in their order of precedence
/// ([RFC 9110 §13.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2)).
///
/// `now` settles the century of a two-digit year.
///
/// Only for a stored response with a 2xx status: conditions are ignored where the answer without
/// them would be another ([§13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
pub(crate) fn evaluate(
    request: &HeaderMap,
    stored: &StoredValidators<'_>,
    now: SystemTime,
) -> Precondition {
    let holds = if request.contains_key(header::IF_MATCH) {
        if_match(request, stored)
    } else {
        if_unmodified_since(request, stored, now)
    };
    if !holds {
        return Precondition::Failed;
    }
    let holds = if request.contains_key(header::IF_NONE_MATCH) {
        if_none_match(request, stored)
    } else {
        if_modified_since(request, stored, now)
    };
    if holds {
        Precondition::Proceed
    } else {
        Precondition::NotModified
    }
}

/// Evaluates `If-Range`: whether the part a client asks for is of the representation it has the
/// rest of ([RFC 9110 §13.1.5](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5)).
///
/// Only strong validators will do: an equal strong entity tag, or exactly the stored
/// `Last-Modified` if that is old enough to be strong.
pub(crate) fn if_range(
    request: &HeaderMap,
    stored: &StoredValidators<'_>,
    now: SystemTime,
) -> RangeVerdict {
    if !request.contains_key(header::IF_RANGE) {
        return RangeVerdict::Use;
    }
    let holds =
        single(request, &header::IF_RANGE).is_some_and(|value| match parse_date(value, now) {
            Some(_) => stored.last_modified == Some(value) && has_strong_date(stored, now),
            None => stored.etag.is_some_and(|etag| {
                EntityTag::parse(value).matches_strongly(EntityTag::parse(etag))
            }),
        });
    if holds {
        RangeVerdict::Use
    } else {
        RangeVerdict::Ignore
    }
}

/// Returns whether a request carries conditions that a cache answers itself
/// ([RFC 9111 §4.3.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2)).
pub(crate) fn is_conditional(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_NONE_MATCH) || request.contains_key(header::IF_MODIFIED_SINCE)
}

/// Removes the conditions that a cache answers itself, so that a miss is answered with a body that
/// can be stored and shared; the client's conditions are then evaluated against that.
pub(crate) fn strip(request: &mut HeaderMap) {
    request.remove(header::IF_NONE_MATCH);
    request.remove(header::IF_MODIFIED_SINCE);
}

/// Reduces stored headers to those that a 304 carries
/// ([RFC 9110 §15.4.5](https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5)).
///
/// Out goes what describes a body that is not there. `Last-Modified` stays only where it is the
/// validator; everything that is not metadata of the representation stays, as on a 200.
pub(crate) fn trim_to_not_modified(headers: &mut HeaderMap) {
    for name in &LEFT_OUT {
        headers.remove(name);
    }
    if headers.contains_key(header::ETAG) {
        headers.remove(header::LAST_MODIFIED);
    }
}

/// Tells whether a 304 carries a field of a stored response, of which `has_etag` says whether it has
/// an entity tag: what [`trim_to_not_modified`] leaves.
pub(crate) fn is_in_not_modified(name: &[u8], has_etag: bool) -> bool {
    // Constants as patterns: distinguished by their length, and most at once.
    match name {
        b"content-length"
        | b"content-type"
        | b"content-encoding"
        | b"content-language"
        | b"content-range"
        | b"content-disposition"
        | b"trailer"
        | b"content-digest"
        | b"content-md5"
        | b"repr-digest" => false,
        b"last-modified" => !has_etag,
        _ => true,
    }
}

/// The fields that describe a body.
static LEFT_OUT: [HeaderName; 10] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_RANGE,
    header::CONTENT_DISPOSITION,
    header::TRAILER,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("repr-digest"),
];

/// [RFC 9110 §13.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1)
fn if_match(request: &HeaderMap, stored: &StoredValidators<'_>) -> bool {
    let etag = stored.etag.map(EntityTag::parse);
    any_tag(request, &header::IF_MATCH, |tag| {
        etag.is_some_and(|etag| tag.matches_strongly(etag))
    })
}

/// [RFC 9110 §13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)
fn if_none_match(request: &HeaderMap, stored: &StoredValidators<'_>) -> bool {
    let etag = stored.etag.map(EntityTag::parse);
    !any_tag(request, &header::IF_NONE_MATCH, |tag| {
        etag.is_some_and(|etag| tag.matches_weakly(etag))
    })
}

/// [RFC 9110 §13.1.3](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3); without a stored
/// `Last-Modified` the `Date` stands in for it
/// ([RFC 9111 §4.3.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.3.2)).
fn if_modified_since(request: &HeaderMap, stored: &StoredValidators<'_>, now: SystemTime) -> bool {
    let since = single(request, &header::IF_MODIFIED_SINCE).and_then(|date| parse_date(date, now));
    let modified = stored
        .last_modified
        .and_then(|date| parse_date(date, now))
        .or(stored.date);
    match (modified, since) {
        (Some(modified), Some(since)) => modified > since,
        _ => true,
    }
}

/// [RFC 9110 §13.1.4](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.4)
fn if_unmodified_since(
    request: &HeaderMap,
    stored: &StoredValidators<'_>,
    now: SystemTime,
) -> bool {
    let since = single(request, &header::IF_UNMODIFIED_SINCE);
    let Some(since) = since.and_then(|date| parse_date(date, now)) else {
        return true;
    };
    let modified = stored.last_modified.and_then(|date| parse_date(date, now));
    modified.is_none_or(|modified| modified <= since)
}

/// Returns whether the field is `*`, which any stored response satisfies, or holds such a tag.
fn any_tag(
    request: &HeaderMap,
    name: &HeaderName,
    matches: impl Fn(EntityTag<'_>) -> bool,
) -> bool {
    request.get_all(name).iter().any(|line| {
        line.as_bytes().trim_ascii() == b"*" || EntityTags::parse(line.as_bytes()).any(&matches)
    })
}

/// Returns whether `Last-Modified` can be trusted to change with every change
/// ([RFC 9110 §8.8.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.2)).
///
/// The minute, which was the rule before RFC 9110, covers clocks that do not quite agree.
fn has_strong_date(stored: &StoredValidators<'_>, now: SystemTime) -> bool {
    let modified = stored.last_modified.and_then(|date| parse_date(date, now));
    let (Some(modified), Some(date)) = (modified, stored.date) else {
        return false;
    };
    date.duration_since(modified)
        .is_ok_and(|age| age >= Duration::from_secs(60))
}

/// Returns the value of a field that is only valid on a single line.
fn single<'a>(request: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(value), None) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
