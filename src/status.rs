//! What happened to a request, and how the response tells: `Cache-Status`
//! ([RFC 9211](https://www.rfc-editor.org/rfc/rfc9211)) and `X-Cache`.

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::semantics::weighted::is_token;

/// The name of the field that people look at.
pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// What the cache did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered from a fresh stored response.
    Hit,
    /// Answered from a stored response past its freshness lifetime.
    Stale(Staleness),
    /// Answered from a stored response that the handler has just confirmed.
    Revalidated {
        why: Miss,
        /// Whether it is stored anew.
        stored: bool,
        /// Whether another request had it confirmed.
        collapsed: bool,
    },
    /// Answered by the handler.
    Miss {
        why: Miss,
        /// Whether the response is being stored.
        stored: bool,
        /// Whether the handler was called for another request, and this one shares the answer.
        collapsed: bool,
        /// Why it is not stored, in a word.
        detail: Option<&'static str>,
    },
    /// `only-if-cached`, and nothing to answer with: 504.
    Unsatisfied,
    /// Passed to the handler as if there were no cache.
    Bypass(BypassReason),
}

/// Why a stale response was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staleness {
    /// `stale-while-revalidate`: a refresh runs behind it.
    WhileRevalidating,
    /// `stale-if-error`: the handler was asked, and failed.
    IfError,
    /// The handler was asked, and takes longer than the policy's soft timeout.
    IfSlow,
    /// The client's `max-stale`.
    Accepted,
}

/// Why the store did not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// Nothing is stored for the URI.
    Uri,
    /// Something is, but its selecting fields do not match.
    Vary,
    /// What is stored was stale, and could not be confirmed.
    Stale,
    /// What is stored was made old by a write.
    Invalidated,
    /// The request's directives did not allow what is stored.
    Request,
    /// Only a part of what was asked for is stored.
    Partial,
    /// What is stored is not for requests with `Authorization`.
    Authorization,
    /// What is stored is not for requests with `Cookie`.
    Cookie,
}

/// Why the cache was never asked, or could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BypassReason {
    /// The method is not one whose responses are stored.
    Method,
    /// No route matches the path.
    NoRoute,
    /// The route's policy says so.
    Policy,
    /// The operator has switched the cache off.
    Disabled,
    /// The request carries `Authorization`.
    Authorization,
    /// The request carries `Cookie`.
    Cookie,
    /// The request carries a field that may change the answer and is not part of the key.
    Header,
    /// The request has content.
    Content,
    /// The request asks for another protocol.
    Upgrade,
    /// The request names several hosts.
    Host,
    /// The path can be read in two ways that come under different routes.
    Path,
    /// The policy's function gave the request no partition.
    Partition,
    /// The store did not answer.
    Store,
}

