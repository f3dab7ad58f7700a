//! `No-Vary-Search`: which parts of a query do not matter
//! ([draft-ietf-httpbis-no-vary-search](https://datatracker.ietf.org/doc/draft-ietf-httpbis-no-vary-search/)).

use std::borrow::Cow;

use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

/// A parsed `No-Vary-Search` value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoVarySearch {
    /// `key-order`: parameters of different names may change places.
    pub(crate) any_order: bool,
    pub(crate) parameters: Parameters,
}

/// Which parameters matter. Their names are decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Parameters {
    #[default]
    All,
    /// `params=("a" "b")`: all but these.
    Without(Vec<String>),
    /// `params, except=("a")`: these only; none of them without `except`.
    Only(Vec<String>),
}

impl NoVarySearch {
    /// Reads a value. `None` where it is not a dictionary of the known members in their types: what
    /// is not understood must not make two requests one.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let dictionary: Dictionary = Parser::new(value).parse().ok()?;
        let mut read = Self::default();
        let mut except = None;
        for (name, member) in &dictionary {
            match (name.as_str(), member) {
                ("key-order", member) => read.any_order = boolean(member)?,
                ("params", ListEntry::InnerList(names)) => {
                    read.parameters = Parameters::Without(strings(names)?);
                }
                ("params", member) if boolean(member)? => {
                    read.parameters = Parameters::Only(Vec::new());
                }
                ("params", _) => {}
                ("except", ListEntry::InnerList(names)) => except = Some(strings(names)?),
                _ => return None,
            }
        }
        match (&mut read.parameters, except) {
            (Parameters::Only(kept), Some(except)) => *kept = except,
            // `except` has a meaning beside a bare `params` only.
            (_, Some(_)) => return None,
            (_, None) => {}
        }
        Some(read)
    }
}

fn boolean(member: &ListEntry) -> Option<bool> {
    match member {
        ListEntry::Item(item) => item.bare_item.as_boolean(),
        ListEntry::InnerList(_) => None,
    }
}

fn strings(list: &InnerList) -> Option<Vec<String>> {
    let string = |item: &sfv::Item| match &item.bare_item {
        BareItem::String(string) => {
            let name = form_decoded(string.as_str().as_bytes()).into_owned();
            // A name that is no text when decoded is one that no query has.
            Some(String::from_utf8(name).unwrap_or_else(|_| string.as_str().to_owned()))
        }
        _ => None,
    };
    list.items.iter().map(string).collect()
}

/// Decodes a name of a query as forms are encoded
/// ([URL §5.1](https://url.spec.whatwg.org/#urlencoded-parsing)): `+` is a space and `%69` an `i`.
pub(crate) fn form_decoded(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'+') {
        return unescaped(name);
    }
    let space = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    let spaced: Vec<u8> = name.iter().map(space).collect();
    Cow::Owned(unescaped(&spaced).into_owned())
}

/// Decodes the escapes of a name. A `%` that begins none stands for itself.
pub(crate) fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'%') {
        return Cow::Borrowed(name);
    }
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        let escape = escape(rest);
        decoded.push(escape.unwrap_or(byte));
        rest = if escape.is_some() { &rest[3..] } else { behind };
    }
    Cow::Owned(decoded)
}

fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn read(any_order: bool, parameters: Parameters) -> Option<NoVarySearch> {
        Some(NoVarySearch {
            any_order,
            parameters,
        })
    }

    #[test]
    fn values_are_read_as_the_draft_defines_them() {
        let only = |kept: &[&str]| Parameters::Only(names(kept));
        let without = |ignored: &[&str]| Parameters::Without(names(ignored));
        let cases = [
            ("", read(false, Parameters::All)),
            ("key-order", read(true, Parameters::All)),
            ("key-order=?1", read(true, Parameters::All)),
            ("key-order=?0", read(false, Parameters::All)),
            ("params", read(false, only(&[]))),
            ("params=?1", read(false, only(&[]))),
            ("params=?0", read(false, Parameters::All)),
            ("params=()", read(false, without(&[]))),
            ("params=(\"a\")", read(false, without(&["a"]))),
            (
                "params=(\"utm_source\" \"gclid\")",
                read(false, without(&["utm_source", "gclid"])),
            ),
            ("params, except=()", read(false, only(&[]))),
            ("params, except=(\"id\")", read(false, only(&["id"]))),
            // In any order.
            (
                "except=(\"id\" \"q\"), key-order, params",
                read(true, only(&["id", "q"])),
            ),
            // RFC 9651 §3.2: the last of several members of one name counts.
            ("params, params=(\"a\")", read(false, without(&["a"]))),
            ("params=(\"a\"), params=?0", read(false, Parameters::All)),
            ("params=1, params", read(false, only(&[]))),
            // Parameters of members say nothing.
            (
                "key-order;a, params=(\"a\";b=1);c",
                read(true, without(&["a"])),
            ),
            // Names are those of forms.
            (
                "params=(\"a+b\" \"%63%2Bd\" \"caf%C3%A9\" \"5%\" \"%zz\" \"%ff\")",
                read(
                    false,
                    without(&["a b", "c+d", "caf\u{e9}", "5%", "%zz", "%ff"]),
                ),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(NoVarySearch::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_understood_is_void() {
        for value in [
            // `except` beside anything but a true `params`.
            "except=(\"id\")",
            "params=?0, except=(\"id\")",
            "params=(\"a\"), except=(\"id\")",
            // Other types.
            "key-order=1",
            "key-order=\"a\"",
            "key-order=()",
            "key-order=a",
            "params=1",
            "params=1.5",
            "params=\"a\"",
            "params=a",
            "params=(a b)",
            "params=(\"a\" 1)",
            "params=(\"a\" ?1)",
            "params, except",
            "params, except=\"id\"",
            "params, except=(id)",
            "params, except=?1",
            // Members nobody knows.
            "unknown",
            "key-order, unknown=1",
            // RFC 9651 §4.2: what does not parse.
            "params=(\"a\"",
            "params=(\"a\"\"b\")",
            "Key-Order",
            "key-order,",
            "key-order params",
        ] {
            assert_eq!(NoVarySearch::parse(value), None, "{value}");
        }
    }

    #[test]
    fn names_are_decoded_once() {
        for (name, form, cookie) in [
            ("id", "id", "id"),
            ("%69d", "id", "id"),
            ("i%64", "id", "id"),
            ("a+b", "a b", "a+b"),
            ("a%2bb", "a+b", "a+b"),
            ("%2569d", "%69d", "%69d"),
            ("%", "%", "%"),
            ("%6", "%6", "%6"),
            ("%6g", "%6g", "%6g"),
            ("%+1", "% 1", "%+1"),
            ("", "", ""),
        ] {
            assert_eq!(&*form_decoded(name.as_bytes()), form.as_bytes(), "{name}");
            assert_eq!(&*unescaped(name.as_bytes()), cookie.as_bytes(), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_value_makes_it_panic(value in ".{0,40}") {
            NoVarySearch::parse(&value);
        }

        #[test]
        fn no_name_makes_it_panic_or_grow(name in prop::collection::vec(any::<u8>(), 0..30)) {
            prop_assert!(form_decoded(&name).len() <= name.len());
            prop_assert!(unescaped(&name).len() <= name.len());
        }

        #[test]
        fn names_come_back_as_they_went_in(names in prop::collection::vec("[a-zA-Z0-9_.]{0,6}", 0..5)) {
            let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(
                NoVarySearch::parse(&format!("params=({list})")),
                read(false, Parameters::Without(names.clone()))
            );
            prop_assert_eq!(
                NoVarySearch::parse(&format!("params, except=({list})")),
                read(false, Parameters::Only(names))
            );
        }
    }
}
