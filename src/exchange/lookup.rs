//! Finding what is stored for a request, and judging whether it may be used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use super::candidate::Candidate;
use super::respond;
use super::respond::Client;
use crate::entry::{StoredResponse, Variants};
use crate::error::Error;
use crate::invalidate::Verdict;
use crate::key::{Key, KeyBuilder, KeyRef};
use crate::mutant::{self, Mutant};
use crate::pattern::canonical;
use crate::policy::{Identity, Route, RouteTable};
use crate::semantics::cache_control::CacheControl;
use crate::semantics::reuse::{self, Permit};
use crate::semantics::vary;
use crate::state::CacheState;
use crate::status::{BypassReason, Miss, Outcome, Staleness};
use crate::store::{MaybeReady, Stored};

/// What is stored for a request's key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) response: Option<Arc<StoredResponse>>,
    pub(crate) variants: Option<Arc<Variants>>,
}

/// A lookup that takes some waiting.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Result<Found, Error>> + Send>>;

/// What a lookup comes to.
#[derive(Debug)]
pub(crate) enum Decision {
    /// With its age.
    Fresh(Arc<StoredResponse>, Duration),
    /// Served at once, as a hit or stale, while a background call refreshes it.
    ServeAndRefresh(Arc<StoredResponse>, Outcome),
    /// Served though it is stale, for the client accepts that.
    Accepted(Arc<StoredResponse>),
    /// The handler has to be called, with regard to what is stored.
    Fetch(Miss, Candidate),
}

impl Decision {
    fn missing(why: Miss) -> Self {
        Self::Fetch(why, Candidate::Nothing)
    }

    /// To be validated before it is used; of use still if the handler fails.
    fn validate(stored: Arc<StoredResponse>) -> Self {
        Self::Fetch(Miss::Stale, Candidate::Stale(stored))
    }
}

/// Finds the route of a read.
///
/// A path that says the same in two ways (`/%61` for `/a`, `/b/../a`) may be one thing to this
/// table and another to the handler. Where the two ways come under different routes the request is
/// passed by.
pub(super) fn route<'a>(
    routes: &'a RouteTable,
    path: &str,
) -> Result<&'a Arc<Route>, BypassReason> {
    let route = routes.read(path).ok_or(BypassReason::NoRoute)?;
    let canonical = canonical(path);
    if canonical != path {
        match routes.read(&canonical) {
            Some(same) if Arc::ptr_eq(same, route) => {}
            _ => return Err(BypassReason::Path),
        }
    }
    Ok(route)
}

/// Looks a key up: the response stored for it, or that one of its variants which the request
/// selects (RFC 9111 §4.1).
pub(super) fn find(
    cache: &Arc<CacheState>,
    key: KeyRef<'_>,
    headers: &HeaderMap,
) -> MaybeReady<Result<Found, Error>> {
    match cache.store.get(key) {
        MaybeReady::Now(Ok(Some(Stored::Variants(variants)))) => {
            let exact = variant(key, &variants.names, headers);
            let chosen = choose(&variants, key, exact.key(), headers);
            match cache.store.get(chosen) {
                MaybeReady::Now(stored) => {
                    MaybeReady::Now(stored.map(|stored| Found::among(variants, stored)))
                }
                MaybeReady::Later(stored) => MaybeReady::Later(Box::pin(async move {
                    Ok(Found::among(variants, stored.await?))
                })),
            }
        }
        MaybeReady::Now(stored) => MaybeReady::Now(stored.map(Found::alone)),
        MaybeReady::Later(stored) => {
            let far = find_far(cache.clone(), key.to_owned(), headers.clone(), stored);
            MaybeReady::Later(Box::pin(far))
        }
    }
}

