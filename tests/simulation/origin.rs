//! The handlers: each of their steps is the schedule's to let be taken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "values")]
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use tower::Service;
use tower_response_cache::{CacheDirective, Invalidate, Invalidation, Pattern};

use crate::site::{Names, Site, Write};
use crate::world::{Step, Version, World};

pub(crate) type Asked = Request<Empty<Bytes>>;
type Answer = Response<OriginBody>;

/// The number of the write that a request stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing(pub usize, pub u64);

/// What a handler did before it answered, for the client that may never hear of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done(pub Arc<std::sync::Mutex<Option<Version>>>);

/// How this schedule's handlers answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    pub etags: bool,
    pub vary: bool,
    pub ranges: bool,
    /// Whether a 304 repeats the tags.
    pub tags_on_304: bool,
    pub tags: Tags,
    pub announces_length: bool,
    pub fails: usize,
}

/// How a handler says what its response is tagged with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tags {
    Extension,
    SurrogateKey,
    Groups,
}

#[derive(Clone)]
pub(crate) struct Origin {
    pub world: Arc<World>,
    pub site: Arc<Site>,
    pub manners: Manners,
    /// Where handlers keep what they read, on the sites where they do.
    #[cfg(feature = "values")]
    pub values: Arc<OnceLock<tower_response_cache::Values<Version>>>,
}

#[derive(Debug)]
pub(crate) struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the handler failed")
    }
}

impl std::error::Error for Failed {}

impl Service<Asked> for Origin {
    type Response = Answer;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Asked) -> Self::Future {
        let origin = self.clone();
        match request.extensions().get().copied() {
            Some(Writing(write, id)) => Box::pin(origin.write(write, id, request)),
            None => Box::pin(origin.read(request)),
        }
    }
}

/// What a client sends to choose a variant.
pub(crate) const VARIANT: &str = "x-variant";

/// The version of a response, told in its head too.
pub(crate) const TOLD: &str = "x-version";

impl Origin {
    async fn read(self, request: Asked) -> Result<Answer, Failed> {
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |uri| uri.as_str());
        let Some(resource) = self.site.targets.iter().position(|known| *known == target) else {
            return Ok(plain(404));
        };
        self.world.maybe_step().await;
        let fate = {
            let mut state = self.world.lock();
            state.calls += 1;
            match state.dice.percent(self.manners.fails) {
                true => Fate::Fails(state.dice.below(3)),
                false => Fate::Answers,
            }
        };
        let Ok(version) = self.version(resource, fate).await else {
            return Ok(plain(503));
        };
        let variant = self.variant(request.headers());
        self.world
            .note(|| format!("a handler reads {target} {variant}: {version}, {fate:?}"));
        self.world.maybe_step().await;
        match fate {
            Fate::Fails(0) => return Err(Failed),
            Fate::Fails(_) => return Ok(plain(503)),
            Fate::Answers => {}
        }
        Ok(self.answer(resource, variant, version, &request))
    }

    /// Reads a resource, or takes what another handler has read.
    #[cfg(feature = "values")]
    async fn version(&self, resource: usize, fate: Fate) -> Result<Version, Failed> {
        let read = || self.world.lock().read(resource);
        let tags = self.site.value_tags.get(resource);
        let (Some(tags), Some(values)) = (tags, self.values.get()) else {
            return Ok(read());
        };
        let late = self.world.lock().dice.percent(50);
        let values = match late {
            true => values.tags_of(|_| tags.iter().copied()),
            false => values.tags(tags.iter().copied()),
        };
        let make = async || {
            self.world.maybe_step().await;
            let version = read();
            self.world.maybe_step().await;
            match fate {
                Fate::Answers => Ok(version),
                Fate::Fails(_) => Err(Failed),
            }
        };
        values.get_or_insert_with(&resource.to_string(), make).await
    }

    #[cfg(not(feature = "values"))]
    async fn version(&self, resource: usize, _: Fate) -> Result<Version, Failed> {
        Ok(self.world.lock().read(resource))
    }

    fn variant(&self, headers: &HeaderMap) -> char {
        let variant = headers.get(VARIANT).filter(|_| self.manners.vary);
        variant.map_or('-', |variant| variant.as_bytes()[0].into())
    }

    fn answer(&self, resource: usize, variant: char, version: Version, request: &Asked) -> Answer {
        let headers = request.headers();
        let whole = representation(self.site.targets[resource], variant, version);
        let etag = etag(resource, variant, version);
        let known = |name| {
            headers
                .get(name)
                .is_some_and(|value| value == etag.as_str())
        };
        let mut response = Response::builder().header(TOLD, version);
        if self.manners.etags {
            response = response.header(header::ETAG, &etag);
        }
        if self.manners.vary {
            response = response.header(header::VARY, VARIANT);
        }
        let unmodified = self.manners.etags && known(header::IF_NONE_MATCH);
        if self.site.tagged && (!unmodified || self.manners.tags_on_304) {
            let tag = format!("h:{resource}");
            response = match self.manners.tags {
                Tags::Extension => response.extension(CacheDirective::new().tag(tag)),
                Tags::SurrogateKey => response.header("surrogate-key", tag),
                Tags::Groups => response.header("cache-groups", format!("\"{tag}\"")),
            };
        }
        if unmodified {
            return response.status(304).body(OriginBody::empty()).unwrap();
        }
        let whole_is_asked = headers.get(header::IF_RANGE).is_some() && !known(header::IF_RANGE);
        let range = headers.get(header::RANGE).filter(|_| self.manners.ranges);
        let range = range.and_then(|range| parse_range(range.to_str().ok()?, whole.len()));
        match range {
            Some((first, last)) if !whole_is_asked => response
                .status(206)
                .header(
                    header::CONTENT_RANGE,
                    format!("bytes {first}-{last}/{}", whole.len()),
                )
                .body(self.body(whole.slice(first..=last)))
                .unwrap(),
            _ => response.status(200).body(self.body(whole)).unwrap(),
        }
    }

    fn body(&self, bytes: Bytes) -> OriginBody {
        let mut state = self.world.lock();
        let fails = state.dice.percent(self.manners.fails / 2);
        state.body_failed |= fails;
        OriginBody {
            announced: self.manners.announces_length.then_some(bytes.len() as u64),
            fails_at: fails.then(|| state.dice.below(bytes.len())),
            rest: bytes,
            step: None,
            world: Some(self.world.clone()),
        }
    }

    async fn write(self, write: usize, id: u64, request: Asked) -> Result<Answer, Failed> {
        let Write {
            touches,
            names,
            two_phase,
            even_if_failed,
            soft,
            ..
        } = self.site.writes[write].clone();
        self.world.maybe_step().await;
        let fails = self.world.lock().dice.percent(20);
        let kind = self.world.lock().dice.below(3);
        if fails && kind > 0 && !even_if_failed {
            // Nothing was written, and so nothing is promised.
            return Ok(plain(if kind == 1 { 409 } else { 503 }));
        }
        let version = {
            let mut state = self.world.lock();
            let version = state.write(touches);
            if two_phase && !soft {
                // Nothing older has been in use since before this call.
                state.acknowledge(touches, version, format_args!("write {id}, two-phase"));
            }
            version
        };
        let done: &Done = request.extensions().get().expect("each write has one");
        *done.0.lock().unwrap() = Some(version);
        self.world.maybe_step().await;
        if fails {
            return match kind {
                0 => Err(Failed),
                _ => Ok(plain(500)),
            };
        }
        Ok(self.written(names, touches, version, &request))
    }

    fn written(
        &self,
        names: Names,
        touches: &[usize],
        version: Version,
        request: &Asked,
    ) -> Answer {
        let mut response = plain(if request.method() == Method::POST {
            201
        } else {
            200
        });
        let headers = response.headers_mut();
        match names {
            Names::Nothing => {}
            Names::Location(uri) => {
                headers.insert(header::LOCATION, uri.parse().unwrap());
            }
            Names::Group(group) => {
                let groups = format!("\"{group}\"").parse().unwrap();
                headers.insert("cache-group-invalidation", groups);
            }
            Names::Tag(tag) => {
                let named = Invalidate::new([Invalidation::tag(tag)]);
                response.extensions_mut().insert(named);
            }
            Names::Pattern(pattern) => {
                let pattern = Pattern::parse(pattern).unwrap();
                let named = Invalidate::new([pattern.into()]);
                response.extensions_mut().insert(named);
            }
            Names::Itself => {
                let resource = touches[0];
                let variant = self.variant(request.headers());
                let mut response = self.answer(resource, variant, version, request);
                let headers = response.headers_mut();
                let uri = self.site.targets[resource].parse().unwrap();
                headers.insert(header::CONTENT_LOCATION, uri);
                headers.insert(header::CACHE_CONTROL, "max-age=60".parse().unwrap());
                return response;
            }
        }
        response
    }
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Answers,
    Fails(usize),
}

