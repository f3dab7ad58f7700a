use std::sync::LazyLock;

use http::Uri;
use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::uri::PathAndQuery;

use super::{Lines, value};
use crate::invalidate::Invalidation;
use crate::pattern::{Pattern, canonical};
use crate::policy::{Evict, RouteTable, Routes};
use crate::semantics::invalidation;

/// Reads the URI of a request, and references: those of a response's `Location` and
/// `Content-Location`, and texts of an invalidation.
///
/// - A target is a path and a query without dot segments, and its own target.
/// - A relative path resolves as RFC 3986 says, letter by letter.
/// - No other origin is ever a target.
/// - A canonical path is a path without dot segments, stable, and the same for every spelling.
/// - What an invalidation shows is a pattern, and the same one.
/// - A write that evicts what its own route spells evicts its own path.
pub fn uris(input: &[u8]) {
    let mut lines = Lines::of(input);
    let request = Uri::try_from(lines.text()).unwrap_or(Uri::from_static("/a/b/c?d"));
    assert_evicted(request.path());
    for line in lines {
        assert_targets(&request, value(line).as_bytes());
        if let Ok(text) = str::from_utf8(line) {
            assert_canonical(text);
            assert_invalidation(text);
        }
    }
}

fn assert_targets(request: &Uri, reference: &[u8]) {
    let targets = |reference: &[u8]| {
        let mut response = HeaderMap::new();
        response.insert(LOCATION, value(reference));
        response.insert(CONTENT_LOCATION, value(reference));
        let targets = invalidation::targets(request, Some("a.test"), &response);
        assert!(targets.len() <= 1, "both are the same");
        targets.into_iter().next()
    };
    let foreign = [b"//b.test", reference].concat();
    assert_eq!(targets(&foreign), None);
    let Some(target) = targets(reference) else {
        return;
    };
    let path = target.split('?').next().unwrap_or_default();
    assert!(path.starts_with('/') && !target.contains('#'), "{target}");
    let is_request = request.path() == path;
    assert!(is_request || !has_dot_segments(path), "{target}");
    assert!(PathAndQuery::try_from(&*target).is_ok());
    if !is_request {
        let again = format!("//a.test{target}");
        assert_eq!(targets(again.as_bytes()), Some(target.clone()));
    }
    let text = str::from_utf8(reference).unwrap_or_default().trim_ascii();
    let relative = text.split(['?', '#']).next().unwrap_or_default();
    if relative.len() < 1_000
        && !relative.is_empty()
        && !relative.starts_with('/')
        && !relative.contains(':')
    {
        let folder = request
            .path()
            .rfind('/')
            .map_or("", |at| &request.path()[..at]);
        assert_eq!(path, removed(&format!("{folder}/{relative}")), "{text}");
    }
}

/// RFC 3986 §5.2.4, letter by letter.
fn removed(path: &str) -> String {
    let mut input = path.to_owned();
    let mut output = String::new();
    while !input.is_empty() {
        if let Some(rest) = input
            .strip_prefix("../")
            .or_else(|| input.strip_prefix("./"))
        {
            input = rest.to_owned();
        } else if let Some(rest) = input.strip_prefix("/./") {
            input = format!("/{rest}");
        } else if input == "/." {
            input = "/".to_owned();
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input.get(4..).unwrap_or_default());
            output.truncate(output.rfind('/').unwrap_or(0));
        } else if input == "." || input == ".." {
            input.clear();
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.push_str(&input[..end]);
            input.drain(..end);
        }
    }
    output
}

fn has_dot_segments(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn assert_canonical(text: &str) {
    let path = canonical(text).into_owned();
    assert_eq!(canonical(&path), path, "stable");
    assert!(path.starts_with('/') && !has_dot_segments(&path), "{path}");
    assert!(PathAndQuery::try_from(&*path).is_ok(), "{path}");
    assert!(path.len() <= 3 * text.len() + 1);
    if !text.contains('%') {
        let spelled: String = text.chars().map(spell).collect();
        assert_eq!(canonical(&spelled), path, "{spelled}");
    }
}

/// Escapes what means the same escaped (RFC 3986 §2.3), in one case or the other.
fn spell(char: char) -> String {
    match char {
        'a' | 'k' | '.' | '~' => format!("%{:02x}", u32::from(char)),
        'A'..='Z' | '-' | '_' => format!("%{:02X}", u32::from(char)),
        _ => char.into(),
    }
}

fn assert_invalidation(text: &str) {
    let shown = Invalidation::uri(text).to_string();
    let pattern = Pattern::parse(&shown).expect("an invalidation shows a pattern");
    assert_eq!(
        Invalidation::pattern(pattern.clone()),
        Invalidation::uri(text),
        "{text}"
    );
    let uri = text.split('#').next().unwrap_or_default();
    if uri.starts_with('/') && !uri.contains("://") {
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (uri, None),
        };
        assert!(pattern.matches(path, query), "{text}");
        assert!(query.is_some() || pattern.matches(path, Some("q")));
        assert!(!pattern.matches(&format!("{path}x"), query));
    }
}

fn assert_evicted(path: &str) {
    static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
        let templates = [
            "/a/{x}",
            "/a/{x}/b/{y}",
            "/a/{x}/b/{y}/{*rest}",
            "/c/{*rest}",
        ];
        let routes = templates
            .into_iter()
            .fold(Routes::new(), |routes, template| {
                let evicted = template.replace("{*", "{");
                routes.on_write(template, Evict::pattern(evicted))
            });
        routes.build().expect("templates that go together")
    });
    for invalidation in TABLE.evicted_by(&http::Method::PUT, path).0 {
        let shown = invalidation.to_string();
        let pattern = Pattern::parse(&shown).expect("an invalidation shows a pattern");
        assert!(pattern.matches(path, None), "{path} evicts {shown}");
    }
}
