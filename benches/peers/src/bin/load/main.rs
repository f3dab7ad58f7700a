//! Measures the cost of a hit over sockets, compared with the bare router, other caches for Tower, and
//! servers that cache.
//!
//! ```sh
//! cargo run --release --bin load                             # a quarter of an hour
//! cargo run --release --bin load -- --rounds 3 --seconds 1   # sooner, and coarser
//! cargo run --release --bin load -- --only nginx,haproxy     # these, beside the bare router
//! ```
//!
//! Everything installed is started on a free port of this machine with one thread or one worker, in
//! front of the same handlers: caches for Tower around them in one process, servers and the crate's own
//! `reverse_proxy` (built by this program) in front of them in another process. `wrk` requests from each
//! in turn, round after round, over 32 connections that stay open: one response of 1 KiB, one of 64 KiB,
//! and 10,000 of 1 KiB at random.
//!
//! - **µs** is processor time per request, user and system, as the kernel accounts it to all
//!   processes and threads of the server: the median of the rounds. It includes neither `wrk` nor the
//!   origin, and depends little on what else the machine does.
//! - **bare** is the median over the rounds of the time divided by that of the bare router in the same
//!   round. The bare router has one body for all keys; the second bare router has one for each, like
//!   anything that answers 10,000 keys, and so shows the cost of fetching them from memory.
//! - The handlers count their calls, which shows whether all requests were hits: a run in which more
//!   than one request in a thousand reached them says so instead of a figure.
//!
//! At the end 10,000 connections are opened and held, and each sends a request.

mod connections;
mod process;
mod serve;
mod servers;
mod wrk;

use std::env;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::servers::Server;
use crate::wrk::Workload;

/// The options of the command line.
struct Options {
    rounds: usize,
    seconds: u64,
    connections: usize,
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [serve::ROLE, name, port, count] => return serve::run(name, port, count),
        [connections::ROLE, port, count] => return connections::run(port, count),
        _ => {}
    }
    std::thread::spawn(stop_on_signal);
    let done = options(&words).and_then(|options| measure(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends this program, and the processes it started, on SIGTERM and ctrl-c.
fn stop_on_signal() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let stopped = async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    };
    // Without signal handlers it runs to its end.
    if runtime
        .and_then(|runtime| runtime.block_on(stopped))
        .is_ok()
    {
        process::stop_all();
        std::process::exit(1);
    }
}

fn options(words: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        rounds: 7,
        seconds: 3,
        connections: 10_000,
        only: Vec::new(),
    };
    for pair in words.chunks(2) {
        let &[flag, value] = pair else {
            return Err(format!("{} wants a value", pair[0]));
        };
        let number = || {
            value
                .parse()
                .map_err(|_| format!("{flag} {value}: no number"))
        };
        match flag {
            "--rounds" => options.rounds = number()?,
            "--seconds" => options.seconds = number()? as u64,
            "--connections" => options.connections = number()?,
            "--only" => options.only = value.split(',').map(str::to_owned).collect(),
            _ => return Err(format!("{flag} is not understood")),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> Result<(), String> {
    wrk::find()?;
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let (servers, missing) = servers::start(wanted)?;
    for line in missing {
        println!("left out: {line}");
    }
    for server in &servers {
        server.warm_up()?;
    }
    let results = rounds(&servers, options)?;
    table(&servers, &results);
    if options.connections > 0 {
        connections::table(&servers, options.connections)?;
    }
    Ok(())
}

/// The rounds, per server and per workload.
type Results = Vec<[Vec<Option<f64>>; 3]>;

fn rounds(servers: &[Server], options: &Options) -> Result<Results, String> {
    let mut results: Results = servers.iter().map(|_| Default::default()).collect();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (which, workload) in Workload::ALL.into_iter().enumerate() {
            for (server, results) in servers.iter().zip(&mut results) {
                results[which].push(one(server, workload, options.seconds)?);
            }
        }
    }
    Ok(results)
}

/// Returns the microseconds per request, or nothing if not all were hits.
fn one(server: &Server, workload: Workload, seconds: u64) -> Result<Option<f64>, String> {
    let (cpu, calls) = (server.process.cpu()?, server.handler_calls()?);
    let requests = wrk::run(server.port, workload, seconds)
        .map_err(|error| format!("{}: {error}", server.name))?;
    let cpu = server.process.cpu()? - cpu;
    let calls = server.handler_calls()? - calls;
    let hits = server.is_bare() || calls * 1_000 <= requests;
    Ok(hits.then(|| cpu.as_secs_f64() * 1e6 / requests as f64))
}

fn table(servers: &[Server], results: &Results) {
    println!(
        "\n| hit over HTTP/1.1 | 1 KiB: µs | bare | 64 KiB: µs | bare | 10,000 keys: µs | bare |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (server, result) in servers.iter().zip(results) {
        let cells: Vec<String> = (0..3)
            .map(|which| cell(&result[which], &results[0][which]))
            .collect();
        println!("| {} | {} |", server.name, cells.join(" | "));
    }
}

fn cell(rounds: &[Option<f64>], bare: &[Option<f64>]) -> String {
    let all: Option<Vec<f64>> = rounds.iter().copied().collect();
    let Some(all) = all else {
        return "not all hits | ".to_owned();
    };
    let ratios = all
        .iter()
        .zip(bare.iter().flatten())
        .map(|(one, bare)| one / bare);
    let ratio = median(ratios.collect());
    format!("{:.2} | {ratio:.2} ×", median(all))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => (figures[even / 2 - 1] + figures[even / 2]) / 2.0,
    }
}
