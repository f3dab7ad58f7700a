//! `Cache-Control` ([RFC 9111 §5.2](https://www.rfc-editor.org/rfc/rfc9111#section-5.2),
//! [RFC 8246](https://www.rfc-editor.org/rfc/rfc8246),
//! [RFC 5861](https://www.rfc-editor.org/rfc/rfc5861)).
//!
//! One rule settles every doubt: what is repeated, contradictory or malformed is read in the way
//! that reuses the response less
//! ([RFC 9111 §4.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1): "the most restrictive
//! directive should be honored", and invalid freshness information makes a response stale).

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

#[cfg(test)]
mod tests;

/// The greatest number of seconds that is distinguished: 2³¹
/// ([RFC 9111 §1.2.2](https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2)).
pub(crate) const MAX_DELTA_SECONDS: u64 = 1 << 31;

/// How many field names a qualified `no-cache` or `private` may list before it is read as the
/// unqualified form: a longer list is no list that an origin wrote with care.
const MAX_FIELDS: usize = 64;

/// The directives of all `Cache-Control` lines of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheControl {
    /// Something was said, known to us or not.
    pub(crate) present: bool,
    /// §5.2.1.5, §5.2.2.5
    pub(crate) no_store: bool,
    /// §5.2.1.4, §5.2.2.4
    pub(crate) no_cache: Scope,
    /// §5.2.2.7
    pub(crate) private: Scope,
    /// §5.2.2.9
    pub(crate) public: bool,
    /// §5.2.2.2
    pub(crate) must_revalidate: bool,
    /// §5.2.2.8
    pub(crate) proxy_revalidate: bool,
    /// §5.2.2.3
    pub(crate) must_understand: bool,
    /// §5.2.1.6, §5.2.2.6
    pub(crate) no_transform: bool,
    /// §5.2.1.7
    pub(crate) only_if_cached: bool,
    /// RFC 8246 §2
    pub(crate) immutable: bool,
    /// §5.2.1.1, §5.2.2.1
    pub(crate) max_age: Option<Duration>,
    /// §5.2.2.10
    pub(crate) s_maxage: Option<Duration>,
    /// RFC 5861 §3
    pub(crate) stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4
    pub(crate) stale_if_error: Option<Duration>,
    /// §5.2.1.2
    pub(crate) max_stale: Option<MaxStale>,
    /// §5.2.1.3
    pub(crate) min_fresh: Option<Duration>,
}

/// How much of a response `no-cache` or `private` speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The directive is not there.
    #[default]
    Absent,
    /// The qualified form, `no-cache="a, b"`: these fields only, in alphabetical order.
    Fields(Vec<HeaderName>),
    /// The unqualified form: all of the response.
    Whole,
}

/// By how much a client lets a response be stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxStale {
    /// `max-stale=60`
    By(Duration),
    /// `max-stale`
    Any,
}

/// The argument of a directive, behind its `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    /// There is no `=`.
    Absent,
    /// A token, or what is between the quotes of a quoted string.
    Text(&'a [u8]),
    /// A number that came as one.
    Seconds(u64),
    /// Neither a token nor a quoted string.
    Invalid,
}

impl CacheControl {
    /// Reads every `Cache-Control` line, for they are one list
    /// ([RFC 9110 §5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::from_lines(headers.get_all(CACHE_CONTROL))
    }

    /// Reads lines in the syntax of `Cache-Control`.
    ///
    /// Allocates only for the qualified forms of `no-cache` and `private`.
    pub(crate) fn from_lines<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let mut directives = Self::default();
        for line in lines {
            let mut rest = line.as_bytes();
            while !rest.is_empty() {
                let (name, argument, behind) = split_directive(rest);
                if !name.is_empty() {
                    directives.add(name, argument);
                }
                rest = behind;
            }
        }
        directives
    }

    /// Takes in one directive. Directives that are not known are ignored (§5.2.3).
    ///
    /// An argument where none is defined does not take a directive's effect away.
    pub(super) fn add(&mut self, name: &[u8], argument: Argument<'_>) {
        self.present = true;
        match name.len() {
            6 if is(name, b"public") => self.public = true,
            7 if is(name, b"max-age") => self.max_age = least(self.max_age, argument),
            7 if is(name, b"private") => self.private.widen(argument),
            8 if is(name, b"s-maxage") => self.s_maxage = least(self.s_maxage, argument),
            8 if is(name, b"no-cache") => self.no_cache.widen(argument),
            8 if is(name, b"no-store") => self.no_store = true,
            9 if is(name, b"max-stale") => {
                self.max_stale = MaxStale::least(self.max_stale, argument)
            }
            9 if is(name, b"min-fresh") => self.min_fresh = greatest(self.min_fresh, argument),
            9 if is(name, b"immutable") => self.immutable = true,
            12 if is(name, b"no-transform") => self.no_transform = true,
            14 if is(name, b"only-if-cached") => self.only_if_cached = true,
            14 if is(name, b"stale-if-error") => {
                self.stale_if_error = least(self.stale_if_error, argument);
            }
            15 if is(name, b"must-revalidate") => self.must_revalidate = true,
            15 if is(name, b"must-understand") => self.must_understand = true,
            16 if is(name, b"proxy-revalidate") => self.proxy_revalidate = true,
            22 if is(name, b"stale-while-revalidate") => {
                self.stale_while_revalidate = least(self.stale_while_revalidate, argument);
            }
            _ => {}
        }
    }
}

