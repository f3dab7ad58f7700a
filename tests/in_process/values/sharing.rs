//! Callers who lack the same value share the making of it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheHandle, CacheLayer, NoStore, Values};

use super::{cache, cache_with, found, made, user};
use crate::support::{Gate, MINUTE, seconds, settle};

type Made = Result<u32, &'static str>;

/// Asks from a task of its own, and counts the calls of its closure.
fn ask(
    values: &Values<u32>,
    calls: &Arc<AtomicUsize>,
    made: impl Future<Output = Made> + Send + 'static,
) -> JoinHandle<Made> {
    let (values, calls) = (values.clone(), calls.clone());
    tokio::spawn(async move {
        let make = async || {
            calls.fetch_add(1, Ordering::SeqCst);
            made.await
        };
        values.get_or_insert_with("n", make).await
    })
}

/// As [`ask`], for a value that comes when the gate lets it.
fn ask_at(
    values: &Values<u32>,
    calls: &Arc<AtomicUsize>,
    value: u32,
    gate: &Gate,
) -> JoinHandle<Made> {
    let gate = gate.clone();
    ask(values, calls, async move { made(value, &gate).await })
}

fn numbers(handle: &CacheHandle) -> (Values<u32>, Arc<AtomicUsize>, Gate) {
    (handle.values("numbers"), Arc::default(), Gate::shut())
}

#[tokio::test]
async fn one_call_is_made_however_many_ask() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let asking: Vec<_> = (0..100)
        .map(|at| ask_at(&numbers, &calls, at, &gate))
        .collect();
    settle().await;
    gate.open();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok(0));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(found(&numbers, "n").await, Some(0));
    let stats = numbers.stats();
    assert_eq!((stats.misses, stats.collapsed, stats.sets), (100, 99, 1));
}

#[tokio::test]
async fn they_share_it_where_nothing_is_kept_too() {
    let handle = cache_with(NoStore::new(), &ManualClock::new());
    let (numbers, calls, gate) = numbers(&handle);
    let asking = [1, 2, 3].map(|value| ask_at(&numbers, &calls, value, &gate));
    settle().await;
    gate.open();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok(1));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn other_keys_and_other_namespaces_do_not_wait() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let slow = ask_at(&numbers, &calls, 1, &gate);
    settle().await;
    let others = [("numbers", "m"), ("others", "n")];
    for (namespace, key) in others {
        let values = handle.values::<u32>(namespace);
        let asked = values.get_or_insert_with(key, async || Ok::<_, ()>(2));
        assert_eq!(asked.now_or_never(), Some(Ok(2)));
    }
    gate.open();
    assert_eq!(slow.await.unwrap(), Ok(1));
}

/// The position is taken before the closure is called: what a write invalidates while the closure runs
/// is in no value that anyone is given who comes after it.
#[tokio::test]
async fn whoever_comes_after_an_invalidation_is_not_given_what_was_begun_before() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let numbers = numbers.tags(["t"]);
    type Invalidate = fn(&CacheHandle, &Values<u32>) -> JoinHandle<()>;
    let invalidate: [Invalidate; 4] = [
        |handle, _| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.invalidate_tag("t").await.unwrap() })
        },
        |handle, _| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.invalidate_all().await.unwrap() })
        },
        |_, numbers| {
            let numbers = numbers.clone();
            tokio::spawn(async move { numbers.remove("n").await.unwrap() })
        },
        |_, numbers| {
            let numbers = numbers.clone();
            tokio::spawn(async move { numbers.remove_matching("*").await.unwrap() })
        },
    ];
    for (at, invalidate) in (1..).zip(invalidate) {
        let (old, new) = (at * 10, at * 10 + 1);
        let (first, second) = (Gate::shut(), Gate::shut());
        let caller = ask_at(&numbers, &calls, old, &first);
        settle().await;
        let joiner = ask_at(&numbers, &calls, new, &gate);
        settle().await;
        assert_eq!(calls.swap(0, Ordering::SeqCst), 1);
        invalidate(&handle, &numbers).await.unwrap();
        let later = ask_at(&numbers, &calls, new, &second);
        settle().await;
        assert_eq!(
            calls.load(Ordering::SeqCst),
            1,
            "it makes a call of its own"
        );
        first.open();
        assert_eq!(caller.await.unwrap(), Ok(old), "what its own closure made");
        settle().await;
        assert_eq!(found(&numbers, "n").await, None, "which is not stored");
        second.open();
        assert_eq!(later.await.unwrap(), Ok(new));
        assert_eq!(joiner.await.unwrap(), Ok(new), "it may, and so does");
        assert_eq!(calls.swap(0, Ordering::SeqCst), 1);
        assert_eq!(found(&numbers, "n").await, Some(new));
        handle.invalidate_all().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_invalidated_while_it_is_made_is_not_stored() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let caller = ask_at(&numbers.tags(["t"]), &calls, 1, &gate);
    settle().await;
    handle.invalidate_tag("t").await.unwrap();
    gate.open();
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(found(&numbers, "n").await, None);
    assert_eq!(handle.stats().usage.entries, 0);
}