impl Outcome {
    /// Returns the outcome in a word, for labels and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale(_) => "stale",
            Self::Revalidated { .. } => "revalidated",
            Self::Miss { .. } => "miss",
            Self::Unsatisfied => "unsatisfied",
            Self::Bypass(_) => "bypass",
        }
    }

    /// Returns why it came to that, in a word. A hit needs no reason.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Hit => None,
            Self::Stale(staleness) => Some(staleness.as_str()),
            Self::Revalidated { why, .. } | Self::Miss { why, .. } => Some(why.as_str()),
            Self::Unsatisfied => Some("only-if-cached"),
            Self::Bypass(reason) => Some(reason.as_str()),
        }
    }

    /// Returns the same outcome for a request that shared it with another.
    pub(crate) fn collapsed(self) -> Self {
        match self {
            Self::Miss {
                why,
                stored,
                detail,
                ..
            } => Self::Miss {
                why,
                stored,
                collapsed: true,
                detail,
            },
            Self::Revalidated { why, stored, .. } => Self::Revalidated {
                why,
                stored,
                collapsed: true,
            },
            other => other,
        }
    }

    /// Returns the commonest outcome of a miss: the response is being stored.
    fn filled(why: Miss) -> Self {
        Self::Miss {
            why,
            stored: true,
            collapsed: false,
            detail: None,
        }
    }

    /// Returns the same outcome of a response that is being stored, or that something keeps from it.
    pub(crate) fn stored_unless(self, refused: Option<&'static str>) -> Self {
        match self {
            Self::Miss { why, collapsed, .. } => Self::Miss {
                why,
                stored: refused.is_none(),
                collapsed,
                detail: refused,
            },
            other => other,
        }
    }

    /// Returns the value of `X-Cache`.
    pub(crate) fn x_cache(self) -> HeaderValue {
        // Constants: elsewhere each letter would be looked at for every response.
        match self {
            Self::Hit => const { HeaderValue::from_static("HIT") },
            Self::Stale(_) => const { HeaderValue::from_static("STALE") },
            Self::Revalidated { .. } => const { HeaderValue::from_static("REVALIDATED") },
            Self::Miss { .. } | Self::Unsatisfied => const { HeaderValue::from_static("MISS") },
            Self::Bypass(_) => const { HeaderValue::from_static("BYPASS") },
        }
    }

    /// Returns what `Cache-Status` says about this outcome; the rest is for the caller to add.
    pub(crate) fn cache_status(self) -> CacheStatus<'static> {
        let mut status = CacheStatus::default();
        match self {
            Self::Hit => status.handled = Some(Handled::Hit),
            Self::Stale(Staleness::WhileRevalidating) => {
                status.handled = Some(Handled::Hit);
                status.detail = Some(Staleness::WhileRevalidating.as_str());
            }
            Self::Stale(Staleness::IfError) => {
                status.handled = Some(Handled::Forwarded(Forward::Stale));
                status.detail = Some(Staleness::IfError.as_str());
            }
            Self::Stale(Staleness::Accepted) => {
                status.handled = Some(Handled::Hit);
                status.detail = Some(Staleness::Accepted.as_str());
            }
            Self::Revalidated {
                why,
                stored,
                collapsed,
            } => {
                status.handled = Some(Handled::Forwarded(why.forward()));
                status.fwd_status = Some(StatusCode::NOT_MODIFIED);
                status.stored = stored;
                status.collapsed = collapsed;
            }
            Self::Stale(Staleness::IfSlow) => {
                status.handled = Some(Handled::Forwarded(Forward::Stale));
                status.detail = Some(Staleness::IfSlow.as_str());
            }
            Self::Miss {
                why,
                stored,
                collapsed,
                detail,
            } => {
                status.handled = Some(Handled::Forwarded(why.forward()));
                status.stored = stored;
                status.collapsed = collapsed;
                status.detail = detail.or_else(|| why.detail());
            }
            Self::Unsatisfied => status.detail = Some("only-if-cached"),
            Self::Bypass(reason) => {
                status.handled = Some(Handled::Forwarded(reason.forward()));
                status.detail = reason.detail();
            }
        }
        status
    }
}

impl Staleness {
    pub(crate) const ALL: [Self; 4] = [
        Self::WhileRevalidating,
        Self::IfError,
        Self::IfSlow,
        Self::Accepted,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::WhileRevalidating => "stale-while-revalidate",
            Self::IfError => "stale-if-error",
            Self::IfSlow => "soft-timeout",
            Self::Accepted => "max-stale",
        }
    }
}

impl Miss {
    pub(crate) const ALL: [Self; 8] = [
        Self::Uri,
        Self::Vary,
        Self::Stale,
        Self::Invalidated,
        Self::Request,
        Self::Partial,
        Self::Authorization,
        Self::Cookie,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri-miss",
            Self::Vary => "vary-miss",
            Self::Stale => "stale",
            Self::Invalidated => "invalidated",
            Self::Request => "request",
            Self::Partial => "partial",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
        }
    }

    fn forward(self) -> Forward {
        match self {
            Self::Uri => Forward::UriMiss,
            Self::Vary => Forward::VaryMiss,
            Self::Stale | Self::Invalidated => Forward::Stale,
            Self::Request => Forward::Request,
            Self::Partial => Forward::Partial,
            Self::Authorization | Self::Cookie => Forward::Bypass,
        }
    }

    fn detail(self) -> Option<&'static str> {
        match self {
            Self::Invalidated => Some("invalidated"),
            Self::Authorization => Some("authorization"),
            Self::Cookie => Some("cookie"),
            _ => None,
        }
    }
}

impl BypassReason {
    pub(crate) const ALL: [Self; 13] = [
        Self::Method,
        Self::NoRoute,
        Self::Policy,
        Self::Disabled,
        Self::Authorization,
        Self::Cookie,
        Self::Header,
        Self::Content,
        Self::Upgrade,
        Self::Host,
        Self::Path,
        Self::Partition,
        Self::Store,
    ];

