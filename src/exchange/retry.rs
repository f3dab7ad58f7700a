//! Sending a request a second time, where the first answer was of no use: a 304 about something
//! that is not stored, or a part that does not go with the one that is.

use http::Request;

use super::call::{Call, Inner};
use crate::body::{EmptyBody, make_empty};

/// Prepares the second sending of a request that has no body, as it stands now.
///
/// `None` where an empty body of its type cannot be made. Then nothing may be asked of the inner
/// service whose answer could be of no use.
pub(super) fn prepare<S, Q>(call: &Call<S, Q>, known: Option<&EmptyBody>) -> Option<Call<S, Q>>
where
    S: Clone,
    Q: 'static,
{
    let empty = make_empty(known)?;
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
