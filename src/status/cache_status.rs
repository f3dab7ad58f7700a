//! The field `Cache-Status` ([RFC 9211](https://www.rfc-editor.org/rfc/rfc9211)).

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::outcome::{BypassReason, Miss, Outcome, StaleReason};
use crate::semantics::weighted::is_token;

/// One cache's member of `Cache-Status`
/// ([RFC 9211 §2](https://www.rfc-editor.org/rfc/rfc9211#section-2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStatus<'a> {
    /// `None` where the cache answered without a stored response and without the handler.
    pub(crate) handled: Option<Handled>,
    /// The status the handler answered with.
    pub(crate) fwd_status: Option<StatusCode>,
    /// The seconds for which the response stays fresh; negative once it is stale.
    pub(crate) ttl: Option<i64>,
    pub(crate) stored: bool,
    pub(crate) collapsed: bool,
    /// A readable form of the key. Left out where it is not printable ASCII.
    pub(crate) key: Option<&'a str>,
    /// Any other detail that helps. Left out where it is not printable ASCII.
    pub(crate) detail: Option<&'a str>,
}

impl From<Outcome> for CacheStatus<'static> {
    /// Takes what an outcome says; the rest is for the caller to add.
    fn from(outcome: Outcome) -> Self {
        let mut status = Self::default();
        match outcome {
            Outcome::Hit => status.handled = Some(Handled::Hit),
            Outcome::Stale(why) => {
                status.handled = Some(match why {
                    StaleReason::WhileRevalidating | StaleReason::Accepted => Handled::Hit,
                    StaleReason::IfError | StaleReason::IfSlow => {
                        Handled::Forwarded(Forward::Stale)
                    }
                });
                status.detail = Some(why.as_str());
            }
            Outcome::Revalidated {
                why,
                stored,
                collapsed,
            } => {
                status.handled = Some(Handled::Forwarded(why.into()));
                status.fwd_status = Some(StatusCode::NOT_MODIFIED);
                status.stored = stored;
                status.collapsed = collapsed;
            }
            Outcome::Miss {
                why,
                stored,
                collapsed,
                detail,
            } => {
                status.handled = Some(Handled::Forwarded(why.into()));
                status.stored = stored;
                status.collapsed = collapsed;
                status.detail = detail.or_else(|| why.detail());
            }
            Outcome::Unsatisfied => status.detail = outcome.reason(),
            Outcome::Bypass(reason) => {
                status.handled = Some(Handled::Forwarded(reason.into()));
                status.detail = reason.detail();
            }
        }
        status
    }
}

/// `hit` or `fwd`, which exclude each other
/// ([RFC 9211 §2.1](https://www.rfc-editor.org/rfc/rfc9211#section-2.1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    Hit,
    Forwarded(Forward),
}

/// Why a request went to the handler
/// ([RFC 9211 §2.2](https://www.rfc-editor.org/rfc/rfc9211#section-2.2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl From<Miss> for Forward {
    fn from(why: Miss) -> Self {
        match why {
            Miss::Uri => Self::UriMiss,
            Miss::Vary => Self::VaryMiss,
            Miss::Stale | Miss::Invalidated => Self::Stale,
            Miss::Request => Self::Request,
            Miss::Partial => Self::Partial,
            Miss::Authorization | Miss::Cookie | Miss::Credential => Self::Bypass,
        }
    }
}

impl From<BypassReason> for Forward {
    fn from(reason: BypassReason) -> Self {
        match reason {
            BypassReason::Method => Self::Method,
            _ => Self::Bypass,
        }
    }
}

/// Writes `Cache-Status` under the name of a cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheStatusWriter {
    name: Box<str>,
    /// One value for each bypass, so that a request that is none of our business costs nothing.
    bypasses: [HeaderValue; BypassReason::ALL.len()],
    /// One for each kind of miss that is stored, where the handler answered 200.
    fills: [HeaderValue; Miss::ALL.len()],
}

/// The name in `Cache-Status` unless the operator gives another.
pub(super) const NAME: &str = "tower-response-cache";

impl Default for CacheStatusWriter {
    fn default() -> Self {
        Self::unchecked(NAME)
    }
}

type Text = SmallVec<[u8; 128]>;

