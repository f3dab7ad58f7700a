//! One schedule: two or three nodes, requests, writes, and accidents of the server and the network.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_layer::Layer;
use tower_service::Service;

use super::dice::Dice;
use super::network::{DEADLINE, Network, Weather};
use super::server::Limits;
use super::world::{Tally, Version, World};
use crate::invalidate::{Invalidation, Log};
use crate::store::redis::follower::Follower;
use crate::store::redis::names::Names;
use crate::store::{MemoryStore, NearCache, RedisStore, Store, TieredStore};
use crate::{CacheHandle, CacheLayer, Evict, Policy, Routes};

/// The resources, by their number.
const TARGETS: [&str; 4] = ["/x/0", "/x/1", "/d/2/a", "/d/2/b"];
const ALL: &[usize] = &[0, 1, 2, 3];

/// The URIs that can be written to, and the resources that each changes.
const WRITES: [(&str, &[usize]); 6] = [
    ("/x/0", &[0]),
    ("/tagged/1", &[1]),
    ("/d/2/a", &[2]),
    ("/below/2", &[2, 3]),
    ("/x/1", &[1]),
    ("/all", ALL),
];

/// No request takes longer, whatever happens.
const PATIENCE: Duration = Duration::from_secs(2);

/// The whole of one schedule.
struct Schedule {
    dice: Dice,
    world: Arc<World>,
    network: Arc<Network>,
    sites: Vec<Site>,
    tasks: Vec<JoinHandle<()>>,
    /// How many of the resources are requested.
    targets: usize,
    /// Set if in quick succession.
    is_dense: bool,
}

/// One node with the whole cache over it.
#[derive(Clone)]
struct Site {
    number: usize,
    cache: crate::Cache<Handler>,
    handle: CacheHandle,
    follower: Arc<Follower>,
    /// How far it may lag behind the writes of others.
    lag: Duration,
    alone: bool,
}

/// Runs a schedule, and returns its totals, or what went wrong and everything that led to it.
pub(super) fn run(seed: u64, traced: bool) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(Dice::new(seed), traced);
        schedule.go().await;
        schedule.end().await
    })
}

impl Schedule {
    fn new(mut dice: Dice, traced: bool) -> Self {
        let nodes = dice.pick(&[2, 2, 3]);
        let world = World::new(TARGETS.len(), traced);
        let network = Network::new(nodes, dice.split());
        let lease = Duration::from_millis(dice.pick(&[20, 60, 100]));
        let mode = match dice.below(8) {
            0 | 1 => None,
            2 | 3 => Some(NearCache::Strict),
            4 | 5 => Some(NearCache::Lease(lease)),
            _ => Some(NearCache::LeaseAndWait(lease)),
        };
        let alone = mode.is_some() && dice.percent(25);
        let limits = Limits {
            capacity: dice.pick(&[8, 16, 1000]),
            most_reported: dice.pick(&[4, 1000]),
        };
        let collapse = dice.percent(25).then_some(Duration::from_millis(100));
        let settings = Settings {
            mode,
            alone,
            limits,
            collapse,
            ttl: Duration::from_secs(dice.pick(&[1, 60, 60])),
            stale: Duration::from_secs(dice.pick(&[0, 10])),
        };
        world.note(|| format!("{nodes} nodes, {settings:?}"));
        let sites = (0..nodes)
            .map(|number| settings.site(number, &network, &world, dice.split()))
            .collect();
        Self {
            sites,
            targets: dice.pick(&[1, 2, 4, 4]),
            is_dense: dice.percent(30),
            dice,
            world,
            network,
            tasks: Vec::new(),
        }
    }

    async fn go(&mut self) {
        let steps = 60 + self.dice.below(if self.is_dense { 300 } else { 100 });
        for _ in 0..steps {
            self.step();
            let pause = match self.dice.below(100) {
                0 => 1500,
                1..5 => 200,
                5..50 if !self.is_dense => 20,
                _ => 4,
            };
            sleep(Duration::from_millis(self.dice.below(pause) as u64)).await;
        }
    }

