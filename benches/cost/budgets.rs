//! The gate: what a request may cost, at the most.

use std::process::ExitCode;

use crate::callgrind::{self, Counted};
use crate::cases;

/// What a case took when it was last looked at.
struct Budget {
    case: &'static str,
    instructions: f64,
    allocations: f64,
}

/// By how much a budget may be exceeded.
const SLACK: f64 = 1.03;

/// What the bare router took in the run that these budgets are from. Where another compiler or C
/// library makes it take more, or less, the budgets go with it.
const BARE: Budget = budget("bare Router, static text", 5699.0, 15.0);

const BUDGETS: &[Budget] = &[
    budget("hit, static text", 4169.0, 2.0),
    budget("hit, 1 KiB and 8 fields", 4815.0, 2.0),
    budget("hit, measured", 5124.0, 2.0),
    budget("hit, hot keys watched", 4993.0, 2.0),
    #[cfg(feature = "otel")]
    budget("hit, with a reader attached", 5364.0, 2.0),
    budget("hit, 64 KiB and 8 fields", 4802.0, 2.0),
    budget("hit, 1 MiB and 8 fields", 4802.0, 2.0),
    budget("hit inside Router::layer", 12_394.0, 21.0),
    budget("conditional hit (304)", 12_447.0, 5.0),
    budget("hit with Vary", 8535.0, 3.0),
    budget("bypass (no route), Router", 7215.0, 15.0),
    budget("miss stored, 1 KiB and 8 fields", 47_211.0, 64.0),
    budget("miss not stored, 1 KiB and 8 fields", 27_224.0, 40.0),
];

const fn budget(case: &'static str, instructions: f64, allocations: f64) -> Budget {
    Budget {
        case,
        instructions,
        allocations,
    }
}

/// Holds every budget against what is counted now.
pub(crate) fn gate() -> ExitCode {
    let Some(bare) = measured(&BARE) else {
        println!("valgrind is not installed: nothing can be counted");
        return ExitCode::FAILURE;
    };
    let scale = bare.instructions / BARE.instructions;
    println!("{}: {:.2} × as when budgeted", BARE.case, scale);
    let mut kept = true;
    for budget in BUDGETS {
        kept &= measured(budget).is_some_and(|counted| keeps(budget, counted, scale));
    }
    match kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measured(budget: &Budget) -> Option<Counted> {
    callgrind::count(cases::find(budget.case)?)
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
