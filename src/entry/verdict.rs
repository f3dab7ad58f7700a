//! Asking the log, and remembering what it said.

use std::sync::atomic::Ordering;

use crate::invalidate::{Log, Position, Verdict};
use crate::mutant::{self, Mutant};
use crate::sync::AtomicU64;
use crate::target::SubjectRef;

/// Asks the log about what was made at `position`, and was last found valid when `checked` says.
pub(super) fn verdict<'a>(
    position: Position,
    checked: &AtomicU64,
    log: &Log,
    subject: impl FnOnce() -> SubjectRef<'a>,
) -> Verdict {
    // Relaxed: whatever is read is a position at which the check had succeeded.
    let known = checked.load(Ordering::Relaxed);
    if known > position.into() && mutant::is(Mutant::VerdictCachedForEver) {
        return Verdict::Valid;
    }
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
