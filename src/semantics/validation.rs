//! Validation of stored responses with the origin
//! ([RFC 9111 §4.3](https://www.rfc-editor.org/rfc/rfc9111#section-4.3)).

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::entity_tag::EntityTag;
use super::{preconditions, vary};

/// More entity tags than this are not worth their room in a request.
const MAX_TAGS: usize = 16;

/// The validators of a stored response, byte for byte as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validators<'a> {
    pub(crate) etag: Option<&'a [u8]>,
    pub(crate) last_modified: Option<&'a [u8]>,
}

impl<'a> Validators<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let first = |name| headers.get(name).map(HeaderValue::as_bytes);
        Self {
            etag: first(header::ETAG),
            last_modified: first(header::LAST_MODIFIED),
        }
    }

    /// Returns whether there is anything to validate with.
    pub(crate) fn any(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }
}

/// The bearing of a HEAD response on a stored GET response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadVerdict {
    /// It is the same: [`freshen`] it.
    Freshen,
    /// It is another: consider the stored one stale.
    Invalidate,
    /// Nothing can be said.
    Keep,
}

/// Makes a request conditional on the stored responses that are `offered`, the one selected for the
/// request first ([RFC 9111 §4.3.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1)).
///
/// Replaces the client's own `If-None-Match` and `If-Modified-Since`. Entity tags are sent as they
/// were received, once each. A date is only sent for a single stored response, for a 304 to it
/// would not say which of several was meant. Returns how many of the responses are part of the
/// condition, which are the ones to [`select`] from; 0 leaves the request unconditional.
pub(crate) fn make_conditional(request: &mut HeaderMap, offered: &[Validators<'_>]) -> usize {
    preconditions::strip(request);
    let offered = match offered {
        [first, ..] if first.etag.is_none() => &offered[..1],
        all => all,
    };
    if let [only] = offered
        && let Some(value) = only.last_modified.and_then(value)
    {
        // Fails, like the next one, only beside more than 32,768 other fields.
        let _ = request.try_insert(header::IF_MODIFIED_SINCE, value);
    }
    let mut tags: Vec<&[u8]> = Vec::new();
    let offered = offered.iter().take(MAX_TAGS);
    let count = offered.len();
    for tag in offered.filter_map(|validators| validators.etag) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if let Some(value) = value(&tags.join(&b", "[..])).filter(|value| !value.is_empty()) {
        let _ = request.try_insert(header::IF_NONE_MATCH, value);
    }
    if preconditions::is_conditional(request) {
        count
    } else {
        0
    }
}

/// Returns whether a variant that other selecting fields chose may be offered for a request
/// ([RFC 9111 §4.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.1)): a 304 then saves a body.
///
/// It takes a strong entity tag, for that alone vouches for the bytes, and a coding the request
/// accepts, for services that compress behind our back give all codings the same strong tag.
pub(crate) fn may_stand_in(
    request: &HeaderMap,
    etag: Option<&[u8]>,
    content_encoding: Option<&[u8]>,
) -> bool {
    etag.is_some_and(|etag| EntityTag::parse(etag).is_strong())
        && vary::accepts_coding(request, content_encoding)
}

/// Returns which of the stored responses that were offered a 304 is about
/// ([RFC 9111 §4.3.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.3.4)).
///
/// A strong entity tag in the 304 selects a stored response with that same tag and nothing else;
/// weak validators select the first offered that has them. A 304 without validators should not
/// exist ([RFC 9110 §15.4.5](https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5)) but does, and
/// when it answers validators of one stored response, it can only be about that one.
///
/// `None`: the 304 must not update anything, and the request is to be repeated without conditions.
pub(crate) fn select(not_modified: &HeaderMap, offered: &[Validators<'_>]) -> Option<usize> {
    let received = Validators::of(not_modified);
    if !received.any() {
        return (offered.len() == 1).then_some(0);
    }
    offered.iter().position(|stored| {
        let tags = (
            received.etag.map(EntityTag::parse),
            stored.etag.map(EntityTag::parse),
        );
        match tags {
            (Some(received), Some(stored)) if received.is_strong() => {
                received.matches_strongly(stored)
            }
            (Some(received), Some(stored)) => received.matches_weakly(stored),
            (Some(_), None) => false,
            (None, _) => received.last_modified == stored.last_modified,
        }
    })
}

/// Returns the headers of a stored response after a 304 or a HEAD response has updated it
/// ([RFC 9111 §3.2](https://www.rfc-editor.org/rfc/rfc9111#section-3.2)).
///
/// `update` is what [`storable`](super::storable) keeps of a response, so without fields of the
/// connection and without `Age`. All lines of a field in it replace all lines that were stored; the
/// rest stays. Not updated are the fields tied to the bytes, which stay as they are: their length,
/// range and content coding, and the digests of the message content, which in a 304 is empty.
pub(crate) fn freshen(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    const KEPT: [HeaderName; 5] = [
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
    ];
    let mut fresh = stored.clone();
    for name in update.keys().filter(|name| !KEPT.contains(name)) {
        let mut lines = update.get_all(name).iter().cloned();
        // Both fail only for a section of more than 32,768 fields, which then stays as it is.
        if let Some(first) = lines.next() {
            let _ = fresh.try_insert(name, first);
        }
        for line in lines {
            let _ = fresh.try_append(name, line);
        }
    }
    fresh
}

/// Judges what the response to a forwarded HEAD says about the stored response to a GET of the same
/// target ([RFC 9111 §4.3.5](https://www.rfc-editor.org/rfc/rfc9111#section-4.3.5)).
///
/// Only a 200 is evidence. Every validator it carries must equal the stored one, and its
/// `Content-Length` the stored length. One with no validator at all contradicts nothing and proves
/// nothing: unlike the section, which would update, it is then left alone.
pub(crate) fn judge_head(
    status: StatusCode,
    head: &HeaderMap,
    stored: &Validators<'_>,
    stored_length: u64,
) -> HeadVerdict {
    if status != StatusCode::OK {
        return HeadVerdict::Keep;
    }
    let received = Validators::of(head);
    let differs = |received: Option<&[u8]>, stored| received.is_some() && received != stored;
    let length = head.get(header::CONTENT_LENGTH);
    let length_differs =
        length.is_some_and(|length| parse_length(length.as_bytes()) != Some(stored_length));
    if length_differs
        || differs(received.etag, stored.etag)
        || differs(received.last_modified, stored.last_modified)
    {
        HeadVerdict::Invalidate
    } else if received.any() {
        HeadVerdict::Freshen
    } else {
        HeadVerdict::Keep
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    // `str::parse` would take a sign.
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

fn value(bytes: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests;
