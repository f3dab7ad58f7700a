use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use sfv::{Dictionary, FieldType, Parser};

use super::queries::assert_queries;
use super::{Lines, joined, value};
use crate::semantics::cache_control::CacheControl;
use crate::semantics::invalidation::{self, MAX_NAME_LENGTH, MAX_NAMES, Names};
use crate::semantics::targeted;

const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");
const OURS: HeaderName = HeaderName::from_static("tower-cache-control");
const GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");
const QUERY: HeaderName = HeaderName::from_static("query");
const OTHER_QUERY: HeaderName = HeaderName::from_static("other-query");

/// Reads headers: `t` for `CDN-Cache-Control`, `u` for another targeted field, `c` for
/// `Cache-Control`, `g` for `Cache-Groups`, `i` for `Cache-Group-Invalidation`, `s` for
/// `Surrogate-Key`, `x` for `Cache-Tag`, `v` for `No-Vary-Search`, `q` and `r` for queries.
///
/// - Lines of a structured field mean what they mean joined.
/// - A targeted field that is read, written and read again gives the same directives, and nothing
///   but its absence lets `Cache-Control` count.
/// - Names are in order, bounded, and the same when they are written and read again.
pub fn structured(input: &[u8]) {
    let headers = Lines::of(input).headers(&[
        (b't', CDN),
        (b'u', OURS),
        (b'c', CACHE_CONTROL),
        (b'g', GROUPS),
        (b'i', GROUP_INVALIDATION),
        (b's', SURROGATE_KEY),
        (b'x', CACHE_TAG),
        (b'v', NO_VARY_SEARCH),
        (b'q', QUERY),
        (b'r', OTHER_QUERY),
    ]);
    assert_targeted(&headers);
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(value) = text(NO_VARY_SEARCH) {
        let query = |name| text(name).unwrap_or_default();
        assert_queries(value, query(QUERY), query(OTHER_QUERY));
    }
    for (name, read) in [
        (GROUPS, invalidation::groups as fn(&HeaderMap) -> Names),
        (GROUP_INVALIDATION, invalidation::group_invalidations),
    ] {
        let names = read(&headers);
        assert_names(&names);
        let quoted: Vec<String> = names.names.iter().map(|name| quoted(name)).collect();
        let again = read(&only(&name, quoted.join(", ").as_bytes()));
        assert_eq!(again.names, names.names, "written");
        assert_eq!(read(&one_line(&headers, &name)), names, "joined");
    }
    let tags = invalidation::tags(&headers);
    assert_names(&tags);
    assert!(tags.names.iter().all(|tag| tag.trim_ascii() == tag));
}

fn assert_targeted(headers: &HeaderMap) {
    let directives = targeted::directives(headers, &[CDN, OURS]);
    let plain = targeted::directives(headers, &[]);
    assert!(!plain.targeted);
    assert_eq!(plain.cache_control, CacheControl::of(headers));
    if directives.targeted {
        let mut without = headers.clone();
        without.remove(CACHE_CONTROL);
        assert_eq!(targeted::directives(&without, &[CDN, OURS]), directives);
    } else {
        assert_eq!(directives, plain);
    }
    for name in [CDN, OURS] {
        let targets = std::slice::from_ref(&name);
        let alone = targeted::directives(headers, targets);
        if !alone.targeted {
            continue;
        }
        assert_eq!(
            targeted::directives(&one_line(headers, &name), targets),
            alone,
            "joined"
        );
        let line = joined(headers, &name, b", ");
        let dictionary: Dictionary = Parser::new(line.as_bytes()).parse().expect("it was read");
        let written = dictionary
            .serialize()
            .expect("what is not empty can be written");
        assert_eq!(
            targeted::directives(&only(&name, written.as_bytes()), targets),
            alone,
            "written"
        );
    }
}

fn assert_names(names: &Names) {
    assert!(names.names.len() <= MAX_NAMES);
    assert!(names.names.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(
        names
            .names
            .iter()
            .all(|name| (1..=MAX_NAME_LENGTH * 3).contains(&name.len()))
    );
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""))
}

fn only(name: &HeaderName, line: &[u8]) -> HeaderMap {
    HeaderMap::from_iter([(name.clone(), value(line))])
}

fn one_line(headers: &HeaderMap, name: &HeaderName) -> HeaderMap {
    match headers.contains_key(name) {
        true => only(name, joined(headers, name, b", ").as_bytes()),
        false => HeaderMap::new(),
    }
}
