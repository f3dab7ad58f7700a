//! The versions that handlers read and write, and those that nobody may be served any more.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::ledger::{Audience, Ledger};
use crate::store::redis::clocks::now;

pub(super) use super::ledger::Version;

#[derive(Debug)]
pub(super) struct World {
    versions: Ledger,
    state: Mutex<State>,
    began: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) tally: Tally,
    pub(super) violation: Option<String>,
    trace: Option<Vec<String>>,
}

/// The totals of all schedules.
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
    pub(super) fn new(resources: usize, traced: bool) -> Arc<Self> {
        Arc::new(Self {
            versions: Ledger::new(resources),
            state: Mutex::new(State {
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

    fn time(&self) -> Duration {
        now() - self.began
    }

    pub(super) fn read(&self, resource: usize) -> Version {
        self.versions.current(resource)
    }

    pub(super) fn write(&self, touched: &[usize]) -> Version {
        self.versions.write(touched, self.time())
    }

    /// Records that a version was written through a node. Where it was `acknowledged`, all nodes know of
    /// it.
    pub(super) fn written(
        &self,
        node: usize,
        touched: &[usize],
        version: Version,
        acknowledged: bool,
    ) {
        let promise = |audience| {
            self.versions
                .acknowledge(audience, touched, version, self.time());
        };
        promise(Audience::Through(node));
        if acknowledged {
            promise(Audience::Everyone);
        }
        let mut state = self.lock();
        state.tally.writes += 1;
        state.tally.unacknowledged += u64::from(!acknowledged);
    }

    /// Returns the oldest version that a request which begins now may get from a node: the latest that
    /// was written through it, or through others `lag` ago.
    pub(super) fn owed(&self, node: usize, resource: usize, lag: Option<Duration>) -> Version {
        let asked = self.versions.moment(self.time());
        let owed = |audience, lag| self.versions.owed(audience, resource, asked, lag);
        let own = owed(Audience::Through(node), Duration::ZERO);
        lag.map_or(own, |lag| own.max(owed(Audience::Everyone, lag)))
    }

    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        let time = self.time();
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
