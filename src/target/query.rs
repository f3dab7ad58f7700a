//! The query's share of a key: the parameters that matter on a route, and whether their order does.

use std::borrow::Cow;

use crate::pattern::canonical_query;
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
        if self.is_trivial() {
            return Some(query.into());
        }
        self.select(query, |name| self.keeps(name)).map(Into::into)
    }

    /// Returns what matters of a query to invalidations, in canonical form.
    ///
    /// Queries that [`apply`](Self::apply) counts as the same come to the same here. Spellings of one
    /// query do too, which are several keys.
    pub(crate) fn canonical<'a>(&self, query: &'a str) -> Option<Cow<'a, str>> {
        let query = canonical_query(query);
        if self.is_trivial() {
            return Some(query);
        }
        self.select(&query, |name| self.keeps_in_canonical(name))
            .map(Into::into)
    }

    /// Returns whether all of a query matters as it is.
    pub(crate) fn is_trivial(&self) -> bool {
        matches!(self.names, QueryNames::All) && !self.any_order
    }

    fn select(&self, query: &str, keeps: impl Fn(&str) -> bool) -> Option<String> {
        let mut parameters: Vec<&str> = query
            .split('&')
            .filter(|parameter| keeps(name_of(parameter)))
            .collect();
        if parameters.is_empty() {
            return None;
        }
        if self.any_order {
            // Stable: parameters of one name, however it is spelt, keep their order, which handlers
            // may depend on.
            parameters.sort_by_cached_key(|parameter| decoded(name_of(parameter)));
        }
        Some(parameters.join("&"))
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

    /// Keeps nothing that [`keeps`](Self::keeps) does not keep in every spelling: what is left out of
    /// keys must not tell subjects apart.
    fn keeps_in_canonical(&self, name: &str) -> bool {
        let name = decoded(name);
        let is_named = |other: &String| other.as_bytes() == &*name;
        match &self.names {
            QueryNames::All => true,
            QueryNames::Without(names) => !names
                .iter()
                .any(|ignored| is_named(ignored) || decoded(ignored) == name),
            QueryNames::Only(names) => names.iter().any(is_named),
        }
    }
}

fn name_of<'a>(parameter: &&'a str) -> &'a str {
    parameter.split('=').next().unwrap_or_default()
}

fn decoded(name: &str) -> Cow<'_, [u8]> {
    no_vary_search::form_decoded(name.as_bytes())
}
