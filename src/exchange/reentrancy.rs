//! One service of a cache inside another: a request must not wait for the flight that it is part of.

use std::sync::Arc;

use http::Extensions;
use smallvec::{SmallVec, smallvec};

use super::Mount;
use crate::flight::Flights;

/// Goes with a request to the inner service: whose flights may be waiting for its answer.
#[derive(Clone, Debug)]
struct Awaited(SmallVec<[Arc<Flights>; 1]>);

impl Mount {
    /// Notes on a request that others of this cache may wait for its answer.
    pub(super) fn note_on(&self, request: &mut Extensions) {
        let flights = self.flights.clone();
        match request.get_mut::<Awaited>() {
            Some(Awaited(all)) => all.push(flights),
            None => {
                request.insert(Awaited(smallvec![flights]));
            }
        }
    }

    /// Returns this place as a request finds it: without others to wait for, if they may be waiting
    /// for this one.
    pub(super) fn found_by(self: &Arc<Self>, request: &Extensions) -> Arc<Self> {
        let awaited =
            |Awaited(all): &Awaited| all.iter().any(|one| Arc::ptr_eq(one, &self.flights));
        match request.get().is_some_and(awaited) {
            true => Arc::new(Self {
                flights: Arc::default(),
                ..Self::clone(self)
            }),
            false => self.clone(),
        }
    }
}
