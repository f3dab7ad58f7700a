//! What `Debug` output, lists and keys show of who asked.

use std::fmt::Debug;

use tower_response_cache::{CacheLayer, EntryFilter, MemoryStore, Policy, Routes};

use crate::support::{Bench, MINUTE, Origin, request, respond, respond_with, scripted};

const REQUEST: [(&str, &str); 4] = [
    ("authorization", "Bearer s3cret"),
    ("cookie", "session=s3cret"),
    ("x-api-key", "s3cret"),
    ("x-own", "s3cret"),
];

fn assert_silent(what: &impl Debug) {
    let shown = format!("{what:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn debug_output_shows_neither_the_requests_nor_the_responses_credentials() {
    let routes = Routes::new()
        .route("/slow", Policy::ttl(MINUTE).shared_with_everyone())
        .otherwise(
            Policy::ttl(MINUTE)
                .shared_with_everyone()
                .store_set_cookie(),
        );
    let (sender, body) = scripted();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new(move |request, _| {
        let fields = [
            ("set-cookie", "session=s3cret"),
            ("vary", "cookie, x-api-key"),
        ];
        let response = match request.uri().path() {
            "/slow" => respond_with(200, &[], body.lock().unwrap().take().unwrap()),
            _ => respond(200, &fields, "s3cret".repeat(2000)),
        };
        async move { response }
    });
    let store = std::sync::Arc::new(MemoryStore::default());
    let layer = CacheLayer::builder().shared_store(store.clone());
    let bench = Bench::with_builder(layer.routes(routes), origin);
    // Under way.
    let slow = bench.send(request("GET", "/slow", &REQUEST)).await;
    assert_silent(&bench.handle);
    drop(sender);
    drop(slow);
    // Stored, and replayed often enough for its head to be kept ready.
    for _ in 0..4 {
        bench.get_with("/page", &REQUEST).await;
    }
    assert_silent(&bench.handle);
    assert_silent(&store);
    let page = bench.handle.entries(&EntryFilter::new()).unwrap();
    assert!(page.matched > 0);
    assert_silent(&page);
    let keys = page.entries.iter().map(|entry| entry.key());
    assert_silent(&keys.collect::<Vec<_>>());
    let asked = request("GET", "/page", &REQUEST);
    assert_silent(&bench.handle.explain(&asked).await);
}

#[tokio::test]
async fn the_name_of_a_partition_is_digested_wherever_it_is_shown() {
    let policy = Policy::ttl(MINUTE).partition_by(|parts| {
        let user = parts.headers.get("x-own")?.to_str().ok()?;
        Some(user.to_owned())
    });
    let bench = Bench::new(policy, Origin::counting());
    bench.get_with("/", &[("x-own", "s3cret")]).await;
    assert_eq!(
        bench.get_with("/", &[("x-own", "s3cret")]).await.x_cache(),
        "HIT"
    );
    assert_eq!(
        bench.get_with("/", &[("x-own", "other")]).await.x_cache(),
        "MISS"
    );
    let page = bench.handle.entries(&EntryFilter::new()).unwrap();
    assert_eq!(page.matched, 2);
    assert_silent(&page);
    let by_name = bench
        .handle
        .entries(&EntryFilter::new().containing("s3cret"));
    assert_eq!(by_name.unwrap().matched, 0);
    assert_silent(&bench.handle);
}
