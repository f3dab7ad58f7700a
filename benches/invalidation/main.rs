//! Measures the cost of recording an invalidation, of judging a stored response by the log, and of
//! removing a million invalidated responses.
//!
//! ```sh
//! cargo bench --bench invalidation
//! cargo bench --bench invalidation -- sweep    # only the last of these
//! ```
//!
//! It prints each figure beside its goal. The log is internal to the crate, so its modules are
//! compiled into this program.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/policy/evict.rs"]
mod evict;
#[path = "../../src/invalidate/mod.rs"]
mod invalidate;
#[path = "../../src/key.rs"]
mod key;
#[path = "../../src/pattern/mod.rs"]
mod pattern;
#[path = "../../src/semantics/mod.rs"]
mod semantics;
mod sweep;
#[path = "../../src/sync.rs"]
mod sync;
#[path = "../../src/target/mod.rs"]
mod target;

use error::{Error, ErrorKind};
use evict::Evict;
use invalidate::{Invalidation, Log, Position, Verdict};
use pattern::Pattern;
use target::Subject;

/// Live patterns: 5,000 paths, 3,000 prefixes of four lengths, 256 globs, and tags.
const LIVE: usize = 10_000;

fn main() {
    if std::env::args().any(|argument| argument == "sweep") {
        return sweep::sweep();
    }
    // Measured first, while there is no freed memory to reuse.
    memory();
    println!(
        "\n{:<74} {:>10} {:>10}",
        "one call at 10,000 live patterns", "measured", "goal"
    );
    appends();
    verdicts();
    beside_another_thread();
    sweep::sweep();
}

fn appends() {
    let log = filled(&Globs::Apart);
    let mut n = 0;
    let mut next = || {
        n += 1;
        n
    };
    let known = [Invalidation::uri("/api/v1/products/17")];
    report("append: a path recorded before", 15_000, || {
        log.append(&known)
    });
    report("append: a new path", 15_000, || {
        log.append(&[Invalidation::uri(format!(
            "/api/v1/products/new/{}",
            next()
        ))])
    });
    report("append: a new `/**` pattern, parsed", 15_000, || {
        log.append(&[pattern(&format!("/api/v1/shops/new/{}/**", next()))])
    });
    report(
        "append: a new glob, parsed, the oldest of 256 made coarse",
        15_000,
        || log.append(&[pattern(&format!("/api/v1/new{}/*/lines", next()))]),
    );
    report("append: a new tag", 15_000, || {
        log.append(&[Invalidation::tag(format!("product:new:{}", next()))])
    });
    let evict = Evict::pattern("/api/v1/shops/{shop}/**").and_tag("user:{id}");
    let Ok(evict) = evict.compile(&["shop", "id"]) else {
        return;
    };
    report("a write: two templates bound and appended", 15_000, || {
        let id = next().to_string();
        log.append(&evict.bind(&[("shop", &id), ("id", &id)]))
    });
    let full = filled_to(32 * 1024);
    report(
        "append: a new path, the oldest of 32,768 forgotten",
        15_000,
        || full.append(&[Invalidation::uri(format!("/full/{}", next()))]),
    );
}

fn verdicts() {
    let subjects = subjects();
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        subjects[turn % subjects.len()].borrow()
    };
    let log = filled(&Globs::Apart);
    let head = log.position();
    report(
        "verdict: nothing recorded since it was last judged",
        0,
        || log.verdict(head, next()),
    );
    let label = "verdict: 5 tags, 5 segments; globs that begin otherwise";
    report(label, 2_000, || log.verdict(Position::default(), next()));
    for (globs, label) in [
        (Globs::SameBeginning, "begin alike and end otherwise"),
        (Globs::SameEnds, "begin and end alike"),
        (Globs::WithinSegment, "differ at the end of a segment"),
        (Globs::Letters, "differ in two letters of a segment"),
    ] {
        let log = filled(&globs);
        let label = format!("verdict: the same; 256 globs that {label}");
        report(&label, 2_000, || log.verdict(Position::default(), next()));
    }
    let worst = filled(&Globs::SameRuns);
    let label = "verdict: the same; 256 globs of runs that the path has, in other orders";
    report(label, 2_000, || worst.verdict(Position::default(), next()));
    let intents: Vec<_> = (0..1_000)
        .map(|n| log.begin_write(&[Invalidation::uri(format!("/open/{n}"))]))
        .collect();
    let label = "verdict: with 1,000 announced writes under way";
    report(label, 2_000, || log.verdict(Position::default(), next()));
    drop(intents);
}

/// Judges on one thread while another records without a pause. A thread that only counts shows how much
/// of the slowest times is due to this machine's scheduler.
fn beside_another_thread() {
    println!("\nverdicts beside another thread         median       99 %    99.99 %    slowest");
    let log = filled(&Globs::Apart);
    beside("that appends without a pause", &log, |n| {
        log.append(&[Invalidation::uri(format!("/beside/{n}"))]);
    });
    beside("that appends a thousand a second", &log, |n| {
        log.append(&[Invalidation::uri(format!("/beside/{n}"))]);
        thread::sleep(Duration::from_millis(1));
    });
    beside("that only counts", &log, |n| {
        black_box(n);
    });
}

