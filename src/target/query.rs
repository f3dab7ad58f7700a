//! The query's share of a key: the parameters that matter on a route, and whether their order does.

use std::borrow::Cow;

use crate::semantics::no_vary_search::{self, NoVarySearch, Parameters};

/// A route's rule for queries.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryRule {
    names: QueryNames,
    /// The order of parameters does not matter, but for those of the same name.
    pub(crate) any_order: bool,
}

#[derive(Clone, Debug, Default)]
enum QueryNames {
    #[default]
    All,
    Without(Vec<String>),
    Only(Vec<String>),
}

impl QueryRule {
    /// Leaves parameters out.
    pub(crate) fn ignore(&mut self, names: impl Iterator<Item = String>) {
        match &mut self.names {
            QueryNames::Without(ignored) => ignored.extend(names),
            _ => self.names = QueryNames::Without(names.collect()),
        }
    }

    /// Keeps no other parameters.
    pub(crate) fn only(&mut self, names: impl Iterator<Item = String>) {
        self.names = QueryNames::Only(names.collect());
    }

    /// Takes over what a `No-Vary-Search` value says.
    pub(crate) fn no_vary_search(&mut self, says: NoVarySearch) {
        self.any_order |= says.any_order;
        match says.parameters {
            Parameters::All => {}
            Parameters::Without(names) => self.ignore(names.into_iter()),
            Parameters::Only(names) => self.only(names.into_iter()),
        }
    }

    /// Returns what matters of a query. `None` where all of it is left out, as if there had been
    /// none.
    pub(crate) fn apply<'a>(&self, query: &'a str) -> Option<Cow<'a, str>> {
        if matches!(self.names, QueryNames::All) && !self.any_order {
            return Some(query.into());
        }
        let mut parameters: Vec<&str> = query
            .split('&')
            .filter(|parameter| self.keeps(name_of(parameter)))
            .collect();
        if parameters.is_empty() {
            return None;
        }
        if self.any_order {
            // Stable: parameters of one name, however it is spelt, keep their order, which handlers
            // may depend on.
            parameters.sort_by_cached_key(|parameter| decoded(name_of(parameter)));
        }
        Some(parameters.join("&").into())
    }

    fn keeps(&self, name: &str) -> bool {
        match &self.names {
            QueryNames::All => true,
            QueryNames::Without(names) => !names.iter().any(|ignored| ignored == name),
            // A handler may read `%69d` as `id`: then it matters as much.
            QueryNames::Only(names) => {
                let decoded = decoded(name);
                names
                    .iter()
                    .any(|kept| kept == name || kept.as_bytes() == &*decoded)
            }
        }
    }
}

fn name_of<'a>(parameter: &&'a str) -> &'a str {
    parameter.split('=').next().unwrap_or_default()
}

fn decoded(name: &str) -> Cow<'_, [u8]> {
    no_vary_search::form_decoded(name.as_bytes())
}
