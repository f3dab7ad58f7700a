//! Questions to the shared log, each sent for everyone who waits at that time.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::backend::RedisFailure;
use crate::invalidate::{Intent, Invalidation, Log};

/// How many questions are under way at a time. Callers that come meanwhile share the next one, so
/// Redis answers at most this many per round trip, whatever the traffic.
const MOST_RUNNING: usize = 4;

/// Above this number, invalidations that could not be recorded become one of everything.
const MOST_PENDING: usize = 4096;

/// The questions of one node.
///
/// A caller that has to know what was recorded before it asked joins the next question to be *sent*:
/// one that is under way may have been answered before. Invalidations ride along with the next
/// question, and with each one after it until they are known to be recorded. So nothing that the
/// server answers is believed before it has what this node could not record.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<BatchQueue>);

#[derive(Debug, Default)]
struct BatchQueue {
    running: usize,
    next: Option<Arc<Batch>>,
    pending: VecDeque<PendingGroup>,
}

/// Invalidations that were asked for together, and are not known to be recorded.
#[derive(Debug)]
pub(super) struct PendingGroup {
    pub(super) what: Box<[Invalidation]>,
    /// Keeps this node from using what they match until they are recorded.
    intent: Option<Intent>,
}

/// One question, not sent yet or under way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    end: OnceLock<Result<(), RedisFailure>>,
    ended: Notify,
}

impl Batches {
    /// Joins the next question, which records `group` too. Returns it, and whether the caller has to
    /// start a task that [takes](Self::take) and sends questions.
    pub(super) fn join(&self, group: Option<PendingGroup>) -> (Arc<Batch>, bool) {
        let mut queue = self.lock();
        queue.pending.extend(group);
        if let Some(next) = &queue.next {
            return (next.clone(), false);
        }
        let batch = Arc::new(Batch::default());
        queue.next = Some(batch.clone());
        let runs = queue.running < MOST_RUNNING;
        queue.running += usize::from(runs);
        (batch, runs)
    }

    /// Takes the next question, for a task that sends them; `None` ends the task.
    pub(super) fn take(&self) -> Option<(Arc<Batch>, VecDeque<PendingGroup>)> {
        let mut queue = self.lock();
        match queue.next.take() {
            Some(batch) => Some((batch, mem::take(&mut queue.pending))),
            None => {
                queue.running -= 1;
                None
            }
        }
    }

    /// Takes the invalidations that wait to be recorded.
    pub(super) fn take_pending(&self) -> VecDeque<PendingGroup> {
        mem::take(&mut self.lock().pending)
    }

    /// Puts groups back to be recorded later, before those that came since.
    pub(super) fn put_back(&self, groups: VecDeque<PendingGroup>, log: &Log) {
        let mut queue = self.lock();
        for group in groups.into_iter().rev() {
            queue.pending.push_front(group);
        }
        queue.bound(log);
    }

    /// Returns how many invalidations wait to be recorded.
    pub(super) fn pending(&self) -> usize {
        self.lock().pending()
    }

    fn lock(&self) -> MutexGuard<'_, BatchQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BatchQueue {
    fn pending(&self) -> usize {
        self.pending.iter().map(|group| group.what.len()).sum()
    }

    fn bound(&mut self, log: &Log) {
        if self.pending() > MOST_PENDING {
            let everything = PendingGroup::held(&[Invalidation::everything()], log);
            // Replaced first and dropped then: at no moment is anything unheld.
            let replaced = mem::replace(&mut self.pending, VecDeque::from([everything]));
            for group in replaced {
                group.recorded();
            }
        }
    }
}

impl PendingGroup {
    /// Keeps this node from using what these match from now on.
    pub(super) fn held(what: &[Invalidation], log: &Log) -> Self {
        Self {
            what: what.into(),
            intent: Some(log.begin_write(what)),
        }
    }

    /// Ends that: the log has recorded these.
    pub(super) fn recorded(self) {
        if let Some(intent) = self.intent {
            intent.abandon();
        }
    }
}

impl Batch {
    pub(super) fn end(&self, end: Result<(), RedisFailure>) {
        if self.end.set(end).is_ok() {
            self.ended.notify_waiters();
        }
    }

    /// Waits for the answer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn ended(&self) -> Result<(), RedisFailure> {
        // Registered before the end is looked at, so that no notification is missed.
        let ended = self.ended.notified();
        if self.end.get().is_none() {
            ended.await;
        }
        // Nobody is notified before the end is set.
        self.end
            .get()
            .cloned()
            .unwrap_or(Err(RedisFailure::NotTried))
    }
}