    fn step(&mut self) {
        let site = self.sites[self.dice.below(self.sites.len())].clone();
        let target = self.dice.below(self.targets);
        let write = match self.targets {
            1 => 0,
            _ => self.dice.below(WRITES.len()),
        };
        let world = self.world.clone();
        match self.dice.below(100) {
            0..60 => self.spawn(site.read(world, target)),
            60..75 => self.spawn(site.write(world, write)),
            75..81 => self.spawn(site.invalidate(world, target)),
            // Matches nothing stored, but fills the log.
            81..86 => {
                let tag = Invalidation::tag(format!("other:{}", self.dice.below(50)));
                self.spawn(async move {
                    let _ = site.handle.invalidate(tag).await;
                });
            }
            86..89 => self.abort_one(),
            89..92 => site.follower.follow_soon(),
            92..95 => {
                let what = self.network.lock().strike();
                self.world.note(|| what.to_owned());
                self.world.lock().tally.strikes += 1;
            }
            95..96 => self.network.lock().remember(),
            96..97 => {
                self.network.lock().heal();
                self.world.note(|| "all is well".to_owned());
            }
            _ => self.change_weather(),
        }
    }

    fn change_weather(&mut self) {
        let kinds = [
            Weather::Calm,
            Weather::Slow,
            Weather::Rough,
            Weather::Silent,
            Weather::Cut,
        ];
        let weather = self.dice.pick(&kinds);
        let nodes = self.sites.len();
        let one = self.dice.percent(50).then(|| self.dice.below(nodes));
        for node in 0..nodes {
            if one.is_none_or(|one| one == node) {
                self.network.lock().weather[node] = weather;
            }
        }
        self.world
            .note(|| format!("{weather:?} for {one:?} (all if none)"));
    }

    /// A client goes away.
    fn abort_one(&mut self) {
        if !self.tasks.is_empty() {
            let chosen = self.dice.below(self.tasks.len());
            self.tasks[chosen].abort();
        }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// All is well again: every request ends, every node comes back, and everything that was ever
    /// written is known to all.
    async fn end(mut self) -> Result<Tally, String> {
        self.network.lock().heal();
        self.world.note(|| "all is well, to the end".to_owned());
        for task in std::mem::take(&mut self.tasks) {
            let ended = timeout(2 * PATIENCE, task).await;
            if ended.is_err() {
                self.world.violated("a request does not end".to_owned());
            }
        }
        // A probe every 200 ms at the least, what is pending, and the longest lease.
        sleep(Duration::from_secs(1)).await;
        for site in self.sites.clone() {
            if site.follower.is_down() {
                self.world
                    .violated(format!("node {} does not come back", site.number));
            }
            for target in 0..TARGETS.len() {
                let version = site.get(target).await.0;
                let owed = self.world.read(target);
                if version < owed {
                    self.world.violated(format!(
                        "at the end node {} serves version {version} of {target}, not {owed}",
                        site.number
                    ));
                }
            }
        }
        let mut tally = self.world.lock().tally;
        for site in &self.sites {
            tally.outages += site.follower.outages();
            tally.epochs += site.follower.health(Duration::ZERO).epoch_changes;
        }
        let violation = self.world.lock().violation.take();
        match violation {
            Some(what) => Err(format!("{}\n{what}", self.world.trace())),
            None => Ok(tally),
        }
    }
}

/// How all nodes of one schedule are set up.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// Redis alone where there is none.
    mode: Option<NearCache>,
    alone: bool,
    limits: Limits,
    collapse: Option<Duration>,
    ttl: Duration,
    stale: Duration,
}

impl Settings {
    fn site(self, number: usize, network: &Arc<Network>, world: &Arc<World>, dice: Dice) -> Site {
        let mode = self.mode.unwrap_or(NearCache::Strict);
        let tiered = TieredStore::builder()
            .memory(MemoryStore::builder().max_bytes(1 << 20))
            .near_cache(mode)
            .serve_unsynchronised_while_redis_is_down(self.alone);
        let follower = Follower::start(
            Arc::new(network.line(number, self.limits)),
            Log::with_capacity(2 * self.limits.capacity),
            tiered.needs().ack_delay,
            tokio::runtime::Handle::current(),
        );
        let redis = RedisStore::over(follower.clone(), Names::new("sim"), self.collapse, None);
        let store: Arc<dyn Store> = match self.mode {
            Some(_) => Arc::new(tiered.over(redis).unwrap()),
            None => Arc::new(redis),
        };
        let layer = CacheLayer::builder()
            .shared_store(store)
            .store_deadline(DEADLINE)
            .routes(self.routes())
            .build()
            .unwrap();
        let handler = Handler {
            world: world.clone(),
            dice: Arc::new(Mutex::new(dice)),
        };
        Site {
            number,
            handle: layer.handle(),
            cache: layer.layer(handler),
            follower,
            lag: match mode {
                NearCache::Lease(lease) => lease,
                NearCache::Strict | NearCache::LeaseAndWait(_) => Duration::ZERO,
            },
            alone: self.alone,
        }
    }

