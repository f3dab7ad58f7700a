//! What the handlers read and write, and what nobody may be given any more.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::store::redis::clocks::now;

pub(super) type Version = u64;

/// The versions of every resource, and what the acknowledged writes have promised.
#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    began: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    latest: Version,
    current: Vec<Version>,
    /// For each resource: when somebody was told that a version is written.
    acknowledged: Vec<Vec<(Instant, Version)>>,
    /// For each node, and each resource: the latest version that was written through it.
    own: Vec<Vec<Version>>,
    pub(super) tally: Tally,
    pub(super) violation: Option<String>,
    trace: Option<Vec<String>>,
}

/// What all schedules together came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) reads: u64,
    pub(super) hits: u64,
    pub(super) writes: u64,
    pub(super) unacknowledged: u64,
    pub(super) strikes: u64,
    pub(super) outages: u64,
    pub(super) epochs: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.hits += other.hits;
        self.writes += other.writes;
        self.unacknowledged += other.unacknowledged;
        self.strikes += other.strikes;
        self.outages += other.outages;
        self.epochs += other.epochs;
    }
}

impl World {
    pub(super) fn new(nodes: usize, resources: usize, traced: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                latest: 0,
                current: vec![0; resources],
                acknowledged: vec![Vec::new(); resources],
                own: vec![vec![0; resources]; nodes],
                tally: Tally::default(),
                violation: None,
                trace: traced.then(Vec::new),
            }),
            began: now(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn read(&self, resource: usize) -> Version {
        self.lock().current[resource]
    }

    pub(super) fn write(&self, touched: &[usize]) -> Version {
        let mut state = self.lock();
        state.latest += 1;
        for &touched in touched {
            state.current[touched] = state.latest;
        }
        state.latest
    }

    /// Says that a version was written through a node, and that its writer was told so, or was told
    /// that the others do not know yet.
    pub(super) fn written(&self, node: usize, touched: &[usize], version: Version, told: bool) {
        let mut state = self.lock();
        state.tally.writes += 1;
        state.tally.unacknowledged += u64::from(!told);
        for &touched in touched {
            let own = &mut state.own[node][touched];
            *own = version.max(*own);
            if told {
                state.acknowledged[touched].push((now(), version));
            }
        }
    }

    /// The oldest version that a request which begins now may be given at a node: what was written
    /// through it, and what others wrote so long ago.
    pub(super) fn owed(&self, node: usize, resource: usize, lag: Option<Duration>) -> Version {
        let state = self.lock();
        let own = state.own[node][resource];
        let Some(lag) = lag else {
            return own;
        };
        let is_known = |at: Instant| lag.is_zero() || at + lag < now();
        let all = state.acknowledged[resource].iter();
        let known = all.filter(|(at, _)| is_known(*at));
        known
            .map(|(_, version)| *version)
            .max()
            .unwrap_or(0)
            .max(own)
    }

    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        let time = now() - self.began;
        if let Some(trace) = &mut self.lock().trace {
            trace.push(format!("{:>6} ms  {}", time.as_millis(), what()));
        }
    }

    pub(super) fn violated(&self, what: String) {
        self.note(|| what.clone());
        self.lock().violation.get_or_insert(what);
    }

    pub(super) fn trace(&self) -> String {
        let trace = self.lock().trace.take();
        trace.map(|lines| lines.join("\n")).unwrap_or_default()
    }
}
