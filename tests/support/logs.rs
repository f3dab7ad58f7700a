//! Listening to what is traced on one thread.

use std::sync::OnceLock;

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, Subscriber, set_default};

/// Makes a subscriber that of this thread until the guard is dropped.
pub fn listen(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    // Where there is but one subscriber, `tracing` has whichever thread comes by a place first say
    // for good whether anybody listens there: that may be another test's, where nobody does.
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
    set_default(subscriber)
}
