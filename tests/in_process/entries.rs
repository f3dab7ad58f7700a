//! Listing what is stored: what it says of each entry, which are let through, in what order.

use std::sync::Arc;

use http::StatusCode;
use tower_response_cache::{
    CacheHandle, CacheLayer, EntryFilter, EntryOrder, EntryState, Invalidation, MemoryStore,
    NoStore, Pattern, Policy, Routes,
};

use crate::support::{Bench, Dice, MINUTE, Origin, request, respond, seconds, sent};

fn uris(handle: &CacheHandle, filter: EntryFilter) -> Vec<String> {
    let page = handle.entries(&filter).unwrap();
    page.entries
        .iter()
        .map(|entry| entry.uri().to_owned())
        .collect()
}

/// A bench with `/a`, `/b?q=1` and `/long` stored, a second apart.
async fn three() -> Bench {
    let routes = Routes::new()
        .route("/b", Policy::ttl(seconds(5)).tag("short"))
        .otherwise(
            Policy::ttl(MINUTE)
                .tag("long")
                .ttl_for(StatusCode::NOT_FOUND, MINUTE),
        );
    let origin = Origin::new(|request, _| async move {
        match request.uri().path() {
            "/long" => respond(404, &[("content-type", "text/plain")], "x".repeat(3000)),
            _ => respond(200, &[], "x"),
        }
    });
    let bench = Bench::with_routes(routes, origin);
    for uri in ["/a", "/b?q=1", "/long"] {
        assert_eq!(bench.get(uri).await.x_cache(), "MISS");
        bench.clock.advance(seconds(1));
    }
    bench
}

#[tokio::test]
async fn an_entry_tells_its_times_its_size_and_its_tags() {
    let bench = three().await;
    let page = bench.handle.entries(&EntryFilter::new()).unwrap();
    assert_eq!((page.matched, page.examined), (3, 3));
    let [a, b, long] = &page.entries[..] else {
        panic!("{page:?}");
    };
    assert_eq!(
        (a.uri(), a.status().as_u16(), a.tags()),
        ("/a", 200, &["long".to_owned()][..])
    );
    assert_eq!((a.age(), a.lifetime()), (seconds(3), MINUTE));
    assert_eq!(
        (b.uri(), b.age(), b.lifetime()),
        ("/b?q=1", seconds(2), seconds(5))
    );
    assert_eq!(
        (long.status().as_u16(), long.content_type()),
        (404, Some("text/plain"))
    );
    assert!(
        long.size() > a.size() + 2900,
        "{} {}",
        long.size(),
        a.size()
    );
}

