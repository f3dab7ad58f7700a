//! Routes from the text of `--ttl` and `--on-write`.

use std::cmp::Reverse;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;
use http::request::Parts;
use tower_response_cache::{CacheLayer, Evict, NoStore, Pattern, Policy, Routes};

use crate::args::Args;

/// One `--ttl`: the freshness lifetime of responses to requests that match.
#[derive(Clone, Debug)]
pub(crate) struct TtlRule {
    text: String,
    pattern: Pattern,
    ttl: Duration,
}

impl FromStr for TtlRule {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        // A pattern may contain `=` in its query; the seconds cannot.
        let (text, seconds) = value.rsplit_once('=').ok_or("expected PATTERN=SECONDS")?;
        let ttl = seconds
            .parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| format!("{seconds:?} is not a number of seconds"))?;
        Ok(Self {
            text: text.to_owned(),
            pattern: Pattern::parse(text).map_err(|error| error.to_string())?,
            ttl,
        })
    }
}

impl TtlRule {
    /// Orders rules by specificity: first the longest part before the first `*`, then those without
    /// `**`, then the most literal bytes.
    fn specificity(&self) -> (usize, bool, usize) {
        let prefix = self.text.find('*').unwrap_or(self.text.len());
        let literal = self.text.bytes().filter(|&byte| byte != b'*').count();
        (prefix, !self.text.contains("**"), literal)
    }
}

/// One `--on-write`: a write to the route evicts what matches the pattern.
#[derive(Clone, Debug)]
pub(crate) struct EvictRule {
    route: String,
    pattern: String,
}

impl FromStr for EvictRule {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        // A route has no query, so the first `=` ends it; the pattern may have more of them.
        let (route, pattern) = value.split_once('=').ok_or("expected ROUTE=PATTERN")?;
        let rule = Self {
            route: route.to_owned(),
            pattern: pattern.to_owned(),
        };
        // Built once by itself, so that a mistake is reported with this value rather than later.
        check(rule.add_to(Routes::new())).map_err(|error| error.to_string())?;
        Ok(rule)
    }
}

impl EvictRule {
    fn add_to(&self, routes: Routes) -> Routes {
        routes.on_write(self.route.as_str(), Evict::pattern(self.pattern.as_str()))
    }
}

/// Makes the routes that the command line asks for.
pub(crate) fn routes(args: &Args) -> Result<Routes, clap::Error> {
    let make = || {
        let routes = Routes::new().otherwise(policy(args));
        args.on_write
            .iter()
            .fold(routes, |routes, rule| rule.add_to(routes))
    };
    check(make()).map_err(|error| Args::command().error(ErrorKind::ValueValidation, error))?;
    Ok(make())
}

fn check(routes: Routes) -> Result<(), tower_response_cache::Error> {
    CacheLayer::builder()
        .store(NoStore::new())
        .routes(routes)
        .build()
        .map(drop)
}

fn policy(args: &Args) -> Policy {
    let ttl = by_most_specific(args.ttl.clone());
    let policy = if args.origin_decides {
        Policy::origin_decides().default_ttl_with(move |parts: &Parts| ttl(parts))
    } else if args.ttl.is_empty() {
        Policy::bypass()
    } else {
        Policy::ttl_with(move |parts: &Parts| ttl(parts))
    };
    if args.store_set_cookie {
        policy.store_set_cookie()
    } else {
        policy
    }
}

/// Returns a function that finds the lifetime given by the most specific matching rule; none if it is
/// zero.
fn by_most_specific(mut rules: Vec<TtlRule>) -> impl Fn(&Parts) -> Option<Duration> + Send + Sync {
    // Stable: of equally specific rules the one given first counts.
    rules.sort_by_key(|rule| Reverse(rule.specificity()));
    let rules: Arc<[TtlRule]> = rules.into();
    move |parts| {
        let (path, query) = (parts.uri.path(), parts.uri.query());
        rules
            .iter()
            .find(|rule| rule.pattern.matches(path, query))
            .map(|rule| rule.ttl)
            .filter(|ttl| !ttl.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(rules: &[&str], target: &str) -> Option<Duration> {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let (parts, ()) = http::Request::get(target).body(()).unwrap().into_parts();
        by_most_specific(rules)(&parts)
    }

    #[test]
    fn the_most_specific_rule_counts_whatever_the_order() {
        let mut rules = [
            "/**=1",
            "/conversations/**=2",
            "/conversations/*/messages=3",
            "/conversations/7/messages=4",
            "/conversations/7/**=0",
        ];
        for _ in 0..2 {
            for (target, seconds) in [
                ("/", 1),
                ("/products", 1),
                ("/conversations", 2),
                ("/conversations/8/members", 2),
                ("/conversations/8/messages", 3),
                ("/conversations/8/messages?limit=5", 3),
                ("/conversations/7/messages", 4),
            ] {
                let expected = Some(Duration::from_secs(seconds));
                assert_eq!(ttl(&rules, target), expected, "{target}");
            }
            assert_eq!(ttl(&rules, "/conversations/7/members"), None);
            rules.reverse();
        }
    }

    #[test]
    fn the_last_equals_sign_separates_the_seconds() {
        assert_eq!(
            ttl(&["/search?q=*=1.5"], "/search?q=tea"),
            Some(Duration::from_millis(1500))
        );
    }

    #[test]
    fn what_no_rule_matches_is_not_cached() {
        assert_eq!(ttl(&["/a/*=60"], "/b"), None);
    }
}
