//! How a request begins: passed on, answered at once, or set out on a journey.

use std::any::TypeId;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::candidate::Candidate;
use super::lookup::{self, Decision, ReadView, Waiting};
use super::request::{self, Flags, Kind, Signals};
use super::respond::{self, Client};
use super::write::Write;
use super::{
    Content, Handler, Journey, Mount, ReadContext, admissible, fetch, validate, write_key,
};
use crate::body::CacheBody;
use crate::entry::StoredResponse;
use crate::key::KeyBuilder;
use crate::policy::Route;
use crate::state::CacheState;
use crate::status::{BypassReason, Miss, Outcome, Staleness};
use crate::store::MaybeReady;
use crate::telemetry::{Operation, RouteId};

pin_project! {
    /// How a request begins, and how far it has come.
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

/// What is told of a request that the cache was not asked for.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) cache: Arc<CacheState>,
    pub(crate) route: RouteId,
    pub(crate) bypass: BypassReason,
}

/// Begins the journey of a request. `inner` is the service that was found ready.
pub(crate) fn begin<S, Q, B>(
    mount: &Arc<Mount>,
    inner: &mut S,
    request: Request<Q>,
) -> Progress<S::Future, B, S::Error>
where
    S: Handler<Q, B>,
    Q: Body + Send + 'static,
    B: Content,
{
    let route = match mount.way(&request) {
        // Nothing was taken apart so far, and need not be put together again.
        Way::Pass(bypass, route) => {
            let passed = mount.passed(bypass, route);
            let future = inner.call(request);
            return Progress::Passing { future, passed };
        }
        Way::Write => {
            let (parts, body) = request.into_parts();
            let write = Write::new(mount, &parts);
            let request = Request::from_parts(parts, body);
            return Progress::taking(write.run(take_ready(inner), request));
        }
        Way::Read(route) => route,
    };
    let has_body = !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0);
    let (mut parts, body) = request.into_parts();
    let course = mount.ask(route, &parts, has_body);
    match course.unwrap_or_else(Course::Pass) {
        Course::Pass(bypass) => {
            let passed = mount.passed(bypass, route.row.id);
            let future = inner.call(Request::from_parts(parts, body));
            Progress::Passing { future, passed }
        }
        Course::Replay(replay) => {
            give_back(inner);
            Progress::done(replay.of(&mount.cache, route, &parts))
        }
        Course::ReplayAndRefresh(replay, read) => {
            let response = replay.of(&mount.cache, route, &parts);
            mount.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            validate::in_background(read, take_ready(inner), request, replay.stored);
            Progress::done(response)
        }
        Course::Unsatisfied => {
            give_back(inner);
            Progress::done(respond::gateway_timeout(&mount.cache, Outcome::Unsatisfied))
        }
        Course::Fetch(read, why, candidate) => {
            mount.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            let inner = take_ready(inner);
            Progress::taking(fetch::fetch(read, inner, request, why, candidate))
        }
        Course::Wait(read, found) => {
            mount.note_on(&mut parts.extensions);
            let request = Request::from_parts(parts, body);
            let inner = take_ready(inner);
            Progress::taking(fetch::wait_and_fetch(read, found, inner, request))
        }
    }
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

/// Whether a service is known to reserve nothing when it is found ready. Under `Router::layer` the
/// inner service is one of these, and costs several allocations to clone.
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

/// Which way a request goes, by its method and its route.
enum Way<'a> {
    Pass(BypassReason, RouteId),
    Write,
    Read(&'a Arc<Route>),
}

/// What is to be done with a read.
enum Course {
    Pass(BypassReason),
    Replay(Replay),
    ReplayAndRefresh(Replay, Arc<ReadContext>),
    /// `only-if-cached`, and nothing to answer with.
    Unsatisfied,
    Fetch(Arc<ReadContext>, Miss, Candidate),
    Wait(Box<ReadContext>, Waiting),
}

