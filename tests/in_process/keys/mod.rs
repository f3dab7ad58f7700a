//! Which requests share a stored response: never two that a handler could answer differently,
//! unless the operator says so.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hostile_paths;
mod key_parts;
mod mounts;
mod request_fields;
mod rewritten;
mod uris;

use tower_response_cache::Policy;

use crate::support::{Bench, Origin, sent};

/// A bench whose origin shows all that a key is made of.
fn echoing(policy: Policy) -> Bench {
    Bench::new(policy, echo())
}

fn echo() -> Origin {
    Origin::showing(&[], |request| {
        format!(
            "{} host={} forwarded={} proto={} x={}",
            request.uri(),
            sent(request, "host"),
            sent(request, "x-forwarded-host"),
            sent(request, "x-forwarded-proto"),
            sent(request, "x-part"),
        )
    })
}

type Asking = (&'static str, &'static [(&'static str, &'static str)]);

/// Asks each twice, all first times first: none may be given another's answer.
async fn assert_apart(bench: &Bench, all: &[Asking]) {
    let mut first = Vec::new();
    for (uri, fields) in all {
        let answer = bench.get_with(uri, fields).await;
        assert_eq!(answer.x_cache(), "MISS", "{uri} {fields:?}");
        first.push(answer);
    }
    for ((uri, fields), first) in all.iter().zip(first) {
        let again = bench.get_with(uri, fields).await;
        assert_eq!(again.x_cache(), "HIT", "{uri} {fields:?}");
        assert_eq!(again.text(), first.text(), "{uri} {fields:?}");
    }
}

async fn assert_together(bench: &Bench, first: Asking, second: Asking) {
    let stored = bench.get_with(first.0, first.1).await;
    let answer = bench.get_with(second.0, second.1).await;
    assert_eq!(answer.x_cache(), "HIT", "{first:?} {second:?}");
    assert_eq!(answer.text(), stored.text());
}
