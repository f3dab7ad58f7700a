//! News of invalidations, as an accelerator and no more.
//!
//! Whoever records something announces it, and nodes with a lease then look at the log at once
//! instead of when the lease is half over. Nothing rests on it: an announcement that is lost, late, or
//! made up changes nothing but when a question is asked.

use std::sync::Weak;
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{EventInterface, PubsubInterface};
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use super::node::Node;
use super::reconnect::{Connected, Ending};

/// Between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(250);

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Listener(AbortHandle);

impl Listener {
    pub(super) fn start(
        subscriber: SubscriberClient,
        channel: String,
        node: Weak<Node>,
        runtime: &Handle,
    ) -> Self {
        let task = runtime.spawn(listen(subscriber, channel, node));
        Self(task.abort_handle())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(subscriber: SubscriberClient, channel: String, node: Weak<Node>) {
    let mut news = subscriber.message_rx();
    let _connected = Connected::keep(subscriber.clone(), &Handle::current());
    let _managing = Ending(subscriber.manage_subscriptions());
    while subscriber.subscribe(channel.as_str()).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        match news.recv().await {
            // Whatever was missed: the log holds it.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        let Some(node) = node.upgrade() else {
            return;
        };
        if !node.is_down() {
            node.follow_soon();
        }
    }
}
