//! One handler call per miss, however many callers; and nobody waits in line for what is not theirs.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use support::{
    Answer, Bench, BoxError, Gate, MINUTE, Origin, TestBody, TestRequest, chunk, request, respond,
    respond_with, scripted, settle, whole,
};
use tokio::sync::Barrier;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_response_cache::{CacheDirective, CacheLayer, NoStore, Policy, Routes};

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

async fn data(body: &mut TestBody) -> Bytes {
    let frame = body.frame().await.expect("not over").expect("no error");
    frame.into_data().expect("data")
}

#[tokio::test]
async fn a_thousand_concurrent_misses_are_one_call_and_all_get_all_bytes() {
    let gate = Gate::shut();
    let (script, body) = scripted();
    let origin = {
        let gate = gate.clone();
        let response = std::sync::Mutex::new(Some(respond_with(200, &[], body)));
        Origin::new(move |_, _| {
            let (gate, response) = (gate.clone(), response.lock().unwrap().take());
            async move {
                gate.wait().await;
                response.expect("one call")
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    let callers = spawn_many(&bench, 1000, "/a");
    settle().await;
    gate.open();
    for number in 0..20u8 {
        script.send(chunk(vec![number; 100])).unwrap();
        tokio::task::yield_now().await;
    }
    drop(script);
    let expected: Vec<u8> = (0..20u8).flat_map(|number| [number; 100]).collect();
    for answer in all(callers).await {
        assert!(answer.body == expected && answer.error.is_none());
        assert_eq!(answer.x_cache(), "MISS");
    }
    assert_eq!(bench.origin.calls(), 1);
    assert_eq!(bench.handle.stats().collapsed, 999);
}

fn streaming(policy: Policy) -> (Script, Bench) {
    let (script, body) = scripted();
    let origin = Origin::script([respond_with(200, &[], body)]);
    (script, Bench::new(policy, origin))
}

#[tokio::test]
async fn joiners_read_the_bytes_as_they_arrive() {
    let (script, bench) = streaming(policy());
    let mut leader = bench.send(get("/a")).await.into_body();
    let mut early = bench.send(get("/a")).await.into_body();
    script.send(chunk("one")).unwrap();
    assert_eq!(data(&mut early).await, "one");
    // One that comes in the middle begins at the beginning.
    let mut late = bench.send(get("/a")).await.into_body();
    assert_eq!(data(&mut late).await, "one");
    assert_eq!(data(&mut leader).await, "one");
    script.send(chunk("two")).unwrap();
    for body in [&mut late, &mut leader, &mut early] {
        assert_eq!(data(body).await, "two");
    }
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn neither_a_slow_leader_nor_a_slow_joiner_holds_the_others_back() {
    let (script, bench) = streaming(policy());
    // The leader and one joiner do not read at all.
    let leader = bench.send(get("/a")).await;
    let slow = bench.send(get("/a")).await;
    let fast = bench.spawn(get("/a"));
    for _ in 0..100 {
        script.send(chunk(vec![b'x'; 1000])).unwrap();
    }
    drop(script);
    assert_eq!(fast.await.unwrap().body.len(), 100_000);
    // And it is stored by now.
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    for response in [leader, slow] {
        let answer = Answer::read(response).await;
        assert_eq!((answer.body.len(), answer.error), (100_000, None));
    }
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_reaches_everyone_who_reads_whole() {
    let (script, bench) = streaming(policy().max_body(1000));
    let mut readers = spawn_many(&bench, 5, "/a");
    settle().await;
    // This one reads, but slowly: a little every three seconds.
    let slow = bench.send(get("/a")).await;
    readers.push(tokio::spawn(async move {
        let (head, mut body) = slow.into_parts();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame.unwrap().into_data().unwrap());
            tokio::time::sleep(3 * SECOND).await;
        }
        Answer::read(Response::from_parts(head, whole(read))).await
    }));
    for number in 0..30u8 {
        script.send(chunk(vec![number; 100])).unwrap();
    }
    drop(script);
    let expected: Vec<u8> = (0..30u8).flat_map(|number| [number; 100]).collect();
    for answer in all(readers).await {
        assert!(answer.body == expected && answer.error.is_none());
    }
    assert_eq!(bench.get("/a").await.text(), "2", "not stored");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_cut_off_and_the_others_go_on() {
    let (script, bench) = streaming(policy().max_body(1000));
    let stalled = bench.send(get("/a")).await;
    let began = tokio::time::Instant::now();
    let readers = spawn_many(&bench, 3, "/a");
    settle().await;
    for _ in 0..50 {
        script.send(chunk([b'x'; 100].as_slice())).unwrap();
    }
    drop(script);
    for answer in all(readers).await {
        assert_eq!((answer.body.len(), answer.error), (5000, None));
    }
    assert!(began.elapsed() < 10 * SECOND);
    assert!(Answer::read(stalled).await.error.is_some());
}

#[tokio::test]
async fn a_leader_that_leaves_before_the_head_leaves_its_call_to_the_others() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), gated(&gate));
    let leader = bench.spawn(get("/a"));
    settle().await;
    let others = spawn_many(&bench, 10, "/a");
    settle().await;
    leader.abort();
    settle().await;
    gate.open();
    for answer in all(others).await {
        assert_eq!(answer.text(), "1");
    }
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn a_call_that_everyone_left_is_finished_and_stored() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), gated(&gate));
    let leader = bench.spawn(get("/a"));
    settle().await;
    leader.abort();
    settle().await;
    gate.open();
    settle().await;
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("HIT", "1"));
}

