//! Which request header fields select among the responses stored for one URI
//! ([RFC 9111 §4.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.1)).
//!
//! Selecting values are compared in a normal form, so that requests that ask for the same thing in
//! other words share a stored response. A value that does not follow its field's grammar is left as
//! it is, and so is every value of a field whose grammar is not known here: it then only matches its
//! own spelling, byte for byte.

use std::borrow::Cow;
use std::cmp::Reverse;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::credentials::is_credential;
use super::weighted;
use crate::key::KeyBuilder;

/// More selecting fields than this, and a response is not worth storing.
const MAX_NAMES: usize = 16;

/// The selecting headers that a response's `Vary` nominates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vary {
    /// Nothing: the response answers every request for its URI.
    Absent,
    /// `*`, or something that is not a field name: the response answers no other request.
    Any,
    /// More than sixteen fields: not stored, to bound the work on every later request.
    TooMany,
    /// The selecting header fields, sorted and without repetition.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads every `Vary` line of a response
    /// ([RFC 9110 §12.5.5](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.5)).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(header::VARY) {
            for member in line.as_bytes().split(|byte| *byte == b',') {
                let member = member.trim_ascii();
                if member.is_empty() {
                    continue;
                }
                // `*` is a token, so it would pass for a name.
                let name = match HeaderName::from_bytes(member) {
                    Ok(name) if member != b"*" => name,
                    _ => return Self::Any,
                };
                if !names.contains(&name) {
                    if names.len() == MAX_NAMES {
                        return Self::TooMany;
                    }
                    names.push(name);
                }
            }
        }
        if names.is_empty() {
            return Self::Absent;
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Self::Fields(names)
    }
}

/// Adds the selecting fields of a request to a key: each name, and its value or its absence.
///
/// Credentials go in as their SHA-256 digest, for keys are listed and written to other processes.
pub(crate) fn append_selecting(
    builder: &mut KeyBuilder,
    names: &[HeaderName],
    request: &HeaderMap,
) {
    for name in names {
        builder.part(name.as_str().as_bytes());
        let value = selecting_value(name, request);
        match value {
            Some(value) if sensitive(name) => builder.part(&Sha256::digest(&value)),
            value => builder.optional(value.as_deref()),
        };
    }
}

/// Returns whether two requests are alike in the fields that `names` lists, so that what answers one
/// answers the other ([RFC 9111 §4.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.1)).
pub(crate) fn selects(names: &[HeaderName], one: &HeaderMap, other: &HeaderMap) -> bool {
    names
        .iter()
        .all(|name| selecting_value(name, one) == selecting_value(name, other))
}

/// Returns whether a field's value must not be readable in a key.
pub(crate) fn sensitive(name: &HeaderName) -> bool {
    // Constants as patterns: the names that are nearly always nominated are told apart by one jump.
    match *name {
        header::ACCEPT | header::ACCEPT_ENCODING | header::ACCEPT_LANGUAGE | header::ORIGIN => {
            false
        }
        _ => is_credential(name.as_str()),
    }
}

/// Returns the normal form of one selecting field; `None` where the request does not have it.
///
/// Allowed by [RFC 9111 §4.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.1) where the field's
/// definition is known: lines are combined, optional whitespace goes, and what the definition calls
/// equal is made equal. An absent field never equals an empty one.
pub(crate) fn selecting_value<'a>(
    name: &HeaderName,
    request: &'a HeaderMap,
) -> Option<Cow<'a, [u8]>> {
    let value = combined(name, request)?;
    let normal = if *name == header::ACCEPT_ENCODING {
        if let Some(normal) = common_codings(&value) {
            return Some(Cow::Borrowed(normal));
        }
        acceptable_codings(&value)
    } else if *name == header::ACCEPT_LANGUAGE || *name == header::ACCEPT_CHARSET {
        weighted::preferences(&value)
    } else if *name == header::ACCEPT {
        weighted::media_preferences(&value)
    } else {
        None
    };
    Some(match normal {
        Some(normal) => Cow::Owned(normal),
        None if is_list(name) => without_list_whitespace(value),
        None => value,
    })
}

