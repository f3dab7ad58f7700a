//! Explanations of what would happen to a request, without making it happen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::exchange::{Foreseen, foresee};
use crate::hexadecimal::hexadecimal;
use crate::state::CacheState;
use crate::status::{self, Outcome, StatusParameters};

/// An explanation of what would happen to a request, and why; from
/// [`CacheHandle::explain`](crate::CacheHandle::explain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The `X-Cache` of its response: `HIT`, `MISS`, `STALE` or `BYPASS`. A `MISS` may turn out to be
    /// `REVALIDATED`. A `BYPASS` because of credentials may turn out to be a `MISS`, if the response
    /// says that it is for everyone.
    pub x_cache: String,
    /// The `Cache-Status` member of its response, as far as it does not depend on the inner service.
    pub cache_status: String,
    /// The template of the route that matches it.
    pub route: Option<String>,
    /// The digest of its key, in hexadecimal. The key itself may hold confidential data.
    pub key: Option<String>,
    /// The age of the response stored for it.
    pub age: Option<Duration>,
    /// The freshness lifetime of the response stored for it.
    pub lifetime: Option<Duration>,
    /// The tags of the response stored for it.
    pub tags: Vec<String>,
    /// The number of responses stored for its key, selected by `Vary`; zero without `Vary`.
    pub variants: usize,
}

/// Explains what would happen to a request.
pub(crate) async fn explain(cache: &Arc<CacheState>, parts: &Parts) -> Explanation {
    match foresee(cache, parts).await {
        Ok(foreseen) => Explanation::of_read(cache, &foreseen),
        Err(bypass) => {
            let outcome = Outcome::Bypass(bypass);
            Explanation::of(cache, outcome, StatusParameters::default())
        }
    }
}

impl Explanation {
    /// Returns whether the response would come from the store.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(&*self.x_cache, "HIT" | "STALE")
    }

    fn of_read(cache: &CacheState, foreseen: &Foreseen) -> Self {
        let (stored, now) = (foreseen.stored.as_deref(), foreseen.now);
        let parameters = StatusParameters {
            ttl: stored.map(|stored| status::ttl(stored.lifetime(), stored.age(now))),
            ..StatusParameters::default()
        };
        let tags = stored.map_or(&[][..], |stored| stored.subject().tags());
        Self {
            route: Some(foreseen.route.template.to_string()),
            key: Some(hexadecimal(&foreseen.key)),
            age: stored.map(|stored| stored.age(now)),
            lifetime: stored.map(|stored| stored.lifetime()),
            tags: tags.iter().map(ToString::to_string).collect(),
            variants: foreseen.variants,
            ..Self::of(cache, foreseen.outcome, parameters)
        }
    }

    fn of(cache: &CacheState, outcome: Outcome, parameters: StatusParameters) -> Self {
        let text = |value: http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Self {
            x_cache: text(outcome.x_cache()),
            cache_status: text(cache.status_headers.cache_status(outcome, parameters)),
            route: None,
            key: None,
            age: None,
            lifetime: None,
            tags: Vec::new(),
            variants: 0,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.x_cache, self.cache_status)?;
        if let Some(route) = &self.route {
            write!(f, ", route {route}")?;
        }
        if let (Some(age), Some(lifetime)) = (self.age, self.lifetime) {
            write!(
                f,
                ", stored {} s ago for {} s",
                age.as_secs(),
                lifetime.as_secs()
            )?;
        }
        if !self.tags.is_empty() {
            write!(f, ", tags {}", self.tags.join(" "))?;
        }
        Ok(())
    }
}
