//! The one public error of this crate.

use std::error::Error as StdError;
use std::fmt;

/// An error of one of a few kinds, with the error that caused it as its source.
///
/// Requests never fail with this error: the layer's error type is the inner service's own. It comes
/// from building a cache, from parsing patterns, and from calls made by hand on a
/// [`CacheHandle`](crate::CacheHandle) or a [`Store`](crate::Store).
pub struct Error {
    kind: ErrorKind,
    message: Box<str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a route or an eviction rule that cannot work; the message says what to change.
    Config,
    /// An eviction pattern or a URI that does not parse; the message shows where.
    Pattern,
    /// A store that did not answer, refused, or answered nonsense.
    Store,
    /// A handler's own value that cannot be stored: it could not be encoded, or is too large.
    Value,
    /// A store that is not asked, because it failed a moment ago; it has reported that already.
    Unavailable,
}

impl Error {
    /// Returns the kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn config(message: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn pattern(message: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Pattern, message)
    }

    #[cfg(feature = "values")]
    pub(crate) fn value(message: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    /// Makes the error a [`Store`](crate::Store) of your own reports.
    pub fn store(message: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Store, message)
    }

    /// Makes the error of a store that is not asked at present. The layer counts it and says no more,
    /// for there may be thousands a second.
    pub fn unavailable(message: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }
}

/// Reads like a sentence, since it is what a `main` that returns this error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} error: {}", self.kind, self.message)?;
        match &self.source {
            Some(source) => write!(f, " (caused by: {source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
