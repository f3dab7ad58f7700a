//! Tags in which captures stand.

use super::canonical::decode;
use super::template::{Captures, Token, capture_name, captured, check_bound, names};
use crate::error::Error;
use crate::semantics::invalidation::MAX_NAME_LENGTH;

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
        check_length(text, &tokens)?;
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

/// Refuses a tag that no response can carry.
fn check_length(text: &str, tokens: &[Token]) -> Result<(), Error> {
    let literal = tokens.iter().map(|token| match token {
        Token::Text(text) => text.len(),
        _ => 0,
    });
    let literal: usize = literal.sum();
    if literal == 0 && tokens.len() == 1 {
        return Err(Error::config("the tag is empty; give it a name"));
    }
    match literal > MAX_NAME_LENGTH {
        true => Err(Error::config(format!(
            "the tag `{}...` is longer than {MAX_NAME_LENGTH} bytes, and no field carries one so long",
            text.chars().take(32).collect::<String>()
        ))),
        false => Ok(()),
    }
}

fn no_capture(text: &str, at: usize) -> Error {
    let character = text[..at].chars().count() + 1;
    Error::pattern(format!(
        "in the tag `{text}`, character {character}: a capture is written `{{name}}`; write `\\{{` for a brace that is none"
    ))
}
