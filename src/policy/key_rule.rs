//! What of a request goes into its key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::Identity;
use crate::key::KeyBuilder;
use crate::semantics::no_vary_search::{NoVarySearch, Parameters};
use crate::semantics::vary;

/// A route's key rule: the query's share of the key, and what is added to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRule {
    query: QueryNames,
    pub(crate) sort_query: bool,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) cookies: Vec<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) replacement: Option<Part>,
}

/// A part of a key computed by the operator's function.
#[derive(Clone)]
pub(crate) struct Part(pub(crate) Naming);

/// A function of the operator's that names something about a request.
pub(crate) type Naming = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

#[derive(Clone, Debug, Default)]
enum QueryNames {
    #[default]
    All,
    Without(Vec<String>),
    Only(Vec<String>),
}

/// Where a request goes, as far as the key is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) scheme: Option<&'a str>,
    pub(crate) authority: Option<&'a [u8]>,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// A function that was to name the request's partition gave no name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoPartition;

impl KeyRule {
    pub(crate) fn ignore_query(&mut self, names: impl Iterator<Item = String>) {
        match &mut self.query {
            QueryNames::Without(ignored) => ignored.extend(names),
            _ => self.query = QueryNames::Without(names.collect()),
        }
    }

    pub(crate) fn only_query(&mut self, names: impl Iterator<Item = String>) {
        self.query = QueryNames::Only(names.collect());
    }

    /// Takes over what a `No-Vary-Search` value says.
    pub(crate) fn no_vary_search(&mut self, says: NoVarySearch) {
        self.sort_query |= says.any_order;
        match says.parameters {
            Parameters::All => {}
            Parameters::Without(names) => self.ignore_query(names.into_iter()),
            Parameters::Only(names) => self.only_query(names.into_iter()),
        }
    }

    /// Writes everything that this rule, and the route's identity, put into the key of a request.
    pub(crate) fn write(
        &self,
        target: Target<'_>,
        request: &Parts,
        identity: &Identity,
        key: &mut KeyBuilder,
    ) -> Result<(), NoPartition> {
        let replacement = self.replacement.as_ref().map(|part| part.0(request));
        if let Some(replacement) = &replacement {
            key.optional(replacement.as_deref().map(str::as_bytes));
        }
        if replacement.flatten().is_none() {
            self.write_target(target, key);
        }
        for name in &self.headers {
            let values = request.headers.get_all(name);
            key.part(name.as_str().as_bytes())
                .count(values.iter().count());
            for value in values {
                write_value(name, value, key);
            }
        }
        for name in &self.cookies {
            let digest = cookie(request, name).map(Sha256::digest);
            key.part(name.as_bytes()).optional(digest.as_deref());
        }
        for part in &self.parts {
            key.optional(part.0(request).as_deref().map(str::as_bytes));
        }
        if let Identity::Partition(partition) = identity {
            key.part(partition(request).ok_or(NoPartition)?.as_bytes());
        }
        Ok(())
    }

    fn write_target(&self, target: Target<'_>, key: &mut KeyBuilder) {
        match target.scheme {
            Some(scheme) => key.part_lowercase(scheme.as_bytes()),
            None => key.part(b""),
        };
        key.part_lowercase(target.authority.unwrap_or_default())
            .part(target.path.as_bytes())
            .optional(
                target
                    .query
                    .and_then(|query| self.query(query))
                    .as_deref()
                    .map(str::as_bytes),
            );
    }

    /// Returns the query's share of the key; `None` where all of it is left out, as if there had been
    /// none.
    fn query<'a>(&self, query: &'a str) -> Option<Cow<'a, str>> {
        if matches!(self.query, QueryNames::All) && !self.sort_query {
            return Some(query.into());
        }
        let mut parameters: Vec<&str> = query
            .split('&')
            .filter(|parameter| self.keeps(name_of(parameter)))
            .collect();
        if parameters.is_empty() {
            return None;
        }
        if self.sort_query {
            // Stable: parameters of one name keep their order, which handlers may depend on.
            parameters.sort_by_key(name_of);
        }
        Some(parameters.join("&").into())
    }

    fn keeps(&self, name: &str) -> bool {
        match &self.query {
            QueryNames::All => true,
            QueryNames::Without(names) => !names.iter().any(|ignored| ignored == name),
            QueryNames::Only(names) => names.iter().any(|kept| kept == name),
        }
    }
}

