//! Interim responses of the origin, passed on while the client waits for the final one
//! ([RFC 9110 §15.2](https://www.rfc-editor.org/rfc/rfc9110#section-15.2)). They are never stored.
//!
//! hyper's server cannot send them, so they are written between its own bytes: after it has flushed
//! everything, and before the origin has begun its final response.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use http::{HeaderMap, Request, StatusCode, Version};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::fields;

tokio::task_local! {
    /// The client whose request the task works on.
    pub(crate) static CLIENT: Arc<Interim>;
}

/// The most bytes that wait to be written to a client.
const MOST_WAITING: usize = 64 * 1024;

/// The interim responses on their way to one client.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    /// True while the state has something to write: checked with each write.
    busy: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the request that interim responses may come for.
    expected: Option<u64>,
    requests: u64,
    /// Interim responses of which nothing has been written yet.
    waiting: Vec<u8>,
    /// The rest of one that has been written in part: nothing else may come before it.
    begun: Vec<u8>,
    /// The waker of the client's connection.
    waker: Option<Waker>,
}

/// Relays the interim responses to a request to the client that waits for the final one, if there is a
/// client that understands them.
pub(crate) fn relay<B>(request: &mut Request<B>) -> Option<Relay> {
    if request.version() < Version::HTTP_11 {
        return None;
    }
    let interim = CLIENT.try_with(Arc::clone).ok()?;
    let number = interim.expect_them();
    let to = Arc::clone(&interim);
    hyper::ext::on_informational(request, move |response| {
        to.take_in(
            number,
            response.status(),
            response.version(),
            response.headers(),
        );
    });
    Some(Relay { interim, number })
}

/// A guard: while it exists, interim responses are passed on.
#[derive(Debug)]
pub(crate) struct Relay {
    interim: Arc<Interim>,
    number: u64,
}

impl Relay {
    /// Lets the connection write the interim responses that came before the final one.
    pub(crate) async fn finish(self) {
        if self.interim.is_waiting(self.number) {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.interim.lock();
        if state.expected == Some(self.number) {
            state.end();
        }
        self.interim.note(&state);
    }
}

impl Interim {
    /// Stops sending interim responses, because the final one has come.
    pub(crate) fn end(&self) {
        if self.busy.load(Ordering::Acquire) {
            let mut state = self.lock();
            state.end();
            self.note(&state);
        }
    }

    fn expect_them(&self) -> u64 {
        let mut state = self.lock();
        state.end();
        state.requests += 1;
        state.expected = Some(state.requests);
        self.note(&state);
        state.requests
    }

    fn take_in(&self, number: u64, status: StatusCode, version: Version, headers: &HeaderMap) {
        // These concern only one connection.
        if [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&status) {
            return;
        }
        let head = head(status, version, headers);
        let mut state = self.lock();
        if state.expected != Some(number) || state.waiting.len() + head.len() > MOST_WAITING {
            return;
        }
        state.waiting.extend(head);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Returns whether anything waits to be written for this request.
    fn is_waiting(&self, number: u64) -> bool {
        let state = self.lock();
        state.expected == Some(number) && !state.waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, state: &State) {
        let busy = state.expected.is_some() || !state.begun.is_empty();
        self.busy.store(busy, Ordering::Release);
    }
}

impl State {
    fn end(&mut self) {
        self.expected = None;
        self.waiting.clear();
    }
}

fn head(status: StatusCode, version: Version, headers: &HeaderMap) -> Vec<u8> {
    let mut headers = headers.clone();
    fields::remove_hop_by_hop(&mut headers);
    fields::add_via(&mut headers, version);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A client's connection, to which interim responses are written as well.
#[derive(Debug)]
pub(crate) struct Relaying<T> {
    io: T,
    interim: Arc<Interim>,
}

impl<T> Relaying<T> {
    pub(crate) fn new(io: T, interim: Arc<Interim>) -> Self {
        Self { io, interim }
    }
}

impl<T: Write + Unpin> Relaying<T> {
    /// Writes the rest of an interim response that was begun. If `all` of hyper's bytes are written,
    /// also writes those that wait.
    fn poll_interim(&mut self, cx: &mut Context<'_>, all: bool) -> Poll<io::Result<()>> {
        if !self.interim.busy.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.interim.lock();
        if all {
            let State { waiting, begun, .. } = &mut *state;
            begun.append(waiting);
            state.waker = Some(cx.waker().clone());
        }
        while !state.begun.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &state.begun))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(state.begun.drain(..written)),
            }
        }
        self.interim.note(&state);
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Unpin> Read for Relaying<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for Relaying<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    // Hyper flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx, true))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
