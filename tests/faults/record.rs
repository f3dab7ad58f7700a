//! What is written down while a scenario runs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The most faults that are told in full.
const TOLD: usize = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) node: usize,
    pub(crate) kind: Kind,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    /// Answered from what was stored.
    pub(crate) hit: bool,
}

/// What must not happen, by what it is.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Older than the node promises.
    pub(crate) stale: u64,
    /// Not what the origin sent for that request.
    pub(crate) wrong: u64,
    /// Cut off, refused, or an error that the origin did not send.
    pub(crate) failed: u64,
    pub(crate) hung: u64,
    pub(crate) told: Vec<String>,
}

impl Faults {
    pub(crate) fn count(&self) -> u64 {
        self.stale + self.wrong + self.failed + self.hung
    }
}

/// When the store was whole again, and until when it was left alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repair {
    pub(crate) at: Instant,
    pub(crate) calm_until: Instant,
}

#[derive(Debug)]
pub(crate) struct Record {
    began: Instant,
    pub(crate) samples: Mutex<Vec<Sample>>,
    pub(crate) faults: Mutex<Faults>,
    /// By how much each read was behind which was behind at all, with its node.
    pub(crate) lags: Mutex<Vec<(usize, Duration)>>,
    pub(crate) pending: Mutex<u64>,
    /// What reads took at that time through a node that stores nothing.
    pub(crate) yardstick: Mutex<Vec<(Instant, Duration)>>,
    /// Which nodes were suspended when.
    pub(crate) suspended: Mutex<Vec<(usize, Instant, Instant)>>,
    events: Mutex<Vec<(Instant, String)>>,
    pub(crate) repairs: Mutex<Vec<Repair>>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            samples: Mutex::default(),
            faults: Mutex::default(),
            lags: Mutex::default(),
            pending: Mutex::default(),
            yardstick: Mutex::default(),
            suspended: Mutex::default(),
            events: Mutex::default(),
            repairs: Mutex::default(),
        }
    }

    pub(crate) fn at(&self, instant: Instant) -> String {
        let since = instant.saturating_duration_since(self.began);
        format!("{:9.4} s", since.as_secs_f64())
    }

    /// Notes what was done to the store.
    pub(crate) fn event(&self, what: impl Into<String>) {
        let event = (Instant::now(), what.into());
        self.events.lock().unwrap().push(event);
    }

    /// Notes what must not happen, with the span in which it did.
    pub(crate) fn fault(
        &self,
        began: Instant,
        counter: impl FnOnce(&mut Faults) -> &mut u64,
        what: String,
    ) {
        let span = format!("{} to {}", self.at(began), self.at(Instant::now()));
        let mut faults = self.faults.lock().unwrap();
        *counter(&mut faults) += 1;
        if faults.told.len() < TOLD {
            faults.told.push(format!("{span}: {what}"));
        }
    }

    /// All that was done, a line each.
    pub(crate) fn story(&self) -> String {
        let events = self.events.lock().unwrap();
        let lines = events
            .iter()
            .map(|(at, what)| format!("  {}: {what}\n", self.at(*at)));
        lines.collect()
    }

    /// For how much of a request its node was suspended.
    pub(crate) fn suspended(&self, sample: &Sample) -> Duration {
        let suspended = self.suspended.lock().unwrap();
        let of_it = suspended.iter().filter(|(node, ..)| *node == sample.node);
        let ended = sample.began + sample.took;
        of_it
            .map(|&(_, from, to)| {
                to.min(ended)
                    .saturating_duration_since(from.max(sample.began))
            })
            .sum()
    }

    /// What most reads without a cache took since an instant.
    pub(crate) fn without_cache_since(&self, began: Instant) -> Duration {
        let times = self.yardstick.lock().unwrap();
        let first = times.partition_point(|&(at, _)| at < began);
        let mut times: Vec<_> = times[first..].iter().map(|&(_, took)| took).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// The longest that a read took without a cache, around a span.
    pub(crate) fn without_cache(&self, began: Instant, took: Duration) -> Duration {
        const AROUND: Duration = Duration::from_millis(200);
        let times = self.yardstick.lock().unwrap();
        let first = times.partition_point(|&(at, took)| at + took + AROUND < began);
        let near = times[first..].iter();
        let near = near.take_while(|&&(at, _)| at < began + took + AROUND);
        near.map(|&(_, took)| took).max().unwrap_or_default()
    }
}
