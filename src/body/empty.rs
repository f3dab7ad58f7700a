//! Empty request bodies, of whatever type a service takes.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};

use super::frame::BoxError;

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

/// Makes an empty body of a request, where its type is a common one, or one it is known how to make.
pub(crate) fn make_empty<Q: 'static>(known: Option<&EmptyBody>) -> Option<Q> {
    known.and_then(EmptyBody::make).or_else(common)
}

/// Makes an empty body of one of the types that requests commonly have.
fn common<Q: 'static>() -> Option<Q> {
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
    fn an_common_is_made_of_common_types_and_of_no_other() {
        assert!(common::<Empty<Bytes>>().is_some());
        assert!(common::<Full<Bytes>>().is_some());
        assert!(common::<UnsyncBoxBody<Bytes, BoxError>>().is_some());
        #[cfg(feature = "axum")]
        assert!(common::<axum::body::Body>().is_some());
        assert!(common::<hyper::body::Incoming>().is_none());
    }
}
