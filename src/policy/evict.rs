//! The evictions of a successful write: templates over what its route captured.

use std::time::Duration;

use http::Method;
use smallvec::SmallVec;

use crate::error::Error;
use crate::invalidate::Invalidation;
use crate::pattern::{Braces, Captures, Pattern, TagTemplate, Template};
use crate::semantics::invalidation::is_safe;

/// The evictions of a successful write, besides its own path.
///
/// `{name}` in a pattern or a tag stands for what the write's route captured under that name, as
/// text: a captured `*` is a star and nothing more. In a pattern the text is compared as a path is
/// (see [`Pattern`]); in a tag its percent-escapes are decoded, as a handler would see it.
///
/// Nothing is checked before the cache is built: then a pattern that does not parse, a name that the
/// route does not capture, and a rule that can match nothing are errors.
///
/// # Examples
///
/// ```
/// use tower_response_cache::Evict;
///
/// let evict = Evict::pattern("/conversations/{id}/messages/**")
///     .and_pattern("/conversations")
///     .and_tag("user:{id}");
/// # drop(evict);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Evict {
    rules: Vec<EvictRule>,
    /// The methods it holds for; `None` for all unsafe ones.
    methods: Option<Vec<Method>>,
    soft: bool,
    terms: Terms,
}

/// The terms of a write's invalidations: when they take effect, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Also if the handler answers 4xx or 5xx.
    pub(crate) even_if_failed: bool,
    /// From before the handler is called.
    pub(crate) two_phase: bool,
    /// Matching responses are not stored for this long afterwards.
    pub(crate) hold_after: Duration,
}

impl Terms {
    /// Returns the stricter of two in every respect.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            even_if_failed: self.even_if_failed || other.even_if_failed,
            two_phase: self.two_phase || other.two_phase,
            hold_after: self.hold_after.max(other.hold_after),
        }
    }
}

#[derive(Clone, Debug)]
enum EvictRule {
    Pattern(String),
    Tag(String),
    Everything,
}

impl Evict {
    /// Evicts what matches a [`Pattern`], in which `{name}` stands for what was captured.
    pub fn pattern(pattern: impl Into<String>) -> Self {
        Self::nothing().and_pattern(pattern)
    }

    /// Evicts what carries a tag, in which `{name}` stands for what was captured.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::nothing().and_tag(tag)
    }

    /// Evicts everything.
    pub fn everything() -> Self {
        Self::nothing().and(EvictRule::Everything)
    }

    /// Evicts nothing but the path that was written to.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Evicts what matches a pattern, too.
    pub fn and_pattern(self, pattern: impl Into<String>) -> Self {
        self.and(EvictRule::Pattern(pattern.into()))
    }

    /// Evicts what carries a tag, too.
    pub fn and_tag(self, tag: impl Into<String>) -> Self {
        self.and(EvictRule::Tag(tag.into()))
    }

    /// Holds for writes with these methods only: `Evict::tag("lists").for_methods([Method::POST])`.
    /// By default a rule holds for every method that is not safe.
    pub fn for_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = Some(methods.into_iter().collect());
        self
    }

    /// Marks what matches as stale instead of ending its use; see [`Invalidation::soft`].
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// Evicts after answers of 4xx and 5xx as well: for handlers that may have written before they
    /// failed. By default only 2xx and 3xx evict
    /// ([RFC 9111 §4.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.4)), and writes whose outcome
    /// nobody saw: those that were dropped, ended in an error or a panic, or are answered with
    /// [`OriginUnreachable`](crate::OriginUnreachable).
    pub fn even_if_failed(mut self) -> Self {
        self.terms.even_if_failed = true;
        self
    }

    /// Takes what matches out of use from before the handler is called until its answer, when the
    /// eviction takes over, or, if the write failed, what was stored is good again.
    ///
    /// Without it a read that is answered while a write is under way may be given what the write
    /// has replaced already, which is right as long as nobody knows of the write. With it such a
    /// read goes to the handler. Costs two more turns of the log's lock for each write.
    pub fn two_phase(mut self) -> Self {
        self.terms.two_phase = true;
        self
    }

    /// Keeps responses that match out of the store for a while after the write, if their handler
    /// was called in that while: for handlers that read from a replica of the database that may lag
    /// behind. They are passed on as they come. By default there is no such while.
    pub fn hold_after(mut self, hold: Duration) -> Self {
        self.terms.hold_after = hold;
        self
    }

    fn and(mut self, rule: EvictRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Reads the templates, for writes whose route captures the names in `bound`.
    pub(crate) fn compile(self, bound: &[&str]) -> Result<CompiledEvict, Error> {
        check_methods(self.methods.as_deref())?;
        let compile = |rule| CompiledRule::compile(rule, bound);
        Ok(CompiledEvict {
            rules: self
                .rules
                .into_iter()
                .map(compile)
                .collect::<Result<_, _>>()?,
            methods: self.methods.map(Into::into),
            soft: self.soft,
            terms: self.terms,
        })
    }
}