/// Returns whether a stored response in `content_language` is what the request would like best,
/// although it was selected by another `Accept-Language`.
///
/// True only for a response in one language that one language range of the request, the single most
/// preferred of them, matches by basic filtering
/// ([RFC 4647 §3.3.1](https://www.rfc-editor.org/rfc/rfc4647#section-3.3.1)); a longer range that
/// also matches must not say otherwise. `*` and ties leave the choice to the origin.
pub(crate) fn prefers_language(request: &HeaderMap, content_language: &[u8]) -> bool {
    let tag = content_language.trim_ascii();
    let Some(value) = combined(&header::ACCEPT_LANGUAGE, request) else {
        return false;
    };
    let Some(ranges) = weighted::parse(&value) else {
        return false;
    };
    if tag.is_empty() || tag.contains(&b',') {
        return false;
    }
    let best = ranges.iter().map(|range| range.weight).max().unwrap_or(0);
    let mut preferred = ranges.iter().filter(|range| range.weight == best);
    let Some(first) = preferred.next() else {
        return false;
    };
    // A range said twice is no tie with itself; with two weights it has the lesser.
    if preferred.any(|range| !range.item.eq_ignore_ascii_case(first.item)) {
        return false;
    }
    let longest = ranges
        .iter()
        .filter(|range| matches_language(range.item, tag))
        .max_by_key(|range| (range.item.len(), Reverse(range.weight)));
    best > 0
        && longest.is_some_and(|range| {
            range.weight == best && range.item.eq_ignore_ascii_case(first.item)
        })
}

/// Returns whether the request accepts a body that was coded with `content_encoding`.
///
/// To be asked before a stored variant answers a request it was not selected by, for instance after
/// a validation with another variant's entity tag: services that compress behind our back often
/// give all codings of a representation one tag.
/// ([RFC 9110 §12.5.3](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3))
pub(crate) fn accepts_coding(request: &HeaderMap, content_encoding: Option<&[u8]>) -> bool {
    let codings = content_encoding.unwrap_or(b"identity");
    let Some(accepted) = combined(&header::ACCEPT_ENCODING, request) else {
        // Without the field every coding is acceptable by the letter; clients that leave it out
        // rarely decode any.
        return codings.eq_ignore_ascii_case(b"identity");
    };
    let Some(accepted) = weighted::parse(&accepted) else {
        return false;
    };
    codings.split(|byte| *byte == b',').all(|coding| {
        let coding = canonical_coding(coding.trim_ascii());
        let weight = |name: &[u8]| {
            let found = accepted
                .iter()
                .find(|accepted| canonical_coding(accepted.item).eq_ignore_ascii_case(name));
            found.map(|accepted| accepted.weight)
        };
        let identity = coding.eq_ignore_ascii_case(b"identity");
        weight(coding)
            .or_else(|| weight(b"*"))
            .map_or(identity, |weight| weight > 0)
    })
}

/// Returns what [`acceptable_codings`] makes of a value that browsers and many other clients send:
/// nearly every request has one of these, and it would be worked out anew for each.
fn common_codings(value: &[u8]) -> Option<&'static [u8]> {
    Some(match value {
        b"gzip, deflate, br, zstd" => b"br,deflate,gzip,zstd",
        b"gzip, deflate, br" | b"gzip,deflate,br" => b"br,deflate,gzip",
        b"gzip, deflate" | b"gzip,deflate" => b"deflate,gzip",
        b"br, gzip, deflate" => b"br,deflate,gzip",
        b"gzip, br" | b"br, gzip" => b"br,gzip",
        b"gzip" => b"gzip",
        b"br" => b"br",
        b"zstd" => b"zstd",
        b"deflate" => b"deflate",
        b"identity" | b"" => b"",
        _ => return None,
    })
}

