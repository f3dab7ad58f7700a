//! The route table: which policy a request comes under, and what a write evicts.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use matchit::{InsertError, Match, MatchError, Params, Router};
use smallvec::SmallVec;

use super::Policy;
use super::evict::{CompiledEvict, Evict, Terms};
use super::reach::Reach;
use crate::error::Error;
use crate::invalidate::Invalidation;
use crate::pattern::{TagTemplate, canonical};
use crate::semantics::no_vary_search::NoVarySearch;
use crate::status::BypassReason;
use crate::target::other_reading;
use crate::telemetry::{RouteId, Row, Rows};

/// The routes of a cache: a policy for each kind of read, and what each kind of write evicts.
///
/// Templates are written in axum's syntax: `{id}` stands for one path segment, `{*rest}` for all that
/// follows. For a read the most specific template wins, whatever the order: one without `{*rest}`
/// before one with it, and text before a capture. They are matched against the
/// path as the client sent it, so under axum's `nest` they include the prefix.
///
/// A read that no route matches is not cached, unless [`otherwise`](Self::otherwise) gives a
/// policy for it. A successful write always evicts what is stored for its own path, with whatever query;
/// `on_write` adds what else it made stale.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{Evict, Policy, Routes};
///
/// let routes = Routes::new()
///     .route("/products/{*rest}", Policy::ttl(Duration::from_secs(600)).tag("catalogue"))
///     .route("/me", Policy::bypass())
///     .on_write("/products/{id}", Evict::pattern("/products/**").and_tag("dashboard"));
/// # let _ = routes;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Routes {
    reads: Vec<(String, Policy)>,
    writes: Vec<(String, Evict)>,
    otherwise: Option<Policy>,
}

impl Routes {
    /// Returns an empty table: nothing is cached.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the reads that match `template` a policy.
    pub fn route(mut self, template: impl Into<String>, policy: Policy) -> Self {
        self.reads.push((template.into(), policy));
        self
    }

    /// Says what a successful write to a path that matches `template` evicts, besides its own path.
    ///
    /// All rules that match a write add up, however specific: one for `/products/{*rest}` also holds
    /// for a write that another for `/products/{id}` matches. A rule holds for every unsafe method
    /// unless [`Evict::for_methods`] names some.
    pub fn on_write(mut self, template: impl Into<String>, evict: Evict) -> Self {
        self.writes.push((template.into(), evict));
        self
    }

    /// Gives all reads that no route matches a policy. By default they are bypassed.
    pub fn otherwise(mut self, policy: Policy) -> Self {
        self.otherwise = Some(policy);
        self
    }

    pub(crate) fn build(self) -> Result<RouteTable, Error> {
        let templates = self.reads.iter().map(|(template, _)| template.as_str());
        let mut table = RouteTable {
            rows: Rows::new(templates),
            ..RouteTable::default()
        };
        for (template, policy) in self.reads {
            let names = captures(&template)?;
            let row = table.rows.row(RouteId::nth(table.read_templates.len()));
            let route = Arc::new(Route::new(&template, policy, &names, row)?);
            table.reach.add(&template, &route.policy.key);
            table
                .reads
                .insert(template.as_str(), route)
                .map_err(|error| conflict("route", &template, &error))?;
            table.read_templates.push(template);
        }
        for (template, evict) in self.writes {
            table.writes.push(WriteRule::new(&template, evict)?);
        }
        if let Some(policy) = self.otherwise {
            let row = table.rows.row(RouteId::OTHERWISE);
            let route = Route::new("otherwise", policy, &[], row)?;
            table.reach.add("", &route.policy.key);
            table.otherwise = Some(Arc::new(route));
        }
        Ok(table)
    }
}

/// A policy under the template it was given for.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) template: Box<str>,
    /// Where requests are counted that come under it.
    pub(crate) row: Arc<Row>,
    pub(crate) policy: Policy,
    tags: Vec<TagTemplate>,
}

/// See [`Routes`].
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    reads: Templates<Arc<Route>>,
    read_templates: Vec<String>,
    rows: Rows,
    writes: Vec<WriteRule>,
    otherwise: Option<Arc<Route>>,
    reach: Reach,
}

/// What writes to the paths of one template evict.
#[derive(Debug)]
struct WriteRule {
    /// Has this one template: a table of them all would find the most specific one only.
    template: Router<()>,
    evict: CompiledEvict,
}

impl WriteRule {
    fn new(template: &str, evict: Evict) -> Result<Self, Error> {
        let names = captures(template)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut router = Router::new();
        router
            .insert(template, ())
            .map_err(|error| conflict("on_write", template, &error))?;
        Ok(Self {
            template: router,
            evict: evict
                .compile(&names)
                .map_err(|error| within("on_write", template, &error))?,
        })
    }
}

