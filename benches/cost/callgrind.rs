//! Counts instructions and allocations by running this program under callgrind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::{fs, thread};

use crate::cases::Case;
use crate::request_of;

/// The argument for a run of a single case, followed by its name and the number of requests.
pub(crate) const AGAIN: &str = "--again";

/// The number of requests: enough that differences in set-up are less than an instruction per request.
const REQUESTS: u64 = 1_000;

/// The cost of one request of a case.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

pub(crate) fn is_installed() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let version = Command::new("valgrind")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// Counts the cost of one request, without that of making the request. `None` without valgrind.
pub(crate) fn count(case: &Case) -> Option<Counted> {
    let whole = gross(case)?;
    let request = gross(request_of(case))?;
    Some(match case.is_request() {
        true => whole,
        false => Counted {
            instructions: whole.instructions - request.instructions,
            allocations: whole.allocations - request.allocations,
        },
    })
}

/// Counts these cases at the same time, as many as there are cores: the counts do not depend on what
/// else is running.
pub(crate) fn count_ahead(cases: impl Iterator<Item = &'static Case>) {
    let mut all: Vec<_> = cases.flat_map(|case| [case, request_of(case)]).collect();
    all.sort_unstable_by_key(|case| case.name);
    all.dedup_by_key(|case| case.name);
    let (all, next) = (&all, &AtomicUsize::new(0));
    let count = || {
        while all
            .get(next.fetch_add(1, Relaxed))
            .copied()
            .and_then(gross)
            .is_some()
        {}
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(count);
        }
    });
}

fn gross(case: &Case) -> Option<Counted> {
    static KNOWN: Mutex<BTreeMap<&'static str, Counted>> = Mutex::new(BTreeMap::new());
    if !is_installed() {
        return None;
    }
    let known = || KNOWN.lock().expect("nothing panics with it");
    if let Some(counted) = known().get(case.name) {
        return Some(*counted);
    }
    let (once, twice) = (run(case, REQUESTS), run(case, 2 * REQUESTS));
    let counted = Counted {
        instructions: (twice.instructions - once.instructions) / REQUESTS as f64,
        allocations: (twice.allocations - once.allocations) / REQUESTS as f64,
    };
    known().insert(case.name, counted);
    Some(counted)
}

fn run(case: &Case, requests: u64) -> Counted {
    read(&profile(case, requests, &[]))
}

/// Runs this many requests of a case, and returns callgrind's profile of them.
pub(crate) fn profile(case: &Case, requests: u64, arguments: &[&str]) -> String {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("cost-{}.callgrind", RUNS.fetch_add(1, Relaxed));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let program = std::env::current_exe().expect("the program knows where it is");
    let status = Command::new("valgrind")
        .args(["-q", "--tool=callgrind", "--compress-strings=no"])
        .args(arguments)
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([AGAIN, case.name, &requests.to_string()])
        .status()
        .expect("valgrind was there a moment ago");
    assert!(status.success(), "{} failed under callgrind", case.name);
    let profile = fs::read_to_string(&out).expect("callgrind has written its file");
    fs::remove_file(&out).expect("it was there a moment ago");
    profile
}

/// Reads callgrind's profile: all instructions, and the calls of the allocator's functions.
fn read(profile: &str) -> Counted {
    let mut counted = Counted {
        instructions: 0.0,
        allocations: 0.0,
    };
    let mut callee = "";
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if is_allocation(callee) {
                counted.allocations += first_number(calls);
            }
        } else if let Some(totals) = line.strip_prefix("totals:") {
            counted.instructions = first_number(totals);
        }
    }
    counted
}

fn is_allocation(function: &str) -> bool {
    matches!(
        function,
        "malloc" | "calloc" | "realloc" | "posix_memalign" | "aligned_alloc"
    )
}

fn first_number(text: &str) -> f64 {
    let number = text.split_ascii_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .expect("callgrind writes a number here")
}
