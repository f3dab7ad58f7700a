//! A scenario: nodes over a store, clients, and a thread that does to the store what it can.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::driver::{self, Client, Scene};
use crate::nodes::Node;
use crate::origin;
use crate::record::{Record, Repair};
use crate::report::{BUSY, Report};
use crate::support::Dice;
use crate::support::programs::Program;
use crate::world::{Page, World};

/// How long all is well in the beginning.
const WARM_UP: Duration = Duration::from_millis(1500);

/// How long the store is left alone so that hits can come back.
pub(crate) const CALM: Duration = Duration::from_millis(3000);

/// Within what time after the last fault every node shows what is current, and stores again.
const SETTLED: Duration = Duration::from_secs(60);

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

/// What a scenario does its harm with.
pub(crate) struct Harm {
    pub(crate) random: Dice,
    programs: Vec<Program>,
    scene: Arc<Scene>,
    until: Instant,
}

impl Harm {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.scene.record.event(what);
    }

    /// Waits for a random number of milliseconds.
    pub(crate) fn wait(&mut self, from: u64, to: u64) {
        let spread = (to - from) as usize + 1;
        sleep(Duration::from_millis(
            from + self.random.below(spread) as u64,
        ));
    }

    /// Stops one of the nodes in the middle of whatever it does, and lets it go on after a random
    /// number of milliseconds.
    pub(crate) fn suspend_a_node(&mut self, from: u64, to: u64) {
        let node = self.random.below(self.programs.len());
        let began = Instant::now();
        self.note(format!("node {node} is suspended"));
        self.programs[node].signal("STOP");
        self.wait(from, to);
        self.programs[node].signal("CONT");
        self.note(format!("node {node} goes on"));
        let suspended = (node, began, Instant::now());
        self.scene.record.suspended.lock().unwrap().push(suspended);
    }

    /// Whether the time is up.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Leaves the store alone: mostly long enough for hits to come back, which is then demanded.
    fn leave_alone(&mut self) {
        let at = Instant::now();
        if self.random.below(3) == 0 {
            return self.wait(50, 500);
        }
        self.note("all is well");
        sleep(CALM);
        self.note_calm(at);
    }

    fn note_calm(&self, at: Instant) {
        let calm_until = Instant::now();
        let repair = Repair { at, calm_until };
        self.scene.record.repairs.lock().unwrap().push(repair);
    }
}

/// What a scenario runs on.
#[derive(Debug)]
pub(crate) struct Site {
    name: &'static str,
    runtime: Runtime,
    seed: u64,
    duration: Duration,
}

impl Site {
    pub(crate) fn new(name: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        Self {
            name,
            runtime: runtime.unwrap(),
            seed: number("SEED", 1),
            duration: Duration::from_secs(number("FAULT_SECONDS", 4)),
        }
    }

    /// One that is over soon.
    pub(crate) fn brief(name: &'static str) -> Self {
        Self {
            duration: Duration::from_secs(1),
            ..Self::new(name)
        }
    }

    /// Starts something that goes on for as long as the scenario.
    pub(crate) fn block_on<T>(&self, start: impl Future<Output = T>) -> T {
        self.runtime.block_on(start)
    }

    /// Calls `round` again and again until the time is up, while clients use the nodes. When it
    /// returns the store is to be whole again. Panics if anything was amiss.
    pub(crate) fn run(&self, nodes: &[Node], round: impl FnMut(&mut Harm)) -> Report {
        let report = self.try_run(nodes, round);
        let complaints = report.complaints.join("\n");
        assert!(complaints.is_empty(), "{report}\n{complaints}");
        report
    }

    /// The same, but returns what was amiss.
    pub(crate) fn try_run(&self, nodes: &[Node], mut round: impl FnMut(&mut Harm)) -> Report {
        let world = Arc::new(World::new());
        let origin = self
            .runtime
            .block_on(origin::start(world.clone(), self.seed));
        let programs: Vec<Program> = nodes.iter().map(|node| node.start(origin)).collect();
        let addresses = programs.iter().map(|program| program.address);
        let scene = Arc::new(Scene {
            nodes: nodes.iter().cloned().zip(addresses).collect(),
            world,
            record: Record::new(),
            seed: self.seed,
        });
        let bare = Node::bare().start(origin);
        let measuring = driver::measure(scene.clone(), bare.address);
        let measuring = self.runtime.spawn(measuring);
        let (stop, stopped) = watch::channel(());
        let driver = self.runtime.spawn(driver::drive(scene.clone(), stopped));

        let mut harm = Harm {
            random: Dice::new(self.seed),
            programs,
            scene: scene.clone(),
            until: Instant::now() + WARM_UP + self.duration,
        };
        harm.note("all is well");
        sleep(WARM_UP);
        harm.note_calm(Instant::now() - WARM_UP);
        while !harm.is_over() {
            round(&mut harm);
            harm.leave_alone();
        }
        harm.note("no more faults, no more writes");
        stop.send_replace(());
        self.runtime.block_on(driver).unwrap();
        // Where it is over soon, nobody waits for long for what cannot come.
        let patience = SETTLED.min(20 * self.duration);
        self.runtime.block_on(settle(&scene, patience));
        measuring.abort();
        let report = Report::of(self.name, &scene);
        println!("{report}");
        if !report.complaints.is_empty() {
            println!("{}", scene.record.story());
        }
        report
    }
}

/// Waits until every node shows the current version of every page, from its store.
async fn settle(scene: &Arc<Scene>, patience: Duration) {
    let began = Instant::now();
    let mut client = Client::new(scene, 0);
    for node in 0..scene.nodes.len() {
        for page in Page::all() {
            loop {
                let current = scene.world.current(page);
                let answer = client.read(node, page).await;
                let version = answer.as_ref().map(|answer| answer.version);
                let stored = answer.is_some_and(|answer| answer.hit);
                if version == Some(current) && (stored || page.ages()) {
                    break;
                }
                if began.elapsed() > patience {
                    // Where everything takes longer than the store may, nothing is stored.
                    let is_busy = scene.record.without_cache_since(began) > BUSY;
                    if version == Some(current) && is_busy {
                        return scene.record.event("too busy to store anything");
                    }
                    let what =
                        format!("{page} is {current}, {node} has {version:?}, hit: {stored}");
                    return scene.record.fault(began, |faults| &mut faults.stale, what);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
