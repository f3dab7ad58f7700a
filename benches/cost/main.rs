//! Measures how much the cache costs a request, compared with the handler behind it.
//!
//! ```sh
//! cargo bench --bench cost            # one table of everything
//! cargo bench --bench cost -- hit     # the cases with "hit" in their names
//! cargo bench --bench cost -- --gate  # fails where a budget is exceeded by more than 3 %
//! cargo bench --bench cost -- --scaling  # the throughput of two threads against that of one
//! ```
//!
//! Each case answers requests with ten header fields in process, one after the other, and reads each
//! response to its end. The cost of making and dropping the request itself is measured separately and
//! subtracted.
//!
//! - **instructions** and **allocations** are counted by valgrind's callgrind, under which the program
//!   runs itself. Twice the number of requests is run as well and the difference taken, which removes
//!   the set-up. The counts are the same from run to run, to a few instructions, because tables are
//!   hashed with a new seed in each process. Callgrind hides SHA-NI, so SHA-256 counts some 6,000
//!   instructions too many; no case here uses it. Without valgrind the two columns stay empty.
//! - **bare** is the number of instructions divided by that of the case the row is compared with.
//! - **ns** is only a hint: the third best of 25 samples by the clock, because the machine may have
//!   been busy with something else during the others.
//!
//! The memory of an entry is the growth of the process, allocator and tables included.

use std::process::ExitCode;

mod atomics;
mod budgets;
mod callgrind;
mod cases;
mod clock;
mod memory;
mod scaling;

use callgrind::Counted;
use cases::{CASES, Case};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [callgrind::AGAIN, name, requests] => again(name, requests),
        ref flags if flags.contains(&"--gate") => return budgets::gate(),
        ref flags if flags.contains(&"--scaling") => scaling::print(),
        ref flags if flags.contains(&"--bench") => {
            let filter = flags.iter().find(|flag| !flag.starts_with("--"));
            table(filter.copied().unwrap_or_default());
        }
        // `cargo test --benches`: only checks that everything works.
        _ => CASES.iter().for_each(|case| case.client().send(1)),
    }
    ExitCode::SUCCESS
}

/// Runs one case, under callgrind.
fn again(name: &str, requests: &str) {
    let case = cases::find(name).expect("only the name of a case is given");
    let requests = requests.parse().expect("only a number is given");
    case.client().send(requests);
}

fn table(filter: &str) {
    // Measured first: later the process has freed memory to reuse.
    let bytes = memory::per_entry();
    if !callgrind::is_installed() {
        println!("valgrind is not installed: no instructions, no allocations\n");
    }
    println!("| case | instructions | bare | allocations | ns |");
    println!("|---|---:|---:|---:|---:|");
    for case in CASES.iter().filter(|case| case.name.contains(filter)) {
        let counted = callgrind::count(case);
        let bare = case
            .bare
            .and_then(cases::find)
            .and_then(|bare| Some(ratio(counted?, callgrind::count(bare)?)));
        println!(
            "| {} | {} | {} | {} | {:.0} |",
            case.name,
            shown(counted.map(|counted| format!("{:.0}", counted.instructions))),
            shown(bare.map(|bare| format!("{bare:.2} ×"))),
            shown(counted.map(|counted| format!("{:.1}", counted.allocations))),
            clock::nanoseconds(case),
        );
    }
    if let Some(bytes) = bytes {
        println!(
            "\nA stored response of 1 KiB takes {bytes:.0} bytes more than its headers and body."
        );
    }
}

fn ratio(counted: Counted, bare: Counted) -> f64 {
    counted.instructions / bare.instructions
}

fn shown(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "–".to_owned())
}

/// Returns the cost of making the requests of a case.
fn request_of(case: &Case) -> &'static Case {
    cases::find(match case.request {
        cases::Requests::Same => "request",
        cases::Requests::Conditional => "request with If-None-Match",
        cases::Requests::New => "request for a new URI",
        cases::Requests::Zipf => "request for one of 10,000 URIs",
        cases::Requests::Crowds => "request for the URI of a crowd",
        cases::Requests::Query => "request with a query",
    })
    .expect("all are in the list")
}
