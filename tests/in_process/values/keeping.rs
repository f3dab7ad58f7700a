//! What is kept, under which name, and for how long.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use tower_response_cache::testing::ManualClock;
use tower_response_cache::{Codec, ErrorKind, MemoryStore, NoStore};

use super::{FIVE_MINUTES, User, cache, cache_with, found, user};
use crate::support::{MINUTE, seconds};

const MOMENT: Duration = Duration::from_nanos(1);

#[tokio::test]
async fn a_value_is_found_under_its_own_key_and_namespace() {
    let (handle, _) = cache();
    let users = handle.values::<User>("users");
    users.set("1", &user(1, "Ada")).await.unwrap();
    assert_eq!(found(&users, "1").await, Some(user(1, "Ada")));
    for key in ["", "11", "1 ", "/1", "1:"] {
        assert_eq!(found(&users, key).await, None, "{key:?}");
    }
    for namespace in ["user", "users1", "", "users/", "values:users"] {
        let others = handle.values::<User>(namespace);
        assert_eq!(found(&others, "1").await, None, "{namespace:?}");
    }
    assert_eq!(
        found(&handle.values("users"), "1").await,
        Some(user(1, "Ada"))
    );
}

#[tokio::test]
async fn namespace_and_key_are_never_taken_for_one_another() {
    let (handle, _) = cache();
    let names = ["", "a", "ab", "a:", "a/b", "ü", "\0", "*"];
    for namespace in names {
        for key in names {
            let said = format!("{namespace} {key}");
            handle.values(namespace).set(key, &said).await.unwrap();
        }
    }
    for namespace in names {
        for key in names {
            let said = found(&handle.values::<String>(namespace), key).await;
            assert_eq!(said, Some(format!("{namespace} {key}")));
        }
    }
}

#[tokio::test]
async fn a_later_value_takes_the_place_of_an_earlier_one() {
    let (handle, _) = cache();
    let numbers = handle.values::<u32>("numbers");
    for number in 1..=3 {
        numbers.set("n", &number).await.unwrap();
        assert_eq!(found(&numbers, "n").await, Some(number));
    }
    assert_eq!(handle.stats().usage.entries, 1);
}

#[tokio::test]
async fn many_values_come_in_the_order_of_their_keys() {
    let (handle, _) = cache();
    let numbers = handle.values::<u32>("numbers");
    let entries = [("one", 1), ("two", 2), ("three", 3)];
    numbers.set_many(entries).await.unwrap();
    let keys = ["three", "none", "one", "three"];
    let got = numbers.get_many(keys).await.unwrap();
    assert_eq!(got, [Some(3), None, Some(1), Some(3)]);
    assert_eq!(numbers.get_many([""; 0]).await.unwrap(), []);
    numbers.remove_many(["one", "three"]).await.unwrap();
    let got = numbers.get_many(["one", "two", "three"]).await.unwrap();
    assert_eq!(got, [None, Some(2), None]);
    let owned = vec![(String::from("four"), 4)];
    numbers.set_many(owned).await.unwrap();
    assert_eq!(found(&numbers, "four").await, Some(4));
}

#[tokio::test]
async fn an_age_equal_to_the_ttl_is_too_old() {
    let (handle, clock) = cache();
    let numbers = handle.values::<u32>("numbers").ttl(seconds(10));
    numbers.set("n", &1).await.unwrap();
    clock.advance(seconds(10) - MOMENT);
    assert_eq!(found(&numbers, "n").await, Some(1));
    clock.advance(MOMENT);
    assert_eq!(found(&numbers, "n").await, None);
}

#[tokio::test]
async fn the_ttl_is_five_minutes_unless_it_is_said_otherwise() {
    let (handle, clock) = cache();
    let numbers = handle.values::<u32>("numbers");
    numbers.set("n", &1).await.unwrap();
    let forever = numbers.ttl(Duration::MAX);
    forever.set("forever", &2).await.unwrap();
    clock.advance(FIVE_MINUTES - MOMENT);
    assert_eq!(found(&numbers, "n").await, Some(1));
    clock.advance(MOMENT);
    assert_eq!(found(&numbers, "n").await, None);
    clock.advance(MINUTE * 1_000_000);
    assert_eq!(found(&numbers, "forever").await, Some(2));
}

#[tokio::test]
async fn what_is_stored_for_no_time_takes_away_what_was_there() {
    let (handle, _) = cache();
    let numbers = handle.values::<u32>("numbers");
    numbers.set_many([("a", 1), ("b", 1)]).await.unwrap();
    let no_time = numbers.ttl(Duration::ZERO);
    no_time.set_many([("a", 2), ("c", 2)]).await.unwrap();
    let got = numbers.get_many(["a", "b", "c"]).await.unwrap();
    assert_eq!(got, [None, Some(1), None]);
    assert_eq!(handle.stats().usage.entries, 1);
    let made = no_time.get_or_insert_with("d", async || Ok::<_, ()>(3));
    assert_eq!(made.await, Ok(3));
    assert_eq!(found(&numbers, "d").await, None);
}

#[tokio::test]
async fn what_is_of_another_type_is_missing_and_removed() {
    let (handle, _) = cache();
    let (users, names) = (
        handle.values::<User>("users"),
        handle.values::<String>("users"),
    );
    names.set("1", &"Ada".to_owned()).await.unwrap();
    assert_eq!(found(&users, "1").await, None);
    assert_eq!(handle.stats().usage.entries, 0);
    assert_eq!(found(&names, "1").await, None);
    let stats = users.stats();
    assert_eq!((stats.unreadable, stats.hits, stats.misses), (1, 0, 2));
    names.set("1", &"Ada".to_owned()).await.unwrap();
    let made = users.get_or_insert_with("1", async || Ok::<_, ()>(user(1, "Ada")));
    assert_eq!(made.await, Ok(user(1, "Ada")));
    assert_eq!(found(&users, "1").await, Some(user(1, "Ada")));
}

