//! The frames and errors of bodies, in the types that hyper and axum take.

use bytes::{Buf, Bytes};
use http_body::Frame;

/// The error type of bodies: boxed, as hyper and axum take it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Turns a frame's data into `Bytes`; data that already is `Bytes` is not copied.
pub(crate) fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
