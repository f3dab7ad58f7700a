//! `GET /health`, `/stats` and `/metrics`: reports for people and for machines.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{self, HeaderValue};
use serde_json::{Map, Value, json};

use super::answer::JsonResponse;
use super::state::Admitted;
use crate::layer::{CacheHandle, Health};
use crate::store::Usage;
use crate::telemetry::{CacheStats, DURATION_BOUNDS, HotKey, OutcomeStats, RouteStats};

/// Reports the health, with 200 even if the cache is degraded: no request fails because of it, and the
/// program that asks is commonly the one that takes nodes out of service.
pub(super) async fn health(State(shared): Admitted) -> JsonResponse {
    JsonResponse(health_json(&shared.handle.health()))
}

pub(super) async fn stats(State(shared): Admitted) -> JsonResponse {
    let handle = &shared.handle;
    let stats = handle.stats();
    JsonResponse(json!({
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

/// Reports the durations of requests by outcome: the count between each bound and the one before it,
/// and last the count above all bounds.
fn latency(handle: &CacheHandle) -> Value {
    let mut histograms: Map<String, Value> = handle
        .durations()
        .map(|(outcome, counts)| (outcome.to_owned(), json!(counts)))
        .collect();
    histograms.insert("bounds".into(), json!(DURATION_BOUNDS));
    histograms.into()
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
