//! How much a node asks of Redis at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lookups under way at a time. One more would only wait behind them.
const MOST_LOOKUPS: usize = 4096;

/// Responses on their way to Redis at a time. Those that come meanwhile are left out.
const MOST_PUTS: usize = 256;

/// The number of operations that a node has under way.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    lookups: AtomicUsize,
    puts: AtomicUsize,
}

/// One of a bounded number of operations, until it is dropped.
#[derive(Debug)]
pub(in crate::store) struct InFlightPermit {
    in_flight: Arc<InFlight>,
    count: fn(&InFlight) -> &AtomicUsize,
}

impl InFlightPermit {
    pub(super) fn to_look_up(in_flight: &Arc<InFlight>) -> Option<Self> {
        Self::within(in_flight, |in_flight| &in_flight.lookups, MOST_LOOKUPS)
    }

    pub(super) fn to_put(in_flight: &Arc<InFlight>) -> Option<Self> {
        Self::within(in_flight, |in_flight| &in_flight.puts, MOST_PUTS)
    }

    fn within(
        in_flight: &Arc<InFlight>,
        count: fn(&InFlight) -> &AtomicUsize,
        most: usize,
    ) -> Option<Self> {
        // Made before the count is looked at, so that dropping it takes one off again.
        let permit = Self {
            in_flight: in_flight.clone(),
            count,
        };
        // Relaxed: a count, which orders nothing.
        let before = count(in_flight).fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(permit)
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        (self.count)(&self.in_flight).fetch_sub(1, Ordering::Relaxed);
    }
}