impl CacheStatusWriter {
    /// Takes the cache's name; `None` if that is not a token by
    /// [RFC 8941 §3.3.4](https://www.rfc-editor.org/rfc/rfc8941#section-3.3.4).
    pub(crate) fn new(name: &str) -> Option<Self> {
        is_sf_token(name).then(|| Self::unchecked(name))
    }

    fn unchecked(name: &str) -> Self {
        let mut writer = Self {
            name: name.into(),
            bypasses: BypassReason::ALL.map(|_| HeaderValue::from_static("")),
            fills: Miss::ALL.map(|_| HeaderValue::from_static("")),
        };
        writer.fills = Miss::ALL.map(|why| {
            let status = CacheStatus::from(Outcome::filled(why));
            writer.value(&CacheStatus {
                fwd_status: Some(StatusCode::OK),
                ..status
            })
        });
        writer.bypasses =
            BypassReason::ALL.map(|reason| writer.value(&Outcome::Bypass(reason).into()));
        writer
    }

    /// Returns the cache's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the field's value, in one allocation.
    pub(crate) fn value(&self, status: &CacheStatus<'_>) -> HeaderValue {
        let mut text = Text::from_slice(self.name.as_bytes());
        match status.handled {
            Some(Handled::Hit) => text.extend_from_slice(b"; hit"),
            Some(Handled::Forwarded(why)) => {
                text.extend_from_slice(b"; fwd=");
                text.extend_from_slice(why.as_str().as_bytes());
            }
            None => {}
        }
        if let Some(fwd_status) = status.fwd_status {
            text.extend_from_slice(b"; fwd-status=");
            text.extend_from_slice(fwd_status.as_str().as_bytes());
        }
        if let Some(ttl) = status.ttl {
            // The range of integers in structured fields (RFC 8941 §3.3.1).
            const MAX: i64 = 999_999_999_999_999;
            text.extend_from_slice(b"; ttl=");
            let mut digits = itoa::Buffer::new();
            text.extend_from_slice(digits.format(ttl.clamp(-MAX, MAX)).as_bytes());
        }
        if status.stored {
            text.extend_from_slice(b"; stored");
        }
        if status.collapsed {
            text.extend_from_slice(b"; collapsed");
        }
        if let Some(key) = status.key {
            write_string(&mut text, b"; key=", key);
        }
        match status.detail {
            Some(detail) if is_sf_token(detail) => {
                text.extend_from_slice(b"; detail=");
                text.extend_from_slice(detail.as_bytes());
            }
            Some(detail) => write_string(&mut text, b"; detail=", detail),
            None => {}
        }
        // Made of printable ASCII alone.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// Returns the field's value for a request that was bypassed, ready-made.
    pub(crate) fn bypass(&self, reason: BypassReason) -> HeaderValue {
        self.bypasses[reason as usize].clone()
    }

    /// Returns the field's value for a 200 of the handler's that is being stored, ready-made.
    pub(super) fn fill(&self, why: Miss) -> HeaderValue {
        self.fills[why as usize].clone()
    }
}

/// Adds our member behind those of caches closer to the origin
/// ([RFC 9211 §2](https://www.rfc-editor.org/rfc/rfc9211#section-2)).
pub(crate) fn append(headers: &mut HeaderMap, value: HeaderValue) {
    // Fails with more than 32,768 headers, which go out without our comment.
    let _ = headers.try_append(header::CACHE_STATUS, value);
}

/// Returns for how many seconds a response is fresh, or, negative, since when it is stale.
pub(crate) fn ttl(lifetime: Duration, age: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match lifetime.checked_sub(age) {
        Some(left) => seconds(left),
        None => -seconds(age - lifetime),
    }
}

fn is_sf_token(text: &str) -> bool {
    let [first, rest @ ..] = text.as_bytes() else {
        return false;
    };
    let tail = |byte: &u8| matches!(byte, b':' | b'/') || is_token(&[*byte]);
    (first.is_ascii_alphabetic() || *first == b'*') && rest.iter().all(tail)
}

/// Writes a parameter whose value is a string
/// ([RFC 8941 §3.3.3](https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3)).
fn write_string(text: &mut Text, parameter: &[u8], value: &str) {
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return;
    }
    text.extend_from_slice(parameter);
    text.push(b'"');
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}
