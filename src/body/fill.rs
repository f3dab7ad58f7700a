//! A body on its way into the store, read by everyone who waits for it.
//!
//! The inner body is pulled by whichever reader runs out of bytes first, so no reader depends on
//! another: not on a slow one, nor on one that goes away. What was pulled is kept until the body
//! ends, for readers that come later and for the store. When the body turns out too large to be
//! stored, the part that every reader has passed is let go, and a reader that would run further
//! ahead than the limit waits for the others, or for the cutting off of one that does not move.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep};

use super::{BoxError, into_bytes};

/// A reader of a body too large to store that takes nothing for this long while another waits for
/// it is cut off, so that a stalled client cannot hold back the rest.
const STALL: Duration = Duration::from_secs(5);

/// A body whose readers have all gone is read for this long at the most.
const ABANDONED: Duration = Duration::from_secs(60);

/// What a fill may hold.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The largest body that is stored.
    pub(crate) max_body: usize,
    /// The length the head announced, if it did.
    pub(crate) expected: Option<u64>,
    /// Whether to read on when every reader has gone.
    pub(crate) finish_abandoned: bool,
    /// What all fills together may hold.
    pub(crate) budget: Arc<Budget>,
}

/// A bound on the bytes that all running fills hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    most: usize,
}

/// A complete body.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// What becomes of a complete body. Dropped unused, it means that nothing will be stored.
pub(crate) type Commit = Box<dyn FnOnce(Captured) + Send>;

type Source = UnsyncBoxBody<Bytes, BoxError>;

/// See the module's documentation.
pub(crate) struct Fill {
    shared: Mutex<Shared>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    limits: Limits,
}

struct Shared {
    source: Place,
    chunks: VecDeque<Bytes>,
    /// How many chunks were let go before the first of `chunks`.
    gone: usize,
    /// Bytes in `chunks`.
    held: usize,
    received: u64,
    trailers: Option<HeaderMap>,
    end: Option<End>,
    commit: Option<Commit>,
    readers: Vec<Progress>,
    next_reader: u64,
    /// Somebody wanted the source while it was being polled.
    contended: bool,
}

/// Where the inner body is: nobody holds the lock while it is polled.
enum Place {
    Here(Source),
    BeingPolled,
    Gone,
}

#[derive(Clone)]
enum End {
    Clean,
    Failed(Arc<dyn StdError + Send + Sync>),
}

struct Progress {
    reader: u64,
    next: usize,
    moved: Instant,
    cut: bool,
}

impl Fill {
    /// Takes a body to be read by many, and gives `commit` the whole once it has ended cleanly with
    /// the announced length and within the limits.
    pub(crate) fn new<B>(body: B, limits: Limits, commit: Commit) -> Arc<Self>
    where
        B: Body + Send + 'static,
        B::Data: Buf,
        B::Error: Into<BoxError>,
    {
        let bell = Arc::new(Bell::default());
        let ended = body.is_end_stream();
        let fill = Self {
            shared: Mutex::new(Shared {
                source: Place::Here(
                    body.map_frame(into_bytes)
                        .map_err(Into::into)
                        .boxed_unsync(),
                ),
                chunks: VecDeque::new(),
                gone: 0,
                held: 0,
                received: 0,
                trailers: None,
                end: None,
                commit: Some(commit),
                readers: Vec::new(),
                next_reader: 0,
                contended: false,
            }),
            waker: Waker::from(bell.clone()),
            bell,
            limits,
        };
        if ended {
            fill.finish(fill.lock(), End::Clean);
        }
        Arc::new(fill)
    }

    /// Returns a reader of the body from its beginning, unless that has been let go.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut shared = self.lock();
        if shared.gone > 0 || matches!(shared.end, Some(End::Failed(_))) {
            return None;
        }
        let id = shared.next_reader;
        shared.next_reader += 1;
        shared.readers.push(Progress {
            reader: id,
            next: 0,
            moved: Instant::now(),
            cut: false,
        });
        drop(shared);
        Some(Reader {
            fill: self.clone(),
            id,
            taken: 0,
            finished: false,
            last: false,
            stall: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the inner body once. Ready when the readers have something new to look at.
    fn pull(&self, mut shared: MutexGuard<'_, Shared>) -> Poll<()> {
        let source = match std::mem::replace(&mut shared.source, Place::BeingPolled) {
            Place::Here(source) => source,
            Place::BeingPolled => {
                shared.contended = true;
                return Poll::Pending;
            }
            Place::Gone => {
                shared.source = Place::Gone;
                return Poll::Ready(());
            }
        };
        drop(shared);
        let mut polling = Polling {
            fill: self,
            source: Some(source),
        };
        let polled = polling.poll();
        let source = polling.source.take();
        let mut shared = self.lock();
        shared.source = source.map_or(Place::Gone, Place::Here);
        let contended = std::mem::take(&mut shared.contended);
        match polled {
            Poll::Pending => {
                drop(shared);
                if contended {
                    self.bell.ring();
                }
                Poll::Pending
            }
            Poll::Ready(frame) => {
                self.take_in(shared, frame);
                self.bell.ring();
                Poll::Ready(())
            }
        }
    }

    fn take_in(
        &self,
        mut shared: MutexGuard<'_, Shared>,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
    ) {
        match frame {
            None => self.finish(shared, End::Clean),
            Some(Err(error)) => self.finish(shared, End::Failed(error.into())),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.take_data(shared, data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        shared.trailers = Some(trailers);
                    }
                }
            },
        }
    }

