//! Entity tags ([RFC 9110 §8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)).

use http::header::HeaderValue;
use sha2::{Digest, Sha256};

/// An entity tag: opaque bytes, borrowed from the field they came in.
///
/// Text that is no entity tag by the grammar (`abc`, `w/"abc"`) is kept all the same, for origins do
/// send it; it only ever matches its own bytes, and never where a strong validator is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntityTag<'a> {
    Strong(&'a [u8]),
    Weak(&'a [u8]),
    Malformed(&'a [u8]),
}

impl<'a> EntityTag<'a> {
    /// Reads one tag, as `ETag` and `If-Range` hold it.
    pub(crate) fn parse(value: &'a [u8]) -> Self {
        let value = value.trim_ascii();
        let mut tags = EntityTags(value);
        match tags.next() {
            // Only a list may have an empty member, in front of this one or behind it.
            Some(tag) if tags.0.is_empty() && !value.starts_with(b",") => tag,
            _ => Self::Malformed(value),
        }
    }

    /// Weak comparison: the opaque parts are equal, whatever the weakness
    /// ([RFC 9110 §8.8.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2)).
    pub(crate) fn matches_weakly(self, other: Self) -> bool {
        match (self, other) {
            (Self::Strong(a) | Self::Weak(a), Self::Strong(b) | Self::Weak(b)) => a == b,
            (Self::Malformed(a), Self::Malformed(b)) => a == b && !a.is_empty(),
            _ => false,
        }
    }

    /// Strong comparison: both are strong and equal
    /// ([RFC 9110 §8.8.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2)).
    pub(crate) fn matches_strongly(self, other: Self) -> bool {
        matches!((self, other), (Self::Strong(a), Self::Strong(b)) if a == b)
    }

    pub(crate) fn is_strong(self) -> bool {
        matches!(self, Self::Strong(_))
    }
}

/// The members of `If-Match` or `If-None-Match`, read as they are asked for.
///
/// Each byte is looked at a bounded number of times, so a list of a thousand tags costs no more
/// than its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntityTags<'a>(&'a [u8]);

impl<'a> EntityTags<'a> {
    pub(crate) fn parse(value: &'a [u8]) -> Self {
        Self(value)
    }
}

impl<'a> Iterator for EntityTags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        let separator = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.0.iter().position(|byte| !separator(byte));
        let text = &self.0[start.unwrap_or(self.0.len())..];
        let (weak, quoted) = match text {
            [] => {
                self.0 = text;
                return None;
            }
            [b'W', b'/', b'"', ..] => (true, &text[2..]),
            _ => (false, text),
        };
        let (tag, rest) = match until_quote(quoted).and_then(|end| member_end(quoted, end)) {
            Some((opaque, rest)) if weak => (EntityTag::Weak(opaque), rest),
            Some((opaque, rest)) => (EntityTag::Strong(opaque), rest),
            None => {
                let end = text.iter().position(|byte| *byte == b',');
                let (member, rest) = text.split_at(end.unwrap_or(text.len()));
                (EntityTag::Malformed(member.trim_ascii_end()), rest)
            }
        };
        self.0 = rest;
        Some(tag)
    }
}

/// Returns where an opaque tag ends, both quotes included.
fn until_quote(text: &[u8]) -> Option<usize> {
    let (b'"', rest) = text.split_first()? else {
        return None;
    };
    let length = rest.iter().position(|byte| *byte == b'"')?;
    Some(length + 2)
}

/// Splits behind a member, provided that nothing but a comma follows it.
fn member_end(text: &[u8], end: usize) -> Option<(&[u8], &[u8])> {
    let (member, rest) = text.split_at(end);
    let rest = rest.trim_ascii_start();
    matches!(rest.first(), None | Some(b',')).then_some((member, rest))
}

