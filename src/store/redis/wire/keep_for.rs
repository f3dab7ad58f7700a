//! How long values are kept.

use std::time::Duration;

use crate::entry::StoredResponse;
use crate::store::Stored;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Returns how long a value of this age is of use to anybody, and so how long it is kept.
///
/// A response can be served until it is stale beyond both of its windows. With a validator it is
/// worth keeping for longer, for a validation with the origin then costs no body: for another
/// lifetime, but at least a minute, for the lifetime may be zero, and at most an hour, after which
/// other entries deserve the room more. At most 30 days in all: no store is relied on to forget what
/// was invalidated long ago. At least a second, because Redis takes no less than a millisecond.
///
/// A list of variants has no age. It is kept for a day after the last variant was added. Without it
/// the variants are not found, and are stored again.
pub(crate) fn keep_for(stored: &Stored, age: Duration) -> Duration {
    match stored {
        Stored::Response(response) => {
            let left = usable(response).saturating_sub(age);
            let kept = left.saturating_add(grace(response));
            kept.clamp(Duration::from_secs(1), 30 * DAY)
        }
        Stored::Value(value) => {
            let left = value.lifetime().saturating_sub(age);
            left.clamp(Duration::from_secs(1), 30 * DAY)
        }
        Stored::Variants(_) => DAY,
    }
}

fn usable(response: &StoredResponse) -> Duration {
    let windows = [response.stale_while_revalidate(), response.stale_if_error()];
    let longest = windows.into_iter().max().unwrap_or_default();
    response.lifetime().saturating_add(longest)
}

fn grace(response: &StoredResponse) -> Duration {
    let head = response.head();
    match head.etag().or(head.last_modified()) {
        Some(_) => response.lifetime().clamp(MINUTE, HOUR),
        None => Duration::ZERO,
    }
}
