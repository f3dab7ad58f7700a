//! Accepting connections, and stopping without cutting off any response.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower::Service;

use crate::fields::MOST_FIELDS;
use crate::front::{self, RequestBody};
use crate::interim::{CLIENT, Interim, Relaying};

/// The time a client may take for the head of a request, and keep a connection without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time responses under way may take once the proxy was asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause when no connection can be accepted, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves clients until `stop` is ready, then lets responses under way finish.
pub(crate) async fn serve<S, B>(listener: TcpListener, cache: S, stop: impl Future<Output = ()>)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    // Each connection holds a receiver: a message asks it to stop, and the sender sees its end.
    let (stopping, stopped) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, client)) => {
                tokio::spawn(connection(stream, client, cache.clone(), stopped.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tracing::info!("stopping");
    drop((listener, stopped));
    stopping.send_replace(());
    if tokio::time::timeout(DRAIN_TIMEOUT, stopping.closed())
        .await
        .is_err()
    {
        tracing::warn!("some connections were still open");
    }
}

async fn connection<S, B>(
    stream: TcpStream,
    client: SocketAddr,
    cache: S,
    mut stop: watch::Receiver<()>,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%client, "connection lost: {error}");
        return;
    }
    let client_field = front::client_field(client);
    let interim = Arc::new(Interim::default());
    let io = Relaying::new(TokioIo::new(stream), Arc::clone(&interim));
    let relaying = Arc::clone(&interim);
    let service = service_fn(move |request| {
        let answer = front::pass(cache.clone(), client_field.clone(), request);
        let interim = Arc::clone(&relaying);
        async move {
            let answer = answer.await;
            interim.end();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MOST_FIELDS)
        // A client that has said all it has to say may still wait for the answer.
        .half_close(true)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = CLIENT.scope(Arc::clone(&interim), async {
        tokio::select! {
            biased;
            ended = &mut connection => ended,
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%client, ?error, "connection ended");
    }
}

/// Returns a future that is ready once the process is asked to stop, by SIGTERM or ctrl-c.
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
