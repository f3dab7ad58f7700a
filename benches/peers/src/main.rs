//! Measures the cost of a hit in process, compared with the bare router and with other caches for Tower.
//!
//! `cargo run --release` in this folder prints the table in about two minutes. It needs valgrind: as in
//! `benches/cost` of the crate, the program runs itself under callgrind, and takes the difference to a run
//! with twice as many requests. The cost of making and dropping the request is subtracted.
//!
//! The handler sends a ready-made body and eight fields, so the first row is as cheap as a handler can
//! be. Requests have ten fields, like those of browsers. Every response is read to its end, and the
//! handler's count of calls shows that it came from the cache.

use std::pin::pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::{env, fs};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use peers::{LARGE, PEERS, Peer, SMALL, Use};
use tower::Service;

/// The argument for a single run, followed by the service, the request and the number of times.
const AGAIN: &str = "--again";
/// The name of the run that sends nothing, to measure the request alone.
const REQUEST: &str = "request";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [AGAIN, name, path, times] => {
            again(name, path, times.parse().expect("only a number is given"));
            ExitCode::SUCCESS
        }
        [] => table(),
        _ => {
            eprintln!("no argument is understood");
            ExitCode::FAILURE
        }
    }
}

fn table() -> ExitCode {
    if !valgrind() {
        eprintln!("valgrind is not installed: nothing can be counted");
        return ExitCode::FAILURE;
    }
    println!(
        "| hit | 1 KiB: instructions | bare | allocations | 64 KiB: instructions | bare | allocations |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut bare = None;
    for peer in PEERS {
        let sizes = [(SMALL, 1_000), (LARGE, 100)];
        let counted = sizes.map(|(path, times)| count(peer.name(), path, times));
        let bare = bare.get_or_insert(counted);
        let cells: Vec<String> = counted
            .iter()
            .zip(bare)
            .map(|(row, bare)| cell(row, bare))
            .collect();
        println!("| {} | {} |", peer.name(), cells.join(" | "));
    }
    ExitCode::SUCCESS
}

fn cell(row: &Counted, bare: &Counted) -> String {
    let ratio = row.instructions / bare.instructions;
    format!(
        "{:.0} | {ratio:.2} × | {:.1}",
        row.instructions, row.allocations
    )
}

fn valgrind() -> bool {
    let version = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

#[derive(Clone, Copy)]
struct Counted {
    instructions: f64,
    allocations: f64,
}

/// Counts the cost of a hit, without that of making its request.
fn count(name: &str, path: &str, times: u64) -> Counted {
    let (whole, request) = (gross(name, path, times), gross(REQUEST, path, times));
    Counted {
        instructions: whole.instructions - request.instructions,
        allocations: whole.allocations - request.allocations,
    }
}

fn gross(name: &str, path: &str, times: u64) -> Counted {
    let (once, twice) = (run(name, path, times), run(name, path, 2 * times));
    Counted {
        instructions: (twice.instructions - once.instructions) / times as f64,
        allocations: (twice.allocations - once.allocations) / times as f64,
    }
}

fn run(name: &str, path: &str, times: u64) -> Counted {
    let out = env::temp_dir().join(format!("peers-{}.callgrind", std::process::id()));
    let status = Command::new("valgrind")
        .args(["-q", "--tool=callgrind", "--compress-strings=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("the program knows where it is"))
        .args([AGAIN, name, path, &times.to_string()])
        .status()
        .expect("valgrind was there a moment ago");
    assert!(status.success(), "{name} failed under callgrind");
    let profile = fs::read_to_string(&out).expect("callgrind has written its file");
    // A leftover temporary file is no reason to stop.
    let _ = fs::remove_file(out);
    read(&profile)
}

/// Reads callgrind's profile: all instructions, and the calls of the allocator's functions.
fn read(profile: &str) -> Counted {
    let mut counted = Counted {
        instructions: 0.0,
        allocations: 0.0,
    };
    let mut callee = "";
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if matches!(
                callee,
                "malloc" | "calloc" | "realloc" | "posix_memalign" | "aligned_alloc"
            ) {
                counted.allocations += first_number(calls);
            }
        } else if let Some(totals) = line.strip_prefix("totals:") {
            counted.instructions = first_number(totals);
        }
    }
    counted
}

fn first_number(text: &str) -> f64 {
    let number = text.split_ascii_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .expect("callgrind writes a number here")
}

/// Runs one service under callgrind: a hundred times to warm up, then `times` times.
fn again(name: &str, path: &str, times: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a timer needs nothing");
    let (router, calls) = peers::router();
    let sending = Sending {
        path: format!("{path}7"),
        times: times + 100,
    };
    let Some(peer) = Peer::find(name) else {
        return runtime.block_on(sending.requests_only());
    };
    runtime.block_on(peer.build(router, sending));
    let calls = calls.load(Relaxed);
    match peer {
        Peer::Bare => assert_eq!(calls, times + 100),
        _ => assert!(calls < 10, "{name} has called the handler {calls} times"),
    }
}

struct Sending {
    path: String,
    times: u64,
}

impl Sending {
    async fn requests_only(self) {
        let template = template(&self.path);
        for _ in 0..self.times {
            drop(template.clone().map(|()| Body::empty()));
        }
    }
}

type Sent = std::pin::Pin<Box<dyn Future<Output = ()>>>;

impl Use for Sending {
    type Output = Sent;

    fn with<S, B>(self, mut service: S) -> Sent
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Box::pin(async move {
            let template = template(&self.path);
            for number in 0..self.times {
                if number < 10 {
                    // Some store their responses in a task of their own.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let request = template.clone().map(|()| Body::empty());
                let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
                let answered = match ready {
                    Ok(()) => service.call(request).await,
                    Err(error) => Err(error),
                };
                let response = answered.unwrap_or_else(|_| unreachable!("no service here fails"));
                read_to_its_end(response.into_body()).await;
            }
        })
    }
}

async fn read_to_its_end(body: impl http_body::Body) {
    let mut body = pin!(body);
    while !body.is_end_stream() {
        match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(frame) => drop(frame.unwrap_or_else(|_| unreachable!("no body here fails"))),
            None => break,
        }
    }
}

/// Makes a request as browsers send it.
fn template(path: &str) -> Request<()> {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    [
        ("host", "shop.example.com"),
        ("user-agent", agent),
        ("accept", accept),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://shop.example.com/articles"),
        ("connection", "keep-alive"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
    ]
    .into_iter()
    .fold(Request::get(path), |request, (name, value)| {
        request.header(name, value)
    })
    .body(())
    .expect("they are fields")
}
