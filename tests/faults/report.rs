//! What a run comes to.

use std::fmt;
use std::time::{Duration, Instant};

use crate::driver::Scene;
use crate::nodes::{LEASE, Node};
use crate::record::{Kind, Record, Repair, Sample};
use crate::site::CALM;

/// What the store may take of a request's time.
pub(crate) const DEADLINE: Duration = Duration::from_millis(50);

/// What else may come to it. A machine that is busy delays each step that a request takes, of which
/// there are so many more with a store than without.
const SLACK: Duration = Duration::from_millis(300);
const STEPS: u32 = 4;

/// Within what time after a repair hits must be back.
const RECOVERY: Duration = Duration::from_secs(2);

/// When most reads without a cache take longer, the machine has no time for anything else: then it
/// cannot be told what keeps hits away.
pub(crate) const BUSY: Duration = Duration::from_millis(10);

/// The span over which a share of hits is taken.
const WINDOW: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) count: usize,
    pub(crate) median: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
}

impl Times {
    pub(crate) fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len() as f64 * share) as usize;
            times.get(index.min(times.len().saturating_sub(1)))
        };
        let at = |share| at(share).copied().unwrap_or_default();
        Self {
            count: times.len(),
            median: at(0.5),
            p99: at(0.99),
            longest: at(1.0),
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let (median, p99, longest) = (
            milliseconds(self.median),
            milliseconds(self.p99),
            milliseconds(self.longest),
        );
        write!(f, "{median:.1} / {p99:.1} / {longest:.1} ms")
    }
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) samples: Vec<Sample>,
    yardstick: Vec<(Instant, Duration)>,
    pub(crate) stale: u64,
    /// Writes whose invalidations were not acknowledged.
    pub(crate) pending: u64,
    pub(crate) complaints: Vec<String>,
    summary: String,
}

impl Report {
    pub(crate) fn of(name: &str, scene: &Scene) -> Self {
        let record = &scene.record;
        let mut samples = record.samples.lock().unwrap().clone();
        samples.sort_unstable_by_key(|sample| sample.began);
        let yardstick = record.yardstick.lock().unwrap().clone();
        let faults = record.faults.lock().unwrap();
        let mut complaints = faults.told.clone();
        if faults.count() > complaints.len() as u64 {
            complaints.push(format!("... {} such in all", faults.count()));
        }
        let bare = Times::of(yardstick.iter().map(|&(_, took)| took));
        // Where a read without a cache waits that long for its turn, nothing can be said about time.
        let is_busy_throughout = bare.median > BUSY || bare.p99 > 10 * BUSY;
        if !is_busy_throughout {
            complaints.extend(slow(scene, &samples));
        }
        let recoveries = recoveries(record, &samples);
        let is_late = |took: Option<Duration>| took.is_none_or(|took| took > RECOVERY);
        let is_busy = |repair: &Repair| {
            let span = (repair.at, repair.calm_until);
            without_cache(&yardstick, &[span]).median > BUSY
        };
        let late = recoveries.iter();
        let late =
            late.filter(|(repair, took)| is_late(*took) && !is_busy(repair) && !is_busy_throughout);
        complaints.extend(late.map(|(repair, took)| {
            let at = record.at(repair.at);
            format!("hits were back {took:?} after the repair at {at}")
        }));
        let mut report = Self {
            yardstick,
            stale: faults.stale,
            pending: *record.pending.lock().unwrap(),
            samples,
            complaints,
            summary: String::new(),
        };
        report.summary = report.summarize(name, scene, &recoveries);
        report
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.kind == kind)
    }

    /// The times of reads through a node that began within one of these spans.
    pub(crate) fn reads(&self, node: usize, spans: &[(Instant, Instant)]) -> Times {
        let within = |read: &&Sample| {
            let mut spans = spans.iter();
            read.node == node && spans.any(|&(from, to)| (from..to).contains(&read.began))
        };
        let those = self.of_kind(Kind::Read).filter(within);
        Times::of(those.map(|read| read.took))
    }

    /// The times of reads without a cache that began within one of these spans.
    pub(crate) fn without_cache(&self, spans: &[(Instant, Instant)]) -> Times {
        without_cache(&self.yardstick, spans)
    }

    /// Whether the machine had no time for anything.
    pub(crate) fn was_busy(&self) -> bool {
        let times = self.yardstick.iter().map(|&(_, took)| took);
        Times::of(times).median > BUSY
    }

    fn summarize(
        &self,
        name: &str,
        scene: &Scene,
        recoveries: &[(Repair, Option<Duration>)],
    ) -> String {
        let reads = Times::of(self.of_kind(Kind::Read).map(|read| read.took));
        let writes = Times::of(self.of_kind(Kind::Write).map(|write| write.took));
        let hits = share(self.of_kind(Kind::Read));
        let pending = self.pending;
        let calms = recoveries.len();
        let back = recoveries.iter().map(|&(_, took)| took.unwrap_or(CALM));
        let back = back.max().unwrap_or_default();
        let lags = scene.record.lags.lock().unwrap();
        let lagging = scene
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(number, (node, _))| {
                let lags = lags.iter().filter(|(lagging, _)| *lagging == number);
                let lags = Times::of(lags.map(|&(_, lag)| lag));
                (lags.count > 0).then(|| format!("{} {} times by {lags}", node.name, lags.count))
            });
        let lagging: Vec<_> = lagging.collect();
        let bare = scene.record.yardstick.lock().unwrap();
        let bare = Times::of(bare.iter().map(|&(_, took)| took));
        format!(
            "{name}, seed {}: {} reads in {reads}, {:.0} % hits; {} writes in {writes}, {pending} \
             pending; behind: {}; hits back within {} ms in {calms} calms; \
             without a cache {bare}",
            scene.seed,
            reads.count,
            100.0 * hits,
            writes.count,
            if lagging.is_empty() {
                "none".to_owned()
            } else {
                lagging.join(", ")
            },
            back.as_millis(),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

fn without_cache(yardstick: &[(Instant, Duration)], spans: &[(Instant, Instant)]) -> Times {
    let within = |at| spans.iter().any(|&(from, to)| (from..to).contains(at));
    let those = yardstick.iter().filter(|(at, _)| within(at));
    Times::of(those.map(|&(_, took)| took))
}

/// The share of hits, from 0 to 1.
fn share<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let (mut hits, mut all) = (0, 0);
    for sample in samples {
        hits += u32::from(sample.hit);
        all += 1;
    }
    f64::from(hits) / f64::from(all.max(1))
}

