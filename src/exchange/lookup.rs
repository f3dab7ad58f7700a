//! Finding what is stored for a request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};

use crate::entry::{StoredResponse, Variants};
use crate::error::Error;
use crate::key::{Key, KeyBuilder, KeyRef};
use crate::semantics::vary;
use crate::state::CacheState;
use crate::store::{MaybeReady, Stored};

/// The response and the variants that are stored for a request's key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) response: Option<Arc<StoredResponse>>,
    pub(crate) variants: Option<Arc<Variants>>,
}

/// A lookup that takes some waiting.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Result<Found, Error>> + Send>>;

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
    cache.variant_hints.learn(&key, variants);
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