impl Mount {
    fn way<Q>(&self, request: &Request<Q>) -> Way<'_> {
        match Kind::of(request.method()) {
            // Relaxed: a switch thrown by hand, which orders nothing.
            Kind::Read if self.cache.bypass.load(Ordering::Relaxed) => {
                Way::Pass(BypassReason::Disabled, RouteId::NONE)
            }
            Kind::Read => {
                let uri = request::original_uri(request.uri(), request.extensions());
                let mut under = RouteId::NONE;
                match self.route(uri.path(), &mut under) {
                    Ok(route) => Way::Read(route),
                    Err(bypass) => Way::Pass(bypass, under),
                }
            }
            Kind::Write => Way::Write,
            Kind::OtherSafe | Kind::Tunnel => Way::Pass(BypassReason::Method, RouteId::NONE),
        }
    }

    fn passed(&self, bypass: BypassReason, route: RouteId) -> Passed {
        let cache = self.cache.clone();
        Passed {
            cache,
            route,
            bypass,
        }
    }

    fn ask(
        self: &Arc<Self>,
        route: &Arc<Route>,
        parts: &Parts,
        has_body: bool,
    ) -> Result<Course, BypassReason> {
        let cache = &*self.cache;
        let uri = request::original_uri(&parts.uri, &parts.extensions);
        let signals = Signals::scan(&parts.headers, &cache.fields);
        let flags = signals.flags;
        if flags.body || has_body {
            return Err(BypassReason::Content);
        }
        let ttl = admissible(route, &signals, parts)?;
        let mut key = KeyBuilder::default();
        write_key(route, uri, &signals, parts, &mut key)?;
        let began = cache.clock.instant();
        let view = ReadView {
            cache,
            route,
            client: Client::of(parts, flags),
            began,
        };
        let read = || self.read(route, parts, &key, flags, ttl, began);
        let found = match lookup::find(&self.cache, key.key(), &parts.headers) {
            MaybeReady::Now(Ok(found)) => found,
            MaybeReady::Now(Err(error)) => {
                cache.store_failed(Operation::Get, &error);
                return Err(BypassReason::Store);
            }
            MaybeReady::Later(waiting) => return Ok(Course::Wait(Box::new(read()), waiting)),
        };
        let variants = found.variants.clone();
        let read = || Arc::new(ReadContext { variants, ..read() });
        let replay = |stored, how| Replay {
            stored,
            how,
            flags,
            began,
        };
        Ok(match view.judge(found) {
            Decision::Fresh(stored, age) => Course::Replay(replay(stored, How::Fresh(age))),
            Decision::ServeAndRefresh(stored, outcome) => {
                Course::ReplayAndRefresh(replay(stored, How::As(outcome)), read())
            }
            Decision::Accepted(stored) => {
                let outcome = Outcome::Stale(Staleness::Accepted);
                Course::Replay(replay(stored, How::As(outcome)))
            }
            Decision::Fetch(..) if view.only_if_cached() => {
                view.answered(Outcome::Unsatisfied, None);
                Course::Unsatisfied
            }
            Decision::Fetch(why, candidate) => {
                view.record_lookup_miss();
                Course::Fetch(read(), why, candidate)
            }
        })
    }
}

/// A stored response that answers a request. The answer itself is made at the last: it is large,
/// and each hand it goes through would move it.
struct Replay {
    stored: Arc<StoredResponse>,
    how: How,
    flags: Flags,
    began: Instant,
}

enum How {
    /// As fresh, and of such an age.
    Fresh(Duration),
    As(Outcome),
}

impl Replay {
    fn of<B>(&self, cache: &CacheState, route: &Route, parts: &Parts) -> Response<CacheBody<B>> {
        let view = ReadView {
            cache,
            route,
            client: Client::of(parts, self.flags),
            began: self.began,
        };
        match self.how {
            How::Fresh(age) => view.hit(&self.stored, age),
            How::As(outcome) => view.replay(&self.stored, outcome),
        }
    }
}
