//! How long requests wait for a Redis that does not answer, and how soon it is of use again. Apart from
//! the other tests of Redis, because they would be timed as well.
//!
//! `cargo test --test redis_bounds -- --nocapture` prints the figures. What a busy machine adds is told
//! from what the cache adds by timers and bare handlers beside the requests; a round in which the
//! machine had no time is followed by another.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tower::ServiceExt;
use tower_response_cache::{CacheLayer, NearCache, Policy, RedisStore, Routes, Store, TieredStore};

use crate::support::fault_proxy::{Door, FaultProxy, Way};
use crate::support::redis::Redis;
use crate::support::{Bench, MINUTE, Origin, request};

/// The default of the store and of the layer.
const DEADLINE: Duration = Duration::from_millis(50);

/// What may come to the deadline, and to a bare handler while Redis is given up.
const MORE: Duration = Duration::from_millis(5);

/// When hits are to be back.
const RECOVERY: Duration = Duration::from_secs(2);

/// So many requests wait at the same time.
const TOGETHER: usize = 10;

const ROUNDS: usize = 12;

/// What becomes of Redis, and how it comes back.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It is stopped in the middle of whatever it does.
    Stalled,
    /// What is sent is lost, on connections that stay open.
    Silent,
    /// Connections end, and new ones are accepted and never answer.
    BlackHole,
}

impl Trouble {
    fn begin(self, redis: &Redis, proxy: &FaultProxy) {
        match self {
            Self::Stalled => redis.stall(),
            Self::Silent => {
                proxy.set_stalled(Way::ToTarget, true);
                proxy.set_stalled(Way::ToClient, true);
            }
            Self::BlackHole => {
                proxy.set_door(Door::BlackHole);
                proxy.reset();
            }
        }
    }

    fn end(self, redis: &Redis, proxy: &FaultProxy) {
        match self {
            Self::Stalled => redis.resume(),
            Self::Silent | Self::BlackHole => proxy.heal(),
        }
    }
}

struct Site {
    bench: Bench,
    bare: Origin,
    next: usize,
}

/// What a round came to: how much longer than the deadline a request waited at the most; how much
/// longer than a bare handler's the slowest hundredth took while Redis was given up; and after what
/// time there was a hit again.
#[derive(Debug)]
struct Round {
    over_deadline: Duration,
    over_bare: Duration,
    recovery: Duration,
}

impl Round {
    fn is_good(&self) -> bool {
        self.over_deadline <= MORE && self.over_bare <= MORE && self.recovery <= RECOVERY
    }
}

impl Site {
    fn unused(store: impl Store) -> Self {
        let routes = Routes::new().otherwise(Policy::ttl(MINUTE));
        let builder = CacheLayer::builder().store(store).routes(routes);
        Self {
            bench: Bench::with_builder(builder, Origin::counting()),
            bare: Origin::counting(),
            next: 0,
        }
    }

    async fn over(store: impl Store) -> Self {
        let site = Self::unused(store);
        site.hit().await;
        site
    }

    /// Asks until there is a hit, and returns how long that took.
    async fn hit(&self) -> Duration {
        let began = Instant::now();
        while self.bench.get("/known").await.x_cache() != "HIT" {
            assert!(began.elapsed() < MINUTE, "never a hit");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }

    /// Reads and a write at the same time. Returns by how much the slowest outlasted the deadline, or a
    /// timer for it if that was later.
    async fn wait_together(&mut self) -> Duration {
        let began = Instant::now();
        let requests = (0..TOGETHER).map(|number| {
            self.next += 1;
            let (method, uri) = match number {
                0 => ("PUT", format!("/things/{}", self.next)),
                1 => ("GET", "/known".to_owned()),
                _ => ("GET", format!("/things/{}", self.next)),
            };
            let asked = self.bench.ask(request(method, &uri, &[]));
            async move {
                asked.await;
                began.elapsed()
            }
        });
        let timer = async {
            tokio::time::sleep(DEADLINE).await;
            began.elapsed()
        };
        let (took, timer) = join(join_all(requests), timer).await;
        took.into_iter().max().unwrap().saturating_sub(timer)
    }

    async fn round(&mut self, trouble: Trouble, redis: &Redis, proxy: &FaultProxy) -> Round {
        trouble.begin(redis, proxy);
        let mut over_deadline = Duration::ZERO;
        for _ in 0..10 {
            over_deadline = over_deadline.max(self.wait_together().await);
        }
        // By now it is given up.
        let (mut through, mut bare) = (Vec::new(), Vec::new());
        for number in 0..500 {
            let uri = format!("/things/{number}");
            let began = Instant::now();
            let answer = self.bench.get(&uri).await;
            through.push(began.elapsed());
            assert_eq!(
                answer.x_cache(),
                "BYPASS",
                "{trouble:?}: it is asked all the same"
            );
            let began = Instant::now();
            let asked = self.bare.clone().oneshot(request("GET", &uri, &[])).await;
            bare.push((asked.unwrap(), began.elapsed()).1);
            if number % 50 == 0 {
                // Longer than the pause between two probes, all in all.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let p99 = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() * 99 / 100]
        };
        let over_bare = p99(through).saturating_sub(p99(bare));
        trouble.end(redis, proxy);
        Round {
            over_deadline,
            over_bare,
            recovery: self.hit().await,
        }
    }
}

async fn keeps_to_its_bounds(trouble: Trouble) {
    let redis = Redis::start();
    let proxy = FaultProxy::start(redis.address()).await;
    let far = || RedisStore::builder().url(format!("redis://{}", proxy.address()));
    let near = TieredStore::builder()
        .redis(far())
        .near_cache(NearCache::Strict);
    let mut sites = [
        ("Redis", Site::over(far().build().unwrap()).await),
        ("tiered", Site::over(near.build().unwrap()).await),
    ];
    for (name, site) in &mut sites {
        let mut rounds = Vec::new();
        while rounds.last().is_none_or(|last: &Round| !last.is_good()) {
            assert!(rounds.len() < ROUNDS, "{trouble:?}, {name}: {rounds:#?}");
            rounds.push(site.round(trouble, &redis, &proxy).await);
            println!("{trouble:?}, {name}: {:?}", rounds.last().unwrap());
        }
    }
}

#[tokio::test]
async fn a_stalled_redis_holds_nobody_up() {
    keeps_to_its_bounds(Trouble::Stalled).await;
}

#[tokio::test]
async fn connections_that_fall_silent_hold_nobody_up() {
    keeps_to_its_bounds(Trouble::Silent).await;
}

#[tokio::test]
async fn connecting_to_a_black_hole_holds_nobody_up() {
    keeps_to_its_bounds(Trouble::BlackHole).await;
}

#[tokio::test]
async fn a_service_that_starts_beside_a_black_hole_waits_for_nothing() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(redis.address()).await;
    for round in 1.. {
        proxy.set_door(Door::BlackHole);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let store = RedisStore::builder().url(format!("redis://{}", proxy.address()));
        let site = Site::unused(store.build().unwrap());
        let mut quickest = Duration::MAX;
        for _ in 0..200 {
            let asked = Instant::now();
            assert_eq!(site.bench.get("/known").await.x_cache(), "BYPASS");
            quickest = quickest.min(asked.elapsed());
            tokio::time::sleep(MORE).await;
        }
        proxy.heal();
        let recovery = site.hit().await;
        println!("from the start: {quickest:?} a request at best; a hit after {recovery:?}");
        if quickest <= MORE && recovery <= RECOVERY {
            break;
        }
        assert!(round < ROUNDS, "{quickest:?}, {recovery:?}");
    }
}
