//! Starting programs and origins, and talking to them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An example program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it said before it listened.
    pub(crate) said: Vec<String>,
}

impl Program {
    /// Starts an example on a free port and waits until it listens.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        Self::start_with(name, args, &[])
    }

    pub(crate) fn start_with(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(name)
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr(name))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| match line.strip_prefix("listening on http://") {
                Some(address) => Some(address.parse().unwrap()),
                None => {
                    said.push(line);
                    None
                }
            })
            .expect("the program ended before it listened");
        // Whatever else it says is read, so that it never meets a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            said,
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.terminate();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, fields, "").await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: &'static str,
    ) -> Answer {
        send(self.address, method, path, fields, body).await
    }

    /// Sends bytes as they are and returns all that comes back until the connection ends.
    pub(crate) async fn raw(&self, request: &str) -> String {
        raw(self.address, request).await
    }
}

/// Sends a request and reads the answer.
pub(crate) async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    body: &'static str,
) -> Answer {
    let request = fields
        .iter()
        .fold(Request::builder(), |request, &(name, value)| {
            request.header(name, value)
        })
        .method(method)
        .uri(format!("http://{address}{path}"))
        .body(Full::from(body))
        .unwrap();
    let began = Instant::now();
    let (parts, body) = client().request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        response: Response::from_parts(parts, body),
        took: began.elapsed(),
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an example that is expected to end by itself.
pub(crate) fn run(name: &str, args: &[&str]) -> Output {
    run_with(name, args, &[])
}

pub(crate) fn run_with(name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut child = command(name)
        .args(args)
        .envs(env.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{name} {args:?} goes on: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Where a program's log goes: among the tests' own, or to a file of its own in this folder.
fn stderr(name: &str) -> Stdio {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    match std::env::var("PROGRAM_LOGS") {
        Ok(folder) => {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = format!("{folder}/{name}-{number}.log");
            std::fs::File::create(path).unwrap().into()
        }
        Err(_) => Stdio::inherit(),
    }
}

fn command(name: &str) -> Command {
    // This test is in target/PROFILE/deps, the examples beside that folder.
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    assert!(
        path.exists(),
        "{} is missing: cargo build --examples",
        path.display()
    );
    let mut command = Command::new(path);
    command.env_remove("CACHE_BYPASS").env_remove("REDIS_URL");
    command
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http1_max_headers(1024)
        .build_http()
}

/// A whole response, and how long it took.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Bytes>,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(self.response.body()).unwrap()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns all lines of a field, joined.
    pub(crate) fn field(&self, name: &str) -> String {
        let values = self.headers().get_all(name).into_iter();
        let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    }

    pub(crate) fn x_cache(&self) -> String {
        self.field("x-cache")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.response.body()).unwrap()
    }
}

/// Sends bytes as they are and returns all that comes back until the connection ends.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    let said = String::from_utf8_lossy(&answer);
    match read {
        // A connection that is reset after an answer has still answered.
        Ok(Ok(_)) | Ok(Err(_)) => said.into_owned(),
        Err(_) => panic!("the connection was left open after {said:?}"),
    }
}

/// Reads until the text so far has a certain end or part.
pub(crate) async fn read_until(stream: &mut TcpStream, part: &str) -> String {
    let mut said = String::new();
    let mut chunk = [0; 4096];
    while !said.contains(part) {
        let reading = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut chunk));
        let read = reading
            .await
            .unwrap_or_else(|_| panic!("waiting for {part:?} after {said:?}"));
        match read.unwrap() {
            0 => panic!("ended without {part:?}: {said:?}"),
            count => said.push_str(&String::from_utf8_lossy(&chunk[..count])),
        }
    }
    said
}

/// An origin made of an axum router.
pub(crate) async fn origin(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// An origin that handles each connection by hand; counts them.
pub(crate) async fn raw_origin<F, Fut>(handle: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(usize, TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(handle(number, stream));
        }
    });
    (url, connections)
}

/// Renders the fields of a request, a line each, for an origin that sends them back.
pub(crate) fn listing(headers: &HeaderMap) -> String {
    headers
        .iter()
        .fold(String::new(), |mut text, (name, value)| {
            writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
            text
        })
}
