//! A router with a cache around it, or none, as a server.

use std::error::Error as StdError;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use peers::{Peer, Use};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tower::{Service, ServiceExt};

/// The first argument of such a process; then the name, its port, and the port that reports how often
/// the handlers were called.
pub const ROLE: &str = "--serve";

pub fn run(name: &str, port: &str, count: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a timer and sockets are available");
    runtime.block_on(async {
        let (Some(peer), Ok(listener), Ok(count)) =
            (Peer::find(name), bind(port).await, bind(count).await)
        else {
            eprintln!("{name}: no such service, or ports {port} and {count} are taken");
            return ExitCode::FAILURE;
        };
        let (router, calls) = peers::router();
        tokio::spawn(report(count, calls));
        peer.build(router, Accept(listener)).await;
        ExitCode::SUCCESS
    })
}

async fn bind(port: &str) -> Result<TcpListener, String> {
    let port: u16 = port.parse().map_err(|_| "no port".to_owned())?;
    let bound = TcpListener::bind(("127.0.0.1", port)).await;
    bound.map_err(|error| error.to_string())
}

/// Sends the number, and nothing else, to everyone who connects.
async fn report(listener: TcpListener, calls: Arc<AtomicU64>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let number = calls.load(Relaxed).to_string();
        // The client is gone.
        let _ = stream.write_all(number.as_bytes()).await;
    }
}

struct Accept(TcpListener);

impl Use for Accept {
    type Output = Pin<Box<dyn Future<Output = ()>>>;

    fn with<S, B>(self, service: S) -> Self::Output
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        // As `axum::serve` does it, and the same for all.
        let service = service.map_request(|request: Request<Incoming>| request.map(Body::new));
        Box::pin(async move {
            loop {
                let Ok((stream, _)) = self.0.accept().await else {
                    continue;
                };
                // Without it all are equally slower.
                let _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    let io = TokioIo::new(stream);
                    // How a connection ends is the client's business.
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
        })
    }
}
