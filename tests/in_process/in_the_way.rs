//! How far the cache may be in anybody's way: waits, background calls, other clients' directives, and
//! the room of what has expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_response_cache::testing::ManualClock;
use tower_response_cache::{
    CacheHandle, CacheLayer, CacheLayerBuilder, Error, FillLease, Key, KeyRef, Log, MaybeReady,
    MemoryStore, Policy, Routes, Store, Stored, Usage,
};

use crate::support::{
    Answer, Bench, Gate, MINUTE, Origin, TestRequest, chunk, request, respond, respond_with,
    scripted, seconds, sent, settle,
};

fn get(uri: &str) -> TestRequest {
    request("GET", uri, &[])
}

// The store's deadline

/// A memory store of which some calls never answer.
#[derive(Debug)]
struct Hanging {
    memory: MemoryStore,
    claims: fn() -> MaybeReady<FillLease>,
    /// How long a key of a lookup that hangs is at least.
    lookups: AtomicUsize,
}

impl Hanging {
    fn new(claims: fn() -> MaybeReady<FillLease>) -> Self {
        Self {
            memory: MemoryStore::new(16 << 20),
            claims,
            lookups: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Store for Hanging {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        match key.as_bytes().len() < self.lookups.load(Ordering::SeqCst) {
            true => self.memory.get(key),
            false => MaybeReady::Later(Box::pin(std::future::pending())),
        }
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.memory.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.memory.remove(key)
    }

    fn log(&self) -> &Log {
        self.memory.log()
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }

    fn claim(&self, _: KeyRef<'_>) -> MaybeReady<FillLease> {
        (self.claims)()
    }
}

fn over(store: Arc<Hanging>, policy: Policy, origin: Origin) -> Bench {
    let routes = Routes::new().otherwise(policy);
    Bench::with_builder(
        CacheLayer::builder().shared_store(store).routes(routes),
        origin,
    )
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_says_who_makes_a_fetch_delays_it_by_its_deadline() {
    let store = Hanging::new(|| MaybeReady::Later(Box::pin(std::future::pending())));
    let bench = over(Arc::new(store), Policy::ttl(MINUTE), Origin::counting());
    let asked = tokio::time::Instant::now();
    assert_eq!(bench.get("/a").await.text(), "1");
    assert!(asked.elapsed() < Duration::from_millis(60));
    assert_eq!(bench.handle.stats().store_errors, 1);
    assert_eq!(bench.get("/a").await.x_cache(), "HIT");
}

#[tokio::test(start_paused = true)]
async fn another_node_that_never_finishes_delays_a_fetch_no_longer_than_a_flight_may() {
    let store = Hanging::new(|| MaybeReady::Now(FillLease::Pending));
    let policy = Policy::ttl(MINUTE).max_wait(seconds(3));
    let bench = over(Arc::new(store), policy, Origin::counting());
    let asked = tokio::time::Instant::now();
    bench.get("/a").await;
    let took = asked.elapsed();
    assert!(
        took >= seconds(3) && took < Duration::from_millis(3100),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn variants_that_may_stand_in_are_looked_up_within_one_deadline() {
    let store = Arc::new(Hanging::new(|| MaybeReady::Now(FillLease::Unshared)));
    let origin = Origin::new(|request, _| async move {
        let language = sent(&request, "accept-language");
        let tag = format!("\"{}\"", &language[..2]);
        let fields = [("vary", "accept-language"), ("etag", tag.as_str())];
        respond(200, &fields, language)
    });
    let bench = over(store.clone(), Policy::origin_decides(), origin);
    // Six variants with long keys, of which each would be a lookup that hangs.
    for language in ["aa", "bb", "cc", "dd", "ee", "ff"] {
        let long = format!("{language}, {}", "zz, ".repeat(100));
        bench.get_with("/a", &[("accept-language", &long)]).await;
    }
    store.lookups.store(300, Ordering::SeqCst);
    let asked = tokio::time::Instant::now();
    let answer = bench.get_with("/a", &[("accept-language", "en")]).await;
    assert_eq!(answer.text(), "en");
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(60), "{took:?}");
}

// A client that forbids storing

/// A page that has been stale for ten seconds, of a handler that answers with these statuses.
async fn stale(policy: Policy, fields: &'static [(&'static str, &'static str)]) -> (Bench, Gate) {
    let down = Gate::shut();
    let failing = down.clone();
    let origin = Origin::new(move |request, call| {
        let is_down = futures_util::FutureExt::now_or_never(failing.wait()).is_some();
        async move {
            match (is_down, sent(&request, "if-none-match").as_str()) {
                (true, _) => respond(503, &[], ""),
                (_, "-") => respond(200, fields, call.to_string()),
                _ => respond(304, fields, ""),
            }
        }
    });
    let bench = Bench::new(policy, origin);
    assert_eq!(bench.get("/a").await.text(), "1");
    bench.clock.advance(seconds(70));
    (bench, down)
}

const NO_STORE: &[(&str, &str)] = &[("cache-control", "no-store")];

#[tokio::test]
async fn a_client_that_forbids_storing_throws_nothing_away() {
    let policies = [
        Policy::ttl(MINUTE).stale_if_error(MINUTE),
        Policy::ttl(MINUTE)
            .stale_if_error(MINUTE)
            .soft_timeout(seconds(1)),
        Policy::ttl(MINUTE)
            .stale_if_error(MINUTE)
            .stop_when_abandoned(),
    ];
    for policy in policies {
        for fields in [
            &[][..],
            &[("etag", "\"1\"")],
            &[("cache-control", "no-store")],
        ] {
            for method in ["GET", "HEAD"] {
                let first: &'static [_] = if fields == NO_STORE { &[] } else { fields };
                let (bench, down) = stale(policy.clone(), first).await;
                bench.ask(request(method, "/a", NO_STORE)).await;
                down.open();
                let answer = bench.get("/a").await;
                assert_eq!(
                    (answer.status, answer.text()),
                    (200.try_into().unwrap(), "1")
                );
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_forbids_storing_refreshes_nothing() {
    let policy = Policy::ttl(MINUTE).stale_while_revalidate(MINUTE);
    let (bench, _) = stale(policy, &[]).await;
    assert_eq!(
        bench.ask(request("GET", "/a", NO_STORE)).await.x_cache(),
        "STALE"
    );
    settle().await;
    assert_eq!(bench.origin.calls(), 1);
    // The next client's request does.
    assert_eq!(bench.get("/a").await.x_cache(), "STALE");
    settle().await;
    let answer = bench.get("/a").await;
    assert_eq!((answer.x_cache(), answer.text()), ("HIT", "2"));
}

// The room of what has expired

fn swept(clock: &ManualClock) -> CacheLayerBuilder {
    let store = MemoryStore::builder().clock(clock.clock()).build().unwrap();
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    CacheLayer::builder().store(store).routes(routes)
}

fn entries(handle: &CacheHandle) -> u64 {
    handle.stats().usage.entries
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_swept_up_without_an_invalidation() {
    let clock = ManualClock::new();
    let bench = Bench::with_builder(swept(&clock), Origin::counting());
    for round in 1..4 {
        for number in 0..100 {
            bench.get(&format!("/{round}/{number}")).await;
        }
        assert_eq!(entries(&bench.handle), 100);
        clock.advance(2 * MINUTE);
        bench.clock.advance(2 * MINUTE);
        tokio::time::sleep(seconds(4)).await;
        assert_eq!(entries(&bench.handle), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_a_sweep_ends_is_swept_up_soon() {
    let bench = Bench::with_builder(swept(&ManualClock::new()), Origin::counting());
    for round in 0..500 {
        bench.get("/a").await;
        bench.handle.invalidate_all().await.unwrap();
        tokio::time::sleep(Duration::from_micros(200_000 + 10 * round)).await;
        bench.get("/b").await;
        bench.handle.invalidate_all().await.unwrap();
        tokio::time::sleep(Duration::from_millis(450)).await;
        assert_eq!(entries(&bench.handle), 0, "{round}");
    }
}

#[test]
fn a_sweep_survives_the_runtime_that_began_it() {
    let layer = swept(&ManualClock::new()).build().unwrap();
    let (handle, service) = (
        layer.handle(),
        tower::Layer::layer(&layer, Origin::counting()),
    );
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            tower::ServiceExt::oneshot(service.clone(), get("/a"))
                .await
                .unwrap();
            handle.invalidate_all().await.unwrap();
            tokio::time::sleep(seconds(1)).await;
        });
        assert_eq!(entries(&handle), 0);
    }
}

// Fetches in the background

fn limited(policy: Policy, most: usize, origin: Origin) -> Bench {
    let routes = Routes::new().otherwise(policy);
    let builder = CacheLayer::builder().routes(routes);
    Bench::with_builder(builder.background_fetches(most), origin)
}

/// A handler that waits for the gate, and how many of its calls are under way.
fn counted(gate: &Gate) -> (Origin, Arc<AtomicUsize>) {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (gate, running) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let count = running.clone();
    let origin = Origin::new(move |_, call| {
        count.fetch_add(1, Ordering::SeqCst);
        let (gate, running) = (gate.clone(), Running(count.clone()));
        async move {
            gate.wait().await;
            drop(running);
            respond(200, &[], call.to_string())
        }
    });
    (origin, running)
}

fn metric(bench: &Bench, name: &str) -> String {
    let all = bench.handle.prometheus();
    let line = all.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split(' ').next_back())
        .unwrap_or("-")
        .to_owned()
}

#[tokio::test]
async fn clients_that_leave_keep_a_bounded_number_of_calls_going() {
    let gate = Gate::shut();
    let (origin, running) = counted(&gate);
    let bench = limited(Policy::ttl(MINUTE), 8, origin);
    for number in 0..500 {
        let left = bench.spawn(get(&format!("/{number}")));
        tokio::task::yield_now().await;
        left.abort();
    }
    settle().await;
    assert_eq!(running.load(Ordering::SeqCst), 8);
    assert_eq!(metric(&bench, "http_cache_background "), "8");
    assert_eq!(
        metric(&bench, "http_cache_background_refused_total "),
        "492"
    );
    gate.open();
    settle().await;
    assert_eq!(bench.handle.stats().stored, 8);
    assert_eq!(metric(&bench, "http_cache_background "), "0");
}

#[tokio::test]
async fn by_default_256_calls_go_on_without_their_clients() {
    let (origin, running) = counted(&Gate::shut());
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for number in 0..300 {
        let left = bench.spawn(get(&format!("/{number}")));
        tokio::task::yield_now().await;
        left.abort();
    }
    settle().await;
    assert_eq!(running.load(Ordering::SeqCst), 256);
}

#[tokio::test]
async fn bodies_that_nobody_reads_any_more_take_a_place_in_the_background_too() {
    let (one, other) = (scripted(), scripted());
    let bodies = [one.1, other.1].map(|body| respond_with(200, &[], body));
    let bench = limited(Policy::ttl(MINUTE), 1, Origin::script(bodies));
    drop(bench.send(get("/1")).await);
    drop(bench.send(get("/2")).await);
    settle().await;
    assert!(!one.0.is_closed() && other.0.is_closed());
    one.0.send(chunk("whole")).unwrap();
    drop(one.0);
    settle().await;
    assert_eq!(bench.get("/1").await.text(), "whole");
}

#[tokio::test]
async fn a_refresh_without_a_place_is_left_to_the_next_request() {
    let gate = Gate::shut();
    let slow = gate.clone();
    let origin = Origin::new(move |_, call| {
        let slow = slow.clone();
        async move {
            if call > 2 {
                slow.wait().await;
            }
            respond(200, &[], call.to_string())
        }
    });
    let policy = Policy::ttl(MINUTE).stale_while_revalidate(10 * MINUTE);
    let bench = limited(policy, 1, origin);
    let ask = |uri: &'static str| async {
        let answer: Answer = bench.get(uri).await;
        settle().await;
        answer.x_cache().to_owned()
    };
    ask("/1").await;
    ask("/2").await;
    bench.clock.advance(2 * MINUTE);
    assert_eq!(
        (ask("/1").await, ask("/2").await),
        ("STALE".into(), "STALE".into())
    );
    assert_eq!(bench.origin.calls(), 3);
    gate.open();
    settle().await;
    assert_eq!(
        (ask("/1").await, ask("/2").await),
        ("HIT".into(), "STALE".into())
    );
    assert_eq!(ask("/2").await, "HIT");
}
