//! A write: what it made old is recorded before its response's head leaves, and also when nobody is
//! left to see that head.

use std::sync::Arc;

use bytes::Buf;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Uri};
use http_body::Body;
use smallvec::SmallVec;
use tower_service::Service;

use super::request::original_uri;
use super::{Core, Place, respond};
use crate::body::{BoxError, CacheBody};
use crate::directive::Invalidate;
use crate::invalidate::{Evicted, Invalidation};
use crate::semantics::invalidation;
use crate::status::{CacheStatus, Forward, XCache};
use crate::telemetry::Event;

/// A request with an unsafe method.
pub(super) struct Write {
    core: Arc<Core>,
    uri: Uri,
    authority: Option<HeaderValue>,
    /// What is evicted by it whatever the response says.
    evicted: Evicted,
}

impl Write {
    pub(super) fn new(place: &Place, parts: &Parts) -> Self {
        let uri = original_uri(parts).clone();
        let mut evicted = place.core.routes.evicted_by(uri.path());
        evicted.push(Invalidation::of_uri(&uri));
        Self {
            core: place.core.clone(),
            authority: parts.headers.get(http::header::HOST).cloned(),
            uri,
            evicted,
        }
    }

    /// Calls the handler, and acknowledges what it wrote.
    ///
    /// # Cancel safety
    ///
    /// Dropped after the handler was called, it records the invalidation all the same: the handler
    /// may have written before it was dropped. The same goes for a panic.
    pub(super) async fn run<S, Q, B>(
        self,
        mut inner: S,
        request: Request<Q>,
    ) -> Result<Response<CacheBody<B>>, S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        B: Body,
        B::Data: Buf,
        B::Error: Into<BoxError>,
    {
        let core = self.core.clone();
        // Declared before the handler's future, and so dropped after it: nothing can be written
        // once the invalidation is recorded.
        let mut pending = Pending { write: Some(self) };
        let response = inner.call(request).await?;
        let Some(write) = pending.write.take() else {
            return Ok(respond::pass(&core, respond::Bypass::Method, response));
        };
        let recorded = match invalidation::invalidates(response.status()) {
            true => write.acknowledge(response.headers(), response.extensions().get()).await,
            false => true,
        };
        core.stats.count(Event::Bypass);
        let mut status = CacheStatus::forwarded(Forward::Method);
        if !recorded {
            status = status.detail("invalidation-pending");
        }
        let mut response = response.map(CacheBody::pass);
        core.show.stamp(response.headers_mut(), XCache::Bypass, &status);
        Ok(response)
    }

    async fn acknowledge(mut self, headers: &HeaderMap, by_handler: Option<&Invalidate>) -> bool {
        let authority = self.authority.as_ref().and_then(|authority| authority.to_str().ok());
        for target in invalidation::targets(&self.uri, authority, headers) {
            self.evicted.push(Invalidation::uri(&target));
        }
        for group in invalidation::group_invalidations(headers) {
            self.evicted.push(Invalidation::tag(group));
        }
        self.evicted.extend(by_handler.into_iter().flat_map(|asked| asked.0.iter().cloned()));
        self.core.invalidate(&self.evicted).await.is_ok()
    }
}

/// A write whose outcome is not known yet. Dropped, it counts as one that succeeded.
struct Pending {
    write: Option<Write>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(write) = self.write.take() {
            let recorded = write.core.store.invalidate(&write.evicted);
            write.core.in_background(recorded);
            write.core.sweep_soon();
        }
    }
}
