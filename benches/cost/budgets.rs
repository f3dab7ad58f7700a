//! The gate: budgets for the cost of requests.

use std::process::ExitCode;

use crate::callgrind::{self, Counted};
use crate::cases;

/// The cost of a case when its budget was set.
struct Budget {
    case: &'static str,
    instructions: f64,
    allocations: f64,
}

/// The tolerance above a budget.
const SLACK: f64 = 1.03;

/// The cost of the bare router in the run that these budgets are from. If another compiler or C library
/// makes it cost more or less, the budgets scale with it.
const BARE: Budget = budget("bare Router, static text", 5624.0, 14.0);

const BUDGETS: &[Budget] = &[
    budget("hit, static text", 3954.0, 2.0),
    budget("hit, 1 KiB and 8 fields", 4600.0, 2.0),
    budget("hit, measured", 4856.0, 2.0),
    budget("hit, hot keys watched", 4739.0, 2.0),
    #[cfg(feature = "otel")]
    budget("hit, with a reader attached", 5096.0, 2.0),
    budget("hit, 64 KiB and 8 fields", 4809.0, 2.0),
    budget("hit, 1 MiB and 8 fields", 4793.0, 2.0),
    budget("hit, key of a sorted query", 7439.0, 5.0),
    budget("hit inside Router::layer", 10_610.0, 16.0),
    budget("conditional hit (304)", 10_943.0, 5.0),
    budget("hit with Vary", 6031.0, 2.0),
    budget("bypass (no route), Router", 6895.0, 14.0),
    budget("miss stored, 1 KiB and 8 fields", 33_045.0, 39.0),
    budget("miss not stored, 1 KiB and 8 fields", 24_077.0, 29.0),
    budget("one of 1,000 that share a miss", 19_459.0, 16.0),
];

/// A bound on the instructions of a case relative to another case in the same run, on any machine.
const PROMISES: &[(&str, &str, f64)] = &[
    ("hit, static text", "bare Router, static text", 1.0),
    ("hit, 1 MiB and 8 fields", "hit, 1 KiB and 8 fields", 1.05),
    (
        "hit inside Router::layer",
        "bare Router, handler naming the same fields",
        1.0,
    ),
];

const fn budget(case: &'static str, instructions: f64, allocations: f64) -> Budget {
    Budget {
        case,
        instructions,
        allocations,
    }
}

/// Compares every budget with the current counts.
pub(crate) fn gate() -> ExitCode {
    let promised = PROMISES.iter().flat_map(|(case, other, _)| [*case, *other]);
    let names = BUDGETS.iter().map(|budget| budget.case).chain(promised);
    callgrind::count_ahead(names.filter_map(cases::find));
    let Some(bare) = measured(BARE.case) else {
        println!("valgrind is not installed: nothing can be counted");
        return ExitCode::FAILURE;
    };
    let scale = bare.instructions / BARE.instructions;
    println!("{}: {:.2} × as when budgeted", BARE.case, scale);
    let mut kept = true;
    for budget in BUDGETS {
        kept &= measured(budget.case).is_some_and(|counted| keeps(budget, counted, scale));
    }
    for (case, other, most) in PROMISES {
        kept &= is_kept(case, other, *most).unwrap_or(false);
    }
    match kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measured(case: &str) -> Option<Counted> {
    callgrind::count(cases::find(case)?)
}

fn is_kept(case: &str, other: &str, most: f64) -> Option<bool> {
    let ratio = measured(case)?.instructions / measured(other)?.instructions;
    let kept = ratio <= most;
    let word = if kept { "kept" } else { "BROKEN" };
    println!("{word}: {case}: {ratio:.2} × {other}, of {most:.2} ×");
    Some(kept)
}

fn keeps(budget: &Budget, counted: Counted, scale: f64) -> bool {
    let most = budget.instructions * scale * SLACK;
    let kept = counted.instructions <= most && counted.allocations <= budget.allocations * SLACK;
    println!(
        "{}: {}: {:.0} instructions of {most:.0}, {:.1} allocations of {:.1}",
        if kept { "kept" } else { "EXCEEDED" },
        budget.case,
        counted.instructions,
        counted.allocations,
        budget.allocations,
    );
    kept
}
