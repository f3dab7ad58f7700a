//! What `Debug` output must not show.

use std::any::type_name;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use http::HeaderMap;

/// Something of a request or a response, which may hold credentials: `Debug` shows its type alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Opaque<T>(pub(crate) T);

/// A request's headers, as its client sent them.
pub(crate) type ClientHeaders = Opaque<Arc<HeaderMap>>;

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = type_name::<T>();
        write!(f, "{}(..)", name.rsplit("::").next().unwrap_or(name))
    }
}
