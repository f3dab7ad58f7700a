//! What was written behind a cache, what writers were promised, and which answers break a promise:
//! the judge of every test that looks for stale answers.
//!
//! Time is a duration since the beginning of a run, and stands still where a test has no use for it.
//! What happens at the same time is told apart by its order.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program of tests uses its part of it"
)]

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Greater for what was written later, whatever it was.
pub type Version = u64;

/// Those to whom nothing older is given once a write was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever asks, through whichever node: at once, or when the node's lease is over.
    Everyone,
    /// Whoever asks, through whichever node, at once: the writer waited for all leases to end.
    Leaseholders,
    /// Whoever asks through this node.
    Through(usize),
}

/// When something was asked for: after all that was acknowledged before, however shortly.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    order: usize,
    at: Duration,
}

/// An answer that is older than what was acknowledged before it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    pub subject: usize,
    pub version: Version,
    pub owed: Version,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            version,
            owed,
        } = self;
        write!(
            f,
            "stale: version {version} of {subject}, but {owed} was acknowledged before"
        )
    }
}

/// The versions of subjects, which are counted from 0 and each begin in version 0.
#[derive(Debug)]
pub struct Ledger(Mutex<State>);

#[derive(Debug)]
struct State {
    latest: Version,
    /// How many promises there are.
    promises: usize,
    subjects: Vec<Subject>,
}

#[derive(Clone, Debug)]
struct Subject {
    /// In the order of versions.
    written: Vec<(Version, Duration)>,
    promises: Vec<(Audience, Vec<Promise>)>,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    version: Version,
    /// Of this promise and all before it, to the same audience.
    greatest: Version,
    order: usize,
    at: Duration,
}

impl Ledger {
    pub fn new(subjects: usize) -> Self {
        let subject = Subject {
            written: vec![(0, Duration::ZERO)],
            promises: Vec::new(),
        };
        Self(Mutex::new(State {
            latest: 0,
            promises: 0,
            subjects: vec![subject; subjects],
        }))
    }

    /// Writes some subjects, and returns the version that is the same for all of them.
    pub fn write(&self, subjects: &[usize], at: Duration) -> Version {
        let mut state = self.lock();
        state.latest += 1;
        let written = (state.latest, at);
        for &subject in subjects {
            state.subjects[subject].written.push(written);
        }
        written.0
    }

    pub fn current(&self, subject: usize) -> Version {
        let written = &self.lock().subjects[subject].written;
        written.last().map_or(0, |(version, _)| *version)
    }

    /// Returns the version that was current at a time, as a replica has it that lags.
    pub fn as_of(&self, subject: usize, time: Duration) -> Version {
        let written = &self.lock().subjects[subject].written;
        let known = written.iter().rev().find(|(_, at)| *at <= time);
        known.map_or(0, |(version, _)| *version)
    }

    /// Notes that a writer was promised that this audience is given nothing older.
    pub fn acknowledge(
        &self,
        audience: Audience,
        subjects: &[usize],
        version: Version,
        at: Duration,
    ) {
        let mut state = self.lock();
        state.promises += 1;
        let order = state.promises;
        for &subject in subjects {
            let promises = state.subjects[subject].promises_to(audience);
            let before = promises.last().map_or(0, |last| last.greatest);
            promises.push(Promise {
                version,
                greatest: version.max(before),
                order,
                at,
            });
        }
    }

    /// Returns the moment for something that is asked for from now on.
    pub fn moment(&self, at: Duration) -> Moment {
        let order = self.lock().promises;
        Moment { order, at }
    }

    /// Returns the oldest version that may answer what was asked for at a moment, where it takes
    /// promises so long to be kept.
    pub fn owed(
        &self,
        audience: Audience,
        subject: usize,
        asked: Moment,
        lag: Duration,
    ) -> Version {
        let state = self.lock();
        let promises = state.subjects[subject].promises(audience);
        let kept = |promise: &Promise| {
            promise.order <= asked.order && (lag.is_zero() || promise.at + lag < asked.at)
        };
        let last = promises.iter().rev().find(|promise| kept(promise));
        last.map_or(0, |promise| promise.greatest)
    }

    /// Returns the oldest version that may answer where handlers read from a replica that knows what
    /// was written until a time.
    pub fn owed_by_a_replica(
        &self,
        audience: Audience,
        subject: usize,
        asked: Moment,
        known: Duration,
    ) -> Version {
        let state = self.lock();
        let subject = &state.subjects[subject];
        let is_known = |version: Version| {
            let mut written = subject.written.iter();
            written.any(|(of, at)| *of == version && *at <= known)
        };
        let promises = subject.promises(audience).iter();
        let versions = promises
            .filter(|promise| promise.order <= asked.order)
            .map(|promise| promise.version);
        versions
            .filter(|&version| is_known(version))
            .max()
            .unwrap_or(0)
    }

    /// Returns for how long a version had been outdated when it was asked for, at least; nothing
    /// where it had not.
    pub fn outdated(
        &self,
        audience: Audience,
        subject: usize,
        version: Version,
        asked: Moment,
    ) -> Option<Duration> {
        let state = self.lock();
        let promises = state.subjects[subject].promises(audience);
        let next = promises.partition_point(|promise| promise.greatest <= version);
        let broken = promises.get(next)?;
        (broken.order <= asked.order).then(|| asked.at.saturating_sub(broken.at))
    }

    /// Judges an answer: no older version than is owed will do.
    pub fn judge(
        &self,
        audience: Audience,
        subject: usize,
        version: Version,
        asked: Moment,
    ) -> Result<(), Stale> {
        let owed = self.owed(audience, subject, asked, Duration::ZERO);
        match version < owed {
            true => Err(Stale {
                subject,
                version,
                owed,
            }),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("a ledger is kept without a panic")
    }
}

impl Subject {
    fn promises(&self, audience: Audience) -> &[Promise] {
        let mut all = self.promises.iter();
        let found = all.find(|(known, _)| *known == audience);
        found.map_or(&[], |(_, promises)| promises)
    }

    fn promises_to(&mut self, audience: Audience) -> &mut Vec<Promise> {
        let known = self
            .promises
            .iter()
            .position(|(known, _)| *known == audience);
        let at = known.unwrap_or_else(|| {
            self.promises.push((audience, Vec::new()));
            self.promises.len() - 1
        });
        &mut self.promises[at].1
    }
}
