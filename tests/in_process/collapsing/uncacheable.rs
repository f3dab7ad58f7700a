//! Calls that are of no use to others, and how long that is remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use tokio::sync::Barrier;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::{CacheDirective, CacheLayer, Routes};

use super::{CALLERS, SECOND, all, get, policy, spawn_many};
use crate::support::{Bench, BoxError, Gate, Origin, TestBody, TestRequest, respond, settle};

/// How a leader's call ends that the others can have no part in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Useless {
    Panic,
    Error,
    Status500,
    Fields(&'static str, &'static str),
    Directive,
    TooLarge,
}

const USELESS: [Useless; 9] = [
    Useless::Panic,
    Useless::Error,
    Useless::Status500,
    Useless::Fields("set-cookie", "a=b"),
    Useless::Fields("cache-control", "no-store"),
    Useless::Fields("cache-control", "private"),
    Useless::Fields("vary", "*"),
    Useless::Directive,
    Useless::TooLarge,
];

impl Useless {
    /// Whether the next response for the key will be of no use either.
    fn lasts(self) -> bool {
        !matches!(self, Self::Panic | Self::Error | Self::Status500)
    }

    fn response(self) -> Result<Response<TestBody>, BoxError> {
        Ok(match self {
            Self::Panic => panic!("a handler that panics"),
            Self::Error => return Err("a handler that fails".into()),
            Self::Status500 => respond(500, &[], "x"),
            Self::Fields(name, value) => respond(200, &[(name, value)], "x"),
            Self::Directive => {
                let mut response = respond(200, &[], "x");
                response.extensions_mut().insert(CacheDirective::no_store());
                response
            }
            Self::TooLarge => respond(200, &[], vec![b'x'; 2 << 20]),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_of_no_use_to_others_frees_all_of_them_at_once() {
    for useless in USELESS {
        let (gate, calls) = (Gate::shut(), Arc::new(AtomicUsize::new(0)));
        // All the others have to be in the handler at the same time for any of them to get out.
        let together = Arc::new(Barrier::new(CALLERS - 1));
        let origin = {
            let (gate, calls) = (gate.clone(), calls.clone());
            service_fn(move |_: TestRequest| {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                let (gate, together) = (gate.clone(), together.clone());
                async move {
                    match call {
                        0 => gate.wait().await,
                        call if call < CALLERS => _ = together.wait().await,
                        _ => {}
                    }
                    useless.response()
                }
            })
        };
        let clock = tower_response_cache::testing::ManualClock::new();
        let layer = CacheLayer::builder()
            .routes(Routes::new().otherwise(policy()))
            .clock(clock.clock())
            .build()
            .unwrap();
        let service = layer.layer(origin);
        let ask = || {
            let service = service.clone();
            tokio::spawn(service.oneshot(get("/a")))
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| ask()).collect();
        settle().await;
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{useless:?}");
        let began = tokio::time::Instant::now();
        gate.open();
        for caller in callers {
            let result = tokio::time::timeout(5 * SECOND, caller).await;
            let result = result.unwrap_or_else(|_| panic!("{useless:?}: they waited in line"));
            match useless {
                Useless::Panic => assert!(result.unwrap_err().is_panic()),
                Useless::Error => assert!(result.unwrap().is_err()),
                _ => assert!(result.unwrap().is_ok()),
            }
        }
        assert!(began.elapsed() < SECOND, "{useless:?}");
        assert_eq!(calls.load(Ordering::SeqCst), CALLERS, "{useless:?}");
    }
}

/// An origin whose calls wait for the gate, and are of no use to others as long as `useless` says.
fn uncacheable(gate: &Gate, useless: Useless) -> (Origin, Arc<AtomicUsize>) {
    let (gate, useful) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let switch = useful.clone();
    let origin = Origin::new(move |_, call| {
        let (gate, useful) = (gate.clone(), useful.clone());
        async move {
            gate.wait().await;
            match useful.load(Ordering::SeqCst) {
                0 => useless.response().unwrap(),
                _ => respond(200, &[], call.to_string()),
            }
        }
    });
    (origin, switch)
}

#[tokio::test(start_paused = true)]
async fn an_uncacheable_key_is_remembered_for_ten_seconds() {
    for useless in USELESS.into_iter().filter(|useless| useless.lasts()) {
        let gate = Gate::shut();
        let (origin, switch) = uncacheable(&gate, useless);
        let bench = Bench::new(policy(), origin);
        gate.open_for_one();
        bench.get("/a").await;
        bench.clock.advance(10 * SECOND - Duration::from_millis(1));
        let callers = spawn_many(&bench, CALLERS, "/a");
        settle().await;
        assert_eq!(bench.origin.calls(), 1 + CALLERS, "{useless:?}");
        (0..CALLERS).for_each(|_| gate.open_for_one());
        all(callers).await;

        bench.clock.advance(Duration::from_millis(1));
        switch.store(1, Ordering::SeqCst);
        let callers = spawn_many(&bench, CALLERS, "/a");
        settle().await;
        assert_eq!(bench.origin.calls(), 2 + CALLERS, "{useless:?}");
        gate.open();
        all(callers).await;
        assert_eq!(bench.origin.calls(), 2 + CALLERS, "{useless:?}");
    }
}

#[tokio::test]
async fn a_key_whose_handler_failed_is_not_remembered() {
    let gate = Gate::shut();
    let (origin, switch) = uncacheable(&gate, Useless::Status500);
    let bench = Bench::new(policy(), origin);
    gate.open_for_one();
    assert_eq!(bench.get("/a").await.status, 500);
    switch.store(1, Ordering::SeqCst);
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    all(callers).await;
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_says_no_cache_is_for_its_own_request_alone() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |_, call| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                let fields = [("cache-control", "no-cache"), ("etag", "\"x\"")];
                respond(200, &fields, call.to_string())
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    let mut texts: Vec<_> = all(callers)
        .await
        .iter()
        .map(|a| a.text().to_owned())
        .collect();
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), bench.origin.calls()), (CALLERS, CALLERS));
}
