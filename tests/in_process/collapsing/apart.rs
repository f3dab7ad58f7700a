//! Requests that share no call: of other variants, credentials and partitions.

use std::sync::Arc;

use super::{all, gated, get, policy};
use crate::support::{Bench, Gate, MINUTE, Origin, request, respond, settle};

/// Answers in the language asked for.
fn multilingual(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::new(move |request, _| {
        let gate = gate.clone();
        async move {
            gate.wait().await;
            let language = request.headers()["accept-language"].to_str().unwrap();
            respond(200, &[("vary", "accept-language")], language.to_owned())
        }
    })
}

#[tokio::test]
async fn requests_that_select_different_variants_share_nothing() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), multilingual(&gate));
    let ask = |language: &'static str| {
        bench.spawn(request("GET", "/a", &[("accept-language", language)]))
    };
    // At first nobody knows that the language selects; later it is part of the flight's key.
    for round in 0..2 {
        let callers: Vec<_> = (0..9).map(|n| ask(["en", "de", "fr"][n % 3])).collect();
        settle().await;
        gate.open();
        for (number, answer) in all(callers).await.iter().enumerate() {
            assert_eq!(
                answer.text(),
                ["en", "de", "fr"][number % 3],
                "round {round}"
            );
        }
        bench.clock.advance(2 * MINUTE);
    }
}

#[tokio::test]
async fn known_variants_are_called_for_once_each() {
    let (known, gate) = (Gate::shut(), Gate::shut());
    known.open();
    let switch = Arc::new(std::sync::Mutex::new(known));
    let origin = {
        let switch = switch.clone();
        Origin::new(move |request, _| {
            let gate = switch.lock().unwrap().clone();
            async move {
                gate.wait().await;
                let language = request.headers()["accept-language"].to_str().unwrap();
                respond(200, &[("vary", "accept-language")], language.to_owned())
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    for language in ["en", "de"] {
        bench.get_with("/a", &[("accept-language", language)]).await;
    }
    *switch.lock().unwrap() = gate.clone();
    bench.clock.advance(2 * MINUTE);
    let callers: Vec<_> = (0..20)
        .map(|n| {
            bench.spawn(request(
                "GET",
                "/a",
                &[("accept-language", ["en", "de"][n % 2])],
            ))
        })
        .collect();
    settle().await;
    assert_eq!(bench.origin.calls(), 4);
    gate.open();
    all(callers).await;
    assert_eq!(bench.origin.calls(), 4);
}

#[tokio::test]
async fn requests_with_credentials_share_no_call() {
    for field in ["authorization", "cookie"] {
        let gate = Gate::shut();
        let origin = {
            let gate = gate.clone();
            Origin::new(move |request, _| {
                let gate = gate.clone();
                async move {
                    gate.wait().await;
                    let who = request.headers().get(field);
                    let who = who.map_or("nobody", |who| who.to_str().unwrap());
                    respond(200, &[], who.to_owned())
                }
            })
        };
        let bench = Bench::new(policy(), origin);
        // A call for everyone is under way; those with a name neither join it nor each other.
        let mut callers = vec![(bench.spawn(get("/a")), "nobody")];
        settle().await;
        for who in ["alice", "bob", "alice"] {
            callers.push((bench.spawn(request("GET", "/a", &[(field, who)])), who));
        }
        callers.push((bench.spawn(get("/a")), "nobody"));
        settle().await;
        assert_eq!(bench.origin.calls(), 4);
        gate.open();
        for (caller, who) in callers {
            assert_eq!(caller.await.unwrap().text(), who);
        }
        assert_eq!(bench.get("/a").await.text(), "nobody");
        assert_eq!(
            bench.get_with("/a", &[(field, "carol")]).await.text(),
            "carol"
        );
    }
}

#[tokio::test]
async fn the_same_partition_shares_and_another_does_not() {
    let gate = Gate::shut();
    let policy = policy().partition_by(|request| {
        let tenant = request.headers.get("x-tenant")?;
        Some(tenant.to_str().ok()?.to_owned())
    });
    let bench = Bench::new(policy, gated(&gate));
    let ask = |tenant| bench.spawn(request("GET", "/a", &[("x-tenant", tenant)]));
    let callers = vec![ask("one"), ask("two"), ask("one"), ask("two")];
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    gate.open();
    let answers = all(callers).await;
    assert_eq!(answers[0].text(), answers[2].text());
    assert_eq!(answers[1].text(), answers[3].text());
    assert_ne!(answers[0].text(), answers[1].text());
}
