//! A body on its way into the store, read by everyone who waits for it.
//!
//! The inner body is pulled by whichever reader runs out of bytes first, so no reader depends on
//! another: not on a slow one, nor on one that goes away. What was pulled is kept until the body
//! ends, for readers that come later and for the store. When the body turns out too large to be
//! stored, the part that every reader has passed is let go, and a reader that would run further
//! ahead than the limit waits for the others, or for the cutting off of one that does not move.
//!
//! A reader that sleeps is woken by whoever makes a change: the lock is held from its look at what
//! there is until it is registered with the bell, and every change is made under that lock and rung
//! out after it. The inner body wakes through the bell as well. Since it is polled without the
//! lock, the bell counts: a reader that finds the body pending since the bell's present count goes
//! to sleep beside the others, and one that finds it being polled is woken by the one who polls, if
//! the count has changed meanwhile.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use super::frame::{BoxError, into_bytes};
use crate::background::Background;
use crate::sync::{Mutex, MutexGuard};

mod backlog;
mod bell;
mod budget;
pub(super) mod reader;
#[cfg(test)]
mod tests;

use backlog::Backlog;
use bell::Bell;
use budget::BudgetShare;

pub(crate) use budget::Budget;

/// A reader of a body too large to store that takes nothing for this long while another waits for
/// it is cut off, so that a stalled client cannot hold back the rest.
const STALL: Duration = Duration::from_secs(5);

/// A body whose readers have all gone is read for this long at the most.
const ABANDONED: Duration = Duration::from_secs(60);

/// The limits of a fill.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The largest body that is stored.
    pub(crate) max_body: usize,
    /// The length the head announced, if it did.
    pub(crate) expected: Option<u64>,
    /// Where to read on when every reader has gone; `None` if nobody is to.
    pub(crate) finish_abandoned: Option<Arc<Background>>,
    /// The bytes that all fills together may hold.
    pub(crate) budget: Arc<Budget>,
}

/// A complete body.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Stores a complete body. Dropped unused, it means that nothing will be stored.
pub(crate) type Commit = Box<dyn FnOnce(Captured) + Send>;

type SourceBody = UnsyncBoxBody<Bytes, BoxError>;

/// See the module's documentation.
pub(crate) struct Fill {
    shared: Mutex<FillState>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    limits: Limits,
}

struct FillState {
    source: SourceState,
    backlog: Backlog,
    received: u64,
    trailers: Option<HeaderMap>,
    end: Option<FillEnd>,
    /// `Some` for as long as the body may be stored.
    storing: Option<Storing>,
    /// How often the bell had been rung when the inner body had nothing yet.
    pending_since: Option<u64>,
    /// Somebody wanted the source while it was being polled.
    contended: bool,
}

/// Where the inner body is: nobody holds the lock while it is polled.
enum SourceState {
    Here(SourceBody),
    BeingPolled,
    Gone,
}

#[derive(Clone)]
enum FillEnd {
    Clean,
    Failed(Arc<dyn StdError + Send + Sync>),
}

