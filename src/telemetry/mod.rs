//! Turns what happens into numbers. Other modules report; only this one counts, measures, and knows
//! who listens.

mod counters;
#[cfg(feature = "otel")]
mod durations;
#[cfg(not(feature = "otel"))]
#[path = "no_durations.rs"]
mod durations;
mod hot;
mod latency;
mod metrics;
#[cfg(not(feature = "otel"))]
#[path = "no_otel.rs"]
mod otel;
#[cfg(feature = "otel")]
mod otel;
mod prometheus;
mod snapshot;
mod stats;
pub(crate) mod trace;
#[cfg(feature = "values")]
mod values;

pub(crate) use counters::{Event, RouteId, Row, Rows};
pub use hot::HotKey;
#[cfg(feature = "admin")]
pub(crate) use latency::BOUNDS as DURATION_BOUNDS;
pub(crate) use latency::{Operation, Timed};
pub(crate) use metrics::{MetricsReading, MetricsSource};
pub(crate) use otel::OtelMeter;
pub(crate) use prometheus::render;
pub use snapshot::{CacheStats, OutcomeStats, RouteStats};
pub(crate) use stats::{Listener, RequestRecord, Stats, WaitingRequest};
#[cfg(feature = "values")]
pub use values::ValueStats;
#[cfg(feature = "values")]
pub(crate) use values::{ValueCounts, ValueEvent, ValueRegistry};
