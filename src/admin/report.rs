//! `GET /health`, `/stats` and `/metrics`: what the cache does, for people and for machines.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{self, HeaderValue};
use serde_json::{Map, Value, json};

use super::answer::Json;
use super::state::Admitted;
use crate::layer::{CacheHandle, Health};
use crate::store::Usage;
use crate::telemetry::{CacheStats, DURATION_BOUNDS, HotKey, OutcomeStats, RouteStats};

/// 200 also where the cache is degraded: no request fails because of it, and what asks here is
/// commonly what takes a node out of service.
pub(super) async fn health(State(shared): Admitted) -> Json {
    Json(health_json(&shared.handle.health()))
}

pub(super) async fn stats(State(shared): Admitted) -> Json {
    let handle = &shared.handle;
    let stats = handle.stats();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "bypass": handle.is_bypassed(),
        "health": health_json(&handle.health()),
        "requests": requests(&stats),
        "hit_ratio": stats.hit_ratio(),
        "outcomes": stats.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        "routes": stats.routes.iter().map(route).collect::<Vec<_>>(),
        "hot_keys": handle.hot_keys().iter().map(hot_key).collect::<Vec<_>>(),
        "latency": latency(handle),
        "collapsed": stats.collapsed,
        "stored": stats.stored,
        "refreshes": stats.refreshes,
        "invalidations": stats.invalidations,
        "store_errors": stats.store_errors,
        "store": usage(&stats.usage),
    }))
}

pub(super) async fn metrics(State(shared): Admitted) -> Response {
    let mut response = Response::new(Body::from(shared.handle.prometheus()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

fn health_json(health: &Health) -> Value {
    let store = &health.store;
    json!({
        "status": health.status.as_str(),
        "ready": health.is_ready(),
        "bypass": health.bypassed,
        "store": {
            "state": store.state.as_str(),
            "detail": store.detail,
            "breaker_open": store.breaker_open,
            "epoch_changes": store.epoch_changes,
            "staleness_bound_seconds": store.staleness_bound.as_secs_f64(),
            "pending_invalidations": store.pending_invalidations,
            "latency_seconds": store.latency.map(|latency| latency.as_secs_f64()),
        },
    })
}

fn requests(stats: &CacheStats) -> Value {
    json!({
        "hit": stats.hits,
        "stale": stats.stale_hits,
        "revalidated": stats.revalidated,
        "miss": stats.misses,
        "unsatisfied": stats.only_if_cached,
        "bypass": stats.bypassed,
    })
}

fn outcome(outcome: &OutcomeStats) -> Value {
    json!({
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "requests": outcome.requests,
    })
}

fn route(route: &RouteStats) -> Value {
    json!({
        "route": route.route,
        "hit": route.hits,
        "stale": route.stale_hits,
        "revalidated": route.revalidated,
        "miss": route.misses,
        "unsatisfied": route.only_if_cached,
        "bypass": route.bypassed,
        "collapsed": route.collapsed,
        "stored": route.stored,
        "refreshes": route.refreshes,
        "hit_ratio": route.hit_ratio(),
    })
}

fn hot_key(key: &HotKey) -> Value {
    json!({
        "uri": key.uri,
        "requests": key.requests,
        "error": key.error,
        "hit_ratio": key.hit_ratio,
    })
}

/// Tells how long requests took, by outcome: how often up to each bound and over the one before it,
/// and in the end how often over the last.
fn latency(handle: &CacheHandle) -> Value {
    let mut reported: Map<String, Value> = handle
        .durations()
        .map(|(outcome, counts)| (outcome.to_owned(), json!(counts)))
        .collect();
    reported.insert("bounds".into(), json!(DURATION_BOUNDS));
    reported.into()
}

fn usage(usage: &Usage) -> Value {
    json!({
        "entries": usage.entries,
        "bytes": usage.bytes,
        "capacity": usage.capacity,
        "evictions": usage.evictions,
        "swept_invalidated": usage.swept_invalidated,
        "swept_expired": usage.swept_expired,
    })
}
