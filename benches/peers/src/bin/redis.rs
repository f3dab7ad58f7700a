//! Measures the cost of a hit in Redis, compared with the client alone fetching the same bytes.
//!
//! `cargo run --release --bin redis` in this folder prints the tables, in about three minutes. It
//! starts a `redis-server` of its own on a free port.
//!
//! The raw GET uses fred, configured as in `RedisStore`: one connection, no delays. A hit of the store
//! fetches the entry and, on the same connection, asks whether anything was invalidated; concurrent
//! lookups share that question. `layer` is a whole request through the cache.
//!
//! - **µs** is processor time of this process per operation, user and system, as the kernel accounts
//!   it: the median of the rounds, in which all take turns. **raw** is the median over the rounds of
//!   the time divided by that of the raw GET in the same round.
//! - **p99** and **median** are the times that operations waited, over all rounds.
//! - **instructions** are callgrind's, of user code only, one operation after the other: the difference
//!   to a run with twice as many.

#[path = "../../../../tests/support/redis/mod.rs"]
mod servers;

use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, ConnectionConfig, TcpConfig};
use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::testing::store_contract::sample;
use tower_response_cache::{
    CacheLayer, Key, MemoryStore, NearCache, Policy, RedisStore, Routes, Store, TieredStore,
};

const AGAIN: &str = "--again";
const NAMESPACE: &str = "bench";
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// A deadline far longer than needed: this does not measure failures.
const PATIENCE: Duration = Duration::from_secs(10);

/// The operations measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Raw,
    Redis,
    Layer,
    Strict,
    Lease,
    Memory,
}

const ALL: [What; 6] = [
    What::Raw,
    What::Redis,
    What::Layer,
    What::Strict,
    What::Lease,
    What::Memory,
];

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw GET",
            Self::Redis => "RedisStore",
            Self::Layer => "RedisStore, layer",
            Self::Strict => "TieredStore, Strict",
            Self::Lease => "TieredStore, Lease",
            Self::Memory => "MemoryStore",
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [AGAIN, name, body, port, times] = words[..] {
        again(name, number(body), number(port) as u16, number(times));
        return ExitCode::SUCCESS;
    }
    if Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("redis-server is not installed: apt-get install redis-server");
        return ExitCode::FAILURE;
    }
    for body in [1 << 10, 64 << 10] {
        for at_once in [1, 32] {
            table(body, at_once);
        }
    }
    instructions_table(1 << 10);
    ExitCode::SUCCESS
}

fn number(word: &str) -> usize {
    word.parse().expect("only a number is given")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a timer and sockets are available")
}

fn table(body: usize, at_once: usize) {
    let redis = servers::Redis::start();
    let runtime = runtime();
    let operations = ALL.map(|what| runtime.block_on(operation(what, redis.port(), body)));
    let mut measured: [Measured; ALL.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (operation, measured) in operations.iter().zip(&mut measured) {
            runtime.block_on(round(operation, at_once, measured));
        }
    }
    println!(
        "\n| hit of {} KiB, {at_once} at once | µs | raw | median, µs | p99, µs | p99 over raw, ms |",
        body >> 10
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let late = measured[0].wait(0.99);
    for (row, what) in measured.iter().zip(ALL) {
        let ratio = row.cpu.iter().zip(&measured[0].cpu);
        println!(
            "| {} | {:.2} | {:.2} × | {:.1} | {:.1} | {:.3} |",
            what.name(),
            median(row.cpu.clone()),
            median(ratio.map(|(one, raw)| one / raw).collect()),
            row.wait(0.5),
            row.wait(0.99),
            (row.wait(0.99) - late) / 1_000.0,
        );
    }
}

fn instructions_table(body: usize) {
    let redis = servers::Redis::start();
    println!(
        "\n| hit of {} KiB, one after the other | instructions | raw |",
        body >> 10
    );
    println!("|---|---:|---:|");
    let mut raw = None;
    for what in ALL {
        let Some(counted) = instructions(what, body, redis.port()) else {
            return println!("valgrind is not installed: nothing can be counted");
        };
        let raw = *raw.get_or_insert(counted);
        println!(
            "| {} | {counted:.0} | {:.2} × |",
            what.name(),
            counted / raw
        );
    }
}

/// The durations of the rounds of one operation.
#[derive(Default)]
struct Measured {
    /// Microseconds of processor time per operation, for each round.
    cpu: Vec<f64>,
    /// Nanoseconds that each operation waited.
    waits: Vec<u32>,
}

impl Measured {
    /// Returns the microseconds that all but a share of the operations waited at most.
    fn wait(&self, part: f64) -> f64 {
        let mut waits = self.waits.clone();
        let at = (waits.len() as f64 * part) as usize;
        let (_, wait, _) = waits.select_nth_unstable(at);
        f64::from(*wait) / 1_000.0
    }
}

type Operation = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

async fn round(operation: &Operation, at_once: usize, measured: &mut Measured) {
    let (before, deadline) = (cpu(), Instant::now() + ROUND);
    let repeat = |operation: Operation| async move {
        let mut waits = Vec::new();
        let mut now = Instant::now();
        while now < deadline {
            operation().await;
            let then = std::mem::replace(&mut now, Instant::now());
            waits.push((now - then).as_nanos().min(u128::from(u32::MAX)) as u32);
            if waits.len() % 256 == 0 {
                // An operation that answers at once lets no other task run.
                tokio::task::yield_now().await;
            }
        }
        waits
    };
    let tasks: Vec<_> = (0..at_once)
        .map(|_| tokio::spawn(repeat(operation.clone())))
        .collect();
    let mut count = 0;
    for task in tasks {
        let waits = task.await.expect("no operation panics");
        count += waits.len();
        measured.waits.extend(waits);
    }
    measured.cpu.push((cpu() - before) * 1e6 / count as f64);
}

/// Returns the processor seconds of this process so far.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    // The kernel reports hundredths of a second, whatever it measures in.
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("it is a number"))
        .sum::<f64>()
        / 100.0
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Connects, stores the entry, and returns the operation.
async fn operation(what: What, port: u16, body: usize) -> Operation {
    let url = format!("redis://127.0.0.1:{port}");
    let redis = || {
        RedisStore::builder()
            .url(&url)
            .namespace(NAMESPACE)
            .deadline(PATIENCE)
    };
    let tiered = |mode| {
        TieredStore::builder()
            .redis(redis())
            .near_cache(mode)
            .build()
            .expect("a good URL")
    };
    match what {
        What::Raw => raw(&url, body).await,
        What::Redis => {
            let store = redis().build().expect("a good URL");
            store.ready().await;
            hits(store, body).await
        }
        What::Layer => {
            let store = redis().build().expect("a good URL");
            store.ready().await;
            layer(store, body).await
        }
        What::Strict => hits(tiered(NearCache::Strict), body).await,
        What::Lease => hits(tiered(NearCache::Lease(Duration::from_millis(100))), body).await,
        What::Memory => hits(MemoryStore::new(64 << 20), body).await,
    }
}

