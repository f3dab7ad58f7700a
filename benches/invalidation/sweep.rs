//! Invalidates a million stored responses at once, and measures the effect of their removal on hits.

use std::convert::Infallible;
use std::fs;
use std::future::{Future, Ready, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::{
    CacheLayer, Error, Invalidation, Key, KeyRef, Log, MaybeReady, MemoryStore, Pattern, Policy,
    Routes, Store, Stored, StoredResponse, Usage,
};

use crate::{resident, shown};

const BANNED: u64 = 1_000_000;
const HOT: u64 = 1_000;

/// The longest time for which a hit may be held up.
const MOST: Duration = Duration::from_millis(1);

type Body = Empty<bytes::Bytes>;

/// Prints the longest step of the sweep, and the durations of hits on another thread meanwhile.
///
/// A step examines a bounded number of entries, holds at most one lock of the store at a time, and
/// is not interrupted: neither a hit that waits for a lock nor one that waits for the sweep's thread
/// waits for longer than a step.
///
/// The scheduler of a busy machine can make a thread wait for far more than a millisecond. If the
/// system reports for how long (Linux does), that time is subtracted, and hits that ran beside such a
/// wait are left out: they may have waited for a lock of the waiting thread.
pub(crate) fn sweep() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let store = Arc::new(Timed::default());
    let (layer, handle) = layer(store.clone());
    let mut service = layer.layer(tower::service_fn(answer));
    let empty = resident();
    for n in 0..BANNED {
        runtime.block_on(get(&mut service, &format!("/banned/{n}")));
    }
    for n in 0..HOT {
        runtime.block_on(get(&mut service, &format!("/hot/{n}")));
    }
    let full = resident();
    let stored = store.usage().entries;
    let before = beside_a_thread_that_counts(|hits| hit_all(&mut service, hits));
    let mut invalidations = Measured::default();
    let mut invalidate = |pattern: &str| {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        let done = invalidations.measure(|| {
            let what = Invalidation::pattern(pattern);
            poll_once(pin!(handle.invalidate(what)))
        });
        assert!(matches!(done, Some(Ok(()))), "recorded at once");
    };
    (0..100).for_each(|n| invalidate(&format!("/elsewhere/{n}/**")));
    invalidate("/banned/**");
    let began = Instant::now();
    let mut hits = Measured::default();
    while !store.is_done.load(Ordering::Acquire) {
        hit_all(&mut service, &mut hits);
    }
    let swept = began.elapsed();
    assert_eq!(store.usage().entries, HOT, "nothing is left over");

    println!("\n{stored} entries, {BANNED} of them invalidated by one pattern");
    let row = |label: &str, measured: Duration, goal: Option<Duration>| {
        let goal = goal.map_or_else(String::new, |goal| format!("≤ {}", in_ns(goal)));
        println!("{label:<74} {:>10} {goal:>10}", in_ns(measured));
    };
    let label = "a pattern invalidated and acknowledged, the median of 101";
    let goal = Duration::from_micros(15);
    row(label, invalidations.quantile(0.5), Some(goal));
    let steps = store.steps.lock().unwrap_or_else(PoisonError::into_inner);
    let label = format!("longest of {} steps of the sweep", steps.took.len());
    row(&label, steps.longest(&hits.delayed), Some(MOST));
    row(
        "half of them take no longer than",
        steps.quantile(0.5),
        None,
    );
    let label = format!("slowest of {} hits meanwhile", hits.took.len());
    row(&label, hits.longest(&steps.delayed), Some(MOST));
    let label = format!(
        "slowest of {} beside a thread that counts",
        before.took.len()
    );
    row(&label, before.longest(&[]), None);
    for (label, part) in [("half", 0.5), ("99.9 %", 0.999), ("99.99 %", 0.9999)] {
        let label = format!("{label} of the hits meanwhile take no longer than");
        row(&label, hits.quantile(part), None);
    }
    println!(
        "kept waiting by the scheduler: {} steps, {} hits meanwhile, {} before",
        steps.delayed.len(),
        hits.delayed.len(),
        before.delayed.len()
    );
    println!(
        "all of them removed after {:.1} s; resident: {} MiB empty, {} MiB full, {} MiB then",
        swept.as_secs_f64(),
        empty / 1024,
        full / 1024,
        resident() / 1024
    );
}

/// Shows how much of the slowest times is due to this machine.
fn beside_a_thread_that_counts(mut hit_all: impl FnMut(&mut Measured)) -> Measured {
    let is_done = AtomicBool::new(false);
    let mut hits = Measured::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        (0..5_000).for_each(|_| hit_all(&mut hits));
        is_done.store(true, Ordering::Relaxed);
    });
    hits
}