/// Templates in order of specificity.
///
/// `matchit` refuses `{id}` beside `{*rest}`; apart from each other both are found, and a template
/// that takes exactly so many segments is the more specific one.
#[derive(Debug)]
struct Templates<T> {
    exact: Router<T>,
    /// `None` where there is none: then there is one search less to a path that no route matches.
    open: Option<Router<T>>,
}

impl<T> Default for Templates<T> {
    fn default() -> Self {
        Self {
            exact: Router::new(),
            open: None,
        }
    }
}

impl<T> Templates<T> {
    fn insert(&mut self, template: &str, value: T) -> Result<(), InsertError> {
        match template.contains("{*") {
            true => self.open.get_or_insert_default().insert(template, value),
            false => self.exact.insert(template, value),
        }
    }

    fn at<'t, 'p>(&'t self, path: &'p str) -> Result<Match<'t, 'p, &'t T>, MatchError> {
        self.exact.at(path).or_else(|nothing| match &self.open {
            Some(open) => open.at(path),
            None => Err(nothing),
        })
    }
}

/// The evictions of one write.
pub(crate) type Evictions = SmallVec<[Invalidation; 4]>;

/// The tags a route gives to one response.
pub(crate) type Tags = SmallVec<[Box<str>; 4]>;

impl Route {
    pub(crate) fn new(
        template: &str,
        mut policy: Policy,
        names: &[String],
        row: &Arc<Row>,
    ) -> Result<Self, Error> {
        policy
            .check()
            .map_err(|what| Error::config(format!("policy of `{template}`: {what}")))?;
        if let Some(value) = &policy.no_vary_search {
            let says = NoVarySearch::parse(value).ok_or_else(|| {
                Error::config(format!(
                    "no_vary_search of `{template}`: `{value}` does not parse; write it as in \
                     `key-order, params=(\"utm_source\")` or `params, except=(\"id\")`"
                ))
            })?;
            policy.key.query.no_vary_search(says);
        }
        if let Some(status) = policy.ttl.never_applies() {
            return Err(Error::config(format!(
                "ttl_for of `{template}`: a {status} answers one request alone and is never stored; \
                 leave it out"
            )));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tags = policy
            .tags
            .iter()
            .map(|tag| TagTemplate::compile(tag, &names).map_err(|e| within("tag", template, &e)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            template: template.into(),
            row: row.clone(),
            policy,
            tags,
        })
    }

    fn tags(&self, captures: &[(&str, &str)]) -> Tags {
        self.tags.iter().map(|tag| tag.bind(captures)).collect()
    }
}

impl RouteTable {
    /// Returns where requests are counted, route by route.
    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Returns the route of a read.
    pub(crate) fn read(&self, path: &str) -> Option<&Arc<Route>> {
        match self.reads.at(path) {
            Ok(found) => Some(found.value),
            Err(_) => self.otherwise.as_ref(),
        }
    }

    /// Returns the route of a read, if it has one in whichever way its path is read.
    ///
    /// A path that says the same in two ways (`/%61` for `/a`, `/b/../a`) may be one thing to this
    /// table and another to the handler. Where the two ways come under different routes the request
    /// bypasses the cache.
    pub(crate) fn of_read(&self, path: &str) -> Result<&Arc<Route>, BypassReason> {
        let route = self.read(path).ok_or(BypassReason::NoRoute)?;
        match other_reading(path).map(|other| self.read(&other)) {
            None => Ok(route),
            Some(Some(same)) if Arc::ptr_eq(same, route) => Ok(route),
            Some(_) => Err(BypassReason::Path),
        }
    }

    /// Returns the tags that `route` gives to what is stored for `path`.
    pub(crate) fn tags(&self, route: &Route, path: &str) -> Tags {
        if route.tags.is_empty() {
            return Tags::new();
        }
        // Canonical, as invalidations are: a tag must not depend on the spelling of who came first.
        match self.reads.at(&canonical(path)) {
            Ok(found) => route.tags(&pairs(&found.params)),
            Err(_) => route.tags(&[]),
        }
    }

    /// Returns whether there is no rule at all: no read is cached, and writes evict their own path.
    pub(crate) fn is_empty(&self) -> bool {
        self.read_templates.is_empty() && self.otherwise.is_none() && self.writes.is_empty()
    }

    /// Returns the invalidations that these come to under the rules of the routes: none of them leaves
    /// out what may be given to whom it means.
    pub(crate) fn covered<'a>(&self, what: &'a [Invalidation]) -> Cow<'a, [Invalidation]> {
        let rule_of = |path: &str| self.read(path).map(|route| &route.policy.key);
        self.reach.of(what, rule_of)
    }

    /// Notes the key rule of a layer with a policy of its own, which is not in this table.
    pub(crate) fn note_unlisted(&self, route: &Route) {
        self.reach.note_unlisted(&route.policy.key);
    }

    /// Returns what a write to `path` evicts besides its own path, and on what terms: all that the
    /// rules say that match it.
    ///
    /// A path that says the same in two ways (`/%61` for `/a`) may be either to the handler: it
    /// evicts what both evict.
    pub(crate) fn evicted_by(&self, method: &Method, path: &str) -> (Evictions, Terms) {
        let mut all = (Evictions::new(), Terms::default());
        if self.writes.is_empty() {
            return all;
        }
        let other = other_reading(path);
        for rule in self.writes.iter().filter(|rule| rule.evict.is_for(method)) {
            rule.add_evicted_by(path, &mut all);
            if let Some(other) = &other {
                rule.add_evicted_by(other, &mut all);
            }
        }
        all
    }
}