fn plain(status: u16) -> Answer {
    Response::builder()
        .status(status)
        .body(OriginBody::empty())
        .unwrap()
}

/// How often a representation repeats its one line.
pub(crate) const LINES: usize = 4;

/// The length of a line.
pub(crate) const LINE: usize = 40;

/// What a resource looks like: each line says which resource, variant and version it is of.
pub(crate) fn representation(target: &str, variant: char, version: Version) -> Bytes {
    let text = format!("{target:<20}{variant}{version:>8}");
    let check = text
        .bytes()
        .fold(17u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    let line = format!("{text} {check:08x}.\n");
    assert_eq!(line.len(), LINE);
    line.repeat(LINES).into()
}

pub(crate) fn etag(resource: usize, variant: char, version: Version) -> String {
    format!("\"{resource}{variant}{version}\"")
}

/// Parses `bytes=a-b` and `bytes=a-`.
fn parse_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = last.parse().unwrap_or(length - 1).min(length - 1);
    (first <= last).then_some((first, last))
}

/// A body that comes in pieces, each when the schedule has it come.
pub(crate) struct OriginBody {
    rest: Bytes,
    announced: Option<u64>,
    fails_at: Option<usize>,
    step: Option<Step>,
    world: Option<Arc<World>>,
}

impl OriginBody {
    fn empty() -> Self {
        Self {
            rest: Bytes::new(),
            announced: Some(0),
            fails_at: None,
            step: None,
            world: None,
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let Some(world) = self.world.clone() else {
            return Poll::Ready(None);
        };
        if let Some(step) = &mut self.step {
            ready!(Pin::new(step).poll(cx));
            self.step = None;
        } else if world.lock().dice.percent(40) {
            let mut step = world.step();
            // A new step always has to wait.
            assert!(Pin::new(&mut step).poll(cx).is_pending());
            self.step = Some(step);
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            self.world = None;
            return Poll::Ready(None);
        }
        let piece = world.lock().dice.pick(&[7, LINE, 2 * LINE, LINES * LINE]);
        let piece = piece.min(self.rest.len());
        if self.fails_at.is_some_and(|at| at < piece) {
            self.world = None;
            return Poll::Ready(Some(Err(Failed)));
        }
        self.fails_at = self.fails_at.map(|at| at - piece);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.world.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.announced {
            Some(_) => SizeHint::with_exact(self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}
