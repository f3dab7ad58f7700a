//! Sending a request a second time, where the first answer was of no use: a 304 about something that
//! is not stored, or a part that does not go with the one that is.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};

use super::call::{Call, Inner};
use crate::body::BoxError;

/// Prepares the second sending of a request that has no body, as it stands now.
///
/// `None` where an empty body of its type cannot be made. Then nothing may be asked of the handler
/// whose answer could be of no use.
pub(super) fn prepare<S, Q>(call: &Call<S, Q>, known: Option<&EmptyBody>) -> Option<Call<S, Q>>
where
    S: Clone,
    Q: 'static,
{
    let empty = known.and_then(EmptyBody::make).or_else(empty_body)?;
    let mut request = Request::new(empty);
    *request.method_mut() = call.request.method().clone();
    *request.uri_mut() = call.request.uri().clone();
    *request.version_mut() = call.request.version();
    *request.headers_mut() = call.request.headers().clone();
    *request.extensions_mut() = call.request.extensions().clone();
    let inner = match &call.inner {
        Inner::Ready(service) | Inner::Idle(service) => Inner::Idle(service.clone()),
    };
    Some(Call { inner, request })
}

/// How to make an empty body of a type that is not a common one.
#[derive(Clone, Debug)]
pub(crate) struct EmptyBody(Arc<dyn Any + Send + Sync>);

impl EmptyBody {
    pub(crate) fn new<Q: 'static>(make: fn() -> Q) -> Self {
        Self(Arc::new(make))
    }

    fn make<Q: 'static>(&self) -> Option<Q> {
        self.0.downcast_ref::<fn() -> Q>().map(|make| make())
    }
}

/// Makes an empty body of one of the types that requests commonly have.
fn empty_body<Q: 'static>() -> Option<Q> {
    let empty = Empty::<Bytes>::new;
    let boxed = || empty().map_err(|never| -> BoxError { match never {} });
    #[cfg(feature = "axum")]
    if let Some(body) = cast(axum::body::Body::empty()) {
        return Some(body);
    }
    cast(empty())
        .or_else(|| cast(Full::<Bytes>::default()))
        .or_else(|| cast(UnsyncBoxBody::<Bytes, BoxError>::new(boxed())))
        .or_else(|| cast(BoxBody::<Bytes, BoxError>::new(boxed())))
        .or_else(|| cast(String::new()))
}

fn cast<T: 'static, Q: 'static>(body: T) -> Option<Q> {
    let mut body = Some(body);
    (&mut body as &mut dyn Any)
        .downcast_mut::<Option<Q>>()?
        .take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_is_made_of_common_types_and_of_no_other() {
        assert!(empty_body::<Empty<Bytes>>().is_some());
        assert!(empty_body::<Full<Bytes>>().is_some());
        assert!(empty_body::<UnsyncBoxBody<Bytes, BoxError>>().is_some());
        #[cfg(feature = "axum")]
        assert!(empty_body::<axum::body::Body>().is_some());
        assert!(empty_body::<hyper::body::Incoming>().is_none());
    }
}
