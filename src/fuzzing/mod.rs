//! The targets of `tests/fuzz`: every parser of text from outside, with its properties.
//!
//! Compiled for fuzzing and for tests only, for the parsers are not public. Each function takes an input
//! apart into lines, gives them to a parser, and panics when a property does not hold. The text is
//! split into lines so that a dictionary of words is enough to find deep cases.

mod cache_control;
mod dates;
mod entity_tags;
mod patterns;
mod queries;
mod ranges;
mod structured;
#[cfg(test)]
mod tests;
mod uris;
mod vary;
#[cfg(feature = "redis")]
mod wire;

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};

pub use cache_control::cache_control;
pub use dates::dates;
pub use entity_tags::entity_tags;
pub use patterns::patterns;
pub use ranges::ranges;
pub use structured::structured;
pub use uris::uris;
pub use vary::vary;
#[cfg(feature = "redis")]
pub use wire::wire;

/// No headers of interest are more; so work grows with the length of lines alone.
const MAX_LINES: usize = 32;

/// The lines of an input.
struct Lines<'a>(std::vec::IntoIter<&'a [u8]>);

impl<'a> Lines<'a> {
    fn of(input: &'a [u8]) -> Self {
        let lines = input.split(|byte| *byte == b'\n').take(MAX_LINES);
        Self(lines.collect::<Vec<_>>().into_iter())
    }

    /// Returns the next line; an empty one at the end.
    fn text(&mut self) -> &'a [u8] {
        self.0.next().unwrap_or_default()
    }

    /// Reads the next line as a number in decimal digits, and 0 for anything else.
    fn number(&mut self) -> u64 {
        let line = str::from_utf8(self.text()).unwrap_or_default();
        line.parse().unwrap_or_default()
    }

    /// Returns the next line as a field value, without what cannot stand in one.
    fn value(&mut self) -> HeaderValue {
        value(self.text())
    }

    /// Makes headers: the first letter of a line chooses the field, the rest is its value.
    /// Lines that begin otherwise are left out.
    fn headers(&mut self, names: &[(u8, HeaderName)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in self.0.by_ref() {
            let Some((letter, text)) = line.split_first() else {
                return headers;
            };
            if let Some((_, name)) = names.iter().find(|(known, _)| known == letter) {
                headers.append(name, value(text));
            }
        }
        headers
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next()
    }
}

fn value(text: &[u8]) -> HeaderValue {
    let visible = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let text: Vec<u8> = text.iter().copied().filter(visible).collect();
    HeaderValue::from_bytes(&text).expect("only visible bytes")
}

/// Makes one line of all lines of a field.
fn joined(headers: &HeaderMap, name: &HeaderName, separator: &[u8]) -> HeaderValue {
    let lines: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(|line| line.as_bytes().trim_ascii())
        .collect();
    value(&lines.join(separator))
}

/// A time since 1970, so long before the year 10000 that no date with two digits of a year reaches it.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds % 250_000_000_000)
}
