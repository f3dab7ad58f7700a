//! Packed text from another process, which may be anything.

use http::HeaderName;

/// How the text of a stored response is laid out: lengths in bytes, but for the number of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) fields: usize,
    pub(crate) head: usize,
    pub(crate) path: usize,
    pub(crate) query: Option<usize>,
}

impl Layout {
    /// Returns how many bytes of text there are before the body.
    pub(crate) fn text(self) -> Option<usize> {
        let path_end = self.head.checked_add(self.path)?;
        path_end.checked_add(self.query.unwrap_or_default())
    }
}

/// More header fields than servers let through: a header map still has room for them, and for those
/// that a replay adds.
pub(super) const MOST_FIELDS: usize = 16 * 1024;

/// The longest name a [`HeaderName`] takes.
const LONGEST_NAME: usize = (1 << 16) - 1;

pub(super) fn is_head(mut rest: &[u8], fields: usize) -> bool {
    for _ in 0..fields {
        let field = take_field(&mut rest);
        if !field.is_some_and(|(name, value)| is_name(name) && is_value(value)) {
            return false;
        }
    }
    rest.is_empty()
}

/// Takes a field off the beginning: its name and its value, which may be anything.
pub(crate) fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let name = take_length(rest)?;
    let value = take_length(rest)?;
    let (name, behind) = rest.split_at_checked(name)?;
    let (value, behind) = behind.split_at_checked(value)?;
    *rest = behind;
    Some((name, value))
}

/// Takes a length off the beginning. `None` where there is none in its shortest form, and beyond
/// 32 bits.
pub(crate) fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        length |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let is_shortest = byte > 0 || shift == 0;
            let length = u32::try_from(length).ok().filter(|_| is_shortest)?;
            return usize::try_from(length).ok();
        }
    }
    None
}

/// Makes a field name of bytes that may be anything.
pub(crate) fn field_name(name: &[u8]) -> Option<HeaderName> {
    is_name(name).then(|| HeaderName::from_bytes(name).ok())?
}

/// Returns whether this is a field name as a header map has it: a token (RFC 9110 §5.6.2) in lower case.
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| IN_NAMES[usize::from(*byte)];
    (1..=LONGEST_NAME).contains(&name.len()) && name.iter().all(is_token)
}

const IN_NAMES: [bool; 256] = {
    let mut in_names = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        in_names[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
                | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    in_names
};

/// Returns whether a header value takes this.
fn is_value(value: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ') & (byte != b'\t') | (byte == 0x7f);
    // To its end whatever is found: so it takes many bytes at a time.
    !value
        .iter()
        .fold(false, |any, byte| any | is_control(*byte))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::super::{Packed, push_length};
    use super::*;
    use crate::target::Subject;

    #[test]
    fn names_and_values_are_those_that_a_header_map_takes() {
        let is_kept = |name: &[u8]| {
            let kept = HeaderName::from_bytes(name).ok();
            kept.is_some_and(|kept| kept.as_str().as_bytes() == name)
        };
        for byte in 0..=u8::MAX {
            let (name, text) = ([b'a', byte], [byte]);
            assert_eq!(is_name(&name), is_kept(&name), "{byte}");
            let is_sent = HeaderValue::from_bytes(&text).is_ok();
            assert_eq!(is_value(&text), is_sent, "{byte}");
        }
        for length in [0, 1, 64, 65, LONGEST_NAME, LONGEST_NAME + 1] {
            let name = vec![b'a'; length];
            assert_eq!(is_name(&name), is_kept(&name), "{length}");
        }
    }

    #[test]
    fn a_length_is_taken_in_its_shortest_form_only() {
        for length in [0, 1, 127, 128, 16_383, 16_384, u32::MAX as usize] {
            let mut bytes = Vec::new();
            push_length(&mut bytes, length);
            bytes.push(7);
            let mut rest = &bytes[..];
            assert_eq!(take_length(&mut rest), Some(length), "{length}");
            assert_eq!(rest, [7]);
        }
        let refused: [&[u8]; 6] = [
            &[],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0x80, 0],
            &[0x80, 0x80, 0x80, 0x80, 0x10],
            &[0xff; 12],
        ];
        for bytes in refused {
            assert_eq!(take_length(&mut &*bytes), None, "{bytes:?}");
        }
    }

    fn packed() -> Packed {
        let fields = [("etag", "\"1\""), ("x-a", "")].map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let subject = Subject::new("/a/b", Some("q=1"), []);
        Packed::new(
            &(&HeaderMap::from_iter(fields)).into(),
            subject.borrow(),
            b"body",
        )
    }

    #[test]
    fn what_was_packed_passes_the_checks_as_it_is() {
        let packed = packed();
        let (bytes, layout) = (packed.bytes.clone(), packed.layout());
        let checked = Packed::checked(bytes.clone(), layout, 0).expect("it was packed");
        assert_eq!(checked, packed);
        assert_eq!(checked.bytes.as_ptr(), bytes.as_ptr());
        let around = |bytes| Packed::checked(packed.bytes.clone(), layout, bytes);
        let size = |around: Option<Packed>| around.expect("the same").size();
        assert_eq!(size(around(100)), packed.size() + 100);
        assert_eq!(size(around(usize::MAX)), packed.size() + 0xffff);
    }

    #[test]
    fn text_that_was_laid_out_otherwise_is_refused() {
        let packed = packed();
        let layout = packed.layout();
        let changed: [fn(&mut Layout); 8] = [
            |layout| layout.fields -= 1,
            |layout| layout.fields += 1,
            |layout| layout.fields = usize::MAX,
            |layout| layout.head -= 1,
            |layout| layout.head = usize::MAX,
            |layout| layout.path = usize::MAX,
            |layout| layout.path = 0,
            |layout| layout.query = Some(usize::MAX),
        ];
        for (at, change) in changed.into_iter().enumerate() {
            let mut layout = layout;
            change(&mut layout);
            let checked = Packed::checked(packed.bytes.clone(), layout, 0);
            assert_eq!(checked, None, "{at}");
        }
        let text = |head: &[u8], path: &[u8], query: &[u8]| {
            let layout = Layout {
                fields: usize::from(!head.is_empty()),
                head: head.len(),
                path: path.len(),
                query: Some(query.len()),
            };
            Packed::checked([head, path, query].concat().into(), layout, 0)
        };
        assert!(text(b"\x01\x01ab", b"/a", b"b").is_some());
        assert!(text(b"", b"/a", b"").is_some());
        let refused: [(&[u8], &[u8], &[u8]); 9] = [
            (b"\x01\x01Ab", b"/a", b"b"),
            (b"\x01\x01a\n", b"/a", b"b"),
            (b"\x00\x01b", b"/a", b"b"),
            (b"\x81\x00\x01ab", b"/a", b"b"),
            (b"", b"", b"b"),
            (b"", b"/a/../b", b"b"),
            (b"", b"/%61", b"b"),
            (b"", b"/a", b"%7e"),
            (b"", b"/\xff", b"b"),
        ];
        for (head, path, query) in refused {
            assert_eq!(text(head, path, query), None, "{head:?} {path:?} {query:?}");
        }
    }
}
