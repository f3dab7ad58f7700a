//! URI references, as far as `Location` needs them
//! ([RFC 3986](https://www.rfc-editor.org/rfc/rfc3986)). `http::Uri` reads no relative ones.

use http::Uri;

/// A URI reference without its fragment, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Splits a reference ([§4.1](https://www.rfc-editor.org/rfc/rfc3986#section-4.1)); `None` for
    /// schemes other than http and https and for those without an authority.
    pub(super) fn parse(reference: &'a str) -> Option<Self> {
        let reference = reference.trim_ascii();
        let reference = reference.split_once('#').map_or(reference, |(uri, _)| uri);
        let (scheme, rest) = split_scheme(reference);
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, rest),
        };
        let known = match scheme {
            Some(scheme) => is_http(scheme) && authority.is_some(),
            None => true,
        };
        known.then_some(Self {
            scheme,
            authority,
            path,
            query,
        })
    }

    /// Tells whether the reference leads to the origin of a request
    /// ([RFC 9110 §4.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-4.3.1)).
    pub(super) fn is_same_origin(&self, scheme: Option<&str>, authority: Option<&str>) -> bool {
        let same_scheme = match (self.scheme, scheme) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (None, _) | (_, None) => true,
        };
        let scheme = self.scheme.or(scheme);
        let same_authority = match (self.authority, authority) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => {
                !without_default_port(ours, scheme).is_empty()
                    && is_same_authority(ours, theirs, scheme)
            }
        };
        same_scheme && same_authority
    }

    /// Returns path and query of the URI that is meant
    /// ([RFC 3986 §5.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.2)).
    pub(super) fn resolve(&self, base: &Uri) -> String {
        let base_path = if base.path().starts_with('/') {
            base.path()
        } else {
            "/"
        };
        let mut query = self.query;
        let mut target = if self.authority.is_some() || self.path.starts_with('/') {
            remove_dot_segments(self.path)
        } else if self.path.is_empty() {
            query = query.or_else(|| base.query());
            base_path.to_owned()
        } else {
            let folder = base_path.rfind('/').map_or("", |slash| &base_path[..slash]);
            remove_dot_segments(&format!("{folder}/{}", self.path))
        };
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        target
    }
}

fn split_scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
        _ => (None, reference),
    }
}

fn is_scheme(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// Returns whether two authorities are the same, whatever their case and whether or not they name the
/// port that the scheme implies ([RFC 9110 §4.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.3)).
pub(crate) fn is_same_authority(one: &str, other: &str, scheme: Option<&str>) -> bool {
    without_default_port(one, scheme).eq_ignore_ascii_case(without_default_port(other, scheme))
}

/// Cuts off a port that the scheme implies, or an empty one.
fn without_default_port<'a>(authority: &'a str, scheme: Option<&str>) -> &'a str {
    let port = match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => ":80",
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => ":443",
        _ => ":",
    };
    authority
        .strip_suffix(port)
        .or_else(|| authority.strip_suffix(':'))
        .unwrap_or(authority)
}

/// Resolves `.` and `..` segments; the result begins with a slash
/// ([RFC 3986 §5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4)).
fn remove_dot_segments(path: &str) -> String {
    let segments = path.strip_prefix('/').unwrap_or(path);
    let mut kept = Vec::new();
    let mut ends_in_folder = false;
    for segment in segments.split('/') {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if ends_in_folder {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}
