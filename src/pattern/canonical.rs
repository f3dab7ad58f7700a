//! The canonical form of paths and queries, in which every match is made.
//!
//! Two spellings of one URI ([RFC 3986 §6.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-6.2.2))
//! are two keys, and each has its own stored response, but a write to either makes both stale. Hence
//! keys stay raw and matches are made in this form:
//!
//! - escapes of unreserved characters are decoded: `%7Ea` is `~a`; in paths also those of what may
//!   stand there unescaped, which a handler reads alike: `a%40b` is `a@b`;
//! - the other escapes are in upper case: `%2f` is `%2F`, and never a slash;
//! - what cannot stand in a URI is escaped: `é` is `%C3%A9`, a `%` that begins no escape is `%25`;
//! - dot segments are removed from paths (RFC 3986 §5.2.4), and a path begins with a slash.
//!
//! The form is stable: applied again, it changes nothing.

use std::borrow::Cow;

/// The part of a URI that a text is. A raw `?` can stand only in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriPart {
    Path,
    Query,
}

/// Returns the canonical form of a path. Borrows, after one scan, when nothing changes.
pub(crate) fn canonical(path: &str) -> Cow<'_, str> {
    if is_plain(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    if path.starts_with('/') && !has_dot_segment(path) && is_encoded(path, UriPart::Path) {
        return Cow::Borrowed(path);
    }
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    encode(path, UriPart::Path, &mut encoded);
    Cow::Owned(remove_dot_segments(&encoded))
}

/// Returns the canonical form of a query. Borrows when nothing changes.
pub(crate) fn canonical_query(query: &str) -> Cow<'_, str> {
    if is_encoded(query, UriPart::Query) {
        return Cow::Borrowed(query);
    }
    let mut encoded = String::with_capacity(query.len());
    encode(query, UriPart::Query, &mut encoded);
    Cow::Owned(encoded)
}

/// Decodes every escape; `None` when that does not make text.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let escape = escaped_byte(rest);
        decoded.push(escape.unwrap_or(byte));
        rest = if escape.is_some() { &rest[3..] } else { after };
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Appends `text` with its escapes in canonical form.
pub(super) fn encode(text: &str, part: UriPart, out: &mut String) {
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = escaped_byte(rest);
        match escape {
            Some(escaped) if needs_no_escape(escaped, part) => out.push(char::from(escaped)),
            Some(escaped) => push_escape(escaped, out),
            None if may_stand(byte, part) => out.push(char::from(byte)),
            None => push_escape(byte, out),
        }
        rest = if escape.is_some() { &rest[3..] } else { after };
    }
}

/// Returns the form in which a value's key is matched. Unlike a URI it has no escapes of its own: a `%`
/// is a `%`, and two keys never have the same form.
pub(super) fn escape_key(key: &str) -> String {
    escape(key, |byte| may_stand(byte, UriPart::Query))
}

/// Returns the form in which the name of a namespace is matched, in which there is no slash.
pub(super) fn escape_namespace(name: &str) -> String {
    escape(name, |byte| is_unreserved(byte) || byte == b':')
}

fn escape(text: &str, stands: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match stands(byte) {
            true => escaped.push(char::from(byte)),
            false => push_escape(byte, &mut escaped),
        }
    }
    escaped
}

/// Returns whether a path is in canonical form for the simplest of reasons: it has no escapes, and no
/// dot behind a slash. Nearly all are, and each request's is asked.
fn is_plain(path: &[u8]) -> bool {
    // All bytes together: most paths are decided without a branch for each.
    let looks = path
        .iter()
        .fold(PLAIN, |looks, byte| looks | LOOKS[usize::from(*byte)]);
    path.first() == Some(&b'/')
        && looks & STRANGE == 0
        && (looks & DOT == 0 || !path.windows(2).any(|pair| pair == b"/."))
}

/// How a byte of a path looks: one that stands for itself.
const PLAIN: u8 = 0;
const DOT: u8 = 1;
/// An escape, or what would have to be one.
const STRANGE: u8 = 2;

const LOOKS: [u8; 256] = {
    let mut looks = [STRANGE; 256];
    let mut byte = 0;
    while byte < 256 {
        if may_stand(byte as u8, UriPart::Path) {
            looks[byte] = PLAIN;
        }
        byte += 1;
    }
    looks[b'.' as usize] = DOT;
    looks
};