/// Finishes a lookup in a store that takes its time. The variant that will probably be selected is
/// asked for together with what says which one that is.
async fn find_far(
    cache: Arc<CacheState>,
    key: Key,
    headers: HeaderMap,
    stored: impl Future<Output = Result<Option<Stored>, Error>>,
) -> Result<Found, Error> {
    let selected = |variants: &Variants| {
        let exact = variant(key.borrow(), &variants.names, &headers);
        choose(variants, key.borrow(), exact.key(), &headers).to_owned()
    };
    let guess = cache
        .variant_hints
        .of(&key)
        .map(|variants| selected(&variants));
    let guessed = async {
        match &guess {
            Some(guess) => cache.store.get(guess.borrow()).get().await,
            None => Ok(None),
        }
    };
    let (stored, guessed) = futures_util::future::join(stored, guessed).await;
    let Some(Stored::Variants(variants)) = stored.as_ref().ok().and_then(Option::as_ref) else {
        if guess.is_some() {
            cache.variant_hints.forget(&key);
        }
        return stored.map(Found::alone);
    };
    let chosen = selected(variants);
    let found = match guess.as_ref() == Some(&chosen) {
        true => guessed?,
        false => cache.store.get(chosen.borrow()).get().await?,
    };
    cache.variant_hints.learn(key, variants);
    Ok(Found::among(variants.clone(), found))
}

/// Returns the key of the variant that a request selects: `exact`, or if nothing is known to be
/// stored for exactly what the request nominates, one in the language it prefers above all others
/// (RFC 9111 §4.1, last paragraph).
fn choose<'a>(
    variants: &'a Variants,
    key: KeyRef<'_>,
    exact: KeyRef<'a>,
    headers: &HeaderMap,
) -> KeyRef<'a> {
    if variants.known.iter().any(|variant| exact == variant.key) {
        return exact;
    }
    let Some(any_language) = any_language_key(key, &variants.names, headers) else {
        return exact;
    };
    let preferred = variants.known.iter().rev().find(|variant| {
        variant.any_language.as_ref() == Some(&any_language)
            && variant
                .content_language
                .as_ref()
                .is_some_and(|language| vary::prefers_language(headers, language.as_bytes()))
    });
    preferred.map_or(exact, |variant| variant.key.borrow())
}

/// Returns the key of what a request selects apart from its language; `None` where the language
/// does not select.
pub(super) fn any_language_key(
    key: KeyRef<'_>,
    names: &[HeaderName],
    headers: &HeaderMap,
) -> Option<Key> {
    let others = || {
        names
            .iter()
            .filter(|name| **name != header::ACCEPT_LANGUAGE)
            .cloned()
    };
    (others().count() < names.len())
        .then(|| variant_key(key, &others().collect::<Vec<_>>(), headers))
}

/// Returns the key under which the response that a request selects is stored.
pub(super) fn variant_key(key: KeyRef<'_>, names: &[HeaderName], headers: &HeaderMap) -> Key {
    variant(key, names, headers).key().to_owned()
}

fn variant(key: KeyRef<'_>, names: &[HeaderName], headers: &HeaderMap) -> KeyBuilder {
    let mut variant = KeyBuilder::extend(key);
    vary::append_selecting(&mut variant, names, headers);
    variant
}

impl Found {
    fn alone(stored: Option<Stored>) -> Self {
        match stored {
            Some(Stored::Response(response)) => Self {
                response: Some(response),
                variants: None,
            },
            Some(Stored::Variants(variants)) => Self {
                response: None,
                variants: Some(variants),
            },
            // No request has the key of a value.
            Some(Stored::Value(_)) | None => Self::default(),
        }
    }

    fn among(variants: Arc<Variants>, stored: Option<Stored>) -> Self {
        let response = match stored {
            Some(Stored::Response(response)) => Some(response),
            // A key leads to variants once; a store that says otherwise mixed something up.
            Some(Stored::Variants(_) | Stored::Value(_)) | None => None,
        };
        Self {
            response,
            variants: Some(variants),
        }
    }
}

/// A read, as far as judging a stored response for it goes.
#[derive(Clone, Copy)]
pub(super) struct ReadView<'a> {
    pub(super) cache: &'a CacheState,
    pub(super) route: &'a Route,
    pub(super) client: Client<'a>,
    pub(super) began: Instant,
}

