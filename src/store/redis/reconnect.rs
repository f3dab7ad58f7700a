//! Clients of fred's that stay connected.
//!
//! The task that drives a client's connections should never end, but does when it meets certain
//! errors: in a cluster, a redirection (`ASK`) of a command without an attempt left is one. From then
//! on no command of that client would ever be answered.

use std::time::Duration;

use fred::interfaces::ClientLike;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

/// The pause before a client whose task has ended is connected again.
const PAUSE: Duration = Duration::from_millis(100);

/// Keeps a client connected until it is dropped, and ends its connections then.
#[derive(Debug)]
pub(super) struct Reconnector(AbortHandle);

impl Reconnector {
    pub(super) fn keep<C: ClientLike + 'static>(client: C, runtime: &Handle) -> Self {
        let keeping = async move {
            loop {
                let mut driving = AbortOnDrop(client.connect());
                let ended = (&mut driving.0).await;
                tracing::debug!(?ended, "connecting to Redis again");
                tokio::time::sleep(PAUSE).await;
            }
        };
        Self(runtime.spawn(keeping).abort_handle())
    }
}

impl Drop for Reconnector {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A task of fred's that holds the client itself, and would outlive it.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use fred::clients::Client;
    use fred::types::config::Config;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_whose_task_has_ended_is_connected_again_until_it_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        // Without a policy for it, a client does not connect again by itself.
        let client = Client::new(Config::from_url(&url).unwrap(), None, None, None);
        let reconnector = Reconnector::keep(client, &Handle::current());
        for _ in 0..3 {
            drop(listener.accept().await.unwrap());
        }
        let (mut last, _) = listener.accept().await.unwrap();
        drop(reconnector);
        let mut received = Vec::new();
        last.read_to_end(&mut received).await.unwrap();
        let again = tokio::time::timeout(3 * PAUSE, listener.accept());
        assert!(again.await.is_err(), "dropped, and connected again");
    }
}