/// Refuses methods with which nothing is written, and an empty list of them.
fn check_methods(methods: Option<&[Method]>) -> Result<(), Error> {
    let Some(methods) = methods else {
        return Ok(());
    };
    if methods.is_empty() {
        return Err(Error::config(
            "`for_methods` names no method, so the rule holds for no write; name some or leave it out",
        ));
    }
    match methods.iter().find(|method| is_safe(method)) {
        None => Ok(()),
        Some(safe) => Err(Error::config(format!(
            "`for_methods` names {safe}, which is a safe method and never evicts; a handler that \
             writes all the same can answer with `Invalidate`"
        ))),
    }
}

/// An [`Evict`] whose templates were read.
#[derive(Clone, Debug)]
pub(crate) struct CompiledEvict {
    rules: Box<[CompiledRule]>,
    methods: Option<Box<[Method]>>,
    soft: bool,
    pub(crate) terms: Terms,
}

#[derive(Clone, Debug)]
enum CompiledRule {
    /// The same for every write.
    Fixed(Invalidation),
    Pattern(Template),
    Tag(TagTemplate),
}

impl CompiledEvict {
    /// Returns whether this holds for writes with a method.
    pub(crate) fn is_for(&self, method: &Method) -> bool {
        let methods = self.methods.as_deref();
        methods.is_none_or(|methods| methods.contains(method))
    }

    /// Returns what a write with these captures invalidates besides its own path.
    pub(crate) fn bind(&self, captures: Captures<'_>) -> SmallVec<[Invalidation; 4]> {
        let bound = self.rules.iter().map(|rule| rule.bind(captures));
        match self.soft {
            true => bound.map(Invalidation::soft).collect(),
            false => bound.collect(),
        }
    }
}

impl CompiledRule {
    fn compile(rule: EvictRule, bound: &[&str]) -> Result<Self, Error> {
        Ok(match rule {
            EvictRule::Everything => Self::Fixed(Invalidation::everything()),
            EvictRule::Pattern(text) => {
                if text.contains('#') {
                    return Err(Error::config(format!(
                        "`{text}` matches nothing: a fragment never reaches a server; leave it out, \
                         or write `%23` for the character"
                    )));
                }
                let template = Template::parse(&text, Braces::Capture)?;
                template.check_captures(&text, bound)?;
                let is_fixed = template.captures().next().is_none();
                match is_fixed {
                    true => Self::Fixed(Pattern::compile(&template).into()),
                    false => Self::Pattern(template),
                }
            }
            EvictRule::Tag(text) => Self::Tag(TagTemplate::compile(&text, bound)?),
        })
    }

