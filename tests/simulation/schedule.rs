//! One schedule: clients, writers and time take turns as the dice have it, one step at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use http::header;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use tower::{Layer, Service};
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{Cache, CacheBody, CacheHandle, CacheLayer, CacheStats, MemoryStore};

use crate::dice::Dice;
use crate::origin::{self, Asked, Done, LINE, LINES, Manners, Origin, OriginBody, Tags, Writing};
use crate::site::{self, Site};
use crate::store::FickleStore;
use crate::world::{Version, World};

/// What a schedule came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub reads: u64,
    pub hits: u64,
    pub stale: u64,
    pub revalidated: u64,
    pub collapsed: u64,
    pub calls: u64,
    pub writes: u64,
    /// Versions that handlers took from one another.
    pub values: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.hits += other.hits;
        self.stale += other.stale;
        self.revalidated += other.revalidated;
        self.collapsed += other.collapsed;
        self.calls += other.calls;
        self.writes += other.writes;
        self.values += other.values;
    }
}

/// Something that went wrong, and all that led to it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub what: String,
    pub trace: String,
}

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64, traced: bool) -> Result<Tally, Violation> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(tokio::task::unconstrained(async {
        let mut schedule = Schedule::new(seed, traced);
        let world = schedule.world.clone();
        let went = match schedule.go().await {
            Ok(tally) => schedule.end().await.map(|()| tally),
            Err(what) => Err(what),
        };
        went.map_err(|what| Violation {
            what,
            trace: world.trace(),
        })
    }))
}

struct Schedule {
    world: Arc<World>,
    site: Arc<Site>,
    cache: Cache<Origin>,
    handle: CacheHandle,
    clock: ManualClock,
    actors: Vec<Actor>,
    /// Begun so far.
    begun: u64,
    vary: bool,
    /// Whether what is recorded is recorded at once.
    at_once: bool,
    tally: Tally,
}

/// A request, or an invalidation by hand, under way.
struct Actor {
    id: u64,
    future: Pin<Box<dyn Future<Output = Result<(), String>>>>,
    woken: Arc<Woken>,
    /// What becomes known when it is dropped.
    if_dropped: Option<(Done, &'static [usize])>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Schedule {
    fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let site = Arc::new(site::any(&mut dice));
        let world = World::new(seed, site.targets.len(), site.lags, traced);
        let manners = Manners {
            etags: dice.percent(60),
            vary: dice.percent(25),
            ranges: dice.percent(30),
            tags_on_304: dice.percent(50),
            tags: dice.pick(&[Tags::Extension, Tags::SurrogateKey, Tags::Groups]),
            announces_length: dice.percent(50),
            fails: dice.pick(&[0, 0, 10, 40]),
        };
        let clock = ManualClock::new();
        // The sub-seconds of dates must not differ from one run of a seed to the next.
        clock.set_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let memory = MemoryStore::builder()
            .max_bytes(dice.pick(&[12 << 10, 1 << 20, 1 << 20]))
            .log_capacity(dice.pick(&[2, 4, 64, 64]))
            .clock(clock.clock());
        let slow = dice.pick(&[0, 0, 30]);
        let store = FickleStore {
            world: world.clone(),
            memory: Arc::new(memory.build().unwrap()),
            slow,
            loses: dice.pick(&[0, 0, 10]),
        };
        let layer = CacheLayer::builder()
            .routes(site.routes.clone())
            .store(store)
            .clock(clock.clock())
            .fill_budget(dice.pick(&[300, 1 << 20, 1 << 20]))
            .build()
            .unwrap();
        let origin = Origin {
            world: world.clone(),
            site: site.clone(),
            manners,
            #[cfg(feature = "values")]
            values: Arc::default(),
        };
        #[cfg(feature = "values")]
        let _ = origin.values.set(
            layer
                .handle()
                .values("versions")
                .ttl(Duration::from_secs(5)),
        );
        world.note(|| format!("{}: {manners:?}, slow: {slow} %", site.name));
        Self {
            handle: layer.handle(),
            cache: layer.layer(origin),
            world,
            site,
            clock,
            actors: Vec::new(),
            begun: 0,
            vary: manners.vary,
            at_once: slow == 0,
            tally: Tally::default(),
        }
    }

