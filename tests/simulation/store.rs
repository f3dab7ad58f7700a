//! A store that loses entries, and may take its time.

use std::sync::Arc;

use tower_response_cache::{
    Error, Invalidation, Key, KeyRef, Log, MaybeReady, MemoryStore, SharedLog, Store, Stored, Usage,
};

use crate::world::World;

pub(crate) struct FickleStore {
    pub world: Arc<World>,
    pub memory: Arc<MemoryStore>,
    /// How many percent of the calls take their time.
    pub slow: usize,
    /// How many percent of the entries are lost.
    pub loses: usize,
}

impl std::fmt::Debug for FickleStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FickleStore").finish_non_exhaustive()
    }
}

impl FickleStore {
    fn rolls(&self, percent: usize) -> bool {
        percent > 0 && self.world.lock().dice.percent(percent)
    }

    fn later<T: Send + 'static>(
        &self,
        act: impl FnOnce(&MemoryStore) -> MaybeReady<T> + Send + 'static,
    ) -> MaybeReady<T> {
        if !self.rolls(self.slow) {
            return act(&self.memory);
        }
        let (world, memory) = (self.world.clone(), self.memory.clone());
        MaybeReady::Later(Box::pin(async move {
            world.step().await;
            let answer = act(&memory).get().await;
            world.maybe_step().await;
            answer
        }))
    }
}

impl Store for FickleStore {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        if self.rolls(self.loses) {
            // Memory answers at once.
            drop(self.memory.remove(key));
        }
        let key = key.to_owned();
        self.later(move |memory| memory.get(key.borrow()))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.later(move |memory| memory.put(key, stored))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        let key = key.to_owned();
        self.later(move |memory| memory.remove(key.borrow()))
    }

    fn log(&self) -> &Log {
        self.memory.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn sweep(&self) -> bool {
        self.memory.sweep()
    }

    fn usage(&self) -> Usage {
        self.memory.usage()
    }
}

impl SharedLog for FickleStore {
    fn invalidate(&self, invalidations: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        let invalidations = invalidations.to_vec();
        self.later(move |memory| memory.shared_log().invalidate(&invalidations))
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}
