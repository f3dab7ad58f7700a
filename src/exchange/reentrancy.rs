//! One service of a cache inside another: a request must not wait for the flight that it is part
//! of.

use std::sync::Arc;

use http::Extensions;
use smallvec::{SmallVec, smallvec};

use crate::flight::Flights;

/// The flights that may be waiting for a request's answer; goes with it to the inner service.
#[derive(Clone, Debug)]
struct Awaited(SmallVec<[Arc<Flights>; 1]>);

/// Notes on a request that one of these flights may be waiting for its answer.
pub(super) fn note(flights: &Arc<Flights>, request: &mut Extensions) {
    let flights = flights.clone();
    match request.get_mut::<Awaited>() {
        Some(Awaited(all)) => all.push(flights),
        None => {
            request.insert(Awaited(smallvec![flights]));
        }
    }
}

/// Returns whether one of these flights may be waiting for a request's answer.
pub(super) fn is_awaited(flights: &Arc<Flights>, request: &Extensions) -> bool {
    let among = |Awaited(all): &Awaited| all.iter().any(|one| Arc::ptr_eq(one, flights));
    request.get().is_some_and(among)
}
