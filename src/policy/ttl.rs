//! How long a response may be used: the operator's half of the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use crate::semantics::storable;

/// A route's TTLs and how they go together with what the handler says.
#[derive(Clone, Debug)]
pub(crate) struct Ttl {
    source: TtlSource,
    by_status: Vec<(StatusCode, Duration)>,
    pub(crate) origin: TtlPrecedence,
    pub(crate) clamp: Option<(Duration, Duration)>,
    pub(crate) jitter_percent: u8,
}

/// The precedence between the handler's header fields and the route's TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TtlPrecedence {
    /// They decide whether to store and for how long; the route's TTL fills the gap.
    OriginFirst,
    /// They decide everything; there is no route TTL.
    OriginOnly,
    /// They decide whether to store; the route's TTL says for how long.
    RouteFirst,
}

#[derive(Clone)]
enum TtlSource {
    Nothing,
    Fixed(Duration),
    ByRequest(ByRequest),
    Default(ByRequest),
}

type ByRequest = Arc<dyn Fn(&Parts) -> Option<Duration> + Send + Sync>;

/// The route's TTL for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestTtl {
    /// The route has no TTL: the handler decides.
    Unstated,
    /// The route's TTL.
    Lifetime(Duration),
    /// The operator's function wants this request not cached.
    Declined,
}

impl Ttl {
    pub(crate) fn fixed(ttl: Duration) -> Self {
        Self::new(TtlSource::Fixed(ttl), TtlPrecedence::OriginFirst)
    }

    pub(crate) fn by_request(ttl: ByRequest) -> Self {
        Self::new(TtlSource::ByRequest(ttl), TtlPrecedence::OriginFirst)
    }

    pub(crate) fn origin_decides() -> Self {
        Self::new(TtlSource::Nothing, TtlPrecedence::OriginOnly)
    }

    fn new(source: TtlSource, origin: TtlPrecedence) -> Self {
        Self {
            source,
            by_status: Vec::new(),
            origin,
            clamp: None,
            jitter_percent: 0,
        }
    }

    /// Sets the TTL where the handler states none; `None` from it is no reason not to store.
    pub(crate) fn set_default(&mut self, ttl: ByRequest) {
        self.source = TtlSource::Default(ttl);
    }

    pub(crate) fn set_for(&mut self, status: StatusCode, ttl: Duration) {
        self.by_status.retain(|(named, _)| *named != status);
        self.by_status.push((status, ttl));
    }

    /// Asks for the TTL of a request.
    pub(crate) fn of(&self, request: &Parts) -> RequestTtl {
        match &self.source {
            TtlSource::Nothing => RequestTtl::Unstated,
            TtlSource::Fixed(ttl) => RequestTtl::Lifetime(*ttl),
            TtlSource::Default(ttl) => {
                ttl(request).map_or(RequestTtl::Unstated, RequestTtl::Lifetime)
            }
            TtlSource::ByRequest(ttl) => match ttl(request) {
                Some(ttl) => RequestTtl::Lifetime(ttl),
                None => RequestTtl::Declined,
            },
        }
    }

    /// Returns the TTL for a status, given the TTL of the request.
    pub(crate) fn for_status(&self, status: StatusCode, requested: RequestTtl) -> Option<Duration> {
        if let Some((_, ttl)) = self.by_status.iter().find(|(named, _)| *named == status) {
            return Some(*ttl);
        }
        match requested {
            RequestTtl::Lifetime(ttl) if matches!(status.as_u16(), 200 | 203 | 204) => Some(ttl),
            _ => None,
        }
    }

    /// Returns whether answers with this status may be stored at all, should they state a freshness.
    pub(crate) fn admits(&self, status: StatusCode) -> bool {
        let named = self.by_status.iter().any(|(named, _)| *named == status);
        named
            || self.origin == TtlPrecedence::OriginOnly
            || !(storable::is_requests_own_fault(status) || status.is_server_error())
    }

    /// Returns a status that was given a TTL and is never stored.
    pub(crate) fn never_applies(&self) -> Option<StatusCode> {
        let mut named = self.by_status.iter().map(|(status, _)| *status);
        named.find(|status| storable::answers_one_request(*status, false))
    }

    /// Applies the clamps and the jitter, which is spread by `seed`.
    pub(crate) fn adjust(&self, lifetime: Duration, seed: u64) -> Duration {
        if lifetime.is_zero() {
            return lifetime;
        }
        let lifetime = match self.clamp {
            Some((least, most)) => lifetime.max(least).min(most),
            None => lifetime,
        };
        if self.jitter_percent == 0 {
            return lifetime;
        }
        let part = f64::from(self.jitter_percent) / 100.0 * (seed % 1024) as f64 / 1024.0;
        // The part is less than the whole, so that no lifetime is too long for this.
        lifetime.saturating_sub(lifetime.mul_f64(part))
    }
}

impl fmt::Debug for TtlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Fixed(ttl) => f.debug_tuple("Fixed").field(ttl).finish(),
            Self::ByRequest(_) => f.write_str("ByRequest(..)"),
            Self::Default(_) => f.write_str("Default(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_route_ttl_applies_to_200_203_and_204_only() {
        let ttl = Ttl::fixed(MINUTE);
        for status in [200, 203, 204, 201, 206, 301, 302, 400, 404, 410, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let expected = matches!(status.as_u16(), 200 | 203 | 204).then_some(MINUTE);
            let found = ttl.for_status(status, RequestTtl::Lifetime(MINUTE));
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn a_status_gets_a_ttl_by_name() {
        let mut ttl = Ttl::fixed(MINUTE);
        ttl.set_for(StatusCode::NOT_FOUND, MINUTE * 2);
        ttl.set_for(StatusCode::NOT_FOUND, MINUTE * 3);
        let found = ttl.for_status(StatusCode::NOT_FOUND, RequestTtl::Lifetime(MINUTE));
        assert_eq!(found, Some(MINUTE * 3));
    }

    #[test]
    fn errors_that_are_the_requests_own_fault_are_admitted_only_by_name() {
        let mut ttl = Ttl::fixed(MINUTE);
        for status in [
            400, 402, 403, 405, 409, 413, 414, 418, 422, 431, 499, 500, 501, 503, 599,
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!ttl.admits(status), "{status}");
            ttl.set_for(status, MINUTE);
            assert!(ttl.admits(status), "{status}");
        }
        for status in [200, 301, 404, 410, 451] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(ttl.admits(status), "{status}");
        }
        assert!(Ttl::origin_decides().admits(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn jitter_shortens_by_at_most_its_share_and_clamps_hold() {
        let mut ttl = Ttl::fixed(MINUTE);
        ttl.jitter_percent = 10;
        for seed in 0..2048 {
            let adjusted = ttl.adjust(MINUTE, seed);
            assert!(
                adjusted <= MINUTE && adjusted > MINUTE * 9 / 10,
                "{adjusted:?}"
            );
        }
        ttl.jitter_percent = 0;
        ttl.clamp = Some((MINUTE * 2, MINUTE * 3));
        assert_eq!(ttl.adjust(MINUTE, 0), MINUTE * 2);
        assert_eq!(ttl.adjust(MINUTE * 9, 0), MINUTE * 3);
        assert_eq!(ttl.adjust(Duration::ZERO, 0), Duration::ZERO);
    }
}
