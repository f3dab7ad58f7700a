//! Invalidation by unsafe requests
//! ([RFC 9111 §4.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.4),
//! [RFC 9875](https://www.rfc-editor.org/rfc/rfc9875)).

use std::collections::BTreeSet;

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use smallvec::SmallVec;

use crate::semantics::structured;

mod reference;
#[cfg(test)]
mod tests;

use reference::Reference;
pub(crate) use reference::is_same_authority;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// How many groups or tags one response can name. RFC 9875 asks for at least 128.
pub(crate) const MAX_NAMES: usize = 128;

/// How long the name of a group or tag can be, in bytes. RFC 9875 asks for at least 32.
pub(crate) const MAX_NAME_LENGTH: usize = 1024;

/// How many `Location` and `Content-Location` lines are looked at; a response has one of each.
const MAX_LOCATIONS: usize = 8;

/// Tells whether a method is safe
/// ([RFC 9110 §9.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1)): those that the IANA
/// registry lists as safe. A method nobody knows is not.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PRI" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH"
    )
}

/// Tells whether a response of this status to an unsafe request is a success that invalidates:
/// 2xx and 3xx ([RFC 9111 §4.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.4)).
pub(crate) fn invalidates(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Returns path and query of what `Location` and `Content-Location` name besides the target URI.
///
/// Only within the same origin: a reference with a scheme or an authority counts if the scheme is
/// the request's (where the request names it, else http or https) and the authority is
/// `authority` or, without that, the request's. Everything else is ignored, as is what is not a
/// URI reference at all. Relative references are resolved
/// ([RFC 3986 §5.2](https://www.rfc-editor.org/rfc/rfc3986#section-5.2)); percent-encodings stay
/// as they are.
pub(crate) fn targets(
    request_uri: &Uri,
    authority: Option<&str>,
    response: &HeaderMap,
) -> SmallVec<[String; 2]> {
    let lines = response.get_all(LOCATION).iter();
    let lines = lines.chain(response.get_all(CONTENT_LOCATION));
    let mut targets = SmallVec::new();
    for line in lines.take(MAX_LOCATIONS) {
        if let Some(target) = target(request_uri, authority, line)
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// Returns path and query of what `Content-Location` says the response represents, within the same
/// origin ([RFC 9110 §8.7](https://www.rfc-editor.org/rfc/rfc9110#section-8.7)).
pub(crate) fn content_location(
    request_uri: &Uri,
    authority: Option<&str>,
    response: &HeaderMap,
) -> Option<String> {
    target(request_uri, authority, response.get(CONTENT_LOCATION)?)
}

fn target(request_uri: &Uri, authority: Option<&str>, line: &HeaderValue) -> Option<String> {
    let reference = Reference::parse(std::str::from_utf8(line.as_bytes()).ok()?)?;
    let authority = authority.or_else(|| request_uri.authority().map(|known| known.as_str()));
    if !reference.is_same_origin(request_uri.scheme_str(), authority) {
        return None;
    }
    let target = reference.resolve(request_uri);
    PathAndQuery::try_from(target.as_str()).ok()?;
    Some(target)
}

/// The groups or tags that a response names, in order and once each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) names: Vec<String>,
    /// There were more than [`MAX_NAMES`], or one was longer than [`MAX_NAME_LENGTH`], and they
    /// are missing here.
    ///
    /// A response that is to be stored would then escape an invalidation by a name that is missing:
    /// do not store it. An invalidation would miss what is stored under that name: invalidate all
    /// of the origin instead.
    pub(crate) overflow: bool,
}

impl Names {
    fn collect(all: impl Iterator<Item = String>) -> Self {
        let mut names = BTreeSet::new();
        let mut overflow = false;
        for name in all.filter(|name| !name.is_empty()) {
            if name.len() > MAX_NAME_LENGTH {
                overflow = true;
            } else if names.len() < MAX_NAMES {
                names.insert(name);
            } else if !names.contains(&name) {
                overflow = true;
                break;
            }
        }
        Self {
            names: names.into_iter().collect(),
            overflow,
        }
    }
}

/// Returns the groups that a response belongs to
/// ([RFC 9875 §2](https://www.rfc-editor.org/rfc/rfc9875#section-2)).
///
/// A group is one within an origin, and its name is compared byte by byte.
pub(crate) fn groups(headers: &HeaderMap) -> Names {
    Names::collect(structured::strings(headers, &CACHE_GROUPS).into_iter())
}

/// Returns the groups that a response invalidates
/// ([RFC 9875 §3](https://www.rfc-editor.org/rfc/rfc9875#section-3)).
///
/// It must be ignored on responses to safe requests; see [`is_safe`].
pub(crate) fn group_invalidations(headers: &HeaderMap) -> Names {
    Names::collect(structured::strings(headers, &CACHE_GROUP_INVALIDATION).into_iter())
}

/// Returns whether a response has any of the fields that name groups or tags: few do, and one look at
/// each name costs less than a search for each field.
pub(crate) fn names_any(headers: &HeaderMap) -> bool {
    static NAMES: [HeaderName; 3] = [SURROGATE_KEY, CACHE_TAG, CACHE_GROUPS];
    headers.keys().any(|name| NAMES.contains(name))
}

/// Returns the tags of a response: `Surrogate-Key`, separated by white space, and `Cache-Tag`,
/// separated by commas. Bytes that are not UTF-8 are all alike.
pub(crate) fn tags(headers: &HeaderMap) -> Names {
    let keys = headers.get_all(SURROGATE_KEY).iter();
    let keys = keys.flat_map(|line| line.as_bytes().split(u8::is_ascii_whitespace));
    let tags = headers.get_all(CACHE_TAG).iter();
    let tags = tags.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    Names::collect(
        keys.chain(tags)
            .map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()),
    )
}

/// Returns whether a field of a response is meant for caches that store it, and for nobody behind them.
pub(crate) fn is_for_this_cache(name: &HeaderName) -> bool {
    static NAMES: [HeaderName; 2] = [SURROGATE_KEY, CACHE_TAG];
    NAMES.contains(name)
}

/// Removes the fields that are meant for this cache from a response.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Looking for each of them would take several times as long, and they are rarely there.
    if headers.keys().any(is_for_this_cache) {
        headers.remove(&SURROGATE_KEY);
        headers.remove(&CACHE_TAG);
    }
}
