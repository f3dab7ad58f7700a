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
use super::{Core, Journey, Place, respond, sweep};
use crate::body::{BoxError, CacheBody};
use crate::directive::Invalidate;
use crate::invalidate::{Invalidation, canonical};
use crate::semantics::invalidation;
use crate::status::{BypassReason, Outcome, Told};

/// A request with an unsafe method.
pub(super) struct Write {
    core: Arc<Core>,
    uri: Uri,
    authority: Option<HeaderValue>,
    /// What is evicted by it whatever the response says.
    evicted: SmallVec<[Invalidation; 4]>,
}

impl Write {
    pub(super) fn new(place: &Place, parts: &Parts) -> Self {
        let uri = original_uri(parts).clone();
        let routes = &place.core.routes;
        let mut evicted = routes.evicted_by(uri.path());
        // The handler may take a path that says the same in another way for the one of a rule.
        let canonical = canonical(uri.path());
        if canonical != uri.path() {
            evicted.extend(routes.evicted_by(&canonical));
        }
        evicted.push(Invalidation::uri(path_and_query(&uri)));
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
            // Taken nowhere else.
            return Ok(respond::pass(
                &core,
                Outcome::Bypass(BypassReason::Method),
                response,
            ));
        };
        let recorded = match invalidation::invalidates(response.status()) {
            true => {
                write
                    .acknowledge(response.headers(), response.extensions().get())
                    .await
            }
            false => true,
        };
        let detail = (!recorded).then_some("invalidation-pending");
        let mut response = response.map(CacheBody::pass);
        let outcome = Outcome::Bypass(BypassReason::Method);
        core.tell(
            response.headers_mut(),
            outcome,
            Told {
                detail,
                ..Told::default()
            },
        );
        Ok(response)
    }

    async fn acknowledge(mut self, headers: &HeaderMap, by_handler: Option<&Invalidate>) -> bool {
        let authority = self
            .authority
            .as_ref()
            .and_then(|authority| authority.to_str().ok());
        for target in invalidation::targets(&self.uri, authority, headers) {
            self.evicted.push(Invalidation::uri(&target));
        }
        let groups = invalidation::group_invalidations(headers);
        if groups.overflow {
            self.evicted.push(Invalidation::everything());
        }
        self.evicted
            .extend(groups.names.into_iter().map(Invalidation::tag));
        self.evicted.extend(
            by_handler
                .into_iter()
                .flat_map(|asked| asked.0.iter().cloned()),
        );
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
            sweep::soon(&write.core);
        }
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// Records what a handler asked for on a request that was passed by, then passes its response on.
pub(crate) fn invalidate_and_pass<B, E>(
    core: Arc<Core>,
    bypass: BypassReason,
    response: Response<B>,
) -> Journey<B, E>
where
    B: Body + Send + 'static,
    E: Send + 'static,
{
    Box::pin(async move {
        if invalidation::invalidates(response.status()) {
            if let Some(Invalidate(what)) = response.extensions().get().cloned() {
                // A failure is counted; the response does not wait for the store to come back.
                let _ = core.invalidate(&what).await;
            }
        }
        Ok(respond::pass(&core, Outcome::Bypass(bypass), response))
    })
}
