//! Real Redis servers: alone, as a cluster, under sentinels. Each listens on a free port of its own,
//! keeps its files in a folder of its own, and ends with the value that stands for it.
//!
//! Everything here blocks, for as long as a few seconds: faults are injected from a plain thread.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file uses its part of it"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cluster;
mod ports;
mod resp;
mod sentinel;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use cluster::Cluster;
pub use resp::{Connection, Reply};
pub use sentinel::Sentinel;

/// Nothing takes that long that will ever be; on a busy machine an election takes its time.
const PATIENCE: Duration = Duration::from_secs(150);

/// Calls until there is an answer, and panics when that takes too long.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(10));
    }
}

/// A `redis-server`; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Option<Child>,
    port: u16,
    folder: Folder,
    options: Vec<String>,
}

impl Redis {
    /// Starts a server that persists nothing, and waits until it serves.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with options as on its command line: `&["--maxmemory", "5mb"]`.
    pub fn with(options: &[&str]) -> Self {
        Self::made(|port, folder| {
            let (port, folder) = (port.to_string(), folder.to_string_lossy());
            let always = [
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                &folder,
            ];
            let words = always.iter().chain(options);
            words.map(|&word| word.to_owned()).collect()
        })
    }

    /// Starts a server whose command line depends on its port and folder. A port that someone else
    /// takes meanwhile is given up.
    fn made(options: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        for _ in 0..20 {
            let (port, folder) = (ports::take(), Folder::new());
            let mut redis = Self {
                options: options(port, &folder.0),
                process: None,
                port,
                folder,
            };
            if redis.launch() {
                return redis;
            }
        }
        panic!("no redis-server would start");
    }

    /// Returns false when the port is not free.
    fn launch(&mut self) -> bool {
        let mut child = self.command().spawn().unwrap_or_else(|error| {
            panic!("redis-server does not start ({error}); tests/run installs it: apt-get install redis-server")
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let log = self.log();
                assert!(log.contains("Address already in use"), "{status}: {log}");
                return false;
            }
            if self.is_serving(child.id()) {
                self.process = Some(child);
                return true;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("redis-server does not answer: {}", self.log());
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn command(&self) -> Command {
        let log = File::create(self.folder.0.join("log")).unwrap();
        let mut command = Command::new("redis-server");
        command.args(&self.options).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Whether this process, and no other on its port, has loaded its data and answers.
    fn is_serving(&self, pid: u32) -> bool {
        let Ok(mut connection) = Connection::open(self.address()) else {
            return false;
        };
        let mut said = |command| {
            connection
                .ask(command)
                .map_or(String::new(), |said| said.text())
        };
        said("PING") == "PONG" && said("INFO server").contains(&format!("process_id:{pid}\r"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// What it wrote to its log since it was last started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    /// A connection that waits twenty seconds for an answer, and no longer.
    pub fn connect(&self) -> Connection {
        wait_for("a connection to Redis", || {
            Connection::open(self.address()).ok()
        })
    }

    /// Sends a command whose words are separated by spaces, and panics unless it succeeds.
    pub fn ask(&self, command: &str) -> Reply {
        match self.connect().ask(command) {
            Ok(Reply::Error(error)) => panic!("{command}: {error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{command}: {error}"),
        }
    }

    /// A line of `INFO`, or nothing.
    pub fn info(&self, field: &str) -> String {
        let all = self.ask("INFO everything").text();
        let line = all
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().to_owned()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again on the same port, with what it had persisted, and waits until it serves.
    pub fn restart(&mut self) {
        self.kill();
        // The port may have been taken for a moment.
        wait_for("the port of a killed Redis", || self.launch().then_some(()));
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): connections stay open, nothing answers.
    pub fn stall(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success(), "kill -s {name} {pid}");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A temporary folder; removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("redis-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a process of the same number left behind is of no use to anyone.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the folder for what may be lost.
        let _ = fs::remove_dir_all(&self.0);
    }
}
