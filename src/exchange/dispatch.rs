//! The start of every request: passed on, answered at once, or begun as a journey.

use std::any::TypeId;
use std::future::Future;
use std::mem;
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::call::{Content, InnerService};
use super::context::Mount;
use super::detached::Journey;
use super::fetch::{fetch, refresh_in_background, wait_and_fetch};
use super::judge::judge;
use super::lookup;
use super::replay::{Settled, settle};
use super::request::RequestClass;
use super::write::Write;
use crate::body::CacheBody;
use crate::key::KeyBuilder;
use crate::policy::Route;
use crate::state::CacheState;
use crate::status::BypassReason;
use crate::store::MaybeReady;
use crate::target::original_uri;
use crate::telemetry::{Operation, RouteId};

pin_project! {
    /// A request's progress.
    #[project = ProgressProjection]
    pub(crate) enum Progress<F, B, E> {
        /// It is answered. `None` once the answer was taken.
        Done { response: Option<Response<CacheBody<B>>> },
        /// It goes to the inner service as it is.
        Passing { #[pin] future: F, passed: Passed },
        /// It takes some waiting.
        Journey { journey: Journey<B, E> },
    }
}

/// A request that bypasses the cache, as it is reported.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) cache: Arc<CacheState>,
    pub(crate) route: RouteId,
    pub(crate) bypass: BypassReason,
}

/// Begins the journey of a request. `inner` is the service that was found ready.
pub(crate) fn dispatch<S, Q, B>(
    mount: &Arc<Mount>,
    inner: &mut S,
    request: Request<Q>,
) -> Progress<S::Future, B, S::Error>
where
    S: InnerService<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let bypass = match RequestClass::of(request.method()) {
        RequestClass::Read if mount.cache.is_bypassed() => BypassReason::Disabled,
        RequestClass::Read => {
            let uri = original_uri(request.uri(), request.extensions());
            let mut under = RouteId::NONE;
            match mount.route(uri.path(), &mut under) {
                Ok(route) => return dispatch_read(mount, route, inner, request),
                // Nothing was taken apart so far, and need not be put together again.
                Err(bypass) => return pass(mount, under, bypass, inner, request),
            }
        }
        RequestClass::Write => {
            let (parts, body) = request.into_parts();
            let write = Write::new(mount, &parts);
            let request = Request::from_parts(parts, body);
            return Progress::taking(write.run(take_ready(inner), request));
        }
        RequestClass::OtherSafe | RequestClass::Tunnel => BypassReason::Method,
    };
    pass(mount, RouteId::NONE, bypass, inner, request)
}

fn dispatch_read<S, Q, B>(
    mount: &Arc<Mount>,
    route: &Arc<Route>,
    inner: &mut S,
    request: Request<Q>,
) -> Progress<S::Future, B, S::Error>
where
    S: InnerService<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let has_body = !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0);
    let (mut parts, body) = request.into_parts();
    let mut key = KeyBuilder::default();
    let examined = match mount.examine(route, &parts, has_body, &mut key) {
        Ok(examined) => examined,
        Err(bypass) => {
            let request = Request::from_parts(parts, body);
            return pass(mount, route.row.id, bypass, inner, request);
        }
    };
    let view = mount.view(route, &parts, examined.flags);
    let found = match lookup::find(&mount.cache, key.key(), &parts.headers) {
        MaybeReady::Now(Ok(found)) => found,
        MaybeReady::Now(Err(error)) => {
            mount.cache.store_failed(Operation::Get, &error);
            let request = Request::from_parts(parts, body);
            return pass(mount, route.row.id, BypassReason::Store, inner, request);
        }
        MaybeReady::Later(waiting) => {
            let read = Box::new(mount.context(&view, &parts, &key, &examined, None));
            mount.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            return Progress::taking(wait_and_fetch(read, waiting, take_ready(inner), request));
        }
    };
    let variants = found.variants.clone();
    match settle(&view, judge(&view, found)) {
        Settled::Answered(response) => {
            give_back(inner);
            Progress::done(response)
        }
        Settled::Refreshing(response, stored) => {
            let read = Arc::new(mount.context(&view, &parts, &key, &examined, variants));
            mount.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            refresh_in_background(read, take_ready(inner), request, stored);
            Progress::done(response)
        }
        Settled::Fetch(why, candidate) => {
            let read = Arc::new(mount.context(&view, &parts, &key, &examined, variants));
            mount.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            Progress::taking(fetch(read, take_ready(inner), request, why, candidate))
        }
    }
}

/// Passes a request on to the inner service as it is.
fn pass<S, Q, B>(
    mount: &Mount,
    route: RouteId,
    bypass: BypassReason,
    inner: &mut S,
    request: Request<Q>,
) -> Progress<S::Future, B, S::Error>
where
    S: InnerService<Q, B>,
{
    let passed = Passed {
        cache: mount.cache.clone(),
        route,
        bypass,
    };
    let future = inner.call(request);
    Progress::Passing { future, passed }
}

impl<F, B, E> Progress<F, B, E> {
    fn done(response: Response<CacheBody<B>>) -> Self {
        Self::Done {
            response: Some(response),
        }
    }

    fn taking(
        journey: impl Future<Output = Result<Response<CacheBody<B>>, E>> + Send + 'static,
    ) -> Self {
        Self::Journey {
            journey: Box::pin(journey),
        }
    }
}

/// Takes the service that was found ready, for that is the one to call: its clone may not be ready.
fn take_ready<S: Clone>(inner: &mut S) -> S {
    let clone = inner.clone();
    mem::replace(inner, clone)
}

/// Gives back what a ready service that is not called has reserved, such as a place in a
/// concurrency limit.
fn give_back<S: Clone + 'static>(inner: &mut S) {
    if !reserves_nothing::<S>() {
        take_ready(inner);
    }
}

/// Returns whether a service is known to reserve nothing when it is found ready. Under
/// `Router::layer` the inner service is one of these, and costs several allocations to clone.
fn reserves_nothing<S: 'static>() -> bool {
    #[cfg(feature = "axum")]
    let known = [
        TypeId::of::<axum::routing::Route>(),
        TypeId::of::<axum::Router>(),
    ];
    #[cfg(not(feature = "axum"))]
    let known: [TypeId; 0] = [];
    known.contains(&TypeId::of::<S>())
}