#[tokio::test]
async fn an_older_call_that_ends_last_does_not_replace_a_newer_value() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let caller = ask_at(&numbers, &calls, 1, &gate);
    settle().await;
    numbers.remove("n").await.unwrap();
    let later = numbers.get_or_insert_with("n", async || Ok::<_, ()>(2));
    assert_eq!(later.await, Ok(2));
    gate.open();
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(found(&numbers, "n").await, Some(2));
}

#[tokio::test]
async fn a_call_under_way_does_not_replace_what_was_set_meanwhile() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let caller = ask_at(&numbers, &calls, 1, &gate);
    settle().await;
    numbers.set("n", &2).await.unwrap();
    gate.open();
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(found(&numbers, "n").await, Some(2));
}

/// Tags that come out of the value are not known while it is made.
#[tokio::test]
async fn tags_of_the_value_itself_count_from_before_it_was_made() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let tagged = numbers.tags_of(|number| [format!("number:{number}")]);
    let caller = ask_at(&tagged, &calls, 1, &gate);
    settle().await;
    handle.invalidate_tag("number:1").await.unwrap();
    let shut = Gate::shut();
    let later = ask_at(&tagged, &calls, 2, &shut);
    settle().await;
    assert_eq!(
        calls.load(Ordering::SeqCst),
        1,
        "nothing is known against it"
    );
    gate.open();
    assert_eq!(caller.await.unwrap(), Ok(1));
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 2, "now there is");
    shut.open();
    assert_eq!(later.await.unwrap(), Ok(2));
    assert_eq!(found(&numbers, "n").await, Some(2));
}

#[tokio::test]
async fn another_takes_over_when_the_caller_goes_away() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let shut = Gate::shut();
    let caller = ask_at(&numbers, &calls, 1, &shut);
    settle().await;
    let waiting = [2, 3, 4].map(|value| ask_at(&numbers, &calls, value, &gate));
    settle().await;
    caller.abort();
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    gate.open();
    for waited in waiting {
        assert_eq!(waited.await.unwrap(), Ok(2));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(found(&numbers, "n").await, Some(2));
}

#[tokio::test]
async fn one_who_waits_may_go_away() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let caller = ask_at(&numbers, &calls, 1, &gate);
    settle().await;
    let waiting = ask_at(&numbers, &calls, 2, &gate);
    settle().await;
    waiting.abort();
    gate.open();
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn after_a_panic_the_others_call_their_own() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let waits = gate.clone();
    let caller = ask(&numbers, &calls, async move {
        waits.wait().await;
        resume_unwind(Box::new("meant to"))
    });
    settle().await;
    let waiting = [2, 3].map(|value| ask_at(&numbers, &calls, value, &gate));
    settle().await;
    gate.open();
    assert!(caller.await.unwrap_err().is_panic());
    for (waited, value) in waiting.into_iter().zip(2..) {
        assert_eq!(waited.await.unwrap(), Ok(value));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(found(&numbers, "n").await.is_some());
    // What panics at once, and in no task of its own.
    let panics = numbers.get_or_insert_with("m", async || -> Made { resume_unwind(Box::new(())) });
    assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
    let made = numbers.get_or_insert_with("m", async || Ok::<_, ()>(5));
    assert_eq!(made.await, Ok(5));
}

#[tokio::test]
async fn an_error_is_for_its_caller_alone_and_the_others_go_at_once() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let waits = gate.clone();
    let caller = ask(&numbers, &calls, async move {
        waits.wait().await;
        Err("the database is gone")
    });
    settle().await;
    let second = Gate::shut();
    let waiting = [2, 3, 4].map(|value| ask_at(&numbers, &calls, value, &second));
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    gate.open();
    assert_eq!(caller.await.unwrap(), Err("the database is gone"));
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 4, "none waits for another");
    assert_eq!(found(&numbers, "n").await, None);
    second.open();
    for (waited, value) in waiting.into_iter().zip(2..) {
        assert_eq!(waited.await.unwrap(), Ok(value));
    }
    assert!(found(&numbers, "n").await.is_some());
}

