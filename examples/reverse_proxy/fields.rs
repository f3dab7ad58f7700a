//! Header fields that a proxy must not simply pass on.

use http::header::{CONNECTION, CONTENT_LENGTH, MAX_FORWARDS, TRANSFER_ENCODING, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The most fields of a message that are read: hyper stops at 100 unless another number is named, and
/// makes room for as many with each message.
pub(crate) const MOST_FIELDS: usize = 512;

/// Fields for one connection only ([RFC 9110 §7.6.1]), and those that older proxies treat as such.
///
/// [RFC 9110 §7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields meant for every recipient on the way, which `Connection` must not remove (same section):
/// they say where a message belongs, how it is framed and who may store it.
const NEVER_HOP_BY_HOP: [&str; 17] = [
    "age",
    "cache-control",
    "cdn-cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "host",
    "last-modified",
    "pragma",
    "set-cookie",
    "surrogate-control",
    "vary",
    "via",
];

/// Returns whether a request has fields that [`remove_hop_by_hop`] or [`remove_forwarded`] would
/// remove. It checks each name once, because most requests of most clients have none.
pub(crate) fn needs_cleaning(headers: &HeaderMap) -> bool {
    headers
        .keys()
        .any(|name| HOP_BY_HOP.contains(&name.as_str()) || tells_of_the_client(name))
}

/// Removes the fields that concern the connection a message came on, including those that its
/// `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| token.parse().ok())
        .filter(|name: &HeaderName| !NEVER_HOP_BY_HOP.contains(&name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The registered transfer codings that change a body and that hyper does not undo.
const CODINGS: [&str; 5] = ["gzip", "x-gzip", "compress", "x-compress", "deflate"];

/// Returns whether a message has no transfer coding but the one that hyper has undone: what is left in
/// another one could only be passed on as something that it is not.
///
/// A name that no registry knows, alone, is dropped with its field: no one could undo it either.
pub(crate) fn knows_transfer_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers
        .get_all(TRANSFER_ENCODING)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    let Some(only) = codings.next() else {
        return !headers.contains_key(TRANSFER_ENCODING);
    };
    let is_registered = CODINGS
        .iter()
        .any(|name| only.eq_ignore_ascii_case(name.as_bytes()));
    codings.next().is_none() && !only.contains(&b';') && !is_registered
}

/// Leaves one `Content-Length`, and none beside a transfer coding, which says where the body ends
/// ([RFC 9112 §6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3)). Returns false if several
/// disagree or one is no length.
pub(crate) fn settle_length(headers: &mut HeaderMap) -> bool {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let lines = headers.get_all(CONTENT_LENGTH).into_iter();
    let mut lengths = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let Some(first) = lengths.next() else {
        return true;
    };
    if first.is_empty()
        || !first.iter().all(u8::is_ascii_digit)
        || !lengths.all(|length| length == first)
    {
        return false;
    }
    if let Ok(length) = HeaderValue::from_bytes(first) {
        headers.insert(CONTENT_LENGTH, length);
    }
    true
}

/// Counts this proxy off the `Max-Forwards` of a request
/// ([RFC 9110 §7.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.2)). Returns false if the
/// request goes no further. A value that is no number is passed on as it is.
pub(crate) fn may_forward(headers: &mut HeaderMap) -> bool {
    let Some(most) = headers.get(MAX_FORWARDS).map(HeaderValue::as_bytes) else {
        return true;
    };
    if most.is_empty() || !most.iter().all(u8::is_ascii_digit) {
        return true;
    }
    // A number too long to count is more than there are proxies.
    let most = str::from_utf8(most).ok().and_then(|most| most.parse().ok());
    let left = most.unwrap_or(u32::MAX).checked_sub(1);
    if let Some(left) = left {
        headers.insert(MAX_FORWARDS, left.into());
    }
    left.is_some()
}

/// Removes a client's claims about itself in the fields that proxies write.
pub(crate) fn remove_forwarded(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| tells_of_the_client(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

fn tells_of_the_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-")
}

/// Returns whether a comma-separated field has a member, ignoring case.
pub(crate) fn has_token(headers: &HeaderMap, field: &HeaderName, wanted: &str) -> bool {
    tokens(headers, field).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens<'a>(headers: &'a HeaderMap, field: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(field)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Adds this proxy to the `Via` of a message that came in the given version of HTTP.
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let via = if version == Version::HTTP_10 {
        HeaderValue::from_static("1.0 reverse_proxy")
    } else {
        HeaderValue::from_static("1.1 reverse_proxy")
    };
    headers.append(VIA, via);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn fields_named_by_connection_go_with_it() {
        let mut headers = headers(&[
            ("connection", "close, X-Secret"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("x-secret", "1"),
            ("x-kept", "1"),
        ]);
        assert!(needs_cleaning(&headers));
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
        assert!(!needs_cleaning(&headers));
    }

    #[test]
    fn only_the_coding_that_is_undone_is_known() {
        for (lines, known) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked, "], true),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["chunked", "chunked"], false),
            (&["chunked;a=b"], false),
            (&["x-gzip"], false),
            (&["Deflate"], false),
            (&["foo, chunked"], false),
            (&["identity"], true),
            (&["foo"], true),
            (&[""], false),
        ] {
            let fields: Vec<_> = lines
                .iter()
                .map(|line| ("transfer-encoding", *line))
                .collect();
            assert_eq!(knows_transfer_coding(&headers(&fields)), known, "{lines:?}");
        }
    }

    #[test]
    fn one_length_is_left_or_none() {
        for (fields, left) in [
            (&[][..], Some(None)),
            (&[("content-length", "5")], Some(Some("5"))),
            (&[("content-length", "5, 5")], Some(Some("5"))),
            (
                &[("content-length", "5"), ("content-length", "5")],
                Some(Some("5")),
            ),
            (&[("content-length", "5"), ("content-length", "6")], None),
            (&[("content-length", "+5")], None),
            (&[("content-length", "")], None),
            (
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
                Some(None),
            ),
            (
                &[("content-length", "x"), ("transfer-encoding", "gzip")],
                Some(None),
            ),
        ] {
            let mut headers = headers(fields);
            assert_eq!(settle_length(&mut headers), left.is_some(), "{fields:?}");
            if let Some(left) = left {
                let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
                assert_eq!(lengths, Vec::from_iter(left), "{fields:?}");
            }
        }
    }

    #[test]
    fn connection_cannot_take_away_what_everyone_must_read() {
        let mut headers = headers(&[
            ("connection", "Cache-Control, vary"),
            ("cache-control", "no-store"),
            ("vary", "Cookie"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn what_a_client_says_about_itself_is_removed() {
        let mut headers = headers(&[
            ("forwarded", "for=evil"),
            ("x-forwarded-for", "evil"),
            ("x-forwarded-prefix", "/evil"),
            ("x-real-ip", "evil"),
            ("accept", "*/*"),
        ]);
        assert!(needs_cleaning(&headers));
        remove_forwarded(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