impl WriteRule {
    fn add_evicted_by(&self, path: &str, (evicted, terms): &mut (Evictions, Terms)) {
        if let Ok(found) = self.template.at(path) {
            evicted.extend(self.evict.bind(&pairs(&found.params)));
            *terms = terms.and(self.evict.terms);
        }
    }
}

fn pairs<'a>(params: &'a Params<'_, '_>) -> SmallVec<[(&'a str, &'a str); 4]> {
    params.iter().collect()
}

/// Checks a template and returns the names of its captures.
fn captures(template: &str) -> Result<Vec<String>, Error> {
    let wrong = |what: &str| Err(Error::config(format!("route `{template}`: {what}")));
    if !template.starts_with('/') {
        return wrong("a route starts with `/`");
    }
    if template.contains(['?', '#']) {
        return wrong(
            "a route is matched against the path alone; to choose by the query use \
             `Policy::ttl_with` or `Policy::when`",
        );
    }
    if let Some(bad) = template
        .chars()
        .find(|c| c.is_whitespace() || c.is_control())
    {
        return wrong(&format!(
            "{bad:?} never appears in a request's path; write it percent-encoded"
        ));
    }
    let mut names: Vec<String> = Vec::new();
    for segment in template[1..].split('/') {
        if segment.starts_with([':', '*']) {
            return wrong(&in_braces(segment));
        }
        let name = capture(template, segment)?;
        if let Some(name) = name.as_ref().filter(|name| names.contains(name)) {
            return wrong(&format!(
                "`{name}` is captured twice; give each capture a name of its own"
            ));
        }
        names.extend(name);
    }
    Ok(names)
}

/// Says how to write what other frameworks write with a colon or a star.
fn in_braces(segment: &str) -> String {
    let name = segment.trim_start_matches([':', '*']);
    let name = name
        .split(|char| !may_name(char))
        .next()
        .unwrap_or_default();
    let (one, rest) = match (name, segment.starts_with(':')) {
        ("", _) => ("name", "rest"),
        (name, true) => (name, "rest"),
        (name, false) => ("name", name),
    };
    format!(
        "`{segment}` matches only itself; write `{{{one}}}` for one segment, or, at the end, \
         `{{*{rest}}}` for all that follows"
    )
}

/// Returns whether a character may stand in the name of a capture.
fn may_name(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-')
}

fn capture(template: &str, segment: &str) -> Result<Option<String>, Error> {
    // Doubled braces are literal ones.
    let bare = segment.replace("{{", "").replace("}}", "");
    if !bare.contains(['{', '}']) {
        return Ok(None);
    }
    let name = bare
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let name = name.map(|name| name.strip_prefix('*').unwrap_or(name));
    match name {
        Some(name) if !name.is_empty() && !name.contains(['{', '}']) && bare == segment => {
            match name.find(|char| !may_name(char)) {
                None => Ok(Some(name.to_owned())),
                Some(end) => Err(Error::config(format!(
                    "route `{template}`: `{segment}` is not a capture; a capture takes any text, and \
                     its name has letters, digits, `_` and `-` only. Write `{{{}}}`, and check the \
                     text in the handler",
                    if end == 0 { "name" } else { &name[..end] }
                ))),
            }
        }
        _ => Err(Error::config(format!(
            "route `{template}`: `{segment}` is not a capture; a capture takes a whole segment and \
             has a name, as in `{{id}}` or, at the end, `{{*rest}}`"
        ))),
    }
}

fn conflict(what: &str, template: &str, error: &InsertError) -> Error {
    let message = match error {
        InsertError::Conflict { with } if with == template => format!(
            "{what} `{template}` is given twice, so the second could never be reached; remove one"
        ),
        InsertError::Conflict { with } => format!(
            "{what} `{template}` matches the same paths as `{with}`, so one of them could never be \
             reached; remove one"
        ),
        InsertError::InvalidCatchAll => format!(
            "{what} `{template}`: a capture of all that follows, such as `{{*rest}}`, stands at the \
             end and takes a whole segment"
        ),
        other => format!("{what} `{template}`: {other}"),
    };
    Error::config(message)
}

fn within(what: &str, template: &str, error: &Error) -> Error {
    Error::config(format!("{what} of `{template}`: {error}"))
}

#[cfg(test)]
mod tests;