#[tokio::test]
async fn what_has_no_bytes_is_not_shared() {
    let (handle, _) = cache();
    let floats = handle.values::<std::collections::BTreeMap<(u8, u8), u8>>("maps");
    let (gate, calls) = (Gate::shut(), Arc::new(AtomicUsize::new(0)));
    let asking = [1, 2].map(|value| {
        let (floats, gate, calls) = (floats.clone(), gate.clone(), calls.clone());
        tokio::spawn(async move {
            let make = async || {
                calls.fetch_add(1, Ordering::SeqCst);
                made([((0, 0), value)].into(), &gate).await
            };
            floats.get_or_insert_with("n", make).await
        })
    });
    settle().await;
    gate.open();
    for (asked, value) in asking.into_iter().zip(1..) {
        assert_eq!(asked.await.unwrap(), Ok([((0, 0), value)].into()));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_too_large_to_store_is_shared_all_the_same() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let small = numbers.max_bytes(1);
    let asking = [100, 200].map(|value| ask_at(&small, &calls, value, &gate));
    settle().await;
    gate.open();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok(100));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(found(&numbers, "n").await, None);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_another_for_ever() {
    let handle = CacheLayer::builder().build().unwrap().handle();
    let (numbers, calls, gate) = numbers(&handle);
    let began = tokio::time::Instant::now();
    let caller = ask_at(&numbers, &calls, 1, &gate);
    settle().await;
    let waited = numbers
        .get_or_insert_with("n", async || Ok::<_, ()>(2))
        .await;
    assert_eq!((waited, began.elapsed()), (Ok(2), seconds(10)));
    assert_eq!(found(&numbers, "n").await, Some(2));
    gate.open();
    assert_eq!(caller.await.unwrap(), Ok(1));
    assert_eq!(found(&numbers, "n").await, Some(2), "the later call counts");
    numbers.remove("n").await.unwrap();
    let shut = Gate::shut();
    let caller = ask_at(&numbers, &calls, 3, &shut);
    settle().await;
    let hasty = numbers.max_wait(Duration::from_millis(1));
    let asked = tokio::time::Instant::now();
    let waited = hasty.get_or_insert_with("n", async || Ok::<_, ()>(4)).await;
    assert_eq!((waited, asked.elapsed()), (Ok(4), Duration::from_millis(1)));
    caller.abort();
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_asks_for_its_own_key_comes_to_an_end() {
    let handle = CacheLayer::builder().build().unwrap().handle();
    let numbers = handle.values::<u32>("numbers").max_wait(MINUTE);
    let inner = numbers.clone();
    let asked = numbers.get_or_insert_with("n", async || {
        let inner = inner.get_or_insert_with("n", async || Ok::<_, ()>(1));
        Ok::<_, ()>(inner.await? + 1)
    });
    assert_eq!(asked.await, Ok(2));
}

/// What a flight brought stays for those who come until the store has it; not longer than its TTL.
#[tokio::test]
async fn a_value_that_is_past_its_ttl_is_not_shared_any_more() {
    let (handle, clock) = cache();
    let numbers = handle.values::<u32>("numbers").ttl(seconds(1));
    for value in 1..4 {
        let made = numbers.get_or_insert_with("n", async || Ok::<_, ()>(value));
        assert_eq!(made.await, Ok(value));
        clock.advance(seconds(1));
    }
}

#[tokio::test]
async fn a_cache_that_is_switched_off_calls_every_closure() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    numbers.set("n", &1).await.unwrap();
    handle.set_bypass(true);
    assert_eq!(found(&numbers, "n").await, None);
    assert_eq!(numbers.get_many(["n"]).await.unwrap(), [None]);
    let asking = [2, 3].map(|value| ask_at(&numbers, &calls, value, &gate));
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    gate.open();
    for (asked, value) in asking.into_iter().zip(2..) {
        assert_eq!(asked.await.unwrap(), Ok(value));
    }
    numbers.set("m", &4).await.unwrap();
    numbers.remove("n").await.unwrap();
    handle.set_bypass(false);
    let got = numbers.get_many(["n", "m"]).await.unwrap();
    assert_eq!(got, [None, Some(4)], "nothing is out of date");
}

#[tokio::test]
async fn a_closure_may_borrow_and_move() {
    let (handle, _) = cache();
    let users = handle.values::<super::User>("users");
    let (name, owned) = (String::from("Ada"), user(7, "Grace"));
    let borrowing = users.get_or_insert_with("1", async || Ok::<_, ()>(user(1, &name)));
    assert_eq!(borrowing.await, Ok(user(1, "Ada")));
    let moving = users.get_or_insert_with("7", async move || Ok::<_, ()>(owned));
    assert_eq!(moving.await, Ok(user(7, "Grace")));
    assert_eq!(name, "Ada");
}

#[tokio::test(start_paused = true)]
async fn a_closure_that_hangs_delays_nobody_who_comes_when_it_is_overdue() {
    let (handle, _) = cache();
    let (numbers, calls, gate) = numbers(&handle);
    let hung = ask_at(&numbers, &calls, 1, &gate);
    settle().await;
    tokio::time::sleep(5 * MINUTE).await;
    let asked = tokio::time::Instant::now();
    let made = numbers.get_or_insert_with("n", async || Ok::<_, ()>(2));
    assert_eq!((made.await, asked.elapsed()), (Ok(2), Duration::ZERO));
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn one_of_those_who_wait_for_a_slow_closure_makes_the_next_call() {
    let (handle, _) = cache();
    let (numbers, calls, _) = numbers(&handle);
    let asking: Vec<_> = (0..1000)
        .map(|_| {
            ask(&numbers, &calls, async {
                tokio::time::sleep(seconds(12)).await;
                Ok(1)
            })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Ok(1));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
