//! One handler call per miss, however many callers; and nobody waits in line for what is not theirs.

mod apart;
mod joining;
mod leaving;
mod stale_responses;
mod uncacheable;
mod waiting;

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tower_response_cache::Policy;

use crate::support::{
    Answer, Bench, BoxError, Gate, MINUTE, Origin, TestRequest, request, respond, respond_with,
    scripted,
};

type Script = UnboundedSender<Result<Frame<Bytes>, BoxError>>;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy::ttl(MINUTE)
}

fn get(uri: &str) -> TestRequest {
    request("GET", uri, &[])
}

/// An origin that answers when the gate is open, with the number of the call.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::new(move |_, call| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            respond(200, &[], call.to_string())
        }
    })
}

fn spawn_many(bench: &Bench, count: usize, uri: &str) -> Vec<JoinHandle<Answer>> {
    (0..count).map(|_| bench.spawn(get(uri))).collect()
}

/// Waits for all, and fails if that takes longer than any bound of the cache's own.
async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        let result = tokio::time::timeout(2 * MINUTE, task).await;
        results.push(result.expect("hung").expect("panicked"));
    }
    results
}

fn streaming(policy: Policy) -> (Script, Bench) {
    let (script, body) = scripted();
    let origin = Origin::script([respond_with(200, &[], body)]);
    (script, Bench::new(policy, origin))
}

const CALLERS: usize = 20;
