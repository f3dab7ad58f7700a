//! What all parts of one schedule share: the dice, the steps that wait to be let on, the versions of
//! every resource, and what the acknowledged writes have promised so far.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::dice::Dice;
pub(crate) use crate::ledger::Version;
use crate::ledger::{Audience, Ledger};

/// For how long a replica may lag behind a write, where a resource is read from one.
pub(crate) const LAG: Duration = Duration::from_secs(3);

/// See the module's documentation.
pub(crate) struct World(Mutex<State>);

pub(crate) struct State {
    pub dice: Dice,
    steps: Vec<Waiting>,
    steps_taken: u64,
    /// Since the beginning of the schedule.
    pub time: Duration,
    versions: Ledger,
    resources: Vec<Resource>,
    lags: bool,
    /// What a body error or a failure may be put down to.
    pub body_failed: bool,
    pub calls: u64,
    trace: Option<Vec<String>>,
}

/// Something at a URI.
#[derive(Clone, Debug, Default)]
struct Resource {
    /// Where handlers read from a replica: the writes under way, and when the last one's hold ends.
    writing: usize,
    held_until: Duration,
    /// What was owed when these began.
    owed_before: Version,
}

struct Waiting {
    id: u64,
    open: bool,
    waker: Option<Waker>,
}

impl World {
    pub(crate) fn new(seed: u64, resources: usize, lags: bool, traced: bool) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            dice: Dice::new(seed),
            steps: Vec::new(),
            steps_taken: 0,
            // Far enough from zero for a lagging replica to know the first versions.
            time: LAG,
            versions: Ledger::new(resources),
            resources: vec![Resource::default(); resources],
            lags,
            body_failed: false,
            calls: 0,
            trace: traced.then(Vec::new),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Waits until the schedule lets this step be taken.
    pub(crate) fn step(self: &Arc<Self>) -> Step {
        Step {
            world: self.clone(),
            id: None,
        }
    }

    /// Waits for a step, or, as often, goes on at once.
    pub(crate) async fn maybe_step(self: &Arc<Self>) {
        let waits = self.lock().dice.percent(60);
        if waits {
            self.step().await;
        }
    }

    /// How many steps wait to be taken.
    pub(crate) fn steps(&self) -> usize {
        self.lock().steps.iter().filter(|step| !step.open).count()
    }

    /// Lets one of the waiting steps be taken.
    pub(crate) fn let_one_on(&self) {
        let mut state = self.lock();
        let waiting = state.steps.iter().filter(|step| !step.open).count();
        if waiting == 0 {
            return;
        }
        let chosen = state.dice.below(waiting);
        let step = state.steps.iter_mut().filter(|step| !step.open).nth(chosen);
        let step = step.expect("one of those counted");
        step.open = true;
        let waker = step.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        self.lock().note(what);
    }

    pub(crate) fn trace(&self) -> String {
        self.lock()
            .trace
            .take()
            .map(|lines| lines.join("\n"))
            .unwrap_or_default()
    }
}

impl State {
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let time = self.time;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} ms  {}", time.as_millis(), what()));
        }
    }

    /// Writes a new version of these resources.
    pub(crate) fn write(&mut self, touched: &[usize]) -> Version {
        for touched in touched {
            self.begin_hold(*touched);
        }
        let version = self.versions.write(touched, self.time);
        self.note(|| format!("version {version} of {touched:?} is written"));
        version
    }

    /// Tells somebody that a version is written.
    pub(crate) fn acknowledge(&mut self, touched: &[usize], version: Version, by: impl Display) {
        self.versions
            .acknowledge(Audience::Everyone, touched, version, self.time);
        self.note(|| format!("version {version} of {touched:?} is acknowledged: {by}"));
    }

    fn begin_hold(&mut self, resource: usize) {
        let owed_before = self.floor(resource);
        let resource = &mut self.resources[resource];
        resource.owed_before = owed_before;
        resource.writing += 1;
    }

    /// A write has ended, in whatever way, and responses are held back for a while.
    pub(crate) fn end_write(&mut self, touched: &[usize], written: bool) {
        for touched in touched {
            if !written {
                // Nobody can tell that of a write whose client went away.
                self.begin_hold(*touched);
            }
            let resource = &mut self.resources[*touched];
            resource.writing -= 1;
            resource.held_until = self.time + LAG;
        }
    }

    /// The version that a handler reads now.
    pub(crate) fn read(&self, resource: usize) -> Version {
        match self.lags {
            true => self.versions.as_of(resource, self.time - LAG),
            false => self.versions.current(resource),
        }
    }

    /// The oldest version that a request which begins now may be given.
    pub(crate) fn floor(&self, resource: usize) -> Version {
        let (versions, asked) = (&self.versions, self.versions.moment(self.time));
        if !self.lags {
            return versions.owed(Audience::Everyone, resource, asked, Duration::ZERO);
        }
        // While responses are held back they are passed on, and shared, as old as they are.
        let held = &self.resources[resource];
        if held.writing > 0 || self.time < held.held_until {
            return held.owed_before;
        }
        versions.owed_by_a_replica(Audience::Everyone, resource, asked, self.time - LAG)
    }
}

/// A step that waits to be taken.
pub(crate) struct Step {
    world: Arc<World>,
    id: Option<u64>,
}

impl Future for Step {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let mut state = world.lock();
        let Some(id) = self.id else {
            state.steps_taken += 1;
            let id = state.steps_taken;
            self.id = Some(id);
            state.steps.push(Waiting {
                id,
                open: false,
                waker: Some(cx.waker().clone()),
            });
            return Poll::Pending;
        };
        let step = state.steps.iter_mut().find(|step| step.id == id);
        match step {
            Some(step) if !step.open => {
                step.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.world.lock().steps.retain(|step| step.id != id);
        }
    }
}
