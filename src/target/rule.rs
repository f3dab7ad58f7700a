//! The key rule: the share of a request in its key.

use std::borrow::Cow;
use std::fmt;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::identity::{Identity, Naming};
use crate::key::KeyBuilder;
use crate::semantics::no_vary_search::{self, NoVarySearch, Parameters};
use crate::semantics::vary;

/// A route's key rule: the query's share of the key, and what is added to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRule {
    query: QueryNames,
    pub(crate) sort_query: bool,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) cookies: Vec<String>,
    pub(crate) parts: Vec<KeyPart>,
    pub(crate) replacement: Option<KeyPart>,
}

/// A part of a key computed by the operator's function.
#[derive(Clone)]
pub(crate) struct KeyPart(pub(crate) Naming);

#[derive(Clone, Debug, Default)]
enum QueryNames {
    #[default]
    All,
    Without(Vec<String>),
    Only(Vec<String>),
}

/// The target of a request, as far as the key is concerned.
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
            let digest = cookie_digest(request, name);
            key.part(name.as_bytes())
                .optional(digest.as_ref().map(|digest| &digest[..]));
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
            // Stable: parameters of one name, however it is spelt, keep their order, which handlers
            // may depend on.
            parameters.sort_by_cached_key(|parameter| decoded(name_of(parameter)));
        }
        Some(parameters.join("&").into())
    }

    fn keeps(&self, name: &str) -> bool {
        match &self.query {
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

fn decoded(name: &str) -> Cow<'_, [u8]> {
    no_vary_search::form_decoded(name.as_bytes())
}

/// Returns a digest of what a request's cookies of one name say; `None` where it has none.
///
/// Handlers differ in which they take of several, and some trim and decode names
/// ([RFC 6265 §4.2.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.2.1) wants neither of clients).
/// So all that any of them could take for this cookie counts, in its own spelling where that is not
/// the usual one.
fn cookie_digest(request: &Parts, name: &str) -> Option<[u8; 32]> {
    let lines = request.headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut found = pairs.map(<[u8]>::trim_ascii).filter(|pair| {
        let named = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        *no_vary_search::unescaped(named.trim_ascii()) == *name.as_bytes()
    });
    let first = found.next()?;
    let mut found = found.peekable();
    let usual = |pair: &'_ [u8]| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(Sha256::digest(value).into())
    };
    if let (Some(digest), None) = (usual(first), found.peek()) {
        return Some(digest);
    }
    // Their lengths hold bytes that no value can: no single value has this digest.
    let mut digest = Sha256::new();
    for pair in std::iter::once(first).chain(found) {
        digest.update((pair.len() as u64).to_be_bytes());
        digest.update(pair);
    }
    Some(digest.finalize().into())
}

impl fmt::Debug for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPart(..)")
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
        // `%61` is another spelling of `a`, and `+` and `%20` are both a space.
        for (one, other) in [
            ("/?a=1&%61=2", "/?%61=2&a=1"),
            ("/?a=1&b=2&%61=3", "/?%61=3&b=2&a=1"),
            ("/?x+y=1&x%20y=2", "/?x%20y=2&x+y=1"),
            ("/?%c3%a9=1&%C3%A9=2", "/?%C3%A9=2&%c3%a9=1"),
        ] {
            assert_ne!(shown(&rule, one), shown(&rule, other), "{one} {other}");
        }
        assert_eq!(shown(&rule, "/?%61=1&b=2"), shown(&rule, "/?b=2&%61=1"));
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
        // What a handler may read as a listed name matters, and what it may not is left in.
        assert_ne!(shown(&only, "/?%61=1"), shown(&only, "/?%61=2"));
        assert_ne!(shown(&only, "/?%61=1"), shown(&only, "/"));
        assert_ne!(shown(&without, "/?utm%5Fsource=x"), shown(&without, "/"));
    }

    #[test]
    fn whatever_may_be_meant_by_a_cookie_tells_keys_apart() {
        let rule = KeyRule {
            cookies: vec!["a".into()],
            ..KeyRule::default()
        };
        let shown = |cookies: &[&str]| {
            let mut request = Request::get("/").body(()).unwrap().into_parts().0;
            for line in cookies {
                request.headers.append("cookie", line.parse().unwrap());
            }
            let target = Target {
                scheme: None,
                authority: None,
                path: "/",
                query: None,
            };
            let mut key = KeyBuilder::default();
            rule.write(target, &request, &Identity::Cautious, &mut key)
                .unwrap();
            key.key().as_bytes().to_vec()
        };
        let apart: [&[&str]; 17] = [
            &[],
            &["a=1"],
            &["a=2"],
            &["a="],
            &["a"],
            // Of several, handlers take the first or the last.
            &["a=1; a=2"],
            &["a=2; a=1"],
            &["a=1; a=1"],
            // Some trim names, some decode them.
            &["a =1"],
            &["a= 1"],
            &["%61=1"],
            &["%61=2"],
            &["a=1; %61=2"],
            &["%61=2; a=1"],
            &["a=\"1\""],
            &["a=1=2"],
            &["a=1,a=2"],
        ];
        for (index, one) in apart.iter().enumerate() {
            for other in &apart[index + 1..] {
                assert_ne!(shown(one), shown(other), "{one:?} {other:?}");
            }
        }
        for same in [
            &["b=2; a=1"][..],
            &["b=2", "a=1"],
            &[" a=1 ;b"],
            &["a=1; A=2"],
        ] {
            assert_eq!(shown(same), shown(&["a=1"]), "{same:?}");
        }
        assert_eq!(shown(&["a=1; a=2"]), shown(&["a=1", "a=2"]));
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