    /// Returns the reason in a word, for labels and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::NoRoute => "no-route",
            Self::Policy => "policy",
            Self::Disabled => "disabled",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Header => "header",
            Self::Content => "content",
            Self::Upgrade => "upgrade",
            Self::Host => "host",
            Self::Path => "path",
            Self::Partition => "partition",
            Self::Store => "store",
        }
    }

    fn forward(self) -> Forward {
        match self {
            Self::Method => Forward::Method,
            _ => Forward::Bypass,
        }
    }

    fn detail(self) -> Option<&'static str> {
        (self != Self::Method).then(|| self.as_str())
    }
}

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
    /// Whatever else helps. Left out where it is not printable ASCII.
    pub(crate) detail: Option<&'a str>,
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

/// Writes `Cache-Status` under the name of a cache.
#[derive(Clone, Debug)]
pub(crate) struct CacheStatusWriter {
    name: Box<str>,
    /// One value for each bypass, so that a request that is none of our business costs nothing.
    bypasses: [HeaderValue; BypassReason::ALL.len()],
    /// One for each kind of miss that is stored, where the handler answered 200.
    fills: [HeaderValue; Miss::ALL.len()],
}

/// What is added to responses to tell what happened.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    pub(crate) x_cache: bool,
    pub(crate) cache_status: bool,
    pub(crate) age: bool,
    pub(crate) writer: CacheStatusWriter,
}

/// The name in `Cache-Status` unless the operator gives another.
const NAME: &str = "tower-response-cache";

impl Default for Show {
    fn default() -> Self {
        Self {
            x_cache: true,
            cache_status: true,
            age: true,
            writer: CacheStatusWriter::unchecked(NAME),
        }
    }
}

impl Show {
    /// Adds the fields that tell a client what happened to its request.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap, outcome: Outcome, told: Told) {
        if self.x_cache {
            // Fails in a header section of more than 32,768 fields, which goes out as it is.
            let _ = headers.try_insert(X_CACHE, outcome.x_cache());
        }
        if self.cache_status {
            append(headers, self.cache_status(outcome, told));
        }
    }

    /// Returns this cache's member of `Cache-Status`.
    pub(crate) fn cache_status(&self, outcome: Outcome, told: Told) -> HeaderValue {
        match outcome {
            Outcome::Bypass(reason) if told == Told::default() => self.writer.bypass(reason),
            Outcome::Miss { why, .. } if outcome == Outcome::filled(why) && told == Told::OK => {
                self.writer.fills[why as usize].clone()
            }
            _ => {
                let status = outcome.cache_status();
                self.writer.value(&CacheStatus {
                    ttl: told.ttl,
                    fwd_status: told.fwd_status.or(status.fwd_status),
                    detail: told.detail.or(status.detail),
                    ..status
                })
            }
        }
    }
}

/// What is told about one response beyond its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) ttl: Option<i64>,
    pub(crate) fwd_status: Option<StatusCode>,
    pub(crate) detail: Option<&'static str>,
}

impl Told {
    /// The handler answered 200.
    const OK: Self = Self {
        ttl: None,
        fwd_status: Some(StatusCode::OK),
        detail: None,
    };
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
            let status = Outcome::filled(why).cache_status();
            writer.value(&CacheStatus {
                fwd_status: Some(StatusCode::OK),
                ..status
            })
        });
        writer.bypasses =
            BypassReason::ALL.map(|reason| writer.value(&Outcome::Bypass(reason).cache_status()));
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
}