impl ReadView<'_> {
    /// Judges what was found: whether this client may be given it, whether an invalidation has
    /// overtaken it, and whether it is fresh.
    pub(super) fn judge(&self, found: Found) -> Decision {
        let Some(stored) = found.response else {
            return Decision::missing(match found.variants {
                Some(_) => Miss::Vary,
                None => Miss::Uri,
            });
        };
        if !self.is_for_client(&stored) {
            return Decision::missing(self.credentials());
        }
        match self.cache.verdict(&stored) {
            Verdict::Invalid if mutant::is(Mutant::StaleIfErrorUnjudged) => {
                Decision::validate(stored)
            }
            Verdict::Invalid if !mutant::is(Mutant::LookupVerdictSkipped) => {
                Decision::missing(Miss::Invalidated)
            }
            Verdict::Soft if stored.status == StatusCode::PARTIAL_CONTENT => {
                Decision::missing(Miss::Partial)
            }
            _ if stored.status == StatusCode::PARTIAL_CONTENT => self.judge_part(stored),
            verdict => self.judge_freshness(stored, verdict == Verdict::Soft),
        }
    }

    /// Judges a stored part: it answers a request for what lies within it, and saves some of the
    /// body of a request for the whole (RFC 9111 §3.3, §3.4).
    fn judge_part(&self, stored: Arc<StoredResponse>) -> Decision {
        let client = self.client;
        let age = stored.age(self.began);
        let fresh = stored.stale_by_at(age).is_none() && !stored.reuse.always_validate;
        if !fresh || *client.method != Method::GET {
            Decision::missing(Miss::Partial)
        } else if respond::part_for(&stored, client, &self.cache.clock).is_some() {
            Decision::Fresh(stored, age)
        } else if client.flags.range {
            Decision::Fetch(Miss::Partial, Candidate::Beside(stored))
        } else {
            Decision::Fetch(Miss::Partial, Candidate::Part(stored))
        }
    }

    fn credentials(&self) -> Miss {
        match self.client.flags.authorization {
            true => Miss::Authorization,
            false => Miss::Cookie,
        }
    }

    fn is_for_client(&self, stored: &StoredResponse) -> bool {
        !matches!(self.route.policy.identity, Identity::Cautious)
            || (stored.reuse.with_authorization || !self.client.flags.authorization)
                && (stored.reuse.with_cookie || !self.client.flags.cookie)
    }

    fn judge_freshness(&self, stored: Arc<StoredResponse>, marked_stale: bool) -> Decision {
        let age = stored.age(self.began);
        let stale_by = match marked_stale {
            true => Some(stored.stale_by_at(age).unwrap_or(Duration::ZERO)),
            false => stored.stale_by_at(age),
        };
        if stored.reuse.always_validate {
            return Decision::validate(stored);
        }
        if self.route.policy.honour_request_directives && self.client.flags.cache_control {
            let request = CacheControl::of(self.client.headers);
            let lifetime = match marked_stale {
                true => Duration::ZERO,
                false => stored.lifetime(),
            };
            match reuse::permitted(&request, age, lifetime, stored.reuse.never_stale) {
                Permit::Validate if stale_by.is_none() => {
                    return Decision::Fetch(Miss::Request, Candidate::Stale(stored));
                }
                Permit::Validate => return Decision::validate(stored),
                Permit::StaleAllowed => return Decision::Accepted(stored),
                Permit::Fresh | Permit::Stale => {}
            }
        }
        match stale_by {
            None if self.is_due(&stored, age) => Decision::ServeAndRefresh(stored, Outcome::Hit),
            None => Decision::Fresh(stored, age),
            Some(by) if by < stored.stale_while_revalidate() && !stored.reuse.never_stale => {
                Decision::ServeAndRefresh(stored, Outcome::Stale(Staleness::WhileRevalidating))
            }
            Some(_) => Decision::validate(stored),
        }
    }

    /// Whether a fresh response has so little of its lifetime left that it is refreshed ahead.
    fn is_due(&self, stored: &StoredResponse, age: Duration) -> bool {
        let ahead = self.route.policy.staleness.refresh_ahead;
        !ahead.is_zero()
            && *self.client.method == Method::GET
            && age.saturating_add(ahead) >= stored.lifetime()
    }

    /// Whether the request wants an answer from the cache or none (RFC 9111 §5.2.1.7).
    pub(super) fn only_if_cached(&self) -> bool {
        self.client.flags.cache_control && CacheControl::of(self.client.headers).only_if_cached
    }
}
