//! Spans and events, for whoever subscribes to `tracing`.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::Empty;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, Span, debug, debug_span};

use super::counters::Row;
use crate::invalidate::Invalidation;
use crate::status::{Miss, Outcome};

const TARGET: &str = "tower_response_cache";

/// Returns whether anybody may want to see the events of this module.
#[inline]
pub(crate) fn is_on() -> bool {
    Level::DEBUG <= STATIC_MAX_LEVEL && Level::DEBUG <= LevelFilter::current()
}

/// Tells what became of a request.
pub(crate) fn answered(row: &Row, outcome: Outcome, filled_by: Option<NonZeroU64>) {
    debug!(
        target: TARGET,
        route = route(row),
        outcome = outcome.as_str(),
        reason = outcome.reason(),
        filled_by,
        "answered"
    );
}

/// The span of a handler's call, and of reading its response's body for the store.
#[derive(Clone, Debug)]
pub(crate) struct FillSpan {
    pub(crate) span: Span,
    /// A number for others to refer to; `None` where nobody sees the span.
    ///
    /// The span's own name would not do: a subscriber may give it to another as soon as it is
    /// closed, while what it stored is replayed for hours.
    pub(crate) number: Option<NonZeroU64>,
}

impl FillSpan {
    /// Opens the span.
    pub(crate) fn open(row: &Row, why: Miss) -> Self {
        if !is_on() {
            return Self::none();
        }
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (route, why) = (route(row), why.as_str());
        let span = debug_span!(target: TARGET, "cache_fill", route, why, fill = Empty);
        let number = match span.is_disabled() {
            true => None,
            false => NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        span.record("fill", number);
        Self { span, number }
    }

    /// Stands for a span that nobody sees.
    pub(crate) fn none() -> Self {
        Self {
            span: Span::none(),
            number: None,
        }
    }

    /// Tells that a response is stored.
    pub(crate) fn stored(&self, bytes: usize) {
        if self.number.is_some() {
            debug!(target: TARGET, parent: &self.span, bytes, "stored");
        }
    }
}

/// Opens the span of a lookup that has to wait for the store.
pub(crate) fn lookup(row: &Row) -> Span {
    debug_span!(target: TARGET, "cache_lookup", route = route(row))
}

/// Opens the span of a refresh in the background. Where nobody sees it, what happens there belongs
/// to the request that brought it about.
pub(crate) fn refresh(row: &Row) -> Span {
    let span = debug_span!(target: TARGET, "cache_refresh", route = route(row));
    match span.is_disabled() {
        true => Span::current(),
        false => span,
    }
}

/// Tells that an invalidation is recorded.
pub(crate) fn invalidated(what: &Invalidation) {
    debug!(target: TARGET, %what, "invalidated");
}

fn route(row: &Row) -> Option<&str> {
    (!row.label.is_empty()).then_some(&*row.label)
}