impl Scope {
    /// Tells whether the directive is there in either form.
    pub(crate) fn is_present(&self) -> bool {
        *self != Self::Absent
    }

    /// Tells whether the directive speaks of all of the response.
    pub(crate) fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// Returns the fields of the qualified form.
    pub(crate) fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Absent | Self::Whole => &[],
        }
    }

    /// Adds what another directive of the same name says.
    fn widen(&mut self, argument: Argument<'_>) {
        if let Argument::Text(list) = argument
            && let Some(fields) = self.with_fields(list)
        {
            *self = Self::Fields(fields);
        } else {
            *self = Self::Whole;
        }
    }

    /// Returns the fields listed so far and those of `list`; `None` if all of the response is meant.
    fn with_fields(&mut self, list: &[u8]) -> Option<Vec<HeaderName>> {
        let mut fields = match std::mem::take(self) {
            Self::Absent => Vec::new(),
            Self::Fields(fields) => fields,
            Self::Whole => return None,
        };
        let mut is_empty = true;
        for name in list.split(|byte| *byte == b',') {
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            is_empty = false;
            let name = HeaderName::from_bytes(name).ok()?;
            if let Err(at) = fields.binary_search_by(|field| field.as_str().cmp(name.as_str())) {
                if fields.len() == MAX_FIELDS {
                    return None;
                }
                fields.insert(at, name);
            }
        }
        // Beside a list of names, too: neither the order nor the number of directives matters.
        (!is_empty).then_some(fields)
    }
}

impl MaxStale {
    fn least(known: Option<Self>, argument: Argument<'_>) -> Option<Self> {
        Some(match (known, argument) {
            (None, Argument::Absent) => Self::Any,
            (Some(known), Argument::Absent) => known,
            (None | Some(Self::Any), argument) => Self::By(argument.seconds().unwrap_or_default()),
            (Some(Self::By(known)), argument) => {
                Self::By(known.min(argument.seconds().unwrap_or_default()))
            }
        })
    }
}

impl Argument<'_> {
    /// Returns the argument as a number of seconds, at most 2³¹; `None` if it is not one.
    fn seconds(self) -> Option<Duration> {
        match self {
            Self::Text(text) => delta_seconds(text),
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds.min(MAX_DELTA_SECONDS))),
            Self::Absent | Self::Invalid => None,
        }
    }
}

/// Reads `delta-seconds`, clamping to 2³¹
/// ([RFC 9111 §1.2.2](https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2)).
pub(super) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0_u64, |seconds, digit| {
        (seconds * 10 + u64::from(digit - b'0')).min(MAX_DELTA_SECONDS)
    });
    Some(Duration::from_secs(seconds))
}

/// The smallest value wins, and an invalid one means none at all.
fn least(known: Option<Duration>, argument: Argument<'_>) -> Option<Duration> {
    let new = argument.seconds().unwrap_or_default();
    Some(known.map_or(new, |known| known.min(new)))
}

/// The greatest demand wins, and an invalid one asks for more than there is.
fn greatest(known: Option<Duration>, argument: Argument<'_>) -> Option<Duration> {
    let new = argument.seconds();
    known.max(Some(new.unwrap_or(Duration::from_secs(MAX_DELTA_SECONDS))))
}

fn is(name: &[u8], directive: &[u8]) -> bool {
    name.eq_ignore_ascii_case(directive)
}

/// Splits the first directive off a line: its name, its argument, and the line behind its comma.
///
/// White space round the `=` is not in the grammar. The name counts all the same, so that
/// `no-store =x` still forbids storing, but the argument does not: `max-age =60` is stale.
fn split_directive(line: &[u8]) -> (&[u8], Argument<'_>, &[u8]) {
    let name_end = find(line, |byte| matches!(byte, b',' | b'='));
    let name = &line[..name_end];
    if line.get(name_end) != Some(&b'=') {
        return (
            name.trim_ascii(),
            Argument::Absent,
            behind_comma(line, name_end),
        );
    }
    let value = &line[name_end + 1..];
    let (argument, value_end) = split_argument(value);
    let argument = if name.last().is_some_and(u8::is_ascii_whitespace) {
        Argument::Invalid
    } else {
        argument
    };
    (name.trim_ascii(), argument, behind_comma(value, value_end))
}

/// Reads the argument at the start of `value` and returns where its directive ends.
fn split_argument(value: &[u8]) -> (Argument<'_>, usize) {
    if value.first() == Some(&b'"')
        && let Some(close) = closing_quote(value)
    {
        let end = close + 1 + find(&value[close + 1..], |byte| byte == b',');
        let argument = if value[close + 1..end].trim_ascii().is_empty() {
            Argument::Text(&value[1..close])
        } else {
            Argument::Invalid
        };
        return (argument, end);
    }
    // A quote that is never closed hides nothing: `x="a, no-store` is not stored.
    let end = find(value, |byte| byte == b',');
    let token = value[..end].trim_ascii_end();
    let argument = if !token.is_empty() && token.iter().all(|byte| is_token_char(*byte)) {
        Argument::Text(token)
    } else {
        Argument::Invalid
    };
    (argument, end)
}

/// Finds the quote that closes the one `value` begins with.
fn closing_quote(value: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match value.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn find(line: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    line.iter()
        .position(|byte| wanted(*byte))
        .unwrap_or(line.len())
}

fn behind_comma(line: &[u8], comma: usize) -> &[u8] {
    line.get(comma + 1..).unwrap_or_default()
}