    async fn go(&mut self) -> Result<Tally, String> {
        let mut to_begin = 6 + self.dice(|dice| dice.below(14));
        let drops = self.dice(|dice| dice.pick(&[0, 2, 6]));
        while to_begin > 0 {
            let woken = self.woken();
            let steps = self.world.steps();
            let crowd = self.actors.len();
            let begins = if crowd < 5 { 3 } else { 0 };
            let drops = if crowd > 0 { drops } else { 0 };
            let weights = [begins, 6 * woken, 4 * steps, 4, 1, drops / 2];
            let choice = self.dice(|dice| weighted(dice, &weights));
            match choice {
                0 => {
                    self.begin();
                    to_begin -= 1;
                }
                1 => self.poll_one()?,
                2 => self.world.let_one_on(),
                3 => tokio::task::yield_now().await,
                4 => {
                    let by = self.dice(|dice| dice.pick(&[60, 600, 1500, 3000, 10_000]));
                    self.advance(Duration::from_millis(by)).await;
                }
                _ => self.drop_one(),
            }
        }
        self.drain().await?;
        for resource in 0..self.site.targets.len() {
            self.read_finally(resource);
            self.drain().await?;
        }
        let stats: CacheStats = self.handle.stats();
        Ok(Tally {
            reads: stats.hits + stats.stale_hits + stats.revalidated + stats.misses,
            hits: stats.hits,
            stale: stats.stale_hits,
            revalidated: stats.revalidated,
            collapsed: stats.collapsed,
            calls: self.world.lock().calls,
            values: self.values(),
            ..self.tally
        })
    }

    #[cfg(feature = "values")]
    fn values(&self) -> u64 {
        let stats = self.handle.value_stats().into_iter();
        stats.map(|(_, stats)| stats.hits + stats.collapsed).sum()
    }

    #[cfg(not(feature = "values"))]
    fn values(&self) -> u64 {
        0
    }

