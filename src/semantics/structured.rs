//! Structured Fields ([RFC 9651](https://www.rfc-editor.org/rfc/rfc9651), before it RFC 8941),
//! read with the `sfv` crate.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

/// Reads all lines of a field as one Dictionary.
///
/// `None` if the field is not there, is empty or does not parse: a field that fails is ignored as
/// a whole ([§4.2](https://www.rfc-editor.org/rfc/rfc9651#section-4.2)).
pub(crate) fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let field = joined(headers, name)?;
    let dictionary: Dictionary = Parser::new(&field).parse().ok()?;
    (!dictionary.is_empty()).then_some(dictionary)
}

/// Reads all lines of a field as one List of Strings; parameters are ignored.
///
/// Empty if the field is not there, does not parse, or has a member that is not a String.
pub(crate) fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let Some(field) = joined(headers, name) else {
        return Vec::new();
    };
    let list: List = Parser::new(&field).parse().unwrap_or_default();
    let strings: Option<_> = list.into_iter().map(string).collect();
    strings.unwrap_or_default()
}

fn string(member: ListEntry) -> Option<String> {
    match member {
        ListEntry::Item(Item {
            bare_item: BareItem::String(string),
            ..
        }) => Some(string.into()),
        _ => None,
    }
}

/// Joins the lines of a field with commas
/// ([RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)), without the whitespace
/// around them ([§5.5](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)), which handlers may leave
/// and of which this syntax allows only spaces.
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let mut field = Cow::Borrowed(lines.next()?.as_bytes().trim_ascii());
    for line in lines {
        let field = field.to_mut();
        field.extend_from_slice(b", ");
        field.extend_from_slice(line.as_bytes().trim_ascii());
    }
    Some(field)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("cache-groups");

    fn headers(lines: &[impl AsRef<[u8]>]) -> HeaderMap {
        lines
            .iter()
            .filter_map(|line| Some((NAME, HeaderValue::from_bytes(line.as_ref()).ok()?)))
            .collect()
    }

    #[test]
    fn a_list_of_strings_is_all_strings_or_nothing() {
        let cases: &[(&[&str], &[&str])] = &[
            // RFC 9651 §3.1
            (&[r#""a", "b""#], &["a", "b"]),
            (&[r#""a""#, r#""b""#], &["a", "b"]),
            // RFC 9110 §5.5: without the whitespace around a value.
            (&["\t\"a\" ", "\t\"b\"\t"], &["a", "b"]),
            (&[r#""a";revalidate, "b, c""#], &["a", "b, c"]),
            (&[r#""say \"hi\" \\""#], &["say \"hi\" \\"]),
            (&[r#""""#], &[""]),
            (&[""], &[]),
            (&[], &[]),
            // RFC 9651 §4.2: a field that fails is ignored as a whole.
            (&[r#""a", b"#], &[]),
            (&[r#""a", 1"#], &[]),
            (&[r#"("a" "b")"#], &[]),
            (&[r#""a","#], &[]),
            (&[r#""a"#], &[]),
            (&[r#""a" "b""#], &[]),
            (&[r#""a""#, r#"""#], &[]),
            (&["\"\u{fc}\""], &[]),
        ];
        for (lines, expected) in cases {
            assert_eq!(strings(&headers(lines), &NAME), *expected, "{lines:?}");
        }
    }

    #[test]
    fn an_empty_dictionary_is_none() {
        assert!(dictionary(&headers(&["a=1", "b"]), &NAME).is_some());
        assert!(dictionary(&headers(&[" "]), &NAME).is_none());
        assert!(dictionary(&headers(&["a", "?"]), &NAME).is_none());
        assert!(dictionary(&headers(&[] as &[&str]), &NAME).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3)) {
            let headers = headers(&lines);
            dictionary(&headers, &NAME);
            strings(&headers, &NAME);
        }

        #[test]
        fn strings_come_back_as_they_went_in(names in prop::collection::vec("[ -~]{0,12}", 1..6)) {
            let quote = |name: &String| format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""));
            let line = names.iter().map(quote).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(strings(&headers(&[line]), &NAME), names);
        }
    }
}
