use http::HeaderValue;
use http::header::{
    self, ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE,
    HeaderMap, HeaderName,
};

use super::{Lines, joined, value};
use crate::key::KeyBuilder;
use crate::semantics::vary::{self, Vary};

const FOO: HeaderName = HeaderName::from_static("foo");

/// Reads a `Vary`, and the headers of two requests with an empty line between them: `a`
/// for `Accept`, `c` for `Accept-Charset`, `e` for `Accept-Encoding`, `l` for `Accept-Language`,
/// `k` for `Cookie`, `z` for `Authorization`, `f` for `Foo`.
///
/// - The names are sorted and bounded; neither their order nor their case matters.
/// - Normal forms are their own normal form, and lines mean what they mean joined, but for fields
///   of unknown grammar, which are compared byte for byte.
/// - Two requests have one key if and only if they are alike in the selecting fields.
/// - Requests of one `Accept-Encoding` accept the same codings, and of one `Accept-Language` prefer
///   the same language.
pub fn vary(input: &[u8]) {
    let mut lines = Lines::of(input);
    assert_names(lines.text());
    let fields = [
        (b'a', ACCEPT),
        (b'c', ACCEPT_CHARSET),
        (b'e', ACCEPT_ENCODING),
        (b'l', ACCEPT_LANGUAGE),
        (b'k', COOKIE),
        (b'z', AUTHORIZATION),
        (b'f', FOO),
    ];
    let (one, other) = (lines.headers(&fields), lines.headers(&fields));
    let names = fields.map(|(_, name)| name);
    for name in &names {
        assert_normal(name, &one);
        assert_normal(name, &other);
        assert_keys(std::slice::from_ref(name), &one, &other);
    }
    assert_keys(&names, &one, &other);
    let alike = |name| vary::selects(&[name], &one, &other);
    if alike(ACCEPT_ENCODING) {
        for coding in [
            &b"gzip"[..],
            b"br",
            b"identity",
            b"x-gzip",
            b"a",
            b"br, gzip",
        ] {
            let accepts = |request| vary::accepts_coding(request, Some(coding));
            assert_eq!(accepts(&one), accepts(&other));
        }
    }
    if alike(ACCEPT_LANGUAGE) {
        for tag in [&b"en"[..], b"en-GB", b"de", b"a-b"] {
            let prefers = |request| vary::prefers_language(request, tag);
            assert_eq!(prefers(&one), prefers(&other));
        }
    }
}

fn assert_names(line: &[u8]) {
    let read = |text: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(header::VARY, value(text));
        Vary::of(&headers)
    };
    let line = value(line);
    let Vary::Fields(names) = read(line.as_bytes()) else {
        return;
    };
    assert!((1..=16).contains(&names.len()));
    assert!(
        names
            .windows(2)
            .all(|pair| pair[0].as_str() < pair[1].as_str())
    );
    let mut members: Vec<_> = line.as_bytes().split(|byte| *byte == b',').collect();
    members.reverse();
    let reversed = members.join(&b',').to_ascii_uppercase();
    assert_eq!(read(&reversed), Vary::Fields(names));
}

fn assert_normal(name: &HeaderName, request: &HeaderMap) {
    let normal = vary::selecting_value(name, request);
    assert_eq!(normal.is_some(), request.contains_key(name));
    let Some(normal) = normal else { return };
    if [AUTHORIZATION, FOO].contains(name) {
        // Byte for byte.
        let lines = request.get_all(name).iter().map(HeaderValue::as_bytes);
        assert_eq!(*normal, lines.collect::<Vec<_>>().join(&b", "[..]));
        return;
    }
    let alone = |text: HeaderValue| {
        let mut headers = HeaderMap::new();
        headers.insert(name, text);
        vary::selecting_value(name, &headers).map(|value| value.into_owned())
    };
    // An empty line leaves a separator at the end of a field that is no list.
    let mut lines = request.get_all(name).iter();
    if lines.any(|line| line.as_bytes().trim_ascii().is_empty()) {
        return;
    }
    assert_eq!(alone(value(&normal)).as_deref(), Some(&*normal), "stable");
    let separator: &[u8] = if *name == COOKIE { b"; " } else { b", " };
    let line = joined(request, name, separator);
    assert_eq!(alone(line).as_deref(), Some(&*normal), "joined");
}

fn assert_keys(names: &[HeaderName], one: &HeaderMap, other: &HeaderMap) {
    assert!(vary::selects(names, one, one));
    let alike = vary::selects(names, one, other);
    assert_eq!(alike, vary::selects(names, other, one));
    let key = |request| {
        let mut key = KeyBuilder::default();
        vary::append_selecting(&mut key, names, request);
        key.key().to_owned()
    };
    assert_eq!(key(one) == key(other), alike);
}
