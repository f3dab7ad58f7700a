//! Handlers' own values: what is kept and for how long, what evicts it, how callers share the making
//! of it, and what happens when the store fails.

#![cfg(feature = "values")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheHandle, CacheLayer, MemoryStore, Store, Values};

use crate::support::{self, Gate};

mod counting;
mod evicting;
mod failing;
mod keeping;
mod oracle;
mod sharing;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct User {
    id: u32,
    name: String,
}

fn user(id: u32, name: &str) -> User {
    User {
        id,
        name: name.to_owned(),
    }
}

/// A cache with a clock that the test moves, which its store goes by as well.
fn cache() -> (CacheHandle, ManualClock) {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clock()).build().unwrap();
    (cache_with(store, &clock), clock)
}

fn cache_with(store: impl Store, clock: &ManualClock) -> CacheHandle {
    let layer = CacheLayer::builder()
        .store(store)
        .clock(clock.clock())
        // A machine that is busy with something else is no store that fails.
        .store_deadline(support::MINUTE);
    layer.build().unwrap().handle()
}

/// Makes `value` when the gate lets it.
async fn made<T>(value: T, gate: &Gate) -> Result<T, &'static str> {
    gate.wait().await;
    Ok(value)
}

/// Asks for a value, which the test says cannot be made.
async fn found<T>(values: &Values<T>, key: &str) -> Option<T>
where
    T: Serialize + for<'a> Deserialize<'a>,
{
    values.get(key).await.unwrap()
}

const FIVE_MINUTES: Duration = Duration::from_secs(300);