#[tokio::test]
async fn another_leads_when_the_leader_leaves_and_its_call_is_to_stop() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().stop_when_abandoned(), gated(&gate));
    let leader = bench.spawn(get("/a"));
    settle().await;
    let others = spawn_many(&bench, 10, "/a");
    settle().await;
    leader.abort();
    settle().await;
    assert_eq!(bench.origin.calls(), 2, "one of them calls at once");
    gate.open();
    for answer in all(others).await {
        assert_eq!(answer.text(), "2");
    }
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_everyone_left_is_given_up_after_a_while() {
    let bench = Bench::new(policy(), gated(&Gate::shut()));
    let leader = bench.spawn(get("/a"));
    settle().await;
    leader.abort();
    tokio::time::sleep(2 * MINUTE).await;
    // A new leader is needed, so the old flight is over.
    let next = bench.spawn(get("/a"));
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    next.abort();
}

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

const CALLERS: usize = 20;

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

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_goes_alone() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().max_wait(3 * SECOND), gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    tokio::time::sleep(3 * SECOND - Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), 1);
    tokio::time::sleep(Duration::from_millis(4)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), CALLERS);
    gate.open();
    all(callers).await;
}

#[tokio::test(start_paused = true)]
async fn the_bound_on_waiting_covers_one_leader_after_another() {
    let gate = Gate::shut();
    let policy = policy().max_wait(3 * SECOND).stop_when_abandoned();
    let bench = Bench::new(policy, gated(&gate));
    let first = bench.spawn(get("/a"));
    settle().await;
    let second = bench.spawn(get("/a"));
    settle().await;
    let third = bench.spawn(get("/a"));
    settle().await;
    tokio::time::sleep(2 * SECOND).await;
    first.abort();
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    tokio::time::sleep(SECOND + Duration::from_millis(2)).await;
    settle().await;
    assert_eq!(bench.origin.calls(), 3);
    gate.open();
    all(vec![second, third]).await;
}

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

fn layer() -> CacheLayer {
    let routes = Routes::new().otherwise(policy());
    CacheLayer::builder().routes(routes).build().unwrap()
}

/// Sends so many requests at once and waits for all.
async fn stampede<S>(service: S, count: usize) -> Vec<Answer>
where
    S: Service<TestRequest, Response = Response<tower_response_cache::CacheBody<TestBody>>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    S::Error: std::fmt::Debug + Send,
{
    let callers = (0..count).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            let response = service.oneshot(get("/a")).await.unwrap();
            Answer::read(response.map(BodyExt::boxed_unsync)).await
        })
    });
    all(callers.collect()).await
}

fn slow(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |_, call| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        respond(200, fields, call.to_string())
    })
}

#[tokio::test(start_paused = true)]
async fn joiners_give_back_their_places_in_a_concurrency_limit() {
    let origin = slow(&[]);
    let service = layer().layer(ConcurrencyLimit::new(origin.clone(), 2));
    let answers = stampede(service, 100).await;
    assert!(answers.iter().all(|answer| answer.text() == "1"));
    assert_eq!(origin.calls(), 1);

    let origin = slow(&[("set-cookie", "a=b")]);
    let service = layer().layer(ConcurrencyLimit::new(origin.clone(), 2));
    stampede(service, 100).await;
    assert_eq!(origin.calls(), 100);
}

#[tokio::test(start_paused = true)]
async fn joiners_give_back_their_places_in_a_buffer() {
    for fields in [&[][..], &[("set-cookie", "a=b")]] {
        let origin = slow(fields);
        let service = layer().layer(Buffer::new(origin.clone(), 2));
        let answers = stampede(service, 100).await;
        assert_eq!(answers.len(), 100);
        assert_eq!(origin.calls(), if fields.is_empty() { 1 } else { 100 });
    }
}

