//! The response body: passed through, read from a fill that others may share, or replayed.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use smallvec::SmallVec;

mod empty;
mod fill;
mod frame;

pub(crate) use empty::{EmptyBody, make_empty};
pub(crate) use fill::reader::FillReader;
pub(crate) use fill::{Budget, Captured, Fill, Limits};
pub(crate) use frame::{BoxError, into_bytes};

pin_project! {
    /// The body of a response that went through the cache.
    ///
    /// It either is the inner service's body, untouched; or reads it while it is captured to be
    /// stored, perhaps together with other requests; or replays stored bytes without copying them.
    /// Its size hint and its end are those of the body it stands for.
    ///
    /// # Cancel safety
    ///
    /// Dropping it is how a client that goes away is noticed. A capture then goes on in the
    /// background, for other requests or for the store, unless
    /// [`Policy::stop_when_abandoned`](crate::Policy::stop_when_abandoned) is set.
    #[project = BodyProjection]
    pub struct CacheBody<B> {
        #[pin]
        kind: BodyKind<B>,
    }
}

pin_project! {
    #[project = BodyKindProjection]
    enum BodyKind<B> {
        Pass { #[pin] body: B },
        Filling { reader: FillReader },
        Stored { chunks: Chunks, trailers: Option<Box<HeaderMap>> },
    }
}

/// The chunks that a replay sends: nearly always one, several for `multipart/byteranges`.
pub(crate) type Chunks = SmallVec<[Bytes; 1]>;

impl<B> CacheBody<B> {
    pub(crate) fn pass(body: B) -> Self {
        Self {
            kind: BodyKind::Pass { body },
        }
    }

    pub(crate) fn filling(reader: FillReader) -> Self {
        Self {
            kind: BodyKind::Filling { reader },
        }
    }

    pub(crate) fn stored(body: Bytes, trailers: Option<Box<HeaderMap>>) -> Self {
        let mut chunks = Chunks::new();
        if !body.is_empty() {
            chunks.push(body);
        }
        Self {
            kind: BodyKind::Stored { chunks, trailers },
        }
    }

    /// Reads on for the store where nobody else will read the body; one that is not on its way
    /// there is dropped.
    pub(crate) async fn read_on(self) {
        if let Some(reader) = self.into_reader() {
            reader.read_on().await;
        }
    }

    /// Returns the reader of a body that is on its way into the store.
    pub(crate) fn into_reader(self) -> Option<FillReader> {
        match self.kind {
            BodyKind::Filling { reader } => Some(reader),
            BodyKind::Pass { .. } | BodyKind::Stored { .. } => None,
        }
    }

    pub(crate) fn chunks(mut chunks: Chunks) -> Self {
        // Taken from the end, so that taking the next one moves nothing.
        chunks.reverse();
        Self {
            kind: BodyKind::Stored {
                chunks,
                trailers: None,
            },
        }
    }

    pub(crate) fn empty() -> Self {
        Self::stored(Bytes::new(), None)
    }
}

/// An empty body: what layers outside answer with themselves.
impl<B> Default for CacheBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> Body for CacheBody<B>
where
    B: Body,
    B::Data: Buf,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            BodyKindProjection::Pass { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map(into_bytes).map_err(Into::into))),
            BodyKindProjection::Filling { reader } => reader.poll_frame(cx),
            BodyKindProjection::Stored { chunks, trailers } => Poll::Ready(match chunks.pop() {
                Some(chunk) => Some(Ok(Frame::data(chunk))),
                None => trailers
                    .take()
                    .map(|trailers| Ok(Frame::trailers(*trailers))),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Pass { body } => body.is_end_stream(),
            BodyKind::Filling { reader } => reader.is_end_stream(),
            BodyKind::Stored { chunks, trailers } => chunks.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Pass { body } => body.size_hint(),
            BodyKind::Filling { reader } => reader.size_hint(),
            BodyKind::Stored { chunks, .. } => {
                SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum())
            }
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            BodyKind::Pass { .. } => "CacheBody(Pass)",
            BodyKind::Filling { .. } => "CacheBody(Filling)",
            BodyKind::Stored { .. } => "CacheBody(Stored)",
        })
    }
}
