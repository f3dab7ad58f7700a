//! What a successful write invalidates: templates over what its route captured.

use std::time::Duration;

use smallvec::SmallVec;

use super::invalidation::Invalidation;
use crate::error::Error;
use crate::pattern::{
    Braces, Captures, Pattern, Template, Token, capture_name, captured, decode, names,
};

/// What a successful write invalidates besides its own URI.
///
/// `{name}` in a pattern or a tag stands for what the write's route captured under that name, as
/// text: a captured `*` is a star and nothing more. In a pattern the text is compared as a path is
/// (see [`Pattern`]); in a tag its percent-escapes are decoded, as a handler would see it.
///
/// Nothing is checked before the cache is built: then a pattern that does not parse, and a name
/// that the route does not capture, are errors.
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
    rules: Vec<Rule>,
    soft: bool,
    terms: Terms,
}

/// When a write's invalidations take effect, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Also if the handler answers 4xx or 5xx.
    pub(crate) even_if_failed: bool,
    /// From before the handler is called.
    pub(crate) two_phase: bool,
    /// What matches is not stored for this long afterwards.
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
enum Rule {
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
        Self::nothing().and(Rule::Everything)
    }

    /// Evicts nothing but the URI that was written to.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Evicts what matches a pattern, too.
    pub fn and_pattern(self, pattern: impl Into<String>) -> Self {
        self.and(Rule::Pattern(pattern.into()))
    }

    /// Evicts what carries a tag, too.
    pub fn and_tag(self, tag: impl Into<String>) -> Self {
        self.and(Rule::Tag(tag.into()))
    }

    /// Marks what matches as stale instead of ending its use; see [`Invalidation::soft`].
    pub fn soft(mut self) -> Self {
        self.soft = true;
        self
    }

    /// Evicts after answers of 4xx and 5xx as well: for handlers that may have written before they
    /// failed. By default only 2xx and 3xx evict
    /// ([RFC 9111 §4.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.4)).
    pub fn even_if_failed(mut self) -> Self {
        self.terms.even_if_failed = true;
        self
    }

    /// Takes what matches out of use from before the handler is called until its answer, when the
    /// eviction takes over, or, if the write failed, what was stored is good again.
    ///
    /// Without it a read that is answered while a write is under way may be given what the write
    /// has replaced already, which is right as long as nobody was told of the write. With it such a
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

    fn and(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Reads the templates, for writes whose route captures the names in `bound`.
    pub(crate) fn compile(self, bound: &[&str]) -> Result<CompiledEvict, Error> {
        let compile = |rule| CompiledRule::compile(rule, bound);
        Ok(CompiledEvict {
            rules: self
                .rules
                .into_iter()
                .map(compile)
                .collect::<Result<_, _>>()?,
            soft: self.soft,
            terms: self.terms,
        })
    }
}

/// An [`Evict`] whose templates were read.
#[derive(Clone, Debug)]
pub(crate) struct CompiledEvict {
    rules: Box<[CompiledRule]>,
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
    /// Returns what a write with these captures invalidates besides its own URI.
    pub(crate) fn bind(&self, captures: Captures<'_>) -> SmallVec<[Invalidation; 4]> {
        let bound = self.rules.iter().map(|rule| rule.bind(captures));
        match self.soft {
            true => bound.map(Invalidation::soft).collect(),
            false => bound.collect(),
        }
    }
}

impl CompiledRule {
    fn compile(rule: Rule, bound: &[&str]) -> Result<Self, Error> {
        Ok(match rule {
            Rule::Everything => Self::Fixed(Invalidation::everything()),
            Rule::Pattern(text) => {
                let template = Template::parse(&text, Braces::Capture)?;
                check_bound(&text, template.captures(), bound)?;
                let is_fixed = template.captures().next().is_none();
                match is_fixed {
                    true => Self::Fixed(Pattern::compile(&template).into()),
                    false => Self::Pattern(template),
                }
            }
            Rule::Tag(text) => Self::Tag(TagTemplate::compile(&text, bound)?),
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

/// A tag in which `{name}` stands for what a route captured.
#[derive(Clone, Debug)]
pub(crate) struct TagTemplate(Box<[Token]>);

impl TagTemplate {
    /// Reads a template, for a route that captures the names in `bound`. A backslash before a
    /// brace or a backslash makes it text; elsewhere it is text itself.
    pub(crate) fn compile(text: &str, bound: &[&str]) -> Result<Self, Error> {
        let mut tokens = Vec::new();
        let mut run = String::new();
        let mut chars = text.char_indices().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' => {
                    let escaped = chars.next_if(|(_, char)| matches!(char, '{' | '}' | '\\'));
                    run.push(escaped.map_or('\\', |(_, char)| char));
                }
                '{' => {
                    let name = capture_name(&mut chars).ok_or_else(|| no_capture(text, at))?;
                    tokens.push(Token::Text(std::mem::take(&mut run)));
                    tokens.push(Token::Capture(name));
                }
                char => run.push(char),
            }
        }
        tokens.push(Token::Text(run));
        check_bound(text, names(tokens.iter()), bound)?;
        Ok(Self(tokens.into()))
    }

    /// Returns the tag for these captures. Their percent-escapes are decoded, as the handler sees
    /// them, unless that would make no text.
    pub(crate) fn bind(&self, captures: Captures<'_>) -> Box<str> {
        let mut tag = String::new();
        for token in &self.0 {
            match token {
                Token::Capture(name) => {
                    let raw = captured(name, captures);
                    tag.push_str(&decode(raw).unwrap_or(raw.into()));
                }
                Token::Text(text) => tag.push_str(text),
                Token::Star | Token::Stars => debug_assert!(false, "a tag has no wildcards"),
            }
        }
        tag.into()
    }
}

fn no_capture(text: &str, at: usize) -> Error {
    let character = text[..at].chars().count() + 1;
    Error::pattern(format!(
        "in the tag `{text}`, character {character}: a capture is written `{{name}}`; write `\\{{` for a brace that is none"
    ))
}

fn check_bound<'a>(
    text: &str,
    mut names: impl Iterator<Item = &'a str>,
    bound: &[&str],
) -> Result<(), Error> {
    let Some(unbound) = names.find(|name| !bound.contains(name)) else {
        return Ok(());
    };
    let bound: Vec<_> = bound.iter().map(|name| format!("`{{{name}}}`")).collect();
    let known = match bound.is_empty() {
        true => "nothing".to_owned(),
        false => bound.join(", "),
    };
    Err(Error::config(format!(
        "`{text}` uses `{{{unbound}}}`, but the route it belongs to captures {known}"
    )))
}

#[cfg(test)]
mod tests;
