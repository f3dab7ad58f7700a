use std::borrow::Cow;

use sfv::{Dictionary, FieldType, Parser};

use crate::semantics::no_vary_search::{NoVarySearch, Parameters, form_decoded};
use crate::target::QueryRule;

/// Checks what a value of `No-Vary-Search` makes of two queries. Part of
/// [`structured`](super::structured()).
///
/// - What is read, written and read again says the same.
/// - A parameter that does not matter can be added, and those of different names can change places
///   where their order does not matter.
/// - Queries of one key have the same parameters that matter.
pub(super) fn assert_queries(value: &str, one: &str, other: &str) {
    let Some(says) = NoVarySearch::parse(value) else {
        return;
    };
    let dictionary: Dictionary = Parser::new(value).parse().expect("it was read");
    if let Some(written) = dictionary.serialize() {
        assert_eq!(NoVarySearch::parse(&written).as_ref(), Some(&says));
    }
    let mut rule = QueryRule::default();
    rule.no_vary_search(says.clone());
    let key = |query: &str| rule.apply(query).map(Cow::into_owned);
    for name in ["a", "b"] {
        if !matters(&says, name) {
            assert_eq!(key(&format!("{one}&{name}=x")), key(one));
        }
    }
    let mut names: Vec<_> = one.split('&').map(decoded_name_of).collect();
    names.sort_unstable();
    if says.any_order && names.windows(2).all(|pair| pair[0] != pair[1]) {
        let reversed: Vec<&str> = one.split('&').rev().collect();
        assert_eq!(key(&reversed.join("&")), key(one));
    }
    assert!(key(one) != key(other) || mattering(&says, one) == mattering(&says, other));
}

/// The parameters that matter, in an order of their own where theirs does not.
fn mattering<'a>(says: &NoVarySearch, query: &'a str) -> Vec<&'a str> {
    let parameters = query.split('&');
    let mut mattering: Vec<_> = parameters
        .filter(|parameter| matters(says, name_of(parameter)))
        .collect();
    if says.any_order {
        mattering.sort_by_key(|parameter| decoded_name_of(parameter));
    }
    // No parameter and an empty one are the same text.
    if mattering == [""] {
        Vec::new()
    } else {
        mattering
    }
}

fn matters(says: &NoVarySearch, name: &str) -> bool {
    match &says.parameters {
        Parameters::All => true,
        Parameters::Without(names) => !names.iter().any(|known| known == name),
        Parameters::Only(names) => {
            let decoded = form_decoded(name.as_bytes());
            let is_kept = |known: &String| known == name || known.as_bytes() == &*decoded;
            names.iter().any(is_kept)
        }
    }
}

fn decoded_name_of(parameter: &str) -> Vec<u8> {
    form_decoded(name_of(parameter).as_bytes()).into_owned()
}

fn name_of(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or_default()
}
