//! Counters, which many add to at the same time.

use std::time::Duration;

use tower_response_cache::testing::ManualClock;
use tower_response_cache::{CacheLayer, MemoryStore, NoStore};

use super::{cache, cache_with, found};
use crate::support::{MINUTE, seconds};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_that_add_one_a_thousand_times_come_to_eight_thousand() {
    let handle = CacheLayer::builder().build().unwrap().handle();
    let numbers = handle.counters("numbers").unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let numbers = numbers.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..1_000 {
                    let count = numbers.increment("n", 1).await.unwrap();
                    assert!(count > last, "{count} after {last}");
                    last = count;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(numbers.increment("n", 0).await.unwrap(), 8_000);
}

#[tokio::test]
async fn counters_go_up_and_down_and_know_their_limits() {
    let (handle, _) = cache();
    let numbers = handle.counters("numbers").unwrap();
    let add = async |by| numbers.increment("n", by).await;
    for (by, count) in [(0, 0), (5, 5), (-7, -2), (0, -2), (2, 0)] {
        assert_eq!(add(by).await.unwrap(), count);
    }
    assert_eq!(add(i64::MAX).await.unwrap(), i64::MAX);
    assert!(add(1).await.is_err());
    assert_eq!(add(0).await.unwrap(), i64::MAX, "as it was");
    assert_eq!(add(i64::MIN).await.unwrap(), -1);
    assert_eq!(numbers.increment("m", 1).await.unwrap(), 1);
    let others = handle.counters("others").unwrap();
    assert_eq!(others.increment("n", 1).await.unwrap(), 1);
    let stats = handle.values::<()>("numbers").stats();
    assert_eq!(stats.store_errors, 1);
}

#[tokio::test]
async fn the_first_addition_sets_the_end_and_later_ones_leave_it() {
    let (handle, clock) = cache();
    let numbers = handle.counters("numbers").unwrap().ttl(seconds(10));
    numbers.increment("n", 1).await.unwrap();
    clock.advance(seconds(9));
    assert_eq!(numbers.increment("n", 1).await.unwrap(), 2);
    assert_eq!(numbers.ttl(MINUTE).increment("n", 1).await.unwrap(), 3);
    clock.advance(seconds(1) - Duration::from_nanos(1));
    assert_eq!(numbers.increment("n", 0).await.unwrap(), 3);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(numbers.increment("n", 0).await.unwrap(), 0);
    assert_eq!(numbers.increment("n", 1).await.unwrap(), 1);
    clock.advance(seconds(9));
    assert_eq!(numbers.increment("n", 1).await.unwrap(), 2);
    let forever = numbers.ttl(Duration::MAX);
    forever.increment("m", 1).await.unwrap();
    clock.advance(MINUTE * 1_000_000);
    assert_eq!(numbers.increment("m", 1).await.unwrap(), 2);
}

#[tokio::test]
async fn a_counter_and_a_value_of_the_same_key_are_two_things() {
    let (handle, _) = cache();
    let numbers = handle.values::<u32>("numbers").tags(["t"]);
    let counters = handle.counters("numbers").unwrap();
    counters.increment("n", 5).await.unwrap();
    assert_eq!(found(&numbers, "n").await, None);
    numbers.set("n", &7).await.unwrap();
    assert_eq!(counters.increment("n", 1).await.unwrap(), 6);
    assert_eq!(found(&numbers, "n").await, Some(7));
    numbers.remove("n").await.unwrap();
    handle.invalidate_tag("t").await.unwrap();
    numbers.remove_matching("*").await.unwrap();
    handle.invalidate_all().await.unwrap();
    handle.set_bypass(true);
    assert_eq!(counters.increment("n", 1).await.unwrap(), 7);
    counters.reset("n").await.unwrap();
    assert_eq!(counters.increment("n", 1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn counters_take_room_and_give_it_back_when_they_end() {
    let handle = CacheLayer::builder().build().unwrap().handle();
    let numbers = handle.counters("numbers").unwrap().ttl(seconds(10));
    for at in 0..100 {
        numbers.increment(&at.to_string(), 1).await.unwrap();
    }
    let lasting = numbers.ttl(MINUTE * 60);
    assert_eq!(lasting.increment("lasting", 3).await.unwrap(), 3);
    assert_eq!(handle.stats().usage.entries, 101);
    tokio::time::sleep(seconds(10)).await;
    // Any invalidation has the store swept.
    handle.invalidate_uri("/").await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(handle.stats().usage.entries, 1);
    assert_eq!(lasting.increment("lasting", 0).await.unwrap(), 3);
}

#[tokio::test]
async fn a_flood_of_counters_stays_within_the_store() {
    let handle = cache_with(MemoryStore::new(1 << 20), &ManualClock::new());
    let numbers = handle.counters("numbers").unwrap();
    for at in 0..20_000 {
        numbers.increment(&at.to_string(), 1).await.unwrap();
        let usage = handle.stats().usage;
        assert!(usage.bytes <= usage.capacity, "{usage:?}");
    }
    let usage = handle.stats().usage;
    assert!(usage.evictions > 0 && usage.entries > 1_000, "{usage:?}");
}

#[tokio::test]
async fn a_store_that_keeps_nothing_counts_from_zero_each_time() {
    let handle = cache_with(NoStore::new(), &ManualClock::new());
    let numbers = handle.counters("numbers").unwrap();
    for _ in 0..2 {
        assert_eq!(numbers.increment("n", 3).await.unwrap(), 3);
    }
}