fn is_encoded(text: &str, part: UriPart) -> bool {
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match escaped_byte(rest) {
            Some(escaped) if !needs_no_escape(escaped, part) && is_upper_case(&rest[1..3]) => {
                &rest[3..]
            }
            None if may_stand(byte, part) => after,
            _ => return false,
        };
    }
    true
}

fn has_dot_segment(path: &str) -> bool {
    // Nearly every path without a dot behind a slash is settled by the first condition.
    path.contains("/.") && path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Removes dot segments from a path that begins with a slash.
fn remove_dot_segments(path: &str) -> String {
    if !has_dot_segment(path) {
        return path.to_owned();
    }
    let mut kept = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => kept.truncate(kept.rfind('/').unwrap_or(0)),
            _ => {
                kept.push('/');
                kept.push_str(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push('/');
        }
    }
    kept
}

/// Returns the byte that an escape at the beginning of `bytes` stands for.
fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = *bytes else {
        return None;
    };
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

fn push_escape(byte: u8, out: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 0xF)]);
}

fn is_upper_case(digits: &[u8]) -> bool {
    !digits.iter().any(u8::is_ascii_lowercase)
}

/// Returns whether an escape of this byte says the same as the byte (RFC 3986 §3.3). A star is left out:
/// it would read as a wildcard where a canonical path is shown as a pattern.
fn needs_no_escape(byte: u8, part: UriPart) -> bool {
    is_unreserved(byte) || part == UriPart::Path && b":@!$&'()+,;=".contains(&byte)
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §3.3 (`pchar` and the slash) and §3.4.
const fn may_stand(byte: u8, part: UriPart) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
        || matches!(byte, b':' | b'@')
        || (byte == b'?' && matches!(part, UriPart::Query))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_have_one_canonical_form() {
        let cases = [
            // RFC 3986 §6.2.2.2: escapes of unreserved characters.
            ("/%61%7e%2D", "/a~-"),
            // §6.2.2.1: upper-case escapes; the reserved stay escaped.
            ("/a%2fb", "/a%2Fb"),
            ("/%2A", "/%2A"),
            ("/*", "/*"),
            // §6.2.2.3 and §5.2.4: dot segments, plain and escaped.
            ("/a/b/c/./../../g", "/a/g"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/../..", "/"),
            ("/.a/..b/c.", "/.a/..b/c."),
            // Empty segments and a slash at the end are not ours to change.
            ("//a//", "//a//"),
            ("/a//../b", "/a/b"),
            // What cannot stand in a path.
            ("/é", "/%C3%A9"),
            ("/a b", "/a%20b"),
            ("/{x}", "/%7Bx%7D"),
            ("/%", "/%25"),
            ("/%4", "/%254"),
            ("/%zz", "/%25zz"),
            ("/%%36%31", "/%2561"),
            ("", "/"),
            ("*", "/*"),
        ];
        for (path, expected) in cases {
            assert_eq!(canonical(path), expected, "{path}");
        }
    }

    #[test]
    fn an_ordinary_path_is_borrowed() {
        for path in [
            "/",
            "/a/b-c_d~e.f",
            "/a%20b/%2F",
            "/.well-known/x",
            "/a;v=1,2:@!",
        ] {
            assert!(matches!(canonical(path), Cow::Borrowed(_)), "{path}");
        }
        assert!(matches!(canonical_query("a=1&b=/?c"), Cow::Borrowed(_)));
    }

    #[test]
    fn queries_keep_question_marks_and_dots() {
        assert_eq!(
            canonical_query("a=%2e%2E/../?&b=[1]"),
            "a=../../?&b=%5B1%5D"
        );
    }

    #[test]
    fn decoding_that_makes_no_text_is_refused() {
        assert_eq!(decode("a%20%c3%a9%2").as_deref(), Some("a é%2"));
        assert_eq!(decode("%ff"), None);
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_stable(path in "[/.%2aAfeE0-9?*é ]{0,24}") {
            let once = canonical(&path).into_owned();
            prop_assert_eq!(canonical(&once), &*once);
            let query = canonical_query(&path).into_owned();
            prop_assert_eq!(canonical_query(&query), &*query);
        }
    }
}