#[tokio::test]
async fn what_has_no_json_is_refused() {
    let (handle, _) = cache();
    let maps = handle.values::<BTreeMap<(u8, u8), u8>>("maps");
    let map = BTreeMap::from([((1, 2), 3)]);
    let refused = maps.set("m", &map).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Value);
    assert!(refused.source().is_some(), "{refused:?}");
    let many = [("empty", BTreeMap::new()), ("m", map.clone())];
    assert!(maps.set_many(many).await.is_err());
    assert_eq!(handle.stats().usage.entries, 0, "none of them is stored");
    let made = maps.get_or_insert_with("m", async || Ok::<_, ()>(map.clone()));
    assert_eq!(made.await, Ok(map.clone()));
    assert_eq!((maps.stats().refused, maps.stats().sets), (3, 0));
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_yet_given_to_its_caller() {
    let (handle, _) = cache();
    let texts = handle.values::<String>("texts");
    let text = |bytes: usize| "x".repeat(bytes - 2); // two are quotes
    texts.set("largest", &text(1 << 20)).await.unwrap();
    let refused = texts.set("larger", &text((1 << 20) + 1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Value);
    assert!(refused.to_string().contains("1048577 bytes"), "{refused}");
    let small = texts.max_bytes(10);
    assert!(small.set("small", &text(11)).await.is_err());
    let made = small.get_or_insert_with("made", async || Ok::<_, ()>(text(11)));
    assert_eq!(made.await, Ok(text(11)));
    small.set("small", &text(10)).await.unwrap();
    assert_eq!(handle.stats().usage.entries, 2);
    assert_eq!((texts.stats().refused, texts.stats().sets), (3, 2));
}

#[tokio::test]
async fn more_tags_than_a_value_may_have_are_refused() {
    let (handle, _) = cache();
    let numbers = handle.values::<u32>("numbers");
    let tags = |count| (0..count).map(|at| format!("tag:{at}"));
    numbers.tags(tags(256)).set("n", &1).await.unwrap();
    let refused = numbers.tags(tags(257)).set("n", &2).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Value);
    let of_itself = numbers.tags(tags(200)).tags_of(move |_| tags(57));
    assert!(of_itself.set("n", &3).await.is_err());
    assert_eq!(found(&numbers, "n").await, Some(1));
}

#[tokio::test]
async fn a_flood_of_values_stays_within_the_store() {
    let clock = ManualClock::new();
    let handle = cache_with(MemoryStore::new(1 << 20), &clock);
    let texts = handle.values::<String>("texts").tags(["flood"]);
    for at in 0..10_000 {
        let text = "x".repeat(at % 1_000);
        texts.set(&at.to_string(), &text).await.unwrap();
        let usage = handle.stats().usage;
        assert!(usage.bytes <= usage.capacity, "{usage:?}");
    }
    let usage = handle.stats().usage;
    assert!(usage.evictions > 5_000 && usage.entries > 100, "{usage:?}");
    // One that the store would not have is not kept beside an older one.
    texts.set("9999", &"x".repeat(200_000)).await.unwrap();
    assert_eq!(found(&texts, "9999").await, None);
}

#[tokio::test]
async fn a_store_that_keeps_nothing_finds_nothing() {
    let handle = cache_with(NoStore::new(), &ManualClock::new());
    let numbers = handle.values::<u32>("numbers");
    numbers.set("n", &1).await.unwrap();
    assert_eq!(found(&numbers, "n").await, None);
    let made = numbers.get_or_insert_with("n", async || Ok::<_, ()>(2));
    assert_eq!(made.await, Ok(2));
}

struct Shouting;

impl Codec<String> for Shouting {
    fn encode(&self, value: &String) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        Ok(value.to_uppercase().into_bytes())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, Box<dyn Error + Send + Sync>> {
        Ok(str::from_utf8(bytes)?.to_owned() + "!")
    }
}

#[tokio::test]
async fn another_codec_writes_and_reads() {
    let (handle, _) = cache();
    let texts = handle.values::<String>("texts").ttl(MINUTE).codec(Shouting);
    texts.set("a", &"stop".to_owned()).await.unwrap();
    assert_eq!(texts.get("a").await.unwrap().as_deref(), Some("STOP!"));
}

#[tokio::test]
async fn each_namespace_has_its_own_counts() {
    let (handle, _) = cache();
    let (users, others) = (
        handle.values::<u32>("users"),
        handle.values::<u32>("others"),
    );
    users.set_many([("a", 1), ("b", 2)]).await.unwrap();
    for key in ["a", "a", "b", "c"] {
        found(&users, key).await;
    }
    users.get_many(["a", "c"]).await.unwrap();
    let stats = handle.values::<User>("users").stats();
    assert_eq!((stats.sets, stats.hits, stats.misses), (2, 4, 2));
    assert!((stats.hit_ratio() - 2.0 / 3.0).abs() < 1e-9);
    let all = handle.value_stats();
    let names: Vec<_> = all.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["others", "users"]);
    assert_eq!((all[0].1, all[1].1), (others.stats(), stats));
    assert_eq!(handle.stats().hits, 0, "requests are counted elsewhere");
}
