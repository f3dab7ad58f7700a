//! `No-Vary-Search`: which parts of a query do not matter
//! ([draft-ietf-httpbis-no-vary-search](https://datatracker.ietf.org/doc/draft-ietf-httpbis-no-vary-search/)).

use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

/// What a `No-Vary-Search` value says of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoVarySearch {
    /// `key-order`: parameters of different names may change places.
    pub(crate) any_order: bool,
    pub(crate) parameters: Parameters,
}

/// Which parameters matter.
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
        BareItem::String(string) => Some(string.as_str().to_owned()),
        _ => None,
    };
    list.items.iter().map(string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_the_draft_defines_them() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let read = |any_order, parameters| {
            Some(NoVarySearch {
                any_order,
                parameters,
            })
        };
        let cases = [
            ("key-order", read(true, Parameters::All)),
            ("key-order=?0", read(false, Parameters::All)),
            ("params", read(false, Parameters::Only(names(&[])))),
            ("params=?0", read(false, Parameters::All)),
            (
                "params=(\"utm_source\" \"gclid\")",
                read(false, Parameters::Without(names(&["utm_source", "gclid"]))),
            ),
            (
                "key-order, params, except=(\"id\")",
                read(true, Parameters::Only(names(&["id"]))),
            ),
            ("except=(\"id\")", None),
            ("params=(a b)", None),
            ("params=1", None),
            ("unknown", None),
            ("params=(\"a\"", None),
        ];
        for (value, expected) in cases {
            assert_eq!(NoVarySearch::parse(value), expected, "{value}");
        }
    }
}
