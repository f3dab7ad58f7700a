//! Reading a fill.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use super::backlog::Take;
use super::{ABANDONED, Fill, FillEnd, STALL};
use crate::background::Background;
use crate::body::frame::BoxError;

/// How often a reader polls the inner body for one frame before it lets other tasks run: a body may
/// have empty frames without end.
const PULLS: usize = 64;

/// One reader of a [`Fill`], at its own pace.
pub(crate) struct FillReader {
    fill: Arc<Fill>,
    slot: usize,
    taken: u64,
    finished: bool,
    /// Reads on for the store, not for a client. Nobody takes its place when it is dropped.
    in_background: bool,
    stall: Option<Pin<Box<Sleep>>>,
}

impl FillReader {
    /// Begins to read a body from its beginning, unless that has been let go.
    pub(crate) fn of(fill: &Arc<Fill>) -> Option<Self> {
        let mut shared = fill.lock();
        if !shared.backlog.is_whole() || matches!(shared.end, Some(FillEnd::Failed(_))) {
            return None;
        }
        let slot = shared.backlog.join(Instant::now());
        drop(shared);
        Some(Self::new(fill.clone(), slot))
    }

    fn new(fill: Arc<Fill>, slot: usize) -> Self {
        Self {
            fill,
            slot,
            taken: 0,
            finished: false,
            in_background: false,
            stall: None,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let fill = self.fill.clone();
        for _ in 0..PULLS {
            let mut shared = fill.lock();
            match shared.backlog.take(self.slot, Instant::now()) {
                Take::Chunk(data) => {
                    let relieved = shared.let_go(&fill.limits);
                    drop(shared);
                    if relieved {
                        fill.bell.ring();
                    }
                    self.taken += data.len() as u64;
                    self.stall = None;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Take::CutOff => {
                    self.finished = true;
                    return Poll::Ready(Some(Err(Box::new(FellBehind))));
                }
                Take::UpToDate => {}
            }
            if let Some(end) = &shared.end {
                self.finished = true;
                return Poll::Ready(match end {
                    FillEnd::Clean => {
                        let trailers = shared.trailers.clone();
                        trailers.map(|fields| Ok(Frame::trailers(fields)))
                    }
                    FillEnd::Failed(error) => Some(Err(Box::new(BodyFailed(error.clone())))),
                });
            }
            // Before the lock is let go: whoever changes something from here on rings.
            let (rung, _replaced) = fill.bell.register(self.slot, cx.waker());
            if shared.is_full(&fill.limits) {
                // Of what others have yet to take.
                drop(shared);
                ready!(self.poll_stall(cx));
                fill.cut_off_stalled();
                continue;
            }
            ready!(fill.pull(shared, rung, Some(self.slot)));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for a while, during which the others may catch up and ring the bell.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Handle::try_current().is_err() {
            // Without a timer only the bell will do.
            return Poll::Pending;
        }
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
            || matches!(shared.end, Some(FillEnd::Clean))
                && shared.trailers.is_none()
                && self.taken == shared.received
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let shared = self.fill.lock();
        match (self.fill.limits.expected, &shared.end) {
            (_, Some(FillEnd::Clean)) => SizeHint::with_exact(shared.received - self.taken),
            (Some(expected), _) => SizeHint::with_exact(expected.saturating_sub(self.taken)),
            (None, _) => SizeHint::default(),
        }
    }

    /// Reads on for the store alone: until the body ends, can no longer be stored, or has taken
    /// longer than an abandoned body is worth.
    pub(crate) async fn read_on(mut self) {
        self.in_background = true;
        let to_the_end = async {
            while self.fill.is_worth_reading() {
                tokio::task::coop::consume_budget().await;
                match std::future::poll_fn(|cx| self.poll_frame(cx)).await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                }
            }
        };
        // However it went: dropped, this reader ends a fill that nobody else reads.
        let _ = tokio::time::timeout(ABANDONED, to_the_end).await;
    }

    /// Sees to a fill that nobody reads any more.
    fn abandon(&self) {
        if self.fill.limits.expected == Some(self.fill.lock().received) {
            // A client that knows the length stops at the last byte, as hyper does. What is left
            // is the end, perhaps with trailers, if they are there already.
            return self.fill.finish_complete();
        }
        let background = self.fill.limits.finish_abandoned.as_ref();
        let background = background.filter(|_| !self.in_background);
        let runtime = background.and_then(|_| Handle::try_current().ok());
        let mut shared = self.fill.lock();
        if shared.backlog.readers() > 0 || shared.end.is_some() {
            return;
        }
        let runtime = runtime.filter(|_| shared.storing.is_some());
        match runtime.zip(background.and_then(Background::enter)) {
            Some((runtime, place)) => {
                let slot = shared.backlog.join(Instant::now());
                drop(shared);
                let mut reader = Self::new(self.fill.clone(), slot);
                // Now: a runtime that shuts down drops the task before it ever runs.
                reader.in_background = true;
                runtime.spawn(async move {
                    reader.read_on().await;
                    drop(place);
                });
            }
            None => {
                // Under the same lock that saw no reader: nobody can join in between.
                let error: BoxError = "the response was abandoned".into();
                self.fill.finish(shared, FillEnd::Failed(error.into()));
            }
        }
    }
}

impl Drop for FillReader {
    fn drop(&mut self) {
        let mut shared = self.fill.lock();
        // Under the lock: the slot is another reader's as soon as it is free.
        let waker = self.fill.bell.forget(self.slot);
        shared.backlog.leave(self.slot);
        let relieved = shared.let_go(&self.fill.limits);
        let last = shared.backlog.readers() == 0 && shared.end.is_none();
        drop(shared);
        drop(waker);
        if relieved {
            self.fill.bell.ring();
        }
        if last {
            self.abandon();
        }
    }
}

/// The inner body's error, as every reader of it reports it.
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