/// Makes a strong entity tag from a body: its SHA-256 digest in base64url.
///
/// Equal bodies have equal tags in every process; other bodies have others. Costs a pass over the
/// body.
pub(crate) fn generate(body: &[u8]) -> HeaderValue {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digest = Sha256::digest(body);
    let mut tag = [b'"'; 45];
    let mut at = 1;
    for group in digest.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for index in 0..=group.len() {
            tag[at] = ALPHABET[(bits >> (18 - 6 * index)) as usize & 63];
            at += 1;
        }
    }
    HeaderValue::from_bytes(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::EntityTag::{Malformed, Strong, Weak};
    use super::*;

    fn list(value: &str) -> Vec<EntityTag<'_>> {
        EntityTags::parse(value.as_bytes()).collect()
    }

    #[test]
    fn a_tag_is_quoted_and_may_be_weak() {
        // RFC 9110 §8.8.3.
        assert_eq!(EntityTag::parse(b"\"xyzzy\""), Strong(b"\"xyzzy\""));
        assert_eq!(EntityTag::parse(b" W/\"xyzzy\" "), Weak(b"\"xyzzy\""));
        assert_eq!(EntityTag::parse(b"\"\""), Strong(b"\"\""));
        assert_eq!(EntityTag::parse(b"\"\xfc\""), Strong(b"\"\xfc\""));
        for malformed in [
            "",
            "xyzzy",
            "\"",
            "W/",
            "W/\"",
            "w/\"a\"",
            "W\\\"a\"",
            "W\"a\"",
            "W/ \"a\"",
            "\"a\"b",
            "\"a\", \"b\"",
            ",\"a\",",
            "\"a\",",
        ] {
            let tag = EntityTag::parse(malformed.as_bytes());
            assert!(matches!(tag, Malformed(_)), "{malformed}: {tag:?}");
        }
    }

    #[test]
    fn comparison_is_that_of_the_table_in_rfc_9110_8_8_3_2() {
        for (a, b, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "1", false, false),
            ("\"1\"", ",\"1\"", false, false),
            ("\"1\"", "\"1\",", false, false),
            ("1", "1", false, true),
            ("w/\"1\"", "w/\"1\"", false, true),
            ("w/\"1\"", "W/\"1\"", false, false),
            ("", "", false, false),
        ] {
            let (a, b) = (
                EntityTag::parse(a.as_bytes()),
                EntityTag::parse(b.as_bytes()),
            );
            assert_eq!(a.matches_strongly(b), strong, "{a:?} {b:?}");
            assert_eq!(a.matches_weakly(b), weak, "{a:?} {b:?}");
            assert_eq!(b.matches_strongly(a), strong, "{b:?} {a:?}");
            assert_eq!(b.matches_weakly(a), weak, "{b:?} {a:?}");
        }
    }

    #[test]
    fn lists_may_have_quoted_commas_and_empty_members() {
        assert_eq!(list(""), []);
        assert_eq!(list(" , ,"), []);
        assert_eq!(
            list("\"a, b\",, W/\"c\" ,\"d\""),
            [Strong(b"\"a, b\""), Weak(b"\"c\""), Strong(b"\"d\"")]
        );
        assert_eq!(
            list("a, \"b\"c, \"d\", \"e"),
            [
                Malformed(b"a"),
                Malformed(b"\"b\"c"),
                Strong(b"\"d\""),
                Malformed(b"\"e")
            ]
        );
    }

    #[test]
    fn a_generated_tag_is_the_digest_in_base64url() {
        assert_eq!(
            generate(b""),
            "\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\""
        );
        assert!(EntityTag::parse(generate(b"body").as_bytes()).is_strong());
        assert_ne!(generate(b"a"), generate(b"b"));
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_list(bytes in prop::collection::vec(prop_oneof![
            Just(b'"'), Just(b','), Just(b' '), Just(b'W'), Just(b'/'), any::<u8>(),
        ], 0..40)) {
            let tags: Vec<_> = EntityTags::parse(&bytes).collect();
            prop_assert!(tags.len() <= bytes.len());
            EntityTag::parse(&bytes);
        }

        #[test]
        fn well_formed_tags_come_back_from_a_list(
            tags in prop::collection::vec((any::<bool>(), "[!#-~,\u{80}-\u{ff}]{0,8}"), 0..6),
        ) {
            let texts: Vec<_> = tags
                .iter()
                .map(|(weak, tag)| format!("{}\"{tag}\"", if *weak { "W/" } else { "" }))
                .collect();
            let joined = texts.join(" ,, ");
            let alone: Vec<_> = texts.iter().map(|tag| EntityTag::parse(tag.as_bytes())).collect();
            prop_assert_eq!(list(&joined), alone);
        }
    }
}