#[tokio::test]
async fn each_filter_lets_through_what_it_names() {
    let bench = three().await;
    let filter = EntryFilter::new;
    for (filter, expected) in [
        (filter(), &["/a", "/b?q=1", "/long"][..]),
        (filter().containing("q="), &["/b?q=1"]),
        (filter().containing("/").containing("n"), &["/long"]),
        (filter().containing("nowhere"), &[]),
        (filter().pattern(Pattern::parse("/b").unwrap()), &["/b?q=1"]),
        (filter().pattern(Pattern::parse("/*g").unwrap()), &["/long"]),
        (filter().tag("long"), &["/a", "/long"]),
        (filter().tag("lon"), &[]),
        (filter().status(StatusCode::NOT_FOUND), &["/long"]),
        (filter().state(EntryState::Fresh).tag("short"), &["/b?q=1"]),
        (filter().state(EntryState::Stale), &[]),
    ] {
        assert_eq!(uris(&bench.handle, filter.clone()), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn each_order_begins_with_what_it_names() {
    let bench = three().await;
    for (order, expected) in [
        (EntryOrder::Path, ["/a", "/b?q=1", "/long"]),
        (EntryOrder::Newest, ["/long", "/b?q=1", "/a"]),
        (EntryOrder::Oldest, ["/a", "/b?q=1", "/long"]),
        (EntryOrder::Largest, ["/long", "/b?q=1", "/a"]),
        (EntryOrder::Expiring, ["/b?q=1", "/a", "/long"]),
    ] {
        let listed = uris(&bench.handle, EntryFilter::new().order(order));
        assert_eq!(listed, expected, "{order:?}");
    }
}

#[tokio::test]
async fn an_entry_is_fresh_then_stale_and_invalidated_when_something_overtakes_it() {
    let bench = three().await;
    let state = |uri: &str| {
        let page = bench
            .handle
            .entries(&EntryFilter::new().containing(uri))
            .unwrap();
        page.entries[0].state()
    };
    assert_eq!(state("/b"), EntryState::Fresh);
    // Two of five seconds have passed; an age equal to the lifetime is stale.
    bench.clock.advance(seconds(3));
    assert_eq!(state("/b"), EntryState::Stale);
    bench
        .handle
        .invalidate(Invalidation::uri("/a").soft())
        .await
        .unwrap();
    assert_eq!(state("/a"), EntryState::Stale);
    bench.handle.invalidate_uri("/a").await.unwrap();
    assert_eq!(state("/a"), EntryState::Invalidated);
    assert_eq!(state("/long"), EntryState::Fresh);
}

#[tokio::test]
async fn pages_hold_each_entry_once_in_every_order() {
    let origin = Origin::new(|_, _| async { respond(200, &[], "x") });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    let mut random = Dice::new(1);
    let mut expected: Vec<String> = (0..137)
        .map(|n| format!("/{:x}/{n}", random.below(9)))
        .collect();
    for (at, uri) in expected.iter().enumerate() {
        // Of each ten one has another age, so that most are alike but for their paths.
        if at % 10 == 0 {
            bench.clock.advance(seconds(1));
        }
        bench.get(uri).await;
    }
    expected.sort();
    for order in [EntryOrder::Path, EntryOrder::Newest, EntryOrder::Largest] {
        let mut listed = Vec::new();
        for offset in (0..).step_by(20) {
            let filter = EntryFilter::new().order(order).limit(20).offset(offset);
            let page = bench.handle.entries(&filter).unwrap();
            assert_eq!((page.matched, page.examined), (137, 137));
            if page.entries.is_empty() {
                break;
            }
            listed.extend(page.entries.iter().map(|entry| entry.uri().to_owned()));
        }
        assert_eq!(listed.len(), 137, "{order:?}");
        if order == EntryOrder::Path {
            assert_eq!(listed, expected);
        }
        listed.sort();
        assert_eq!(listed, expected, "{order:?}");
    }
    let filter = EntryFilter::new().limit(0);
    assert!(bench.handle.entries(&filter).unwrap().entries.is_empty());
    let filter = EntryFilter::new().limit(usize::MAX).offset(usize::MAX);
    assert_eq!(bench.handle.entries(&filter).unwrap().matched, 137);
}

#[tokio::test]
async fn an_entry_tells_what_its_key_is_made_of() {
    let policy = || Policy::ttl(MINUTE).shared_with_everyone();
    let routes = Routes::new()
        .route(
            "/mine",
            Policy::ttl(MINUTE)
                .key_part(|_| Some("ada\u{7}".to_owned()))
                .partition_by(|_| Some("ada".to_owned())),
        )
        .route("/named", policy().key_header(http::header::AUTHORIZATION))
        .otherwise(policy());
    let bench = Bench::with_routes(routes, Origin::counting());
    let host = ("host", "Shop.example");
    bench
        .get_with("/plain%2f?b&a", &[host, ("x-forwarded-proto", "https")])
        .await;
    bench.get_with("/mine", &[host]).await;
    bench
        .get_with("/named", &[("authorization", "Bearer secret")])
        .await;
    bench.get("https://shop.example/absolute").await;
    let page = bench.handle.entries(&EntryFilter::new()).unwrap();
    let key = |uri: &str| {
        page.entries
            .iter()
            .find(|entry| entry.uri() == uri)
            .unwrap()
            .key()
    };

    let plain = key("/plain%2F?b&a");
    assert_eq!(plain.authority.as_deref(), Some("shop.example"));
    assert_eq!(plain.scheme, None);
    assert_eq!(
        plain.fields,
        [("x-forwarded-proto".to_owned(), "https".to_owned())]
    );
    assert!(plain.other.is_empty(), "{plain:?}");

    let mine = key("/mine");
    assert_eq!(mine.other.len(), 2);
    assert_eq!(
        mine.other[0], "0x61646107",
        "what is no text is hexadecimal"
    );
    // The SHA-256 digest of the partition's name.
    assert!(mine.other[1].starts_with("0x"), "{mine:?}");
    assert_eq!(mine.other[1].len(), 2 + 64, "{mine:?}");
    let told = format!("{:?}", key("/named"));
    assert!(
        told.contains("authorization") && !told.contains("secret"),
        "{told}"
    );
    assert_eq!(key("/named").authority, None);

    let absolute = key("/absolute");
    assert_eq!(absolute.scheme.as_deref(), Some("https"));
    let explained = bench
        .handle
        .explain(&request("GET", "https://shop.example/absolute", &[]))
        .await;
    assert_eq!(explained.key.as_ref(), Some(&absolute.digest));
}

#[tokio::test]
async fn variants_are_listed_one_by_one_with_what_selects_them() {
    let origin = Origin::showing(&[("vary", "accept-language")], |request| {
        sent(request, "accept-language")
    });
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    for language in ["de", "en"] {
        bench.get_with("/a", &[("accept-language", language)]).await;
    }
    let page = bench.handle.entries(&EntryFilter::new()).unwrap();
    assert_eq!(page.matched, 2);
    let mut selected: Vec<_> = page
        .entries
        .iter()
        .map(|entry| entry.key().other.clone())
        .collect();
    selected.sort();
    assert_eq!(
        selected,
        [["accept-language", "de"], ["accept-language", "en"]]
    );
}

#[tokio::test]
async fn a_listing_is_not_a_use_and_counts_nothing() {
    let bench = three().await;
    let before = bench.handle.stats();
    bench.handle.entries(&EntryFilter::new()).unwrap();
    assert_eq!(bench.handle.stats(), before);
}

#[test]
fn a_store_that_cannot_list_says_so() {
    let handle = CacheLayer::builder()
        .store(NoStore::new())
        .build()
        .unwrap()
        .handle();
    assert_eq!(handle.entries(&EntryFilter::new()), None);
}

#[tokio::test]
async fn a_listing_goes_on_while_entries_come_and_go() {
    let store = Arc::new(MemoryStore::new(64 << 10));
    let builder = CacheLayer::builder()
        .shared_store(store)
        .routes(Routes::new().otherwise(Policy::ttl(MINUTE)));
    let bench = Bench::with_builder(builder, Origin::counting());
    let listing = std::thread::spawn({
        let handle = bench.handle.clone();
        move || {
            let mut listed = 0;
            for _ in 0..200 {
                let page = handle.entries(&EntryFilter::new().limit(1000)).unwrap();
                assert_eq!(page.matched, page.entries.len() as u64);
                listed += page.entries.len();
            }
            listed
        }
    });
    let mut asked = 0;
    while !listing.is_finished() || asked < 2000 {
        bench.get(&format!("/{asked}")).await;
        asked += 1;
    }
    listing.join().unwrap();
    let stats = bench.handle.stats();
    assert!(stats.usage.evictions > 0, "nothing was evicted: {stats:?}");
}
