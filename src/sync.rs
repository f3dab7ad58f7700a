//! The primitives for everything that is synchronised by hand, so that loom can replace them.

#[cfg(not(loom_model))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU64,
};

#[cfg(loom_model)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};

#[cfg(loom_model)]
pub(crate) use modelled::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A lock that yields where it is let go: there loom's own lock for readers and writers misses orders in
/// which what comes next is preempted. Readers keep each other out, which no model here depends on.
#[cfg(loom_model)]
mod modelled {
    use std::ops::{Deref, DerefMut};
    use std::sync::{LockResult, PoisonError};

    use loom::sync::{Mutex, MutexGuard};

    #[derive(Debug)]
    pub(crate) struct RwLock<T>(Mutex<T>);

    pub(crate) struct Guard<'a, T>(Option<MutexGuard<'a, T>>);

    pub(crate) type RwLockReadGuard<'a, T> = Guard<'a, T>;
    pub(crate) type RwLockWriteGuard<'a, T> = Guard<'a, T>;

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn read(&self) -> LockResult<Guard<'_, T>> {
            self.write()
        }

        pub(crate) fn write(&self) -> LockResult<Guard<'_, T>> {
            let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Guard(Some(guard)))
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().expect("until it is dropped")
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().expect("until it is dropped")
        }
    }

    impl<T> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            drop(self.0.take());
            if !std::thread::panicking() {
                loom::thread::yield_now();
            }
        }
    }
}
