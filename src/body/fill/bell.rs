//! The bell that wakes a fill's readers.

use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use smallvec::SmallVec;

use crate::sync::{Mutex, MutexGuard};

/// Wakes every reader that waits, and counts how often the inner body asked for that.
///
/// No waker is ever used or dropped under its lock: wakers run code that nobody here knows.
#[derive(Default)]
pub(super) struct Bell(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    /// By the readers' slots.
    wakers: SmallVec<[Option<Waker>; 1]>,
    rung: u64,
}

impl Bell {
    /// Has a reader woken when the bell rings next, and returns how often the inner body has rung
    /// it so far, and the waker that was there, to be dropped under no lock.
    pub(super) fn register(&self, slot: usize, waker: &Waker) -> (u64, Option<Waker>) {
        let mut waiting = self.lock();
        if waiting.wakers.len() <= slot {
            waiting.wakers.resize_with(slot + 1, || None);
        }
        let known = &mut waiting.wakers[slot];
        let same = known.as_ref().is_some_and(|known| known.will_wake(waker));
        let replaced = match same {
            true => None,
            false => known.replace(waker.clone()),
        };
        (waiting.rung, replaced)
    }

    /// Forgets a reader that found what it wanted, or has gone. Its waker is to be dropped under no
    /// lock.
    pub(super) fn forget(&self, slot: usize) -> Option<Waker> {
        self.lock().wakers.get_mut(slot).and_then(Option::take)
    }

    /// Returns how often the inner body has rung.
    pub(super) fn rung(&self) -> u64 {
        self.lock().rung
    }

    /// Wakes the readers that wait.
    pub(super) fn ring(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut waiting = self.lock();
        waiting.rung += 1;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}
