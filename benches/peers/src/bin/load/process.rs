//! Starting, accounting for, and stopping processes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The ids of the running processes.
static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// The folders that are in use.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Stops all processes that were started, before this one ends.
pub fn stop_all() {
    locked(&STARTED).iter().for_each(|id| kill(*id));
    for folder in locked(&FOLDERS).iter() {
        // It is in the folder for what may be lost.
        let _ = fs::remove_dir_all(folder);
    }
}

fn locked<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Kills a process and its descendants.
fn kill(id: u32) {
    // The parent first, or it would start its children anew.
    for process in family(id) {
        let pid = process.pid.to_string();
        // It may have ended already.
        let _ = Command::new("kill")
            .args(["-9", &pid])
            .stderr(Stdio::null())
            .status();
    }
}

/// A program and everything it starts; stopped when dropped.
pub struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    /// Starts a program that may open as many files as the system allows, and writes to a log in a
    /// folder of its own.
    pub fn start(folder: &Folder, program: &str, arguments: &[String]) -> Result<Self, String> {
        let log = File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        let raised = "ulimit -n $(ulimit -Hn); exec \"$@\"";
        let child = Command::new("sh")
            .args(["-c", raised, "sh", program])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        locked(&STARTED).push(child.id());
        Ok(Self {
            child,
            folder: folder.path().to_owned(),
        })
    }

    pub fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .map_or(true, |status| status.is_some())
    }

    /// Returns the end of its log.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }

    /// Returns its processor time so far, with everything it has started.
    pub fn cpu(&self) -> Result<Duration, String> {
        let ticks: u64 = family(self.child.id())
            .iter()
            .map(|process| process.ticks)
            .sum();
        match ticks {
            0 => Err("a server has ended".to_owned()),
            // The kernel reports hundredths of a second, whatever it measures in.
            _ => Ok(Duration::from_millis(ticks * 10)),
        }
    }

    /// Returns its current memory, with everything it has started.
    pub fn resident(&self) -> u64 {
        let of = |process: &Status| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        family(self.child.id()).iter().filter_map(of).sum::<u64>() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(self.child.id());
        // It may have ended already.
        let _ = self.child.wait();
        locked(&STARTED).retain(|id| *id != self.child.id());
    }
}

/// A process and its descendants.
fn family(id: u32) -> Vec<Status> {
    let mut children: HashMap<u32, Vec<Status>> = HashMap::new();
    let mut family = Vec::new();
    for status in all() {
        match status.pid == id {
            true => family.push(status),
            false => children.entry(status.parent).or_default().push(status),
        }
    }
    let mut at = 0;
    while at < family.len() {
        family.extend(children.remove(&family[at].pid).unwrap_or_default());
        at += 1;
    }
    family
}

/// A line of `/proc/PID/stat`.
struct Status {
    pid: u32,
    parent: u32,
    ticks: u64,
}

fn all() -> impl Iterator<Item = Status> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may contain spaces.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Status {
            pid,
            parent: field(1)? as u32,
            ticks: field(11)? + field(12)?,
        })
    })
}

/// A temporary folder; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("load-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        locked(&FOLDERS).push(path.clone());
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let path = self.0.join(name);
        let written = fs::write(&path, text);
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the folder for what may be lost.
        let _ = fs::remove_dir_all(&self.0);
        locked(&FOLDERS).retain(|folder| *folder != self.0);
    }
}

/// Returns a free port, below those that systems assign to clients.
pub fn port() -> Result<u16, String> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(7_919) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Relaxed));
        let port = FIRST + ((start + step) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("no port from {FIRST} up is free"))
}
