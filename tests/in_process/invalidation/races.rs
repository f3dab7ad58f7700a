//! Calls, refreshes and confirmations that a write overtook.

use super::{Data, get, policy, put, text, warm};
use crate::support::{Bench, MINUTE, request, settle};

#[tokio::test]
async fn a_fill_that_a_write_overtook_answers_nobody_who_comes_later() {
    for wait in ["x-gate", "x-body-gate"] {
        let data = Data::default();
        let bench = data.bench(policy());
        let read = bench.spawn(request("GET", "/a", &[(wait, "read")]));
        settle().await;
        bench.ask(put("/a")).await;
        data.gate("read").open();
        assert_eq!(text(read).await, "0", "it began before the write");
        let next = bench.get("/a").await;
        assert_eq!((next.x_cache(), next.text()), ("MISS", "1"), "{wait}");
        assert_eq!(bench.get("/a").await.x_cache(), "HIT");
    }
}

#[tokio::test]
async fn nobody_joins_a_call_that_a_write_overtook() {
    for wait in ["x-gate", "x-body-gate"] {
        let data = Data::default();
        let bench = data.bench(policy());
        let old = bench.spawn(request("GET", "/a", &[(wait, "read")]));
        settle().await;
        bench.ask(put("/a")).await;
        // At once: it does not even wait for the old call.
        let new = bench.spawn(get("/a"));
        settle().await;
        assert!(new.is_finished(), "{wait}: it waits for the old call");
        let new = new.await.unwrap();
        assert_eq!((new.x_cache(), new.text()), ("MISS", "1"), "{wait}");
        // And the old call, landing last, does not replace what is newer.
        data.gate("read").open();
        assert_eq!(text(old).await, "0");
        let next = bench.get("/a").await;
        assert_eq!((next.x_cache(), next.text()), ("HIT", "1"), "{wait}");
    }
}

#[tokio::test]
async fn those_who_come_after_a_write_share_a_call_of_their_own() {
    let data = Data::default();
    let bench = data.bench(policy());
    let old = bench.spawn(request("GET", "/a", &[("x-gate", "old")]));
    settle().await;
    bench.ask(put("/a")).await;
    let new: Vec<_> = (0..5)
        .map(|_| bench.spawn(request("GET", "/a", &[("x-gate", "new")])))
        .collect();
    settle().await;
    data.gate("old").open();
    assert_eq!(text(old).await, "0");
    settle().await;
    data.gate("new").open();
    for read in new {
        assert_eq!(text(read).await, "1");
    }
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_refresh_that_a_write_overtook_is_not_used() {
    let data = Data::default();
    let bench = data.bench(policy().stale_while_revalidate(MINUTE));
    warm(&bench, &["/a"]).await;
    bench.clock.advance(MINUTE);
    let stale = bench
        .ask(request("GET", "/a", &[("x-gate", "refresh")]))
        .await;
    assert_eq!(stale.x_cache(), "STALE");
    settle().await;
    bench.ask(put("/a")).await;
    // Not the stale response, not the refresh under way.
    let next = bench.spawn(get("/a"));
    settle().await;
    assert!(next.is_finished(), "it waits for the refresh");
    let next = next.await.unwrap();
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
    data.gate("refresh").open();
    settle().await;
    let last = bench.get("/a").await;
    assert_eq!((last.x_cache(), last.text()), ("HIT", "1"));
}

#[tokio::test]
async fn a_confirmation_that_a_write_overtook_is_not_used() {
    let data = Data::with_etags();
    let bench = data.bench(policy());
    warm(&bench, &["/a"]).await;
    bench.clock.advance(MINUTE);
    let validating = bench.spawn(request("GET", "/a", &[("x-gate", "read")]));
    settle().await;
    bench.ask(put("/a")).await;
    data.gate("read").open();
    let confirmed = validating.await.unwrap();
    assert_eq!(
        (confirmed.x_cache(), confirmed.text()),
        ("REVALIDATED", "0")
    );
    let next = bench.get("/a").await;
    assert_eq!((next.x_cache(), next.text()), ("MISS", "1"));
}

#[tokio::test]
async fn what_a_write_made_old_does_not_stand_in_for_an_error() {
    let data = Data::default();
    let bench = data.bench(policy().stale_if_error(60 * MINUTE));
    warm(&bench, &["/a"]).await;
    bench.clock.advance(MINUTE);
    let failing = |bench: &Bench| bench.spawn(request("GET", "/a", &[("x-status", "503")]));
    assert_eq!(failing(&bench).await.unwrap().x_cache(), "STALE");
    bench.ask(put("/a")).await;
    assert_eq!(failing(&bench).await.unwrap().status, 503);
}

#[tokio::test]
async fn tags_that_are_known_only_at_the_head_are_judged_there() {
    for wait in ["x-gate", "x-body-gate"] {
        let data = Data::with_fields(&[("surrogate-key", "catalogue other")]);
        let bench = data.bench(policy());
        let old = bench.spawn(request("GET", "/a", &[(wait, "read")]));
        settle().await;
        data.write("/a");
        bench.handle.invalidate_tag("catalogue").await.unwrap();
        // It cannot be known yet whether this one may join.
        let new = bench.spawn(get("/a"));
        settle().await;
        data.gate("read").open();
        assert_eq!(text(old).await, "0");
        assert_eq!(text(new).await, "1", "{wait}");
        settle().await;
        let next = bench.get("/a").await;
        assert_eq!((next.x_cache(), next.text()), ("HIT", "1"), "{wait}");
    }
}

#[tokio::test]
async fn an_old_variant_that_lands_late_does_not_come_back() {
    let data = Data::with_fields(&[("vary", "accept-language")]);
    let bench = data.bench(policy());
    let german = [("accept-language", "de")];
    let gated = [("accept-language", "de"), ("x-gate", "read")];
    bench.get_with("/a", &[("accept-language", "en")]).await;
    let old = bench.spawn(request("GET", "/a", &gated));
    settle().await;
    bench.ask(put("/a")).await;
    assert_eq!(bench.get_with("/a", &german).await.text(), "1");
    data.gate("read").open();
    assert_eq!(text(old).await, "0");
    for language in ["de", "en"] {
        let answer = bench.get_with("/a", &[("accept-language", language)]).await;
        assert_eq!(answer.text(), "1", "{language}");
    }
}