/// Reduces `Accept-Encoding` to the set of codings it accepts.
///
/// Their order of preference is left out: whichever the origin chose for an equal set is acceptable
/// to all who sent it. Codings nobody here knows stay in, for a response may be coded with them.
/// `None` where the value is malformed or contradicts itself.
fn acceptable_codings(value: &[u8]) -> Option<Vec<u8>> {
    let listed = weighted::parse(value)?;
    let any = listed.iter().find(|coding| coding.item == b"*");
    let any = any.map(|coding| coding.weight > 0);
    let mut set: SmallVec<[(SmallVec<[u8; 16]>, bool); 8]> = SmallVec::new();
    for coding in &listed {
        let mut name = SmallVec::from_slice(canonical_coding(coding.item));
        name.make_ascii_lowercase();
        set.push((name, coding.weight > 0));
    }
    if any == Some(false) && !set.iter().any(|(name, _)| name[..] == *b"identity") {
        set.push((SmallVec::from_slice(b"identity"), false));
    }
    set.sort_unstable();
    set.dedup();
    if set.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let mut normal = Vec::with_capacity(value.len() + b",identity;q=0".len());
    for (name, accepted) in set {
        let identity = name[..] == *b"identity";
        // A coding that is not named is refused anyway, unless `*` lets it in; identity is the reverse.
        let says_something = if accepted {
            !identity
        } else {
            (identity || any == Some(true)) && name[..] != *b"*"
        };
        if says_something {
            weighted::write_member(&mut normal, &name, if accepted { 1000 } else { 0 });
        }
    }
    Some(normal)
}

/// Resolves the aliases of [RFC 9110 §8.4.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1).
fn canonical_coding(coding: &[u8]) -> &[u8] {
    if coding.eq_ignore_ascii_case(b"x-gzip") {
        b"gzip"
    } else if coding.eq_ignore_ascii_case(b"x-compress") {
        b"compress"
    } else {
        coding
    }
}

fn matches_language(range: &[u8], tag: &[u8]) -> bool {
    match tag.split_at_checked(range.len()) {
        Some((start, rest)) => {
            start.eq_ignore_ascii_case(range) && (rest.is_empty() || rest[0] == b'-')
        }
        None => false,
    }
}

/// Joins the lines of a field ([RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)),
/// and the crumbs of a cookie as HTTP/2 wants it
/// ([RFC 9113 §8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)). `None` where the request
/// does not have it.
fn combined<'a>(name: &HeaderName, request: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
    let mut lines = request.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = lines.next()?;
    let (separator, trim): (&[u8], bool) = match *name {
        header::COOKIE => (b"; ", true),
        _ => (b", ", is_list(name)),
    };
    let shown = |line: &'a [u8]| if trim { line.trim_ascii() } else { line };
    let mut value = Cow::Borrowed(shown(first));
    for line in lines {
        let value = value.to_mut();
        value.extend_from_slice(separator);
        value.extend_from_slice(shown(line));
    }
    Some(value)
}

/// Fields that are known to be comma-separated lists, in which whitespace round the commas means
/// nothing ([RFC 9110 §5.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1)).
fn is_list(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::ACCEPT
            | header::ACCEPT_CHARSET
            | header::ACCEPT_ENCODING
            | header::ACCEPT_LANGUAGE
            | header::ACCESS_CONTROL_REQUEST_HEADERS
            | header::CACHE_CONTROL
            | header::FORWARDED
            | header::TE
            | header::VIA
    )
}

/// Drops the whitespace round the commas of a list, and nothing inside quoted strings.
fn without_list_whitespace(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(members) = weighted::split_unquoted(&value, b',') else {
        return value;
    };
    let mut normal = Vec::with_capacity(value.len());
    for (index, member) in members.enumerate() {
        if index > 0 {
            normal.push(b',');
        }
        normal.extend_from_slice(member.trim_ascii());
    }
    if normal.len() == value.len() {
        return value;
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests;