    /// Lets everything on that is under way. Every request has to come to its end now.
    async fn drain(&mut self) -> Result<(), String> {
        let mut idle = 0;
        while !self.actors.is_empty() {
            if self.woken() > 0 {
                self.poll_one()?;
                idle = 0;
            } else if self.world.steps() > 0 {
                self.world.let_one_on();
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > 50 {
                let ids: Vec<_> = self.actors.iter().map(|actor| actor.id).collect();
                return Err(format!("these never ended: {ids:?}"));
            }
            if idle > 0 || self.dice(|dice| dice.percent(30)) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Nothing may go on when nobody waits for it any more, and the cache is gone: the task that
    /// sweeps lives as long as the cache.
    async fn end(self) -> Result<(), String> {
        let Self {
            world,
            clock,
            cache,
            handle,
            ..
        } = self;
        drop((cache, handle));
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        for _ in 0..200 {
            while world.steps() > 0 {
                world.let_one_on();
                tokio::task::yield_now().await;
            }
            if tasks() == 0 {
                return Ok(());
            }
            tokio::task::yield_now().await;
            advance(&world, &clock, Duration::from_millis(250)).await;
        }
        Err(format!("{} tasks go on forever", tasks()))
    }

    fn dice<T>(&self, roll: impl FnOnce(&mut Dice) -> T) -> T {
        roll(&mut self.world.lock().dice)
    }

    async fn advance(&self, by: Duration) {
        advance(&self.world, &self.clock, by).await;
    }

    fn woken(&self) -> usize {
        let woken = |actor: &&Actor| actor.woken.0.load(Ordering::SeqCst);
        self.actors.iter().filter(woken).count()
    }

    fn poll_one(&mut self) -> Result<(), String> {
        let woken = self.woken();
        let chosen = self.dice(|dice| dice.below(woken));
        let is_woken = |(_, actor): &(usize, &Actor)| actor.woken.0.load(Ordering::SeqCst);
        let mut all = self.actors.iter().enumerate().filter(is_woken);
        let Some((at, _)) = all.nth(chosen) else {
            return Ok(());
        };
        let actor = &mut self.actors[at];
        actor.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(actor.woken.clone());
        let polled = actor.future.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(went) = polled {
            let actor = self.actors.swap_remove(at);
            return went.map_err(|what| format!("{}: {what}", actor.id));
        }
        Ok(())
    }

    fn drop_one(&mut self) {
        let count = self.actors.len();
        let at = self.dice(|dice| dice.below(count));
        let Actor {
            id,
            future,
            if_dropped,
            ..
        } = self.actors.swap_remove(at);
        self.world.note(|| format!("{id} is dropped"));
        drop(future);
        if let Some((done, touches)) = if_dropped {
            let version = *done.0.lock().unwrap();
            if let Some(version) = version {
                let by = format_args!("{id} was dropped");
                self.world.lock().acknowledge(touches, version, by);
            }
        }
    }

    fn begin(&mut self) {
        match self.dice(|dice| dice.below(100)) {
            0..65 => self.read(),
            65..90 => self.write(),
            _ => self.invalidate(),
        }
    }

    fn add(
        &mut self,
        future: impl Future<Output = Result<(), String>> + 'static,
        if_dropped: Option<(Done, &'static [usize])>,
    ) {
        self.actors.push(Actor {
            id: self.begun,
            future: Box::pin(future),
            woken: Arc::new(Woken(AtomicBool::new(true))),
            if_dropped,
        });
    }

    fn read(&mut self) {
        let resources = self.site.targets.len();
        // Mostly one of them, so that requests meet.
        let resource = self.dice(|dice| match dice.percent(60) {
            true => 0,
            false => dice.below(resources),
        });
        let manner = self.dice(|dice| match dice.below(20) {
            0 | 1 => Manner::Range(dice.below(LINES)),
            2 => Manner::Head,
            3 => Manner::Conditional,
            4 => Manner::Directive(dice.pick(&[
                "no-cache",
                "max-stale",
                "only-if-cached",
                "no-store",
                "max-age=1",
            ])),
            _ => Manner::Plain,
        });
        let variant = self.dice(|dice| dice.pick(&['a', 'a', 'b']));
        self.begin_read(resource, variant, manner);
    }

    fn read_finally(&mut self, resource: usize) {
        self.begin_read(resource, 'a', Manner::Plain);
    }

    fn begin_read(&mut self, resource: usize, variant: char, manner: Manner) {
        self.begun += 1;
        let id = self.begun;
        let world = self.world.clone();
        let target = self.site.targets[resource];
        let varies = self.vary;
        let asked = Read {
            resource,
            target,
            variant: if varies { variant } else { '-' },
            manner,
            floor: 0,
        };
        let mut request = Request::builder()
            .method(match manner {
                Manner::Head => Method::HEAD,
                _ => Method::GET,
            })
            .uri(target)
            .header(origin::VARIANT, variant.to_string());
        match manner {
            Manner::Range(line) => {
                let (first, last) = (line * LINE, (line + 1) * LINE - 1);
                request = request.header(header::RANGE, format!("bytes={first}-{last}"));
            }
            Manner::Conditional => {
                let known = world.lock().read(resource);
                let etag = origin::etag(resource, asked.variant, known);
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            Manner::Directive(directive) => {
                request = request.header(header::CACHE_CONTROL, directive);
            }
            Manner::Plain | Manner::Head => {}
        }
        let request = request.body(Empty::new()).unwrap();
        let cache = self.cache.clone();
        self.add(read(world, cache, id, asked, request), None);
    }

    fn write(&mut self) {
        self.begun += 1;
        self.tally.writes += 1;
        let id = self.begun;
        let writes = self.site.writes.len();
        let chosen = self.dice(|dice| dice.below(writes));
        let write = &self.site.writes[chosen];
        let done = Done::default();
        let request = Request::builder()
            .method(write.method.clone())
            .uri(write.uri)
            .header(origin::VARIANT, "a")
            .extension(Writing(chosen, id))
            .extension(done.clone())
            .body(Empty::new())
            .unwrap();
        let acknowledged = Acknowledged {
            id,
            touches: write.touches,
            soft: write.soft,
            even_if_failed: write.even_if_failed,
            // What a safe method's handler did is taken from its answer, and from nothing else.
            in_any_case: self.at_once && !write.method.is_safe(),
        };
        // What the response would have named is not known without it.
        let in_any_case = acknowledged.in_any_case
            && !write.soft
            && matches!(write.names, site::Names::Nothing | site::Names::Itself);
        let acknowledged = Acknowledged {
            in_any_case,
            ..acknowledged
        };
        let if_dropped = in_any_case.then(|| (done.clone(), write.touches));
        // The answer to a safe method does not tell that a store was too slow to record.
        let soft = write.soft || !self.at_once && write.method.is_safe();
        let acknowledged = Acknowledged {
            soft,
            ..acknowledged
        };
        let (world, cache) = (self.world.clone(), self.cache.clone());
        let write = self::write(world, cache, request, done, acknowledged);
        self.add(write, if_dropped);
    }

    fn invalidate(&mut self) {
        if self.site.by_hand.is_empty() || self.dice(|dice| dice.percent(15)) {
            return self.write();
        }
        self.begun += 1;
        self.tally.writes += 1;
        let id = self.begun;
        let kinds = self.site.by_hand.len();
        let chosen = self.dice(|dice| dice.below(kinds));
        let (what, touches) = self.site.by_hand[chosen].clone();
        let soft = self.dice(|dice| dice.percent(15));
        let what = if soft { what.soft() } else { what };
        let (world, handle) = (self.world.clone(), self.handle.clone());
        let invalidate = async move {
            let version = world.lock().write(touches);
            world.maybe_step().await;
            world.note(|| format!("{id} invalidates {what}"));
            let recorded = handle.invalidate(what).await;
            if recorded.is_ok() && !soft {
                world.lock().acknowledge(touches, version, id);
            }
            Ok(())
        };
        self.add(invalidate, None);
    }
}

fn weighted(dice: &mut Dice, weights: &[usize]) -> usize {
    let mut at = dice.below(weights.iter().sum());
    for (choice, weight) in weights.iter().enumerate() {
        if at < *weight {
            return choice;
        }
        at -= weight;
    }
    weights.len() - 1
}

struct Acknowledged {
    id: u64,
    touches: &'static [usize],
    soft: bool,
    even_if_failed: bool,
    /// Also where there is no answer.
    in_any_case: bool,
}

async fn write(
    world: Arc<World>,
    mut cache: Cache<Origin>,
    request: Asked,
    done: Done,
    acknowledged: Acknowledged,
) -> Result<(), String> {
    let Acknowledged {
        id,
        touches,
        soft,
        even_if_failed,
        in_any_case,
    } = acknowledged;
    world.note(|| format!("{id} is {} {}", request.method(), request.uri()));
    let ending = Ending {
        world: world.clone(),
        done: done.clone(),
        touches,
    };
    let call = cache.call(request);
    world.maybe_step().await;
    let answer = call.await;
    let version = *done.0.lock().unwrap();
    let counts = match &answer {
        Err(_) => in_any_case,
        Ok(response) => {
            let pending = response
                .headers()
                .get("cache-status")
                .is_some_and(|status| {
                    String::from_utf8_lossy(status.as_bytes()).contains("invalidation-pending")
                });
            let status = response.status();
            !pending && (status.is_success() || status.is_redirection() || even_if_failed)
        }
    };
    if let (Some(version), true, false) = (version, counts, soft) {
        world.lock().acknowledge(touches, version, id);
    }
    drop(ending);
    if let Ok(response) = answer {
        world.maybe_step().await;
        // A client that reads on what it was told.
        drop(response.into_body().collect().await);
    }
    Ok(())
}

/// Says that a write has ended when it is dropped.
struct Ending {
    world: Arc<World>,
    done: Done,
    touches: &'static [usize],
}

impl Drop for Ending {
    fn drop(&mut self) {
        let written = self.done.0.lock().unwrap().is_some();
        self.world.lock().end_write(self.touches, written);
    }
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    Plain,
    Head,
    Range(usize),
    Conditional,
    Directive(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Read {
    resource: usize,
    target: &'static str,
    variant: char,
    manner: Manner,
    /// No older version than this will do.
    floor: Version,
}

async fn read(
    world: Arc<World>,
    mut cache: Cache<Origin>,
    id: u64,
    read: Read,
    request: Asked,
) -> Result<(), String> {
    let floor = world.lock().floor(read.resource);
    let read = Read { floor, ..read };
    world.note(|| format!("{id} begins: {read:?}"));
    let call = cache.call(request);
    world.maybe_step().await;
    let response = match call.await {
        Ok(response) => response,
        Err(_) => return Ok(()),
    };
    let told = read.version_in_head(&response)?;
    world.note(|| {
        let field = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        format!(
            "{id} is answered {} {:?}: version {told:?}",
            response.status(),
            field("cache-status")
        )
    });
    if let Some(told) = told
        && told < read.floor
    {
        return Err(format!("version {told} answers {read:?}"));
    }
    let status = response.status().as_u16();
    world.maybe_step().await;
    let (body, error) = collect(&world, response).await;
    let clean = error.is_none();
    if let Some(error) = error {
        // A client that takes nothing for seconds is cut off where bodies are too large to hold.
        let excused = world.lock().body_failed || error.contains("fell too far behind");
        if !excused {
            return Err(format!("a body failed of itself, {error}: {read:?}"));
        }
    }
    match (status, read.manner) {
        (200 | 304, Manner::Head) | (304, Manner::Conditional) => Ok(()),
        (200, _) => read.check(&body, LINES, told, clean),
        (206, Manner::Range(_)) => read.check(&body, 1, told, clean),
        (503 | 504, _) => Ok(()),
        _ => Err(format!("status {status} answers {read:?}")),
    }
}

/// Reads a body at a client's pace, and returns the error it ended with.
async fn collect(
    world: &Arc<World>,
    response: Response<CacheBody<OriginBody>>,
) -> (Vec<u8>, Option<String>) {
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => read.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(error) => return (read, Some(error.to_string())),
        }
        if world.lock().dice.percent(20) {
            world.step().await;
        }
    }
    (read, None)
}

impl Read {
    fn version_in_head<B>(&self, response: &Response<B>) -> Result<Option<Version>, String> {
        let headers = response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let told = text(origin::TOLD).and_then(|told| told.parse::<Version>().ok());
        if let (Some(told), Some(etag)) = (told, text("etag"))
            && etag != origin::etag(self.resource, self.variant, told)
        {
            return Err(format!("entity tag {etag} beside version {told}: {self:?}"));
        }
        if let (Some(etag), None, Manner::Conditional) = (text("etag"), told, self.manner) {
            let digits = etag
                .trim_matches('"')
                .rsplit(|c: char| !c.is_ascii_digit())
                .next();
            return Ok(digits.and_then(|digits| digits.parse().ok()));
        }
        Ok(told)
    }

    /// Checks that a body is of one version only, and of the right resource and variant.
    fn check(
        &self,
        body: &[u8],
        lines: usize,
        told: Option<Version>,
        clean: bool,
    ) -> Result<(), String> {
        let expected = told.map(|told| origin::representation(self.target, self.variant, told));
        let Some(expected) = expected else {
            return Err(format!("no version was told: {self:?}"));
        };
        let expected = &expected[..lines * LINE];
        let right = match clean {
            true => body == expected,
            false => expected.starts_with(body),
        };
        match right {
            true => Ok(()),
            false => Err(format!(
                "version {told:?} is {:?}, in answer to {self:?}",
                String::from_utf8_lossy(body)
            )),
        }
    }
}

async fn advance(world: &World, clock: &ManualClock, by: Duration) {
    {
        let mut state = world.lock();
        state.note(|| format!("time goes on by {by:?}"));
        state.time += by;
    }
    clock.advance(by);
    tokio::time::advance(by).await;
}
