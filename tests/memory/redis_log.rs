//! A thousand different patterns a second, for as long as one likes: neither Redis nor the nodes grow.
//!
//! `GROWTH_SECONDS=600 cargo test --release --test memory redis_log -- --nocapture` is the long form,
//! with logs of the usual size.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tower_response_cache::{
    CacheLayer, Invalidation, NearCache, Pattern, Policy, RedisStore, RedisStoreBuilder, Routes,
    Store, TieredStore,
};

use crate::alone;
use crate::support::redis::Redis;
use crate::support::{Bench, MINUTE, Origin, respond};

const PATTERNS_A_SECOND: u32 = 1_000;

const PAUSE: Duration = Duration::from_millis(10);

const SAMPLES: u32 = 40;

/// By how much may differ what is the same: what an allocator keeps back, and a table that grew.
const SLACK: u64 = 4 << 20;

fn duration() -> Duration {
    let seconds = std::env::var("GROWTH_SECONDS").ok();
    Duration::from_secs(seconds.map_or(4, |seconds| seconds.parse().unwrap()))
}

/// Memory of a process that is really there, in bytes.
fn resident(pid: u32) -> u64 {
    let output = Command::new("ps")
        .args(["-o", "rss=", "-p", &pid.to_string()])
        .output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    output.trim().parse::<u64>().unwrap() << 10
}

fn store(redis: &Redis, capacity: usize) -> RedisStoreBuilder {
    RedisStore::builder()
        .url(format!("redis://{}", redis.address()))
        .log_capacity(capacity)
        .deadline(MINUTE)
}

/// Of all kinds, and none twice.
fn pattern(number: u32) -> Invalidation {
    let pattern = |text: String| Pattern::parse(&text).unwrap().into();
    match number % 4 {
        0 => Invalidation::uri(format!("/catalog/books/items/{number}")),
        1 => Invalidation::tag(format!("catalog-{number}")),
        2 => pattern(format!("/catalog/books/{number}/**")),
        _ => pattern(format!("/catalog/*/items/{number}/parts")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_redis_nor_the_nodes_grow_with_what_is_invalidated() {
    alone!(neither_redis_nor_the_nodes_grow_with_what_is_invalidated);
    let (duration, redis) = (duration(), Redis::start());
    let capacity = match duration >= MINUTE {
        true => 10_000,
        false => 500,
    };
    let writer = store(&redis, capacity).build().unwrap();
    let near = TieredStore::builder()
        .redis(store(&redis, capacity))
        .near_cache(NearCache::Strict)
        .build()
        .unwrap();
    writer.ready().await;
    near.ready().await;
    let origin = Origin::new(|_, _| async { respond(200, &[], vec![b'x'; 1 << 10]) });
    let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
    let layer = CacheLayer::builder().store(near).store_deadline(MINUTE);
    let reader = Bench::with_builder(layer.routes(routes), origin);

    let server: u32 = redis.info("process_id").parse().unwrap();
    let (mut number, mut hits, mut samples) = (0, 0, Vec::new());
    let began = Instant::now();
    for page in 0.. {
        tokio::time::sleep(PAUSE).await;
        // Each by an invalidation of its own, as writes would that come at the same time.
        let due = (began.elapsed().as_secs_f64() * f64::from(PATTERNS_A_SECOND)) as u32;
        let recorded =
            (number..due).map(|number| writer.shared_log().invalidate(&[pattern(number)]).get());
        for recorded in join_all(recorded).await {
            recorded.unwrap();
        }
        number = due;
        let answer = reader.get(&format!("/pages/{}", page % 10)).await;
        hits += u32::from(answer.x_cache() == "HIT");
        if began.elapsed() >= duration {
            break;
        }
        if began.elapsed() >= duration * samples.len() as u32 / SAMPLES {
            let length = redis.ask("ZCARD {tower-response-cache}:L").number();
            assert!(length <= capacity as i64 + 1, "{length} in the log");
            samples.push([resident(server), resident(std::process::id())]);
        }
    }
    let rate = f64::from(number) / began.elapsed().as_secs_f64();
    println!("{number} patterns, {rate:.0} a second, {hits} hits beside them, for {duration:?}");
    let mean = |of: usize, samples: &[[u64; 2]]| {
        let all: u64 = samples.iter().map(|sample| sample[of]).sum();
        all / samples.len() as u64
    };
    let quarter = samples.len() / 4;
    for (of, name) in ["Redis", "the process of both nodes"].iter().enumerate() {
        let mebibytes = samples.iter().map(|sample| sample[of] as f64 / 1_048_576.0);
        let mebibytes: Vec<_> = mebibytes.map(|size| format!("{size:.1}")).collect();
        println!("MiB of {name}: {}", mebibytes.join(" "));
        // In the first quarter logs fill.
        let early = mean(of, &samples[quarter..2 * quarter]);
        let late = mean(of, &samples[3 * quarter..]);
        let most = early + early / 20 + SLACK;
        assert!(late <= most, "{name} grew from {early} to {late} bytes");
    }
}
