//! Access traces, read or generated, and the hit ratios of engines, of LRU and of the optimum on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;

use crate::engines::{Key, Kind, Setup, Value};
use crate::random::Zipf;

/// Accesses in order: a key, and the weight of its value.
pub type Trace = Vec<(u64, u32)>;

/// Reads `NAME.txt.gz`: one key per line, and its size if there is a second column.
pub fn read(folder: &Path, name: &str) -> Option<Trace> {
    let file = File::open(folder.join(format!("{name}.txt.gz"))).ok()?;
    let access = |line: String| {
        let mut columns = line.split_ascii_whitespace();
        let key = columns.next()?.parse().ok()?;
        let size = columns.next().map_or(Some(1), |size| size.parse().ok())?;
        Some((key, size))
    };
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| access(line.ok()?))
        .collect()
}

/// Generates accesses to 100,000 keys by popularity; with `scan`, 2,000 new keys follow every 4,000
/// accesses.
pub fn zipf(accesses: usize, scan: bool) -> Trace {
    let zipf = Zipf::new(100_000, 0.9);
    let mut random = fastrand::Rng::with_seed(1);
    let mut fresh = 1 << 32;
    let mut trace = Trace::with_capacity(accesses);
    while trace.len() < accesses {
        trace.push((zipf.draw(&mut random), 1));
        if scan && trace.len() % 6_000 == 4_000 {
            trace.extend((fresh..fresh + 2_000).map(|key| (key, 1)));
            fresh += 2_000;
        }
    }
    trace
}

/// Returns the share of accesses that find their key in an engine.
pub fn engine(kind: Kind, trace: &Trace, capacity: u64, items: usize, shards: usize) -> f64 {
    let cache = kind.build(Setup {
        capacity,
        items,
        shards,
        ttl: None,
    });
    let mut hits = 0;
    for (key, weight) in trace {
        let key = Key::new(&key.to_le_bytes());
        match cache.get(key.borrow()) {
            Some(_) => hits += 1,
            None => cache.insert(
                key,
                Arc::new(Value {
                    weight: *weight,
                    body: Vec::new(),
                }),
            ),
        }
        cache.settle();
    }
    f64::from(hits) / trace.len() as f64
}

pub fn lru(trace: &Trace, capacity: u64) -> f64 {
    let mut stamps = HashMap::new();
    let mut order = BTreeMap::new();
    let (mut used, mut hits) = (0, 0);
    for (now, (key, weight)) in trace.iter().enumerate() {
        match stamps.insert(*key, now) {
            Some(stamp) => {
                order.remove(&stamp);
                hits += 1;
            }
            None => used += u64::from(*weight),
        }
        order.insert(now, (*key, *weight));
        while used > capacity {
            let Some((_, (key, weight))) = order.pop_first() else {
                break;
            };
            stamps.remove(&key);
            used -= u64::from(weight);
        }
    }
    f64::from(hits) / trace.len() as f64
}

/// Returns the hit ratio of the clairvoyant optimum by entry count, which may also decline to admit.
pub fn optimum(trace: &Trace, entries: usize) -> f64 {
    let mut next_use = vec![usize::MAX; trace.len()];
    let mut seen = HashMap::new();
    for (at, (key, _)) in trace.iter().enumerate().rev() {
        next_use[at] = seen.insert(*key, at).unwrap_or(usize::MAX);
    }
    let mut kept = BTreeSet::new();
    let mut hits = 0;
    for (at, (key, _)) in trace.iter().enumerate() {
        hits += u32::from(kept.remove(&(at, *key)));
        kept.insert((next_use[at], *key));
        if kept.len() > entries {
            kept.pop_last();
        }
    }
    f64::from(hits) / trace.len() as f64
}
