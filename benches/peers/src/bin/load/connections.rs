//! Many connections at once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use peers::KIB;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::servers::Server;

/// The first argument of the client's process; then the port and the number of connections.
pub const ROLE: &str = "--connect";

const REQUEST: &[u8] = b"GET /articles/7 HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Opens the connections, waits for a line, sends a request on each at once, and waits again.
pub fn run(port: &str, count: &str) -> ExitCode {
    let (Ok(port), Ok(count)) = (port.parse(), count.parse()) else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("sockets are available").block_on(async {
        let opened = open(port, count).await;
        say_and_wait(count - opened.len());
        let asked: Vec<_> = opened
            .into_iter()
            .map(|stream| tokio::spawn(ask(stream)))
            .collect();
        let mut answered = Vec::new();
        for task in asked {
            answered.extend(task.await.ok().flatten());
        }
        say_and_wait(count - answered.len());
    });
    ExitCode::SUCCESS
}

async fn open(port: u16, count: usize) -> Vec<TcpStream> {
    let mut opened = Vec::new();
    for _ in 0..count {
        opened.extend(TcpStream::connect(("127.0.0.1", port)).await);
    }
    opened
}

async fn ask(mut stream: TcpStream) -> Option<TcpStream> {
    stream.write_all(REQUEST).await.ok()?;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    answer.starts_with(b"HTTP/1.1 200").then_some(stream)
}

/// Returns whether a response has its whole body.
fn is_whole(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    head.is_some_and(|head| answer.len() >= head + 4 + KIB)
}

fn say_and_wait(failed: usize) {
    println!("{failed}");
    let mut line = String::new();
    // The other end is gone, so this one ends as well.
    let _ = std::io::stdin().read_line(&mut line);
}

/// Holds this many connections to the bare router and then to the crate's own servers.
pub fn table(servers: &[Server], count: usize) -> Result<(), String> {
    println!("\n| {count} connections | bytes each, idle | bytes each, after a request | failed |");
    println!("|---|---:|---:|---:|");
    for server in servers
        .iter()
        .filter(|server| server.is_bare() || server.is_ours())
    {
        let before = server.process.resident();
        let mut client = Client::start(server.port, count)?;
        let mut failed = client.next()?;
        let each = |now: u64| now.saturating_sub(before) / count as u64;
        let idle = each(server.process.resident());
        client.go_on()?;
        failed += client.next()?;
        let asked = each(server.process.resident());
        println!("| {} | {idle} | {asked} | {failed} |", server.name);
    }
    Ok(())
}

struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Client {
    fn start(port: u16, count: usize) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$@\"", "sh"])
            .arg(program)
            .args([ROLE, &port.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let said = child.stdout.take().ok_or("it has no output")?;
        Ok(Self {
            child,
            said: BufReader::new(said),
        })
    }

    fn next(&mut self) -> Result<usize, String> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        read.map_err(|error| error.to_string())?;
        line.trim()
            .parse()
            .map_err(|_| "the client of many connections has failed".to_owned())
    }

    fn go_on(&mut self) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("it has no input")?;
        input.write_all(b"\n").map_err(|error| error.to_string())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
