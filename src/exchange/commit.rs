//! Putting a response into the store, beside the others of its key, and taking it out again.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};

use super::ReadContext;
use super::lookup::{any_language_key, variant_key};
use crate::entry::{StoredResponse, Variant, Variants};
use crate::flight::Leader;
use crate::invalidate::{NotToStore, Position, SubjectRef};
use crate::mutant::{self, Mutant};
use crate::store::{MaybeReady, Stored};

impl ReadContext {
    /// Stores a response, unless it has been overtaken by an invalidation already, or may have come
    /// from a replica that lags behind a write; returns whether it did.
    pub(super) fn store(&self, stored: &Arc<StoredResponse>, nominated: &[HeaderName]) -> bool {
        self.store_until(stored, nominated, None)
    }

    /// Returns, in a word, why the log would refuse now to have a response stored.
    pub(super) fn refused_by_log(
        &self,
        position: Position,
        subject: SubjectRef<'_>,
    ) -> Option<&'static str> {
        let refusal = self
            .cache()
            .store
            .log()
            .refusal(position, subject, self.began);
        refusal.map(|refusal| match refusal {
            NotToStore::Overtaken => "overtaken",
            NotToStore::Held => "held",
        })
    }

    /// Does what [`store`](Self::store) does, and keeps a flight going until it is done.
    pub(super) fn store_until(
        &self,
        stored: &Arc<StoredResponse>,
        nominated: &[HeaderName],
        leader: Option<Arc<Leader>>,
    ) -> bool {
        let cache = self.cache();
        let subject = stored.subject();
        // This request began before it called the handler, and so errs on the safe side.
        let began = self.began;
        if mutant::is(Mutant::NothingStored)
            || !cache.store.log().may_store(stored.position, subject, began)
        {
            return false;
        }
        // What came between the lookup and now is asked for where that costs no waiting.
        let known = match cache.store.get(self.key.borrow()) {
            MaybeReady::Now(Ok(Some(Stored::Variants(known)))) => Some(known),
            MaybeReady::Now(_) => None,
            MaybeReady::Later(_) => self.variants.clone(),
        };
        match known {
            None if nominated.is_empty() => {
                let stored = Stored::Response(stored.clone());
                cache.in_background_with(cache.store.put(self.key.clone(), stored), leader);
            }
            known => self.store_variant(stored, nominated, known.as_deref(), leader),
        }
        if let Some(warming) = &self.warming {
            warming.is_stored();
        }
        true
    }

    /// Stores a response beside the others of its key, and the names that select among them.
    fn store_variant(
        &self,
        stored: &Arc<StoredResponse>,
        nominated: &[HeaderName],
        known: Option<&Variants>,
        leader: Option<Arc<Leader>>,
    ) {
        let cache = self.cache();
        let mut variants = known.cloned().unwrap_or_default();
        let superseded = variants.nominate(nominated);
        let variant = self.variant(stored, &variants.names);
        let key = variant.key.clone();
        let outnumbered = variants.add(variant, self.route.policy.max_variants);
        let response = Stored::Response(stored.clone());
        cache.in_background_with(cache.store.put(key, response), leader.clone());
        let variants = Stored::Variants(Arc::new(variants));
        cache.in_background_with(cache.store.put(self.key.clone(), variants), leader);
        for variant in superseded.into_iter().chain(outnumbered) {
            cache.in_background(cache.store.remove(variant.key.borrow()));
        }
    }

    fn variant(&self, stored: &StoredResponse, names: &[HeaderName]) -> Variant {
        let value = |name| {
            stored
                .head()
                .get(name)
                .and_then(|value| HeaderValue::from_bytes(value).ok())
        };
        Variant {
            key: variant_key(self.key.borrow(), names, &self.headers),
            any_language: any_language_key(self.key.borrow(), names, &self.headers),
            etag: value(&header::ETAG),
            content_language: value(&header::CONTENT_LANGUAGE),
        }
    }

    /// Takes what is stored for this request out of the store.
    pub(super) fn discard(&self) {
        let cache = self.cache();
        let key = match &self.variants {
            Some(variants) => variant_key(self.key.borrow(), &variants.names, &self.headers),
            None => self.key.clone(),
        };
        cache.in_background(cache.store.remove(key.borrow()));
    }
}