/// Makes a GET of as many bytes as the store keeps in Redis for such a response.
async fn raw(url: &str, body: usize) -> Operation {
    let connection = ConnectionConfig {
        tcp: TcpConfig {
            nodelay: Some(true),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    };
    let config = Config::from_url(url).expect("a good URL");
    let client = Client::new(config, None, Some(connection), None);
    client.init().await.expect("Redis was there a moment ago");
    // The headers, and the store's own metadata.
    let bytes = Bytes::from(vec![b'x'; body + 400]);
    client
        .set::<(), _, _>("raw", bytes, None, None, false)
        .await
        .expect("it is stored");
    Arc::new(move || {
        let client = client.clone();
        Box::pin(async move {
            let bytes: Option<Bytes> = client.get("raw").await.expect("Redis answers");
            assert!(bytes.is_some_and(|bytes| !bytes.is_empty()));
        })
    })
}

/// Makes a lookup of a stored response.
async fn hits(store: impl Store, body: usize) -> Operation {
    let store = Arc::new(store);
    let key = loop {
        let (key, stored) = sample(store.log(), "/articles/7", vec![b'x'; body].into());
        store
            .put(key.clone(), stored)
            .get()
            .await
            .expect("it is stored");
        // A tiered store connects in the background.
        if found(&*store, &key).await {
            break key;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    Arc::new(move || {
        let (store, key) = (store.clone(), key.clone());
        Box::pin(async move { assert!(found(&*store, &key).await, "it is gone") })
    })
}

async fn found(store: &impl Store, key: &Key) -> bool {
    matches!(store.get(key.borrow()).get().await, Ok(Some(_)))
}

/// Makes a request through the cache that reads the response to its end.
async fn layer(store: impl Store, body: usize) -> Operation {
    let text = Bytes::from(vec![b'x'; body]);
    let router = Router::new().route(
        "/articles/{id}",
        get(move || std::future::ready(text.clone())),
    );
    let cache = CacheLayer::builder()
        .store(store)
        .store_deadline(PATIENCE)
        .routes(Routes::new().route("/articles/{id}", Policy::ttl(Duration::from_secs(3_600))))
        .build()
        .expect("the route is a good one");
    let service = cache.layer(router.with_state::<()>(()));
    let ask = move || {
        let request = Request::get("/articles/7").header("host", "shop.example.com");
        let request = request.body(Body::empty()).expect("a good request");
        let response = service.clone().oneshot(request);
        async move {
            let response = response.await.unwrap_or_else(|never| match never {});
            let hit = response
                .headers()
                .get("x-cache")
                .is_some_and(|value| value == "HIT");
            let read = response.into_body().collect().await.is_ok();
            hit && read
        }
    };
    while !ask().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Arc::new(move || {
        let asked = ask();
        Box::pin(async move { assert!(asked.await, "no hit") })
    })
}

/// Counts with callgrind; the server runs outside.
fn instructions(what: What, body: usize, port: u16) -> Option<f64> {
    let times = match what {
        What::Memory | What::Lease => 20_000,
        _ => 1_000,
    };
    let run = |times: usize| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(env::current_exe().ok()?)
            .args([
                AGAIN,
                what.name(),
                &body.to_string(),
                &port.to_string(),
                &times.to_string(),
            ])
            .output()
            .ok()?;
        let report = String::from_utf8(output.stderr).ok()?;
        let (_, collected) = report.split_once("Collected :")?;
        collected
            .split_ascii_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    };
    Some((run(2 * times)? - run(times)?) / times as f64)
}

/// Runs one operation this many times, under callgrind.
fn again(name: &str, body: usize, port: u16, times: usize) {
    let what = ALL
        .into_iter()
        .find(|what| what.name() == name)
        .expect("only a name is given");
    runtime().block_on(async {
        let operation = operation(what, port, body).await;
        for _ in 0..times {
            operation().await;
        }
    });
}
