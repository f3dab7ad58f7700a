mod alloc;
mod cost;
mod engines;
mod random;
mod traces;

use std::env;
use std::path::{Path, PathBuf};

use cost::Operation;
use engines::{KINDS, Kind};
use traces::Trace;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["only", kind, operation, times] => only(kind, operation, times),
        [] => report(&Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")),
        [ref folder, ..] => report(&PathBuf::from(folder)),
    }
}

/// Runs one operation so many times and nothing else: what callgrind is pointed at.
fn only(kind: &str, operation: &str, times: &str) {
    let times = times.parse().expect("a number");
    let kind = KINDS.into_iter().find(|one| one.to_string() == kind);
    match (kind, operation) {
        (Some(kind), "Hit") => cost::run(kind, Operation::Hit, times),
        (Some(kind), "InsertAndEvict") => cost::run(kind, Operation::InsertAndEvict, times),
        (Some(_), "Keys") => (Default::default(), cost::make_keys(times) as u64),
        _ => panic!("no such engine or operation"),
    };
}

fn report(folder: &Path) {
    print!("| |");
    KINDS.iter().for_each(|kind| print!(" {kind} |"));
    println!(" LRU | optimum |");
    println!("|---|{}", "---|".repeat(KINDS.len() + 2));
    costs();
    hit_ratios(folder);
}

fn row(name: &str, cell: impl Fn(Kind) -> String) {
    print!("| {name} |");
    KINDS.iter().for_each(|kind| print!(" {} |", cell(*kind)));
    println!(" | |");
}

fn costs() {
    for (name, operation) in [
        ("hit", Operation::Hit),
        ("insert + evict", Operation::InsertAndEvict),
    ] {
        row(&format!("{name}: instructions"), |kind| {
            cost::instructions(kind, operation).map_or("–".into(), |count| format!("{count:.0}"))
        });
        row(&format!("{name}: ns, allocations"), |kind| {
            let (ns, allocations) = cost::time(kind, operation);
            format!("{ns:.0}, {allocations:.1}")
        });
    }
    row("hit, 2 threads on one key: ns", |kind| {
        format!("{:.0}", cost::contended(kind))
    });
    row("bytes an entry beyond key and value", |kind| {
        format!("{:.0}", cost::bytes_per_entry(kind))
    });
    row("1 M writes of 1 KiB to one key: peak KiB", |kind| {
        format!("{}", cost::write_storm(kind) / 1024)
    });
    row("1 M unique keys of 1 KiB: peak / limit", |kind| {
        format!("{:.2}", cost::flood(kind))
    });
    row("weight kept after the TTL", |kind| {
        format!("{:.0} %", cost::expired_share(kind) * 100.0)
    });
}

fn hit_ratios(folder: &Path) {
    let read = |name| traces::read(folder, name);
    let by_count: [(&str, Option<Trace>, &[u64]); 6] = [
        ("web07", read("web07"), &[204, 1_024, 4_096]),
        ("web12", read("web12"), &[137, 687, 2_751]),
        ("multi3", read("multi3"), &[74, 372, 1_490]),
        ("loop", read("loop"), &[10, 50, 202]),
        (
            "Zipf 0.9",
            Some(traces::zipf(300_000, false)),
            &[1_000, 10_000],
        ),
        (
            "Zipf 0.9 + scans",
            Some(traces::zipf(300_000, true)),
            &[1_000, 10_000],
        ),
    ];
    for (name, trace, capacities) in by_count {
        let Some(trace) = trace else {
            eprintln!("{name}: no such trace in {}", folder.display());
            continue;
        };
        for entries in capacities {
            ratios(
                &format!("{name}, {entries}"),
                &trace,
                *entries,
                *entries as usize,
            );
            println!(" {:.3} |", traces::optimum(&trace, *entries as usize));
        }
    }
    if let Some(trace) = read("cdn") {
        for mib in [4, 16, 64] {
            let capacity = mib << 20;
            ratios(
                &format!("cdn, {mib} MiB"),
                &trace,
                capacity,
                capacity as usize / 8_192,
            );
            println!(" |");
        }
    }
}

fn ratios(name: &str, trace: &Trace, capacity: u64, items: usize) {
    print!("| {name} |");
    for kind in KINDS {
        print!(" {:.3} |", traces::engine(kind, trace, capacity, items, 1));
    }
    print!(" {:.3} |", traces::lru(trace, capacity));
}