fn beside(label: &str, log: &Log, work: impl Fn(u64) + Sync) {
    let subjects = subjects();
    let stop = AtomicBool::new(false);
    let mut took: Vec<Duration> = thread::scope(|scope| {
        scope.spawn(|| {
            (0..)
                .take_while(|_| !stop.load(Ordering::Relaxed))
                .for_each(&work)
        });
        let took = (0..500_000).map(|n| {
            let subject = subjects[n % subjects.len()].borrow();
            let started = Instant::now();
            let _ = black_box(log.verdict(Position::default(), subject));
            started.elapsed()
        });
        let took = took.collect();
        stop.store(true, Ordering::Relaxed);
        took
    });
    took.sort_unstable();
    print!("{label:<34}");
    for part in [0.5, 0.99, 0.9999, 1.0] {
        let at = ((took.len() - 1) as f64 * part) as usize;
        print!(" {:>10}", shown(took[at].as_nanos() as f64));
    }
    println!();
}

/// Records as many different patterns as a thousand per second make in ten minutes, without waiting.
fn memory() {
    let start = resident();
    let log = Log::default();
    let mut n = 0u64;
    println!("resident memory, default capacity (32,768), patterns never recorded before");
    for minutes in [0, 1, 2, 5, 10] {
        while n < minutes * 60 * 1_000 {
            n += 1;
            match n % 4 {
                0 => log.append(&[pattern(&format!("/glob/{n}/*/x"))]),
                1 => log.append(&[Invalidation::tag(format!("tag:{n}"))]),
                2 => log.append(&[pattern(&format!("/below/{n}/**"))]),
                _ => log.append(&[Invalidation::uri(format!("/exact/{n}?page=1"))]),
            };
        }
        let took = resident().saturating_sub(start);
        let label = format!("{n} recorded, {} distinguished", log.len());
        let each = took * 1024 / log.len().max(1) as u64;
        println!(
            "{label:<62} {:>7} KiB {each:>5} B each (goal: flat, ≤ 200 B each)",
            took
        );
    }
}

/// The relation of the globs in a log to the judged subjects.
enum Globs {
    Apart,
    SameBeginning,
    SameEnds,
    WithinSegment,
    Letters,
    /// Only matching them distinguishes these from a glob that matches: the latest are matched, and
    /// the others count as matches.
    SameRuns,
}

impl Globs {
    fn text(&self, n: usize) -> String {
        let letter = |n: usize| char::from(b"abcdefghijklmnop"[n % 16]);
        match self {
            Self::Apart => format!("/api/v1/g{n}/*/lines"),
            Self::SameBeginning => format!("/api/v1/shops/*/lines{n}"),
            Self::SameEnds => format!("/api/v1/shops/*/p{n}*s/**/*"),
            Self::WithinSegment => format!("/api/v1/shops/*/*-{n}"),
            Self::Letters => format!("/api/v1/shops/*/*{}{}*", letter(n), letter(n / 16)),
            Self::SameRuns => {
                // In `products` nothing follows the `s`.
                let [a, b, c] = [1, 7, 49].map(|place| &"product"[n / place % 7..]);
                format!("/api/v1/shops/*/*s*{a}*{b}*{c}*")
            }
        }
    }
}

fn filled(globs: &Globs) -> Log {
    let log = Log::default();
    for n in 0..5_000 {
        log.append(&[Invalidation::uri(format!("/api/v1/products/{n}"))]);
    }
    for n in 0..750 {
        for text in [
            format!("/api/v1/orders/{n}/**"),
            format!("/api/v1/orders/{n}/lines/1/**"),
            format!("/s{n}/**"),
            format!("/api/v1/carts/{n}/*"),
        ] {
            log.append(&[pattern(&text)]);
        }
    }
    for n in 0..256 {
        log.append(&[pattern(&globs.text(n))]);
    }
    for n in log.len()..LIVE {
        log.append(&[Invalidation::tag(format!("user:{n}"))]);
    }
    assert_eq!(log.len(), LIVE);
    log
}

fn filled_to(patterns: usize) -> Log {
    let log = Log::with_capacity(patterns);
    for n in 0..patterns {
        log.append(&[Invalidation::uri(format!("/filled/{n}"))]);
    }
    log
}

/// Makes subjects that nothing in the log matches, so that every place has to be examined.
fn subjects() -> Vec<Subject> {
    let subject = |n| {
        let path = format!("/api/v1/shops/{n}/products");
        let tags: Vec<Box<str>> = (0..5).map(|tag| format!("shop:{n}:{tag}").into()).collect();
        Subject::new(&path, Some("page=1&lang=de"), tags)
    };
    let subjects: Vec<_> = (0..1_024).map(subject).collect();
    let log = filled(&Globs::WithinSegment);
    assert_eq!(
        log.verdict(Position::default(), subjects[0].borrow()),
        Verdict::Valid
    );
    subjects
}

fn pattern(text: &str) -> Invalidation {
    match Pattern::parse(text) {
        Ok(pattern) => pattern.into(),
        Err(error) => panic!("{error}"),
    }
}

/// Prints the median of 51 batches beside its goal, in nanoseconds; zero means no goal.
fn report<T>(label: &str, goal: u64, mut call: impl FnMut() -> T) {
    const BATCH: u32 = 2_000;
    let mut batches: Vec<f64> = (0..51)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..BATCH {
                black_box(call());
            }
            started.elapsed().as_nanos() as f64 / f64::from(BATCH)
        })
        .collect();
    batches.sort_unstable_by(f64::total_cmp);
    let median = batches[batches.len() / 2];
    let limit = match goal {
        0 => String::new(),
        _ => format!("≤ {}", shown(goal as f64)),
    };
    println!("{label:<74} {:>10} {limit:>10}", shown(median));
}

fn shown(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1_000.0 => format!("{n:.1} ns"),
        n => format!("{:.2} µs", n / 1_000.0),
    }
}

/// Returns the resident memory of this process in KiB; zero if it is unknown.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