    fn routes(&self) -> Routes {
        let policy = || Policy::ttl(self.ttl).stale_while_revalidate(self.stale);
        Routes::new()
            .route("/x/{id}", policy().tag("x:{id}"))
            .route("/d/{*rest}", policy())
            .on_write("/tagged/{id}", Evict::tag("x:{id}"))
            .on_write("/below/{id}", Evict::pattern("/d/{id}/**"))
            .on_write("/all", Evict::everything())
    }
}

impl Site {
    /// Makes a request, and checks that its answer is not too old.
    async fn read(self, world: Arc<World>, target: usize) {
        // Alone, a node does not know of the others' writes.
        let (was_down, outages_before) = (self.follower.is_down(), self.follower.outages());
        let (owed, own) = (
            world.owed(self.number, target, Some(self.lag)),
            world.owed(self.number, target, None),
        );
        let (version, hit) = self.get(target).await;
        let is_alone = self.alone && (was_down || self.follower.outages() != outages_before);
        let owed = match is_alone {
            true => own,
            false => owed,
        };
        let number = self.number;
        world.note(|| format!("node {number} serves {version} of {target}, hit: {hit}"));
        if version < owed {
            world.violated(format!(
                "node {number} serves version {version} of {target}, not {owed}"
            ));
        }
        let mut state = world.lock();
        state.tally.reads += 1;
        state.tally.hits += u64::from(hit);
    }

    async fn get(&self, target: usize) -> (Version, bool) {
        let response = self.send(Method::GET, TARGETS[target]).await;
        let hit = response.headers()["x-cache"] == "HIT";
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let version = str::from_utf8(&body).unwrap().parse().unwrap();
        (version, hit)
    }

    async fn write(self, world: Arc<World>, write: usize) {
        let (uri, touched) = WRITES[write];
        let response = self.send(Method::PUT, uri).await;
        let status = response.headers()["cache-status"].to_str().unwrap();
        let acknowledged = !status.contains("invalidation-pending");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let version = str::from_utf8(&body).unwrap().parse().unwrap();
        self.written(&world, touched, version, acknowledged);
    }

    /// Changes something without a request, and invalidates it by hand.
    async fn invalidate(self, world: Arc<World>, target: usize) {
        let version = world.write(&[target]);
        let acknowledged = self.handle.invalidate_uri(TARGETS[target]).await.is_ok();
        self.written(&world, &[target], version, acknowledged);
    }

    fn written(&self, world: &World, touched: &[usize], version: Version, acknowledged: bool) {
        let number = self.number;
        world.note(|| {
            format!("node {number} wrote {version} of {touched:?}, acknowledged: {acknowledged}")
        });
        world.written(number, touched, version, acknowledged);
    }

    async fn send(
        &self,
        method: Method,
        uri: &str,
    ) -> Response<impl http_body::Body<Data = Bytes, Error: std::fmt::Debug> + use<>> {
        let request = Request::builder().method(method).uri(uri);
        let mut cache = self.cache.clone();
        match cache
            .call(request.body(Empty::<Bytes>::new()).unwrap())
            .await
        {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Reads and writes the world, after random pauses.
#[derive(Clone)]
struct Handler {
    world: Arc<World>,
    dice: Arc<Mutex<Dice>>,
}

impl Handler {
    async fn pause(&self) {
        let pause = {
            let mut dice = self.dice.lock().unwrap();
            let most = dice.pick(&[1, 10, 60]);
            dice.below(most)
        };
        if pause > 0 {
            sleep(Duration::from_millis(pause as u64)).await;
        }
    }

    async fn answer(self, request: Request<Empty<Bytes>>) -> Version {
        let uri = request.uri().path();
        self.pause().await;
        let version = if request.method() == Method::GET {
            let target = TARGETS.iter().position(|target| *target == uri).unwrap();
            self.world.read(target)
        } else {
            let (_, touched) = WRITES.iter().find(|(written, _)| *written == uri).unwrap();
            self.world.write(touched)
        };
        self.pause().await;
        version
    }
}

impl Service<Request<Empty<Bytes>>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Empty<Bytes>>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(Response::new(Full::from(answer.await.to_string()))) })
    }
}
