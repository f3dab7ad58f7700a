//! Asking the log, and remembering what it said.

use std::sync::atomic::Ordering;

use crate::invalidate::{Log, Verdict};
use crate::sync::AtomicU64;
use crate::target::SubjectRef;

/// Asks the log about what was last found valid at the position that `checked` holds.
pub(super) fn verdict<'a>(
    checked: &AtomicU64,
    log: &Log,
    subject: impl FnOnce() -> SubjectRef<'a>,
) -> Verdict {
    // Relaxed: whatever is read is a position at which the check had succeeded.
    let known = checked.load(Ordering::Relaxed);
    if log.is_quiet_at(known.into()) {
        return Verdict::Valid;
    }
    let (verdict, position) = log.verdict_at(known.into(), subject());
    let position = position.into();
    if verdict == Verdict::Valid && position > known {
        checked.fetch_max(position, Ordering::Relaxed);
    }
    verdict
}