/// Adds our member behind those of caches closer to the origin
/// ([RFC 9211 §2](https://www.rfc-editor.org/rfc/rfc9211#section-2)).
pub(crate) fn append(headers: &mut HeaderMap, value: HeaderValue) {
    // Fails in a header section of more than 32,768 fields, which goes out without our comment.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfv::{BareItem, ListEntry, Parser};

    use super::*;

    fn writer() -> CacheStatusWriter {
        CacheStatusWriter::new("ExampleCache").expect("a token")
    }

    fn shown(status: &CacheStatus<'_>) -> String {
        let value = writer().value(status);
        value.to_str().expect("printable").to_owned()
    }

    fn miss(why: Miss) -> Outcome {
        Outcome::Miss {
            why,
            stored: false,
            collapsed: false,
            detail: None,
        }
    }

    #[test]
    fn outcomes_are_shown_as_in_the_examples_of_rfc_9211_3() {
        for (outcome, x_cache, expected) in [
            (Outcome::Hit, "HIT", "hit"),
            (
                Outcome::Stale(Staleness::WhileRevalidating),
                "STALE",
                "hit; detail=stale-while-revalidate",
            ),
            (
                Outcome::Stale(Staleness::IfError),
                "STALE",
                "fwd=stale; detail=stale-if-error",
            ),
            (
                Outcome::Revalidated {
                    why: Miss::Stale,
                    stored: true,
                    collapsed: false,
                },
                "REVALIDATED",
                "fwd=stale; fwd-status=304; stored",
            ),
            (
                Outcome::Revalidated {
                    why: Miss::Request,
                    stored: true,
                    collapsed: true,
                },
                "REVALIDATED",
                "fwd=request; fwd-status=304; stored; collapsed",
            ),
            (
                Outcome::Stale(Staleness::Accepted),
                "STALE",
                "hit; detail=max-stale",
            ),
            (miss(Miss::Uri), "MISS", "fwd=uri-miss"),
            (miss(Miss::Vary), "MISS", "fwd=vary-miss"),
            (miss(Miss::Stale), "MISS", "fwd=stale"),
            (miss(Miss::Request), "MISS", "fwd=request"),
            (miss(Miss::Partial), "MISS", "fwd=partial"),
            (
                miss(Miss::Invalidated),
                "MISS",
                "fwd=stale; detail=invalidated",
            ),
            (
                Outcome::Miss {
                    why: Miss::Uri,
                    stored: true,
                    collapsed: true,
                    detail: None,
                },
                "MISS",
                "fwd=uri-miss; stored; collapsed",
            ),
            (
                Outcome::Miss {
                    why: Miss::Uri,
                    stored: false,
                    collapsed: false,
                    detail: Some("set-cookie"),
                },
                "MISS",
                "fwd=uri-miss; detail=set-cookie",
            ),
            (Outcome::Unsatisfied, "MISS", "detail=only-if-cached"),
            (
                Outcome::Bypass(BypassReason::Method),
                "BYPASS",
                "fwd=method",
            ),
            (
                Outcome::Bypass(BypassReason::Store),
                "BYPASS",
                "fwd=bypass; detail=store",
            ),
        ] {
            assert_eq!(outcome.x_cache(), x_cache);
            let status = outcome.cache_status();
            assert_eq!(shown(&status), format!("ExampleCache; {expected}"));
        }
    }

    #[test]
    fn parameters_follow_the_outcome() {
        let status = CacheStatus {
            fwd_status: Some(StatusCode::OK),
            ttl: Some(-412),
            key: Some("GET \"a\\b\""),
            detail: Some("two words"),
            ..miss(Miss::Stale).cache_status()
        };
        let expected = "ExampleCache; fwd=stale; fwd-status=200; ttl=-412; \
                        key=\"GET \\\"a\\\\b\\\"\"; detail=\"two words\"";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn what_a_structured_field_cannot_say_is_left_out() {
        let status = CacheStatus {
            ttl: Some(i64::MIN),
            key: Some("/caf\u{e9}"),
            detail: Some("a\r\nb"),
            ..Outcome::Hit.cache_status()
        };
        assert_eq!(shown(&status), "ExampleCache; hit; ttl=-999999999999999");
    }

    #[test]
    fn bypasses_are_ready_made() {
        let writer = writer();
        for reason in BypassReason::ALL {
            let status = Outcome::Bypass(reason).cache_status();
            assert_eq!(writer.bypass(reason), writer.value(&status));
        }
    }

    #[test]
    fn every_outcome_has_the_parameters_and_types_of_rfc_9211() {
        const FORWARDS: [&str; 8] = [
            "bypass",
            "method",
            "uri-miss",
            "vary-miss",
            "miss",
            "request",
            "stale",
            "partial",
        ];
        let stalenesses = [
            Staleness::WhileRevalidating,
            Staleness::IfError,
            Staleness::IfSlow,
            Staleness::Accepted,
        ];
        let mut outcomes = vec![Outcome::Hit, Outcome::Unsatisfied];
        outcomes.extend(stalenesses.map(Outcome::Stale));
        outcomes.extend(BypassReason::ALL.map(Outcome::Bypass));
        for why in Miss::ALL {
            for (stored, collapsed) in [(false, false), (false, true), (true, false), (true, true)]
            {
                outcomes.push(Outcome::Revalidated {
                    why,
                    stored,
                    collapsed,
                });
                outcomes.extend([None, Some("no-store")].map(|detail| Outcome::Miss {
                    why,
                    stored,
                    collapsed,
                    detail,
                }));
            }
        }
        for outcome in outcomes {
            for told in [
                Told::default(),
                Told {
                    ttl: Some(i64::MIN),
                    fwd_status: Some(StatusCode::from_u16(999).expect("a status")),
                    detail: Some("two \"words\""),
                },
            ] {
                // Behind another cache's member, on a line of its own (§2).
                let mut headers = HeaderMap::new();
                headers.append("cache-status", HeaderValue::from_static("Origin; fwd=miss"));
                Show::default().stamp(&mut headers, outcome, told);
                let lines = headers.get_all("cache-status").iter();
                let field = lines
                    .map(|line| line.to_str().expect("printable"))
                    .collect::<Vec<_>>()
                    .join(", ");
                let list: sfv::List = Parser::new(&field).parse().expect("a list");
                let [_, ListEntry::Item(ours)] = &list[..] else {
                    panic!("{field}");
                };
                assert_eq!(
                    ours.bare_item.as_token().map(|name| name.as_str()),
                    Some(NAME)
                );
                for (name, value) in &ours.params {
                    let fits = match name.as_str() {
                        "hit" | "stored" | "collapsed" => value.as_boolean() == Some(true),
                        "fwd" => value
                            .as_token()
                            .is_some_and(|why| FORWARDS.contains(&why.as_str())),
                        "fwd-status" | "ttl" => value.as_integer().is_some(),
                        "key" => value.as_string().is_some(),
                        "detail" => value.as_token().is_some() || value.as_string().is_some(),
                        _ => false,
                    };
                    assert!(fits, "{name} in {field}");
                }
                // §2.1 and §2.2: it was satisfied by the cache, or forwarded, and not both.
                let has = |name: &str| ours.params.keys().any(|known| known.as_str() == name);
                assert!(!(has("hit") && has("fwd")), "{field}");
                assert!(has("fwd") || !has("stored") && !has("collapsed"), "{field}");
            }
        }
    }

    #[test]
    fn a_name_is_a_token() {
        for (name, valid) in [
            ("tower-response-cache", true),
            ("cache.example.net/1:80", true),
            ("*", true),
            ("", false),
            ("1st", false),
            ("two words", false),
            ("caf\u{e9}", false),
            ("a;b", false),
        ] {
            assert_eq!(CacheStatusWriter::new(name).is_some(), valid, "{name}");
        }
    }

    #[test]
    fn our_member_comes_after_those_closer_to_the_origin() {
        let mut headers = HeaderMap::new();
        headers.append("cache-status", HeaderValue::from_static("Origin; hit"));
        append(&mut headers, HeaderValue::from_static("Ours; fwd=uri-miss"));
        let members: Vec<_> = headers.get_all("cache-status").iter().collect();
        assert_eq!(members, ["Origin; hit", "Ours; fwd=uri-miss"]);
    }

    #[test]
    fn the_ttl_is_what_is_left_of_the_lifetime() {
        let seconds = Duration::from_secs;
        assert_eq!(ttl(seconds(60), seconds(10)), 50);
        assert_eq!(ttl(seconds(60), seconds(60)), 0);
        assert_eq!(ttl(seconds(60), seconds(90)), -30);
        assert_eq!(ttl(Duration::MAX, Duration::ZERO), i64::MAX);
        assert_eq!(ttl(Duration::ZERO, Duration::MAX), -i64::MAX);
    }

    proptest! {
        #[test]
        fn every_value_is_a_structured_field(
            name in "[A-Za-z*][a-z:/.!]{0,6}",
            key in ".{0,12}",
            detail in ".{0,12}",
            ttl in any::<i64>(),
            stored in any::<bool>(),
        ) {
            let status = CacheStatus {
                ttl: Some(ttl),
                key: Some(&key),
                detail: Some(&detail),
                stored,
                ..miss(Miss::Uri).cache_status()
            };
            let value = CacheStatusWriter::new(&name).expect("a token").value(&status);
            let list: sfv::List = Parser::new(value.as_bytes()).parse().expect("a list");
            prop_assert_eq!(list.len(), 1);
            let ListEntry::Item(item) = &list[0] else {
                return Err(TestCaseError::fail("not an item"));
            };
            prop_assert_eq!(item.bare_item.as_token().map(|name| name.as_str()), Some(&*name));
            if let Some(BareItem::String(shown)) = item.params.get("key") {
                prop_assert_eq!(shown.as_str(), &*key);
            }
        }
    }
}