/// What took longer than it may, whatever happens to the store.
fn slow(scene: &Scene, samples: &[Sample]) -> Vec<String> {
    let record = &scene.record;
    let allowed = |sample: &Sample, node: &Node| {
        let store = match sample.kind {
            Kind::Read => DEADLINE,
            Kind::Write if node.waits => DEADLINE + LEASE,
            Kind::Write => DEADLINE,
        };
        let busy = STEPS * record.without_cache(sample.began, sample.took);
        store + SLACK + busy + record.suspended(sample)
    };
    let slow = samples.iter().filter_map(|sample| {
        let node = &scene.nodes[sample.node].0;
        let allowed = allowed(sample, node);
        (sample.took > allowed).then(|| {
            let (kind, took, at) = (sample.kind, sample.took, record.at(sample.began));
            format!(
                "{at}: {kind:?} through {}: {took:?}, not within {allowed:?}",
                node.name
            )
        })
    });
    slow.take(10).collect()
}

/// For each repair that was followed by a calm, how long it took until the share of hits was half of
/// what it had been before the first fault.
fn recoveries(record: &Record, samples: &[Sample]) -> Vec<(Repair, Option<Duration>)> {
    let repairs = record.repairs.lock().unwrap();
    let reads: Vec<_> = samples
        .iter()
        .filter(|sample| sample.kind == Kind::Read)
        .collect();
    let within = |from: Instant, to: Instant| {
        let first = reads.partition_point(|read| read.began < from);
        let last = reads.partition_point(|read| read.began < to);
        share(reads[first..last].iter().copied())
    };
    let Some(first) = repairs.first() else {
        return Vec::new();
    };
    // The first calm is that before any fault; the beginning of it fills the store.
    let usual = within(
        first.calm_until - (first.calm_until - first.at) / 2,
        first.calm_until,
    );
    let recovery = |repair: &Repair| {
        let mut at = repair.at;
        while at + WINDOW <= repair.calm_until {
            if within(at, at + WINDOW) >= usual / 2.0 {
                return (*repair, Some(at - repair.at));
            }
            at += Duration::from_millis(20);
        }
        (*repair, None)
    };
    repairs[1..].iter().map(recovery).collect()
}