    fn bind(&self, captures: Captures<'_>) -> Invalidation {
        match self {
            Self::Fixed(invalidation) => invalidation.clone(),
            Self::Pattern(template) => Pattern::compile(&template.bind(captures)).into(),
            Self::Tag(template) => Invalidation::tag(template.bind(captures)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::invalidate::{Log, Verdict};
    use crate::target::Subject;

    fn compile(evict: Evict, bound: &[&str]) -> CompiledEvict {
        evict
            .compile(bound)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn shown(evict: Evict, captures: Captures<'_>) -> Vec<String> {
        let bound: Vec<_> = captures.iter().map(|(name, _)| *name).collect();
        let invalidations = compile(evict, &bound).bind(captures);
        invalidations.iter().map(ToString::to_string).collect()
    }

    /// Returns whether a write to `/conversations/{id}/messages` evicts a path, with this `id`.
    fn evicts(captured: &str, path: &str) -> bool {
        let evict = compile(Evict::pattern("/conversations/{id}/messages"), &["id"]);
        let log = Log::with_capacity(16);
        let position = log.position();
        log.append(&evict.bind(&[("id", captured)]));
        log.verdict(position, Subject::new(path, None, []).borrow()) == Verdict::Invalid
    }

    fn evicts_only_the_literal(captured: &str) {
        assert!(evicts(
            captured,
            &format!("/conversations/{captured}/messages")
        ));
        for other in ["1", "a", "x7", "%2B", "**", "[a-z]", "*", "%2A", "%3F"] {
            if other != captured {
                let path = format!("/conversations/{other}/messages");
                assert!(!evicts(captured, &path), "{captured} evicts {path}");
            }
        }
        assert!(!evicts(captured, "/conversations"));
        assert!(!evicts(captured, "/conversations/1/2/messages"));
    }

    #[test]
    fn a_captured_star_evicts_only_the_literal_key() {
        evicts_only_the_literal("*");
    }

    #[test]
    fn two_captured_stars_evict_only_the_literal_key() {
        evicts_only_the_literal("**");
    }

    #[test]
    fn a_captured_escaped_star_evicts_only_the_literal_key() {
        evicts_only_the_literal("%2A");
        assert!(evicts("%2a", "/conversations/%2A/messages"));
    }

    #[test]
    fn a_captured_character_class_evicts_only_the_literal_key() {
        evicts_only_the_literal("[a-z]");
        assert!(evicts("[a-z]", "/conversations/%5Ba-z%5D/messages"));
    }

    #[test]
    fn a_captured_question_mark_evicts_only_the_literal_key() {
        // In a path it can only come escaped; raw it would begin the query.
        evicts_only_the_literal("%3F");
        assert!(!evicts("?", "/conversations/"));
        assert!(!evicts("?", "/conversations/a/messages"));
        assert!(evicts("?", "/conversations/%3f/messages"));
    }

    #[test]
    fn captured_braces_and_backslashes_evict_only_the_literal_key() {
        for captured in ["{id}", "\\*", "\\", "{*rest}", "$1", "%", "%5C*"] {
            assert!(evicts(
                captured,
                &format!("/conversations/{captured}/messages")
            ));
            assert!(!evicts(captured, "/conversations/1/messages"), "{captured}");
        }
    }

    #[test]
    fn captured_dots_are_resolved_as_in_the_path_they_came_from() {
        assert!(evicts("..", "/messages"));
        assert!(evicts("%2e%2E", "/conversations/../messages"));
        assert!(!evicts("..", "/conversations/1/messages"));
    }

    #[test]
    fn an_escape_that_a_template_and_a_capture_make_together_is_one() {
        let evict = Evict::pattern("/a%{id}");
        assert_eq!(shown(evict, &[("id", "41")]), ["/aA"]);
    }

    #[test]
    fn templates_are_filled_in_with_what_was_captured() {
        let captures: Captures<'_> = &[("id", "7"), ("rest", "a/b*c")];
        let cases = [
            (Evict::pattern("/x/{id}/**"), vec!["/x/7/**"]),
            (Evict::pattern("/x/*/{id}"), vec!["/x/*/7"]),
            (Evict::pattern("/x/{*rest}"), vec!["/x/a/b\\*c"]),
            (Evict::pattern("/x-{id}-*?of={id}&*"), vec!["/x-7-*?of=7&*"]),
            (Evict::tag("user:{id}"), vec!["tag \"user:7\""]),
            (Evict::tag("\\{{id}\\}\\x"), vec!["tag \"{7}\\\\x\""]),
            (Evict::tag("catalog*"), vec!["tag \"catalog*\""]),
            (Evict::everything(), vec!["/**"]),
            (Evict::nothing(), vec![]),
            (
                Evict::pattern("/y").and_tag("t").and_pattern("/z/*").soft(),
                vec!["soft /y", "soft tag \"t\"", "soft /z/*"],
            ),
        ];
        for (evict, expected) in cases {
            assert_eq!(shown(evict.clone(), captures), expected, "{evict:?}");
        }
    }

    #[test]
    fn a_tag_holds_what_was_captured_as_the_handler_sees_it() {
        let tag = |captured| shown(Evict::tag("user:{id}"), &[("id", captured)]).concat();
        assert_eq!(tag("jos%C3%A9"), "tag \"user:josé\"");
        assert_eq!(tag("%2A"), "tag \"user:*\"");
        assert_eq!(tag("%252A"), "tag \"user:%2A\"");
        assert_eq!(tag("%ff"), "tag \"user:%ff\"");
    }

    #[test]
    fn a_capture_that_the_route_does_not_make_is_named_beside_those_it_makes() {
        for evict in [Evict::pattern("/a/{uid}"), Evict::tag("user:{uid}")] {
            let error = evict.clone().compile(&["id", "rest"]).expect_err("unbound");
            assert_eq!(error.kind(), ErrorKind::Config);
            let message = error.to_string();
            assert!(message.contains("`{uid}`"), "{message}");
            assert!(message.contains("`{id}`, `{rest}`"), "{message}");
            let message = evict.compile(&[]).expect_err("unbound").to_string();
            assert!(message.contains("captures nothing"), "{message}");
        }
    }

    #[test]
    fn a_template_that_does_not_parse_says_where() {
        let cases = [
            (Evict::pattern("a/{id}"), "character 1"),
            (Evict::pattern("/a/{id"), "character 4"),
            (Evict::pattern("/a/{}"), "character 4"),
            (Evict::pattern("/a/{{id}}"), "character 4"),
            (Evict::pattern("/a/{id}**"), "character 8"),
            (Evict::pattern("/a/**{id}"), "character 4"),
            (Evict::tag("é{id"), "character 2"),
        ];
        for (evict, place) in cases {
            let error = evict.clone().compile(&["id"]).expect_err("no pattern");
            assert_eq!(error.kind(), ErrorKind::Pattern);
            assert!(error.to_string().contains(place), "{evict:?}: {error}");
        }
    }
}
