//! Reading patterns and templates as lists of tokens.
//!
//! A token list keeps wildcards and text apart for good: text that a request brought along is put
//! in as text, and no character in it can become a wildcard.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::error::Error;

/// The beginning of a namespace's path.
pub(super) const VALUES: &str = "values:";

/// The names and texts that a write's route captured.
pub(crate) type Captures<'a> = &'a [(&'a str, &'a str)];

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Text, as it was written or captured.
    Text(String),
    /// `*`
    Star,
    /// `**`
    Stars,
    /// `{name}`
    Capture(Box<str>),
}

/// A pattern as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(super) path: Vec<Token>,
    pub(super) query: Option<Vec<Token>>,
}

/// The meaning of `{name}` where a pattern is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Braces {
    Capture,
    Refuse,
}

impl Template {
    pub(crate) fn parse(text: &str, braces: Braces) -> Result<Self, Error> {
        let text_or_root = if text == "**" { "/**" } else { text };
        TemplateReader::new(text_or_root, braces).template()
    }

    /// Reads a pattern over the keys of values, in which there are no captures.
    #[cfg_attr(
        not(feature = "values"),
        allow(dead_code, reason = "values are made by features only")
    )]
    pub(super) fn parse_key(text: &str) -> Result<Vec<Token>, Error> {
        TemplateReader::new(text, Braces::Refuse).key()
    }

    /// Refuses captures that a route does not make: it makes those named in `bound`.
    pub(crate) fn check_captures(&self, text: &str, bound: &[&str]) -> Result<(), Error> {
        check_bound(text, self.captures(), bound)
    }

    /// Returns the names of the captures, as often as they occur.
    pub(crate) fn captures(&self) -> impl Iterator<Item = &str> {
        names(self.path.iter().chain(self.query.iter().flatten()))
    }

    /// Puts in what was captured, as text.
    pub(crate) fn bind(&self, captures: Captures<'_>) -> Self {
        let bind = |tokens: &Vec<Token>| tokens.iter().map(|token| token.bind(captures)).collect();
        Self {
            path: bind(&self.path),
            query: self.query.as_ref().map(bind),
        }
    }
}

impl Token {
    fn bind(&self, captures: Captures<'_>) -> Self {
        match self {
            Self::Capture(name) => Self::Text(captured(name, captures).to_owned()),
            token => token.clone(),
        }
    }
}

/// Returns the names of the captures among some tokens.
pub(super) fn names<'a>(tokens: impl Iterator<Item = &'a Token>) -> impl Iterator<Item = &'a str> {
    tokens.filter_map(|token| match token {
        Token::Capture(name) => Some(&**name),
        _ => None,
    })
}

/// Returns what was captured under a name.
pub(super) fn captured<'a>(name: &str, captures: Captures<'a>) -> &'a str {
    let found = captures.iter().find(|(bound, _)| *bound == name);
    debug_assert!(found.is_some(), "compiling made sure that {name} is bound");
    found.map_or("", |(_, text)| text)
}

/// Reads the `name}` behind a brace; `None` if there is none.
pub(super) fn capture_name(chars: &mut Peekable<CharIndices<'_>>) -> Option<Box<str>> {
    // `{*rest}` names the same capture as `{rest}`; routes write it with the star.
    chars.next_if(|(_, char)| *char == '*');
    let mut name = String::new();
    loop {
        match chars.next()?.1 {
            '}' => break,
            '{' | '/' | '*' | '?' | '\\' => return None,
            char => name.push(char),
        }
    }
    (!name.is_empty()).then(|| name.into())
}

/// Refuses names that are not among those a route captures.
pub(super) fn check_bound<'a>(
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

struct TemplateReader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    braces: Braces,
    tokens: Vec<Token>,
    /// The tokens before the `?`, once it was met.
    path: Option<Vec<Token>>,
}

impl<'a> TemplateReader<'a> {
    fn new(text: &'a str, braces: Braces) -> Self {
        Self {
            text,
            chars: text.char_indices().peekable(),
            braces,
            tokens: Vec::new(),
            path: None,
        }
    }