#[tokio::test(start_paused = true)]
async fn caches_of_one_handle_inside_each_other_do_not_wait_for_each_other() {
    let origin = slow(&[]);
    let outer = layer();
    let inner = outer.handle().layer(policy()).unwrap();
    let inner = inner
        .layer(origin.clone())
        .map_response(|response| response.map(|body| body.boxed_unsync()));
    let answers = stampede(outer.layer(inner), 100).await;
    assert!(answers.iter().all(|answer| answer.text() == "1"));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_stale_response_is_refreshed_once_for_all_who_get_it() {
    let gate = Gate::shut();
    gate.open_for_one();
    let policy = policy().stale_while_revalidate(MINUTE);
    let bench = Bench::new(policy, gated(&gate));
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    for answer in all(spawn_many(&bench, 100, "/a")).await {
        assert_eq!((answer.x_cache(), answer.text()), ("STALE", "1"));
    }
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    gate.open();
    settle().await;
    let refreshed = bench.get("/a").await;
    assert_eq!((refreshed.x_cache(), refreshed.text()), ("HIT", "2"));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_is_given_up_and_another_begins() {
    let gate = Gate::shut();
    gate.open_for_one();
    let policy = policy().stale_while_revalidate(60 * MINUTE);
    let bench = Bench::new(policy, gated(&gate));
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    bench.get("/a").await;
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(bench.get("/a").await.x_cache(), "STALE");
    settle().await;
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_refresh_reads_no_stream_that_is_not_stored() {
    let (script, endless) = scripted();
    let stream = [("content-type", "text/event-stream")];
    let origin = Origin::script([respond(200, &[], "1"), respond_with(200, &stream, endless)]);
    let bench = Bench::new(policy().stale_while_revalidate(MINUTE), origin);
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    bench.get("/a").await;
    settle().await;
    assert_eq!(bench.origin.calls(), 2);
    assert!(script.is_closed());
}

#[tokio::test]
async fn what_stands_in_for_an_error_does_so_for_all_who_waited() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |_, call| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                respond(if call == 1 { 200 } else { 503 }, &[], call.to_string())
            }
        })
    };
    let bench = Bench::new(policy().stale_if_error(MINUTE), origin);
    gate.open_for_one();
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    for answer in all(callers).await {
        assert_eq!((answer.x_cache(), answer.text()), ("STALE", "1"));
    }
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn a_confirmed_response_is_given_to_all_who_waited() {
    let gate = Gate::shut();
    let origin = {
        let gate = gate.clone();
        Origin::new(move |request, call| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                match request.headers().contains_key("if-none-match") {
                    true => respond(304, &[("etag", "\"a\"")], ""),
                    false => respond(200, &[("etag", "\"a\"")], call.to_string()),
                }
            }
        })
    };
    let bench = Bench::new(policy(), origin);
    gate.open_for_one();
    bench.get("/a").await;
    bench.clock.advance(MINUTE);
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    for answer in all(callers).await {
        assert_eq!((answer.x_cache(), answer.text()), ("REVALIDATED", "1"));
    }
    // And it is fresh again, though the 304 carried no date.
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.field("age")), ("HIT", "0"));
    assert_eq!(bench.origin.calls(), 2);
}

#[tokio::test]
async fn a_joiner_with_the_current_validator_gets_304() {
    let (script, body) = scripted();
    let origin = Origin::script([respond_with(200, &[("etag", "\"a\"")], body)]);
    let bench = Bench::new(policy(), origin);
    let leader = bench.send(get("/a")).await;
    let joiner = bench.get_with("/a", &[("if-none-match", "\"a\"")]).await;
    assert_eq!((joiner.status.as_u16(), joiner.text()), (304, ""));
    script.send(chunk("abc")).unwrap();
    drop(script);
    assert_eq!(Answer::read(leader).await.text(), "abc");
    assert_eq!(bench.origin.calls(), 1);
}

#[tokio::test]
async fn nobody_joins_a_response_that_has_become_stale_while_it_is_read() {
    let (script, bench) = streaming(policy());
    let leader = bench.send(get("/a")).await;
    bench.clock.advance(MINUTE - SECOND);
    let joiner = bench.send(get("/a")).await;
    assert_eq!(bench.origin.calls(), 1);
    bench.clock.advance(SECOND);
    assert_eq!(bench.get("/a").await.text(), "2");
    drop((script, leader, joiner));
}

#[tokio::test]
async fn each_of_many_keys_is_called_for_once() {
    let gate = Gate::shut();
    let bench = Bench::new(policy(), gated(&gate));
    let uris: Vec<_> = (0..1500).map(|n| format!("/{}", n % 500)).collect();
    let callers: Vec<_> = uris.iter().map(|uri| bench.spawn(get(uri))).collect();
    settle().await;
    gate.open();
    let mut by_uri = std::collections::HashMap::new();
    for (uri, answer) in uris.iter().zip(all(callers).await) {
        let first = by_uri.entry(uri).or_insert_with(|| answer.body.clone());
        assert_eq!(*first, answer.body);
    }
    assert_eq!(bench.origin.calls(), 500);
}

#[tokio::test]
async fn misses_share_a_call_where_nothing_is_stored() {
    let gate = Gate::shut();
    let builder = CacheLayer::builder().store(NoStore::new());
    let builder = builder.routes(Routes::new().otherwise(policy()));
    let bench = Bench::with_builder(builder, gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    gate.open();
    for answer in all(callers).await {
        assert_eq!(answer.text(), "1");
    }
    assert_eq!(bench.get("/a").await.text(), "2");
}

#[tokio::test]
async fn without_collapsing_every_miss_calls() {
    let gate = Gate::shut();
    let bench = Bench::new(policy().without_collapsing(), gated(&gate));
    let callers = spawn_many(&bench, CALLERS, "/a");
    settle().await;
    assert_eq!(bench.origin.calls(), CALLERS);
    gate.open();
    all(callers).await;
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
}
