//! Counts atomic writes: the executed instructions in callgrind's profile that objdump lists as locked.

use std::collections::HashSet;
use std::process::Command;

use crate::callgrind;
use crate::cases::Case;
use crate::request_of;

const REQUESTS: u64 = 1_000;

/// Returns the number of atomic writes that one request of a case makes, without those of making the
/// request. `None` without valgrind or objdump, and on processors other than x86.
pub(crate) fn per_request(case: &Case) -> Option<f64> {
    let locked = locked()?;
    Some(gross(case, &locked)? - gross(request_of(case), &locked)?)
}

fn gross(case: &Case, locked: &HashSet<String>) -> Option<f64> {
    let (once, twice) = (
        run(case, REQUESTS, locked)?,
        run(case, 2 * REQUESTS, locked)?,
    );
    Some((twice - once) / REQUESTS as f64)
}

fn run(case: &Case, requests: u64, locked: &HashSet<String>) -> Option<f64> {
    if !callgrind::is_installed() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let arguments = ["--dump-instr=yes", "--compress-pos=no"];
    let profile = callgrind::profile(case, requests, &arguments);
    let (mut ours, mut is_call, mut count) = (false, false, 0.0);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            ours = program.as_os_str() == object;
        } else if line.starts_with("calls=") {
            // The next line has the cost of the call.
            is_call = true;
        } else if let Some(line) = line.strip_prefix("0x") {
            let mut columns = line.split(' ');
            let address = columns.next()?;
            if !std::mem::take(&mut is_call) && ours && locked.contains(address) {
                count += columns.next_back()?.parse::<f64>().ok()?;
            }
        }
    }
    Some(count)
}

/// Returns the addresses of this program's instructions that lock a cache line.
fn locked() -> Option<HashSet<String>> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let listing = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn"])
        .arg(program)
        .output()
        .ok()?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let instructions = listing.lines().filter_map(|line| line.split_once(":\t"));
    let locks = |instruction: &str| {
        // An exchange with memory needs no prefix.
        instruction.starts_with("lock ")
            || instruction.starts_with("xchg") && instruction.contains('(')
    };
    Some(
        instructions
            .filter(|(_, instruction)| locks(instruction.trim_start()))
            .map(|(address, _)| address.trim().to_owned())
            .collect(),
    )
}
