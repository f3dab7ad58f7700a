//! News of invalidations: an optimization, and no more.
//!
//! A node that records something announces it. Nodes with a lease then look at the log at once instead
//! of when the lease is half over. No promise rests on it: an announcement that is lost, late, or made
//! up only changes when a question is asked.

use std::sync::Weak;
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{EventInterface, PubsubInterface};
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use super::follower::Follower;
use super::reconnect::{AbortOnDrop, Reconnector};

/// The pause between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(250);

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct NewsListener(AbortHandle);

impl NewsListener {
    pub(super) fn start(
        subscriber: SubscriberClient,
        channel: String,
        follower: Weak<Follower>,
        runtime: &Handle,
    ) -> Self {
        let task = runtime.spawn(listen(subscriber, channel, follower));
        Self(task.abort_handle())
    }
}

impl Drop for NewsListener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(subscriber: SubscriberClient, channel: String, follower: Weak<Follower>) {
    let mut news = subscriber.message_rx();
    let _reconnector = Reconnector::keep(subscriber.clone(), &Handle::current());
    let _subscriptions = AbortOnDrop(subscriber.manage_subscriptions());
    while subscriber.subscribe(channel.as_str()).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        match news.recv().await {
            // The log holds whatever was missed.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        let Some(follower) = follower.upgrade() else {
            return;
        };
        if !follower.is_down() {
            follower.follow_soon();
        }
    }
}
