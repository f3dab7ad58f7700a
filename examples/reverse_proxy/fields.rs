//! Header fields that a proxy must not simply pass on.

use http::header::{CONNECTION, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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
