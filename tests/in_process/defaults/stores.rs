//! Stores: shared ones, and such as fail or hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tower_response_cache::{
    Error, Invalidation, Key, KeyRef, Log, MaybeReady, MemoryStore, NoStore, Policy, SharedLog,
    Store, Stored, Usage,
};

use super::{builder, is_stored};
use crate::support::{Bench, MINUTE, Origin, request};

#[tokio::test]
async fn a_store_may_be_shared_or_keep_nothing() {
    let bench = Bench::with_builder(
        builder(Policy::ttl(MINUTE)).store(NoStore::new()),
        Origin::counting(),
    );
    assert!(!is_stored(&bench).await);

    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let shared = || {
        let builder = builder(Policy::ttl(MINUTE)).shared_store(store.clone());
        Bench::with_builder(builder, Origin::counting())
    };
    let (one, other) = (shared(), shared());
    one.get("/").await;
    assert_eq!(other.get("/").await.x_cache(), "HIT");
    other.ask(request("PUT", "/", &[])).await;
    assert_eq!(one.get("/").await.x_cache(), "MISS");
}

/// A store that can be made to fail or to hang.
#[derive(Debug, Default)]
struct Troubled {
    store: MemoryStore,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    /// Says that a write may take so long to be acknowledged.
    ack_delay: Duration,
}

impl Troubled {
    fn trouble<T: Send + 'static>(
        &self,
        answer: impl FnOnce() -> MaybeReady<Result<T, Error>>,
    ) -> MaybeReady<Result<T, Error>> {
        if self.hangs.load(Ordering::SeqCst) {
            return MaybeReady::Later(Box::pin(std::future::pending()));
        }
        if self.fails.load(Ordering::SeqCst) {
            return MaybeReady::Now(Err(Error::store("out of order")));
        }
        answer()
    }
}

impl Store for Troubled {
    fn get(&self, key: KeyRef<'_>) -> MaybeReady<Result<Option<Stored>, Error>> {
        self.trouble(|| self.store.get(key))
    }

    fn put(&self, key: Key, stored: Stored) -> MaybeReady<Result<(), Error>> {
        self.trouble(|| self.store.put(key, stored))
    }

    fn remove(&self, key: KeyRef<'_>) -> MaybeReady<Result<(), Error>> {
        self.trouble(|| self.store.remove(key))
    }

    fn log(&self) -> &Log {
        self.store.log()
    }

    fn shared_log(&self) -> &dyn SharedLog {
        self
    }

    fn usage(&self) -> Usage {
        self.store.usage()
    }
}

impl SharedLog for Troubled {
    fn invalidate(&self, what: &[Invalidation]) -> MaybeReady<Result<(), Error>> {
        self.store.log().invalidate(what)
    }

    fn ack_delay(&self) -> Duration {
        self.ack_delay
    }

    fn catch_up(&self) -> MaybeReady<Result<(), Error>> {
        MaybeReady::Now(Ok(()))
    }
}

#[tokio::test]
async fn a_store_that_fails_is_passed_by_and_counted() {
    let store = Troubled::default();
    let fails = store.fails.clone();
    let bench = Bench::with_builder(
        builder(Policy::ttl(MINUTE)).store(store),
        Origin::counting(),
    );
    bench.get("/").await;
    fails.store(true, Ordering::SeqCst);
    for call in ["2", "3"] {
        let answer = bench.get("/").await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", call));
        assert!(answer.field("cache-status").contains("detail=store"));
    }
    assert_eq!(bench.handle.stats().store_errors, 2);
    fails.store(false, Ordering::SeqCst);
    assert_eq!(bench.get("/").await.x_cache(), "HIT");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_no_longer_than_its_deadline() {
    for (deadline, expected) in [(None, 50), (Some(7), 7)] {
        let store = Troubled::default();
        let hangs = store.hangs.clone();
        let builder = builder(Policy::ttl(MINUTE)).store(store);
        let builder = match deadline {
            Some(deadline) => builder.store_deadline(Duration::from_millis(deadline)),
            None => builder,
        };
        let bench = Bench::with_builder(builder, Origin::counting());
        hangs.store(true, Ordering::SeqCst);
        let began = tokio::time::Instant::now();
        let answer = bench.get("/").await;
        assert_eq!((answer.x_cache(), answer.text()), ("BYPASS", "1"));
        let waited = began.elapsed().as_millis();
        assert!((expected..expected + 5).contains(&waited), "{waited}");
    }
}

#[tokio::test]
async fn no_patience_is_too_long() {
    let store = Troubled {
        ack_delay: Duration::MAX,
        ..Troubled::default()
    };
    let builder = builder(Policy::ttl(Duration::MAX)).store(store);
    let builder = builder.store_deadline(Duration::MAX);
    let bench = Bench::with_builder(builder, Origin::counting());
    for expected in ["MISS", "HIT"] {
        assert_eq!(bench.get("/").await.x_cache(), expected);
    }
    let written = bench.ask(request("POST", "/", &[])).await;
    assert_eq!((written.status.as_u16(), written.text()), (200, "2"));
    assert_eq!(bench.get("/").await.text(), "3");
}