/// Writes a request field's value into a key: credentials as their SHA-256 digest, for keys are listed
/// and written to other processes.
pub(crate) fn write_value(name: &HeaderName, value: &HeaderValue, key: &mut KeyBuilder) {
    match vary::sensitive(name) {
        true => key.part(&Sha256::digest(value)),
        false => key.part(value.as_bytes()),
    };
}

fn name_of<'a>(parameter: &&'a str) -> &'a str {
    parameter.split('=').next().unwrap_or_default()
}

/// Finds a cookie's value (RFC 6265 §4.2.1).
fn cookie<'a>(request: &'a Parts, name: &str) -> Option<&'a [u8]> {
    request
        .headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| {
            pair.trim_ascii()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
        })
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Part(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn shown(rule: &KeyRule, uri: &str) -> Vec<u8> {
        let (parts, ()) = Request::get(uri)
            .header("cookie", "a=1; theme=dark")
            .body(())
            .unwrap()
            .into_parts();
        let target = Target {
            scheme: parts.uri.scheme_str(),
            authority: parts
                .uri
                .authority()
                .map(|authority| authority.as_str().as_bytes()),
            path: parts.uri.path(),
            query: parts.uri.query(),
        };
        let mut key = KeyBuilder::default();
        rule.write(target, &parts, &Identity::Cautious, &mut key)
            .unwrap();
        key.key().as_bytes().to_vec()
    }

    #[test]
    fn by_default_the_query_is_taken_as_it_stands() {
        let rule = KeyRule::default();
        let apart = [
            "/a",
            "/a?",
            "/a?a",
            "/a?a=",
            "/a?a=%20",
            "/a?a=+",
            "/a?a=1&b=2",
            "/a?b=2&a=1",
            "//a",
            "/a/",
            "/%61",
            "/a%2Fb",
            "/a/b",
            "http://h/a",
            "https://h/a",
            "http://h:80/a",
        ];
        for (index, one) in apart.iter().enumerate() {
            for other in &apart[index + 1..] {
                assert_ne!(shown(&rule, one), shown(&rule, other), "{one} {other}");
            }
        }
        assert_eq!(
            shown(&rule, "http://EXAMPLE.com/a"),
            shown(&rule, "http://example.com/a")
        );
    }

    #[test]
    fn sorting_joins_orders_of_different_names_only() {
        let rule = KeyRule {
            sort_query: true,
            ..KeyRule::default()
        };
        assert_eq!(shown(&rule, "/?a=1&b=2"), shown(&rule, "/?b=2&a=1"));
        assert_ne!(shown(&rule, "/?a=1&a=2"), shown(&rule, "/?a=2&a=1"));
    }

    #[test]
    fn ignored_and_unlisted_parameters_leave_the_key() {
        let mut without = KeyRule::default();
        without.ignore_query(["utm_source".to_owned()].into_iter());
        assert_eq!(
            shown(&without, "/?a=1&utm_source=x"),
            shown(&without, "/?a=1")
        );
        assert_eq!(shown(&without, "/?utm_source=x"), shown(&without, "/"));
        assert_ne!(shown(&without, "/?"), shown(&without, "/"));
        let mut only = KeyRule::default();
        only.only_query(["a".to_owned()].into_iter());
        assert_eq!(shown(&only, "/?a=1&b=9"), shown(&only, "/?a=1"));
        assert_ne!(shown(&only, "/?a=1"), shown(&only, "/?a=2"));
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let rule = |name: &str| KeyRule {
            cookies: vec![name.into()],
            ..KeyRule::default()
        };
        let contains = |bytes: Vec<u8>, text: &[u8]| bytes.windows(text.len()).any(|at| at == text);
        let digest = Sha256::digest("dark");
        assert!(contains(shown(&rule("theme"), "/"), &digest));
        assert!(!contains(shown(&rule("them"), "/"), &digest));
        assert!(!contains(shown(&rule("theme"), "/"), b"dark"));
    }
}