    fn template(mut self) -> Result<Template, Error> {
        if !self.text.starts_with('/') && !self.text.starts_with(VALUES) {
            let wanted = format!("a pattern begins with a slash; write `/{}`", self.text);
            return Err(self.error(0, &wanted));
        }
        while let Some((at, char)) = self.chars.next() {
            match char {
                '?' if self.path.is_none() => self.path = Some(std::mem::take(&mut self.tokens)),
                char => self.read(at, char)?,
            }
        }
        self.check_namespace()?;
        Ok(match self.path {
            Some(path) => Template {
                path,
                query: Some(self.tokens),
            },
            None => Template {
                path: self.tokens,
                query: None,
            },
        })
    }

    /// Reads a pattern over the keys of values.
    #[cfg_attr(
        not(feature = "values"),
        allow(dead_code, reason = "values are made by features only")
    )]
    fn key(mut self) -> Result<Vec<Token>, Error> {
        self.path = Some(Vec::new());
        while let Some((at, char)) = self.chars.next() {
            match char {
                '?' => {
                    let wanted = "the only wildcard in a key is `*`; write `\\?` for the character";
                    return Err(self.error(at, wanted));
                }
                char => self.read(at, char)?,
            }
        }
        Ok(self.tokens)
    }

    fn read(&mut self, at: usize, char: char) -> Result<(), Error> {
        match char {
            '\\' => self.escape(at),
            '*' => self.star(at),
            '{' => self.capture(at),
            '}' => Err(self.error(at, "this brace closes nothing; write `\\}`")),
            char => {
                self.push(char);
                Ok(())
            }
        }
    }

    /// Refuses a namespace of values that is more than a name.
    fn check_namespace(&self) -> Result<(), Error> {
        let is_name = match &self.path.as_ref().unwrap_or(&self.tokens)[..] {
            [Token::Text(text)] => !text.starts_with(VALUES) || !text.contains('/'),
            [Token::Text(text), ..] => !text.starts_with(VALUES),
            _ => true,
        };
        match is_name {
            true => Ok(()),
            false => Err(self.error(
                VALUES.len(),
                "a namespace of values is a name; write `%2F` for a slash and `%2A` for a star",
            )),
        }
    }

    fn push(&mut self, char: char) {
        match self.tokens.last_mut() {
            Some(Token::Text(text)) => text.push(char),
            _ => self.tokens.push(Token::Text(char.into())),
        }
    }

    fn escape(&mut self, at: usize) -> Result<(), Error> {
        match self.chars.next() {
            Some((_, char @ ('*' | '?' | '{' | '}' | '\\'))) => {
                self.push(char);
                Ok(())
            }
            _ => Err(self.error(
                at,
                "a backslash stands before `*`, `?`, `{`, `}` or `\\`; write `\\\\` for itself",
            )),
        }
    }

    fn star(&mut self, at: usize) -> Result<(), Error> {
        let mut end = at + 1;
        while self.chars.next_if(|(_, char)| *char == '*').is_some() {
            end += 1;
        }
        let in_query = self.path.is_some();
        if end - at == 1 || in_query {
            self.tokens.push(Token::Star);
            return Ok(());
        }
        let ends_segment = matches!(self.text.as_bytes().get(end), None | Some(b'/' | b'?'));
        if end - at > 2 || !ends_segment || !self.text[..at].ends_with('/') {
            return Err(self.error(
                at,
                "`**` is a whole segment; write `/**/` (`/**` at the end), or `*` for a run within a segment",
            ));
        }
        self.tokens.push(Token::Stars);
        Ok(())
    }

    fn capture(&mut self, at: usize) -> Result<(), Error> {
        if self.braces == Braces::Refuse {
            return Err(self.error(
                at,
                "only the patterns of `Evict` have captures; write `*` for any segment, `\\{` for a brace",
            ));
        }
        let Some(name) = capture_name(&mut self.chars) else {
            return Err(self.error(
                at,
                "a capture is written `{name}`; write `\\{` for a brace that is none",
            ));
        };
        self.tokens.push(Token::Capture(name));
        Ok(())
    }

    fn error(&self, at: usize, what: &str) -> Error {
        let character = self.text[..at].chars().count() + 1;
        Error::pattern(format!(
            "in the pattern `{}`, character {character}: {what}",
            self.text
        ))
    }
}
