//! Questions to the shared log, each asked for all who wait at that time.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::backend::Failure;
use crate::invalidate::{Intent, Invalidation, Log};
use crate::mutant::{self, Mutant};

/// So many questions are under way at a time. Whoever comes meanwhile shares the next one: Redis
/// has no more to do than this for each of its round trips, whatever the traffic.
const MOST_RUNNING: usize = 4;

/// Above this, invalidations that could not be recorded become one, of everything.
const MOST_PENDING: usize = 4096;

/// The questions of one node.
///
/// Whoever needs to know what was recorded before he asked joins the next question to be *sent*:
/// one that is under way may have been answered before. Invalidations ride along with the next
/// question, and with the one after it until they are known to be recorded. So whatever a node has
/// not been able to record goes out before anything else is believed.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: usize,
    next: Option<Arc<Batch>>,
    pending: VecDeque<Group>,
    #[cfg(mutants)]
    latest: std::sync::Weak<Batch>,
}

/// Invalidations that were asked for together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) what: Box<[Invalidation]>,
    /// Keeps what they match out of use on this node until they are recorded.
    intent: Option<Intent>,
}

/// One question, not sent yet or under way.
#[derive(Debug, Default)]
pub(super) struct Batch {
    end: OnceLock<Result<(), Failure>>,
    ended: Notify,
}

impl Batches {
    /// Joins the next question, which records `group` too. Returns it, and whether the caller has to
    /// have it [run](Self::take).
    pub(super) fn join(&self, group: Option<Group>) -> (Arc<Batch>, bool) {
        let mut state = self.lock();
        #[cfg(mutants)]
        if let Some(running) = state.joined(group.is_none()) {
            return (running, false);
        }
        state.pending.extend(group);
        if let Some(next) = &state.next {
            return (next.clone(), false);
        }
        let batch = Arc::new(Batch::default());
        #[cfg(mutants)]
        state.latest.clone_from(&Arc::downgrade(&batch));
        state.next = Some(batch.clone());
        let runs = state.running < MOST_RUNNING;
        state.running += usize::from(runs);
        (batch, runs)
    }

    /// Takes the next question, for one who runs them; `None` ends the run.
    pub(super) fn take(&self) -> Option<(Arc<Batch>, VecDeque<Group>)> {
        let mut state = self.lock();
        match state.next.take() {
            Some(batch) => Some((batch, mem::take(&mut state.pending))),
            None => {
                state.running -= 1;
                None
            }
        }
    }

    /// Takes what waits to be recorded.
    pub(super) fn take_pending(&self) -> VecDeque<Group> {
        mem::take(&mut self.lock().pending)
    }

    /// Keeps groups to be recorded later, before those that came since.
    pub(super) fn give_back(&self, groups: VecDeque<Group>, log: &Log) {
        if mutant::is(Mutant::PendingNotSentAgain) {
            return;
        }
        let mut state = self.lock();
        for group in groups.into_iter().rev() {
            state.pending.push_front(group);
        }
        state.bound(log);
    }

    /// Returns how many invalidations wait to be recorded.
    pub(super) fn pending(&self) -> usize {
        self.lock().pending()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pending(&self) -> usize {
        self.pending.iter().map(|group| group.what.len()).sum()
    }

    /// What must not be joined: a question that has been sent.
    #[cfg(mutants)]
    fn joined(&self, asks_only: bool) -> Option<Arc<Batch>> {
        let is_missing = mutant::is(Mutant::RunningRoundJoined) && asks_only;
        let running = is_missing.then(|| self.latest.upgrade())??;
        running.end.get().is_none().then_some(running)
    }

    fn bound(&mut self, log: &Log) {
        if self.pending() > MOST_PENDING {
            let everything = Group::held(&[Invalidation::everything()], log);
            // Replaced first and dropped then: there is no moment at which nothing is held.
            let replaced = mem::replace(&mut self.pending, VecDeque::from([everything]));
            for group in replaced {
                group.recorded();
            }
        }
    }
}

impl Group {
    /// Keeps what these match out of use on this node from now on.
    pub(super) fn held(what: &[Invalidation], log: &Log) -> Self {
        let held = !mutant::is(Mutant::PendingNotHeld);
        Self {
            what: what.into(),
            intent: held.then(|| log.begin_write(what)),
        }
    }

    /// Ends the hold: the log has recorded these.
    pub(super) fn recorded(self) {
        if let Some(intent) = self.intent {
            intent.abandon();
        }
    }
}

impl Batch {
    pub(super) fn end(&self, end: Result<(), Failure>) {
        if self.end.set(end).is_ok() {
            self.ended.notify_waiters();
        }
    }

    /// Waits for the answer.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub(super) async fn ended(&self) -> Result<(), Failure> {
        // Before the look at the end: a notification in between is not missed.
        let ended = self.ended.notified();
        if self.end.get().is_none() {
            ended.await;
        }
        // Nobody is notified before the end is set.
        self.end.get().cloned().unwrap_or(Err(Failure::NotTried))
    }
}
