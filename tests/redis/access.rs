//! Ways in to Redis: TLS, a socket, passwords, and as few rights as the documentation says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use fred::prelude::{Builder, ClientLike, Config, ReconnectPolicy};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tower_response_cache::{
    CacheLayer, Invalidation, NearCache, Policy, RedisStore, RedisStoreBuilder, Routes, Store,
    TieredStore,
};

use crate::support::programs::{self, Program};
use crate::support::redis::{self, Cluster, Redis, wait_for};
use crate::support::{Bench, MINUTE, Origin, logs};

/// What the documentation says about running Redis.
const PAGE: &str = include_str!("../../src/docs/redis.md");

/// A folder that is removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bench(store: impl Store) -> Bench {
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    let builder = CacheLayer::builder().store(store).routes(routes);
    Bench::with_builder(builder, Origin::counting())
}

async fn hits_and_evicts(store: RedisStore) {
    tokio::time::timeout(Duration::from_secs(10), store.ready())
        .await
        .expect("a connection to Redis");
    let bench = bench(store);
    assert_eq!(bench.get("/a").await.x_cache(), "MISS");
    until_hit(&bench).await;
    bench.handle.invalidate_uri("/a").await.unwrap();
    assert_eq!(bench.get("/a").await.x_cache(), "MISS");
}

