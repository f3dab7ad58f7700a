//! Putting a response into the store, beside the others of its key, and taking it out again.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};

use super::context::ReadContext;
use super::lookup::{any_language_key, variant_key};
use crate::entry::{StoredResponse, Variant, Variants};
use crate::flight::Leader;
use crate::invalidate::{NotToStore, Position};
use crate::store::{MaybeReady, Stored};
use crate::target::SubjectRef;

/// Stores a response, unless it has been overtaken by an invalidation already, or may have come
/// from a replica that lags behind a write; returns whether it did.
pub(super) fn store(
    read: &ReadContext,
    stored: &Arc<StoredResponse>,
    nominated: &[HeaderName],
) -> bool {
    store_until(read, stored, nominated, None)
}

/// Returns, in a word, why the log would refuse now to have a response stored.
pub(super) fn refused_by_log(
    read: &ReadContext,
    position: Position,
    subject: SubjectRef<'_>,
) -> Option<&'static str> {
    let refusal = read
        .cache()
        .store
        .log()
        .refusal(position, subject, read.began);
    refusal.map(|refusal| match refusal {
        NotToStore::Overtaken => "overtaken",
        NotToStore::Held => "held",
    })
}

/// Does what [`store`] does, and keeps a flight going until it is done.
pub(super) fn store_until(
    read: &ReadContext,
    stored: &Arc<StoredResponse>,
    nominated: &[HeaderName],
    leader: Option<Arc<Leader>>,
) -> bool {
    let cache = read.cache();
    let subject = stored.subject();
    // This request began before it called the inner service, and so errs on the safe side.
    let began = read.began;
    if !cache.store.log().may_store(stored.position, subject, began) {
        return false;
    }
    cache.keep_swept();
    // What came between the lookup and now is asked for where that costs no waiting.
    let known = match cache.store.get(read.key.borrow()) {
        MaybeReady::Now(Ok(Some(Stored::Variants(known)))) => Some(known),
        MaybeReady::Now(_) => None,
        MaybeReady::Later(_) => read.variants.clone(),
    };
    match known {
        None if nominated.is_empty() => {
            let stored = Stored::Response(stored.clone());
            cache.in_background_with(cache.store.put(read.key.clone(), stored), leader);
        }
        known => store_variant(read, stored, nominated, known.as_deref(), leader),
    }
    if let Some(warming) = &read.warming {
        warming.is_stored();
    }
    true
}

/// Stores a response beside the others of its key, and the names that select among them.
fn store_variant(
    read: &ReadContext,
    stored: &Arc<StoredResponse>,
    nominated: &[HeaderName],
    known: Option<&Variants>,
    leader: Option<Arc<Leader>>,
) {
    let cache = read.cache();
    let mut variants = known.cloned().unwrap_or_default();
    let superseded = variants.nominate(nominated);
    let variant = variant(read, stored, &variants.names);
    let key = variant.key.clone();
    let outnumbered = variants.add(variant, read.route.policy.max_variants);
    let response = Stored::Response(stored.clone());
    cache.in_background_with(cache.store.put(key, response), leader.clone());
    let variants = Stored::Variants(Arc::new(variants));
    cache.in_background_with(cache.store.put(read.key.clone(), variants), leader);
    for variant in superseded.into_iter().chain(outnumbered) {
        cache.in_background(cache.store.remove(variant.key.borrow()));
    }
}

fn variant(read: &ReadContext, stored: &StoredResponse, names: &[HeaderName]) -> Variant {
    let value = |name| {
        stored
            .head()
            .get(name)
            .and_then(|value| HeaderValue::from_bytes(value).ok())
    };
    Variant {
        key: variant_key(read.key.borrow(), names, &read.headers),
        any_language: any_language_key(read.key.borrow(), names, &read.headers),
        etag: value(&header::ETAG),
        content_language: value(&header::CONTENT_LANGUAGE),
    }
}

/// Takes what is stored for this request out of the store. The answer to a client that forbids
/// storing says nothing about what is stored for others.
pub(super) fn discard(read: &ReadContext) {
    if read.directives.no_store {
        return;
    }
    let cache = read.cache();
    let key = read.selected_key();
    cache.in_background(cache.store.remove(key.borrow()));
}