    fn take_data(&self, mut shared: MutexGuard<'_, Shared>, data: Bytes) {
        if data.is_empty() {
            return;
        }
        shared.received += data.len() as u64;
        shared.held += data.len();
        let too_large = shared.held > self.limits.max_body;
        let too_long = self
            .limits
            .expected
            .is_some_and(|expected| shared.received > expected);
        let refused = shared.commit.is_some() && !self.limits.budget.take(data.len());
        if too_large || too_long || refused {
            let given_up = shared.give_up(&self.limits, if refused { data.len() } else { 0 });
            shared.chunks.push_back(data);
            drop(shared);
            // It may lock other things: never under our own lock.
            drop(given_up);
            return;
        }
        shared.chunks.push_back(data);
        let complete = self.limits.expected == Some(shared.received);
        let ended = match &shared.source {
            Place::Here(source) => complete && source.is_end_stream(),
            _ => false,
        };
        if ended {
            // Now: with an exact Content-Length hyper may never poll again after the last frame,
            // and the response would go unstored.
            self.finish(shared, End::Clean);
        }
    }

    /// Ends the body for all readers, and stores it if it is whole.
    fn finish(&self, mut shared: MutexGuard<'_, Shared>, end: End) {
        if shared.end.is_some() {
            return;
        }
        let whole = matches!(end, End::Clean)
            && self
                .limits
                .expected
                .is_none_or(|expected| expected == shared.received);
        shared.end = Some(end);
        let source = std::mem::replace(&mut shared.source, Place::Gone);
        let held = shared.held;
        let commit = shared.commit.take();
        if commit.is_some() {
            self.limits.budget.give_back(held);
        }
        let captured = (whole && commit.is_some()).then(|| Captured {
            body: shared.concatenated(),
            trailers: shared.trailers.clone(),
        });
        drop(shared);
        drop(source);
        if let (Some(commit), Some(captured)) = (commit, captured) {
            commit(captured);
        }
    }

    /// Reads on until the body ends, or for as long as an abandoned body is worth.
    async fn read_abandoned(mut reader: Reader) {
        let to_the_end = std::future::poll_fn(|cx| {
            while let Some(Ok(_)) = ready!(reader.poll_frame(cx)) {}
            Poll::Ready(())
        });
        if tokio::time::timeout(ABANDONED, to_the_end).await.is_err() {
            reader.fill.abandon();
        }
    }

    /// Gives everything up: nobody reads, and nothing will be stored.
    fn abandon(&self) {
        let error: BoxError = "the response was abandoned".into();
        self.finish(self.lock(), End::Failed(error.into()));
    }
}

impl Shared {
    /// Gives up storing; from now on only what a reader still needs is held.
    fn give_up(&mut self, limits: &Limits, not_taken: usize) -> Option<Commit> {
        if self.commit.is_some() {
            limits.budget.give_back(self.held - not_taken);
        }
        let commit = self.commit.take();
        self.let_go();
        commit
    }

    /// Lets go of the chunks that every reader has passed.
    fn let_go(&mut self) {
        if self.commit.is_some() || self.end.is_some() {
            return;
        }
        let slowest = self
            .readers
            .iter()
            .filter(|reader| !reader.cut)
            .map(|reader| reader.next);
        let slowest = slowest.min().unwrap_or(usize::MAX);
        while self.gone < slowest {
            let Some(chunk) = self.chunks.pop_front() else {
                break;
            };
            self.held -= chunk.len();
            self.gone += 1;
        }
    }

    /// Copies the body into one buffer of its exact size, which pins nothing else.
    fn concatenated(&self) -> Bytes {
        let mut body = Vec::with_capacity(self.held);
        for chunk in &self.chunks {
            body.extend_from_slice(chunk);
        }
        body.into()
    }

    fn progress(&mut self, reader: u64) -> Option<&mut Progress> {
        self.readers
            .iter_mut()
            .find(|progress| progress.reader == reader)
    }

    /// Cuts off readers that have been behind, and still, for too long.
    fn cut_stalled(&mut self, now: Instant) {
        let newest = self.gone + self.chunks.len();
        for reader in &mut self.readers {
            reader.cut |= reader.next < newest && now >= reader.moved + STALL;
        }
        self.let_go();
    }
}

/// Holds the inner body while it is polled, and ends the fill if that panics.
struct Polling<'a> {
    fill: &'a Fill,
    source: Option<Source>,
}