struct Storing {
    commit: Commit,
    share: BudgetShare,
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
        let source = body.map_frame(into_bytes).map_err(Into::into);
        let fill = Self {
            shared: Mutex::new(FillState {
                source: SourceState::Here(source.boxed_unsync()),
                backlog: Backlog::default(),
                received: 0,
                trailers: None,
                end: None,
                storing: Some(Storing {
                    commit,
                    share: BudgetShare::of(&limits.budget),
                }),
                pending_since: None,
                contended: false,
            }),
            waker: Waker::from(bell.clone()),
            bell,
            limits,
        };
        if ended {
            fill.finish(fill.lock(), FillEnd::Clean);
        }
        Arc::new(fill)
    }

    fn lock(&self) -> MutexGuard<'_, FillState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls the inner body once, unless it would be in vain: it has been pending since the bell's
    /// count was `rung`. Ready when there is something new to look at; then the bell has been rung
    /// for all but the reader in `slot`.
    fn pull(
        &self,
        mut shared: MutexGuard<'_, FillState>,
        rung: u64,
        slot: Option<usize>,
    ) -> Poll<()> {
        if shared.pending_since == Some(rung) {
            return Poll::Pending;
        }
        let source = match std::mem::replace(&mut shared.source, SourceState::BeingPolled) {
            SourceState::Here(source) => source,
            SourceState::BeingPolled => {
                shared.contended = true;
                return Poll::Pending;
            }
            SourceState::Gone => {
                shared.source = SourceState::Gone;
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
        if let (Poll::Ready(_), Some(slot)) = (&polled, slot) {
            drop(self.bell.forget(slot));
        }
        // Whatever happens from here on, a panic in the store included.
        let ringing = polled.is_ready().then(|| Ringing(&self.bell));
        let mut shared = self.lock();
        if shared.end.is_some() {
            // Ended by someone else meanwhile; the body is dropped outside the lock.
            drop(shared);
            drop(ringing);
            return Poll::Ready(());
        }
        shared.source = source.map_or(SourceState::Gone, SourceState::Here);
        let contended = std::mem::take(&mut shared.contended);
        match polled {
            Poll::Pending => {
                shared.pending_since = Some(rung);
                drop(shared);
                // Those who came meanwhile may have been too late for the body's own ring.
                if contended && self.bell.rung() != rung {
                    self.bell.ring();
                }
                Poll::Pending
            }
            Poll::Ready(frame) => {
                self.accept(shared, frame);
                drop(ringing);
                Poll::Ready(())
            }
        }
    }

    fn accept(
        &self,
        mut shared: MutexGuard<'_, FillState>,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
    ) {
        match frame {
            None => self.finish(shared, FillEnd::Clean),
            Some(Err(error)) => self.finish(shared, FillEnd::Failed(error.into())),
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

    fn take_data(&self, mut shared: MutexGuard<'_, FillState>, data: Bytes) {
        if data.is_empty() {
            return;
        }
        shared.received += data.len() as u64;
        let fits = shared.fits(data.len(), &self.limits);
        shared.backlog.push(data, Instant::now());
        let dropped = match fits {
            true => None,
            false => shared.storing.take(),
        };
        shared.let_go(&self.limits);
        if matches!(&shared.source, SourceState::Here(source) if source.is_end_stream()) {
            // Now: with an exact Content-Length hyper may never poll again after the last frame,
            // and the response would go unstored.
            self.finish(shared, FillEnd::Clean);
        } else {
            drop(shared);
        }
        // It may lock other things: never under our own lock.
        drop(dropped);
    }

    /// Ends the body for all readers, and stores it if it is whole.
    fn finish(&self, mut shared: MutexGuard<'_, FillState>, end: FillEnd) {
        if shared.end.is_some() {
            return;
        }
        let expected = self.limits.expected;
        let whole = matches!(end, FillEnd::Clean)
            && expected.is_none_or(|expected| expected == shared.received);
        shared.end = Some(end);
        let source = std::mem::replace(&mut shared.source, SourceState::Gone);
        let storing = shared.storing.take();
        let captured = (whole && storing.is_some()).then(|| Captured {
            body: shared.backlog.concatenate(),
            trailers: shared.trailers.clone(),
        });
        drop(shared);
        drop(source);
        if let (Some(Storing { commit, share }), Some(captured)) = (storing, captured) {
            drop(share);
            commit(captured);
        }
    }

    /// Ends a body of which every announced byte is there and which nobody reads any more.
    fn finish_complete(&self) {
        // One frame for trailers and one for the end.
        for _ in 0..2 {
            let shared = self.lock();
            let alone = shared.backlog.readers() == 0 && shared.end.is_none();
            if !alone || std::thread::panicking() {
                break;
            }
            if self.pull(shared, self.bell.rung(), None).is_pending() {
                break;
            }
        }
        let shared = self.lock();
        if shared.backlog.readers() == 0 {
            self.finish(shared, FillEnd::Clean);
        }
    }

    /// Lets those go on who wait for a reader that does not move.
    fn cut_off_stalled(&self) {
        let mut shared = self.lock();
        shared.backlog.cut_off_stalled(Instant::now(), STALL);
        let relieved = shared.let_go(&self.limits);
        drop(shared);
        if relieved {
            self.bell.ring();
        }
    }

    /// Returns whether anything but time can come of reading on where no client does.
    fn is_worth_reading(&self) -> bool {
        let shared = self.lock();
        shared.storing.is_some() || shared.backlog.readers() > 1
    }
}

impl FillState {
    /// Returns whether so many bytes more, received and not yet held, can still be stored.
    fn fits(&mut self, bytes: usize, limits: &Limits) -> bool {
        let held = self.backlog.held() + bytes;
        let too_long = limits
            .expected
            .is_some_and(|expected| self.received > expected);
        if held > limits.max_body || too_long {
            return false;
        }
        match &mut self.storing {
            Some(storing) => storing.share.take(bytes + Backlog::CHUNK_OVERHEAD),
            None => false,
        }
    }

    /// Returns whether no more may be held.
    fn is_full(&self, limits: &Limits) -> bool {
        self.storing.is_none() && self.backlog.held() >= limits.max_body.max(1)
    }

    /// Lets go of what neither the store nor a reader needs. Returns whether that made room which
    /// somebody may be waiting for.
    fn let_go(&mut self, limits: &Limits) -> bool {
        if self.storing.is_some() || self.end.is_some() {
            return false;
        }
        let was_full = self.is_full(limits);
        self.backlog.let_go();
        was_full && !self.is_full(limits)
    }
}

/// Rings the bell when it is dropped.
struct Ringing<'a>(&'a Bell);

impl Drop for Ringing<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// Holds the inner body while it is polled, and ends the fill if that panics.
struct Polling<'a> {
    fill: &'a Fill,
    source: Option<SourceBody>,
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
                .finish(self.fill.lock(), FillEnd::Failed(error.into()));
            self.fill.bell.ring();
        }
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
