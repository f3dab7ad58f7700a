//! Requests by `wrk`.

use std::process::{Command, Stdio};

use peers::{LARGE, SMALL};

use crate::process::Folder;

/// The number of keys in the workload with many.
pub const KEYS: usize = 10_000;

/// The responses requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Small,
    Large,
    Many,
}

impl Workload {
    pub const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Many];
}

/// Checks that `wrk` is installed, and says what to do if not.
pub fn find() -> Result<(), String> {
    let found = Command::new("wrk")
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.map(drop).map_err(|error| {
        format!("wrk: {error}; it is a package of most systems: apt-get install wrk")
    })
}

/// Sends requests for this many seconds and returns how many were answered. All must succeed.
pub fn run(port: u16, workload: Workload, seconds: u64) -> Result<u64, String> {
    let folder = Folder::new("wrk")?;
    let path = match workload {
        Workload::Small | Workload::Many => SMALL,
        Workload::Large => LARGE,
    };
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c32", "--timeout", "30", &format!("-d{seconds}")]);
    if workload == Workload::Many {
        command.args(["-s", &folder.write("keys.lua", &script())?]);
    }
    let output = command
        .arg(format!("http://127.0.0.1:{port}{path}7"))
        .output();
    let output = output.map_err(|error| format!("wrk: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("not every request succeeded:\n{said}"));
    }
    let line = said.lines().find(|line| line.contains(" requests in "));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    number
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("wrk said:\n{said}"))
}

fn script() -> String {
    format!(
        "local requests = {{}}\n\
         init = function() for i = 1, {KEYS} do requests[i] = wrk.format('GET', '{SMALL}' .. i) end end\n\
         request = function() return requests[math.random({KEYS})] end\n"
    )
}