impl Polling<'_> {
    fn poll(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.source {
            Some(source) => Pin::new(source).poll_frame(&mut Context::from_waker(&self.fill.waker)),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if self.source.is_some() {
            let error: BoxError = "the response body panicked".into();
            self.fill
                .finish(self.fill.lock(), End::Failed(error.into()));
            self.fill.bell.ring();
        }
    }
}

/// One reader of a [`Fill`], at its own pace.
pub(crate) struct Reader {
    fill: Arc<Fill>,
    id: u64,
    taken: u64,
    finished: bool,
    /// It reads what every client has abandoned: nobody comes after it. A runtime that shuts down
    /// drops what is spawned on it at once, so a reader for each one dropped would never end.
    last: bool,
    stall: Option<Pin<Box<Sleep>>>,
}

impl Reader {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.finished {
                return Poll::Ready(None);
            }
            let mut shared = self.fill.lock();
            let newest = shared.gone + shared.chunks.len();
            let gone = shared.gone;
            let Some(progress) = shared.progress(self.id) else {
                return Poll::Ready(None);
            };
            if progress.cut {
                self.finished = true;
                return Poll::Ready(Some(Err(Box::new(FellBehind))));
            }
            if progress.next < newest {
                let at = progress.next - gone;
                progress.next += 1;
                progress.moved = Instant::now();
                let chunk = shared.chunks[at].clone();
                shared.let_go();
                let others = shared.readers.len() > 1;
                drop(shared);
                if others && gone > 0 {
                    self.fill.bell.ring();
                }
                self.taken += chunk.len() as u64;
                self.stall = None;
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            if let Some(end) = shared.end.clone() {
                self.finished = true;
                return Poll::Ready(match end {
                    End::Clean => shared
                        .trailers
                        .clone()
                        .map(|fields| Ok(Frame::trailers(fields))),
                    End::Failed(error) => Some(Err(Box::new(BodyFailed(error)))),
                });
            }
            self.fill.bell.register(self.id, cx.waker());
            if shared.commit.is_none() && shared.held >= self.fill.limits.max_body.max(1) {
                // Others are a whole limit behind.
                shared.cut_stalled(Instant::now());
                if shared.held >= self.fill.limits.max_body.max(1) {
                    drop(shared);
                    ready!(self.poll_stall(cx));
                    continue;
                }
            }
            ready!(self.fill.pull(shared));
        }
    }

    /// Waits for a while, during which the others may catch up and ring the bell.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL / 4)));
        ready!(stall.as_mut().poll(cx));
        self.stall = None;
        Poll::Ready(())
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let shared = self.fill.lock();
        self.finished
            || matches!(shared.end, Some(End::Clean))
                && shared.trailers.is_none()
                && self.taken == shared.received
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let shared = self.fill.lock();
        match (self.fill.limits.expected, &shared.end) {
            (_, Some(End::Clean)) => SizeHint::with_exact(shared.received - self.taken),
            (Some(expected), _) => SizeHint::with_exact(expected.saturating_sub(self.taken)),
            (None, _) => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shared = self.fill.lock();
        shared.readers.retain(|progress| progress.reader != self.id);
        shared.let_go();
        if !shared.readers.is_empty() || shared.end.is_some() {
            drop(shared);
            // The others may have waited for this one, to pull or to move on.
            self.fill.bell.ring();
            return;
        }
        if self.fill.limits.expected == Some(shared.received) {
            return self.fill.finish(shared, End::Clean);
        }
        let worth_finishing =
            shared.commit.is_some() && self.fill.limits.finish_abandoned && !self.last;
        drop(shared);
        let runtime = tokio::runtime::Handle::try_current();
        match (worth_finishing, runtime, self.fill.reader()) {
            (true, Ok(runtime), Some(mut reader)) => {
                reader.last = true;
                runtime.spawn(Fill::read_abandoned(reader));
            }
            (_, _, reader) => {
                self.fill.abandon();
                drop(reader);
            }
        }
    }
}

/// Wakes every reader that waits for the inner body.
#[derive(Default)]
struct Bell(Mutex<Vec<(u64, Waker)>>);

impl Bell {
    fn register(&self, reader: u64, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match wakers.iter_mut().find(|(known, _)| *known == reader) {
            Some((_, known)) => known.clone_from(waker),
            None => wakers.push((reader, waker.clone())),
        }
    }

    fn ring(&self) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wakers = std::mem::take(&mut *wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl Budget {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            most,
        })
    }

    fn take(&self, bytes: usize) -> bool {
        // Relaxed: a count, which orders nothing.
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The inner body's error, as every reader of it is told.
#[derive(Debug)]
struct BodyFailed(Arc<dyn StdError + Send + Sync>);

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for BodyFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// A reader took nothing for so long that the bytes it still needs were let go.
#[derive(Debug)]
struct FellBehind;

impl fmt::Display for FellBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader fell too far behind a body that is too large to hold")
    }
}

impl StdError for FellBehind {}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