/// What is stored is on its way in the background.
async fn until_hit(bench: &Bench) {
    for _ in 0..200 {
        if bench.get("/a").await.x_cache() == "HIT" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing is stored");
}

/// Writes a certificate authority and a certificate of its own for `localhost`.
fn certificates(folder: &Folder) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = CertifiedIssuer::self_signed(authority, key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    fs::write(folder.path("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.path("server.pem"), server.pem()).unwrap();
    fs::write(folder.path("server.key"), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_a_server_whose_certificate_is_trusted() {
    let folder = Folder::new("redis-tls");
    certificates(&folder);
    let redis = Redis::start();
    let port = TcpListener::bind("localhost:0").unwrap().local_addr();
    let port = port.unwrap().port().to_string();
    let words = [
        "CONFIG SET tls-auth-clients no".to_owned(),
        format!("CONFIG SET tls-ca-cert-file {}", folder.path("ca.pem")),
        format!(
            "CONFIG SET tls-cert-file {} tls-key-file {}",
            folder.path("server.pem"),
            folder.path("server.key")
        ),
        format!("CONFIG SET tls-port {port}"),
    ];
    for words in words {
        redis.ask(&words);
    }
    let origin = programs::origin(Router::new().fallback(async || "here")).await;
    let url = format!("rediss://localhost:{port}");
    let args = ["--origin", &origin, "--store", &url, "--ttl", "/**=60"];
    let authority = folder.path("ca.pem");
    let trusting = Program::start_with("reverse_proxy", &args, &[("SSL_CERT_FILE", &authority)]);
    let began = Instant::now();
    while trusting.get("/a").await.x_cache() != "HIT" {
        assert!(began.elapsed() < Duration::from_secs(10), "no hit");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stored = redis.ask("KEYS *").texts();
    assert!(stored.iter().any(|key| key.contains(":e:")), "{stored:?}");

    // One that knows of another authority only goes on without.
    certificates(&folder);
    let doubting = Program::start_with("reverse_proxy", &args, &[("SSL_CERT_FILE", &authority)]);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let answer = doubting.get("/a").await;
        assert_eq!((answer.status(), &*answer.x_cache()), (200, "BYPASS"));
        assert!(
            answer.took < Duration::from_millis(900),
            "{:?}",
            answer.took
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_on_this_machine_will_do() {
    let folder = Folder::new("redis-socket");
    let socket = folder.path("s");
    let _redis = Redis::with(&["--unixsocket", &socket]);
    let store = RedisStore::builder().url(format!("unix://{socket}"));
    hits_and_evicts(store.build().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_there_already_is_used() {
    let redis = Redis::start();
    let config = Config::from_url(&format!("redis://{}", redis.address())).unwrap();
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_constant(0, 100));
    let client = builder.build().unwrap();
    client.init().await.unwrap();
    let store = RedisStore::builder().client(client.clone());
    hits_and_evicts(store.build().unwrap()).await;
    let tiered = TieredStore::builder().redis(RedisStore::builder().client(client.clone()));
    let tiered = tiered.build().unwrap();
    tiered.ready().await;
    wait_for("news to be listened for", || {
        let listening = redis.ask("PUBSUB NUMSUB {tower-response-cache}:P").texts();
        (listening[1] == "1").then_some(())
    });
    // What it was given stays the owner's.
    drop(tiered);
    client.ping::<String>(None).await.unwrap();
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_of_and_nothing_waits_until_it_is_right() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _listening = logs::listen(subscriber);
    let redis = Redis::start();
    redis.ask("CONFIG SET requirepass right");
    let store = RedisStore::builder().url(format!("redis://:secret@{}", redis.address()));
    let bench = bench(store.build().unwrap());
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(bench.get("/a").await.x_cache(), "BYPASS");
        assert!(asked.elapsed() < Duration::from_millis(200), "it waits");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = lines.text();
    assert!(
        said.contains("WARN") && said.contains("WRONGPASS"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(said.matches("WRONGPASS").count(), 1, "{said}");
    let mut connection = redis.connect();
    connection.ask("AUTH right").unwrap();
    connection.ask("CONFIG SET requirepass secret").unwrap();
    until_hit(&bench).await;
}

/// The rights that the page gives to a user, one by one.
fn rights() -> Vec<&'static str> {
    let line = PAGE.lines().find(|line| line.starts_with("ACL SETUSER"));
    let words = line.expect("a line for ACL SETUSER").split_whitespace();
    words.skip(3).collect()
}

/// Does all that a store can do, as a user with these rights.
async fn exercise(redis: &Redis, name: &str, rights: &[&str]) {
    let rights: Vec<_> = rights
        .iter()
        .map(|right| right.replace("shop", name))
        .collect();
    // What one has sent another need not send.
    redis.ask("SCRIPT FLUSH");
    redis.ask(&format!("ACL SETUSER {name} reset {}", rights.join(" ")));
    let url = format!("redis://{name}:password@{}", redis.address());
    let builder = || -> RedisStoreBuilder {
        let builder = RedisStore::builder().url(&url).namespace(name);
        let builder = builder.log_capacity(64).deadline(Duration::from_secs(1));
        builder.collapse_across_nodes(Duration::from_secs(1))
    };
    let tiered = TieredStore::builder().redis(builder());
    let tiered = tiered.near_cache(NearCache::Strict).build().unwrap();
    let near = TieredStore::builder().redis(builder()).build().unwrap();
    let bench = bench(tiered);
    let counters = bench.handle.counters("counters").unwrap().ttl(MINUTE);
    for round in 0..10 {
        bench.get(&format!("/{round}")).await;
        let _ = counters.increment(&round.to_string(), 1).await;
        let tags = (0..40).map(|tag| Invalidation::tag(format!("{round}:{tag}")));
        for tag in tags {
            if bench.handle.invalidate(tag).await.is_err() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(near);
}

/// What a user was refused: commands, keys, channels.
fn refused(redis: &Redis, user: &str) -> Vec<String> {
    let entries = redis.ask("ACL LOG 1000").array().into_iter();
    let entries = entries.map(redis::Reply::texts);
    let value = |entry: &[String], name: &str| {
        let at = entry.iter().position(|word| word == name).unwrap();
        entry[at + 1].clone()
    };
    entries
        .filter(|entry| value(entry, "username") == user)
        .map(|entry| format!("{} {}", value(&entry, "reason"), value(&entry, "object")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_on_the_page_suffice_and_none_of_them_is_needless() {
    let redis = Redis::start();
    redis.ask("CONFIG SET acllog-max-len 10000");
    let all = rights();
    exercise(&redis, "all", &all).await;
    assert_eq!(refused(&redis, "all"), Vec::<String>::new());
    let given = all
        .iter()
        .filter(|right| right.starts_with(['+', '~', '&']));
    let given: Vec<_> = given.collect();
    assert!(given.len() > 15, "{all:?}");
    let mut needless = Vec::new();
    for (number, &&left_out) in given.iter().enumerate() {
        let name = format!("user{number}");
        let others: Vec<_> = all
            .iter()
            .copied()
            .filter(|&right| right != left_out)
            .collect();
        let exercised = exercise(&redis, &name, &others);
        let _ = tokio::time::timeout(Duration::from_millis(700), exercised).await;
        if refused(&redis, &name).is_empty() {
            needless.push(left_out);
        }
    }
    assert_eq!(needless, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_two_rights_more_suffice() {
    let cluster = Cluster::start(5000);
    let rights = rights().join(" ");
    for node in &cluster.nodes {
        let more = "+cluster|slots +cluster|info";
        node.ask(&format!("ACL SETUSER cache reset {rights} {more}"));
    }
    let address = cluster.nodes[0].address();
    let store = RedisStore::builder().url(format!("redis-cluster://cache:password@{address}"));
    let store = store.namespace("shop").deadline(Duration::from_secs(1));
    hits_and_evicts(store.build().unwrap()).await;
    for node in &cluster.nodes {
        assert_eq!(refused(node, "cache"), Vec::<String>::new());
    }
}

/// Microseconds that the server takes for each call of the script, at the best of many short bursts:
/// on a busy machine it is interrupted in most. Stops when the goal is met.
fn script_time(redis: &Redis, goal: f64, mut command: impl FnMut() -> Vec<String>) -> f64 {
    let (mut best, mut connection) = (f64::MAX, redis.connect());
    for _ in 0..500 {
        let commands: Vec<_> = (0..100).map(|_| command()).collect();
        let commands: Vec<Vec<_>> = commands
            .iter()
            .map(|words| words.iter().map(String::as_bytes).collect())
            .collect();
        connection.ask("CONFIG RESETSTAT").unwrap();
        for reply in connection.pipeline(&commands).unwrap() {
            match reply {
                // The time, where nothing is new.
                redis::Reply::Integer(now) => assert!(now > 0),
                reply => assert_eq!(reply.array()[0].text(), "OK"),
            }
        }
        let line = redis.info("cmdstat_evalsha");
        let each = line.split("usec_per_call=").nth(1).unwrap();
        best = best.min(each.split(',').next().unwrap().parse().unwrap());
        if best <= goal {
            break;
        }
    }
    best
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_costs_what_the_page_says() {
    let redis = Redis::start();
    let url = format!("redis://{}", redis.address());
    let store = RedisStore::builder()
        .url(url)
        .namespace("shop")
        .deadline(MINUTE);
    let store = store.build().unwrap();
    store.ready().await;
    let uri = |number: usize| format!("/catalog/books/items/{number}");
    for first in (0..10_000).step_by(500) {
        let some = (first..first + 500).map(|number| Invalidation::uri(uri(number)));
        store
            .shared_log()
            .invalidate(&some.collect::<Vec<_>>())
            .get()
            .await
            .unwrap();
    }
    let bytes = redis.ask("MEMORY USAGE {shop}:L SAMPLES 0").number();
    let members = redis.ask("ZCARD {shop}:L").number();
    assert_eq!(members, 10_001);

    // What a store sends, as the script describes it.
    let script = include_str!("../../src/store/redis/follow.lua");
    let loaded = redis
        .connect()
        .send(&[b"SCRIPT", b"LOAD", script.as_bytes()]);
    let loaded = loaded.unwrap().text();
    let mark = redis.ask("ZRANGE {shop}:L -1 -1").texts().remove(0);
    let epoch = mark.split(' ').nth(1).unwrap();
    let asking_at = |position: u64| {
        let position = position.to_string();
        let words = [
            "EVALSHA", &loaded, "1", "{shop}:L", epoch, &position, "8192",
        ];
        words.map(str::to_owned).to_vec()
    };
    let asking = script_time(&redis, 10.0, || asking_at(20));
    let mut position = 20;
    let mut recording_of = |member: String| {
        let mut words = asking_at(position);
        position += 1;
        let more = [epoch, "10000", "", "{shop}:P", "1", &member];
        words.extend(more.map(str::to_owned));
        words
    };
    let mut next = 0;
    let mut numbers = || {
        next += 1;
        next
    };
    let again = script_time(&redis, 15.0, || {
        recording_of(format!("hp{}", uri(numbers() % 10_000)))
    });
    let new = script_time(&redis, 15.0, || {
        recording_of(format!("hp/new/{}", uri(numbers())))
    });
    let each = bytes as f64 / members as f64;
    println!(
        "a log of 10,000: {bytes} bytes, {each:.0} each; asking {asking:.1} µs, recording \
         {again:.1} µs what is there and {new:.1} µs what is new"
    );
    assert!(each <= 200.0, "{each} bytes each");
    assert!(asking <= 10.0, "{asking} µs to ask");
    assert!(again <= 15.0 && new <= 15.0, "{again}, {new} µs to record");
}