/// A memory store that measures the steps of its sweep.
#[derive(Debug)]
struct Timed {
    store: MemoryStore,
    steps: Mutex<Measured>,
    /// True once a round over the whole store is complete.
    is_done: AtomicBool,
}

impl Default for Timed {
    fn default() -> Self {
        Self {
            store: MemoryStore::new(2 << 30),
            steps: Mutex::default(),
            is_done: AtomicBool::new(false),
        }
    }
}

impl Store for Timed {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.store.get(key)
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.store.put(key, stored)
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.store.remove(key)
    }

    fn log(&self) -> &Log {
        self.store.log()
    }

    fn sweep(&self) -> bool {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.look();
        let more = steps.measure(|| self.store.sweep());
        self.is_done.store(!more, Ordering::Release);
        more
    }

    fn visit(&self, visitor: &mut dyn FnMut(KeyRef<'_>, &StoredResponse)) -> bool {
        self.store.visit(visitor)
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

/// The durations of something repeated on one thread.
#[derive(Debug, Default)]
struct Measured {
    took: Vec<u32>,
    /// The slow ones, with their durations without the scheduler's delays.
    slow: Vec<(Span, Duration)>,
    /// Those that the scheduler delayed.
    delayed: Vec<Span>,
    /// The scheduler's total delay of this thread when it was last read.
    delay: Duration,
}

type Span = (Instant, Instant);

/// The duration below which the scheduler's delay is not read.
const SLOW: Duration = Duration::from_micros(100);

impl Measured {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        let ended = Instant::now();
        let took = ended - began;
        self.took
            .push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
        if took > SLOW {
            let delay = self.look();
            self.slow.push(((began, ended), took.saturating_sub(delay)));
            if !delay.is_zero() {
                self.delayed.push((began, ended));
            }
        }
        done
    }

    /// Returns the scheduler's delay of this thread since it was last read.
    fn look(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.delay, delay());
        self.delay.saturating_sub(before)
    }

    /// Returns the longest of those that were not beside any of `others`.
    fn longest(&self, others: &[Span]) -> Duration {
        let beside = |one: &Span| {
            others
                .iter()
                .any(|other| one.0 < other.1 && other.0 < one.1)
        };
        let alone = self.slow.iter().filter(|(span, _)| !beside(span));
        let longest = alone.map(|(_, took)| *took).max();
        // If there is none, all but those few took less than that.
        longest.unwrap_or(SLOW)
    }

    fn quantile(&self, part: f64) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = (took.len().saturating_sub(1) as f64 * part) as usize;
        Duration::from_nanos(took.get(at).copied().unwrap_or_default().into())
    }
}

/// Returns how long this thread was ready but did not run; zero if that is unknown.
fn delay() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = schedstat.split_whitespace().nth(1);
    Duration::from_nanos(waited.and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Requests every response that stays once.
fn hit_all<S, B>(service: &mut S, hits: &mut Measured)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    hits.look();
    for n in 0..HOT {
        let request = request(&format!("/hot/{n}"));
        let answer = hits.measure(|| poll_once(pin!(service.call(request))));
        let says = |answer: &Response<B>| answer.headers()["x-cache"] == "HIT";
        assert!(answer.is_some_and(|answer| answer.is_ok_and(|answer| says(&answer))));
    }
}

fn layer(store: Arc<Timed>) -> (CacheLayer, tower_response_cache::CacheHandle) {
    let policy = Policy::ttl(Duration::from_secs(3600));
    let layer = CacheLayer::builder()
        .shared_store(store)
        .routes(Routes::new().route("/{*all}", policy))
        .build()
        .expect("a layer");
    let handle = layer.handle();
    (layer, handle)
}

/// The smallest body: the more responses a shard has, the longer a step takes.
fn answer(_: Request<Body>) -> Ready<Result<Response<Full<bytes::Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("x"))))
}

fn request(path: &str) -> Request<Body> {
    let request = Request::get(path).header("host", "bench");
    request.body(Body::new()).expect("a request")
}

async fn get<S, B>(service: &mut S, path: &str)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    use http_body_util::BodyExt as _;
    let Ok(response) = service
        .ready()
        .await
        .expect("ready")
        .call(request(path))
        .await;
    let _ = response.into_body().collect().await;
}

/// Polls a future that is ready at once.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn in_ns(duration: Duration) -> String {
    shown(duration.as_nanos() as f64)
}
