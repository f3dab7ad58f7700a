//! For how long a stored response is used, what is done with it afterwards, and what is answered
//! from it meanwhile.

mod age_and_clocks;
mod conditional_requests;
mod head;
mod lifetime;
mod request_directives;
mod stale_if_error;
mod stale_while_revalidate;
mod statuses;
mod validation;

use tower_response_cache::Policy;

use crate::support::{Bench, Origin, respond, seconds, sent};

type Fields = &'static [(&'static str, &'static str)];

async fn lifetime_of(policy: Policy, status: u16, fields: Fields) -> u64 {
    let origin =
        Origin::new(move |_, call| async move { respond(status, fields, call.to_string()) });
    let bench = Bench::new(policy, origin);
    bench.get("/").await;
    for second in 0..200 {
        if bench.get("/").await.text() != "1" {
            return second;
        }
        bench.clock.advance(seconds(1));
    }
    200
}

/// An origin that confirms `"v1"` and answers everything else with 200, these fields and that tag.
fn validating(fields: Fields) -> Origin {
    Origin::new(move |request, call| async move {
        let etag = ("etag", "\"v1\"");
        if sent(&request, "if-none-match") == "\"v1\"" {
            return respond(304, &[etag, ("x-call", &call.to_string())], "");
        }
        let mut all = vec![etag];
        all.extend_from_slice(fields);
        respond(200, &all, call.to_string())
    })
}
