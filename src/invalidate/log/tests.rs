use std::time::Duration;

use super::*;
use crate::invalidate::index::{MAX_GLOBS, MAX_MATCHED};
use crate::pattern::Pattern;
use crate::target::Subject;

mod model;
mod races;
mod values;

fn subject(path: &str) -> Subject {
    Subject::new(path, None, [])
}

fn tagged(path: &str, tag: &str) -> Subject {
    Subject::new(path, None, [Box::from(tag)])
}

fn pattern(text: &str) -> Invalidation {
    Pattern::parse(text)
        .unwrap_or_else(|error| panic!("{error}"))
        .into()
}

/// Judges `path` as if it had been made at `position`.
fn verdict(log: &Log, position: Position, path: &str) -> Verdict {
    log.verdict(position, subject(path).borrow())
}

// The predicate, term by term: each test fails when its term is taken away.

#[test]
fn without_the_position_a_response_outlives_the_write_after_it() {
    let log = Log::default();
    let before = log.position();
    let after = log.append(&[Invalidation::uri("/a")]);
    assert_eq!(verdict(&log, before, "/a"), Verdict::Invalid);
    assert_eq!(verdict(&log, before, "/b"), Verdict::Valid);
    assert_eq!(verdict(&log, after, "/a"), Verdict::Valid);
    // Nor does an invalidation of something else behind it matter.
    log.append(&[Invalidation::uri("/b")]);
    assert_eq!(verdict(&log, after, "/a"), Verdict::Valid);
    assert_eq!(verdict(&log, before, "/a"), Verdict::Invalid);
}

#[test]
fn without_the_head_a_position_from_another_log_is_believed() {
    let log = Log::with_capacity(16);
    let other = Log::with_capacity(16);
    for _ in 0..3 {
        other.append(&[Invalidation::uri("/x")]);
    }
    assert_eq!(verdict(&log, other.position(), "/a"), Verdict::Invalid);
    log.append(&[Invalidation::uri("/a")]);
    assert_eq!(
        verdict(&log, Position::from(u64::MAX), "/a"),
        Verdict::Invalid
    );
    assert_eq!(
        verdict(&log, Position::from(1 << 63), "/a"),
        Verdict::Invalid
    );
}

#[test]
fn without_the_floor_a_response_outlives_an_invalidation_that_was_forgotten() {
    let log = Log::with_capacity(2);
    let before = log.position();
    let first = log.append(&[Invalidation::uri("/1")]);
    log.append(&[Invalidation::uri("/2")]);
    assert_eq!(verdict(&log, before, "/a"), Verdict::Valid);
    log.append(&[Invalidation::uri("/3")]);
    assert_eq!(verdict(&log, before, "/1"), Verdict::Invalid);
    assert_eq!(
        verdict(&log, before, "/a"),
        Verdict::Invalid,
        "the floor holds for all"
    );
    assert_eq!(
        verdict(&log, first, "/a"),
        Verdict::Valid,
        "the floor is what was forgotten"
    );
    assert_eq!(log.len(), 2);
}

#[test]
fn without_open_intents_a_response_is_used_while_the_write_is_made() {
    let log = Log::with_capacity(16);
    let intent = log.begin_write(&[pattern("/a/**"), Invalidation::tag("t").soft()]);
    let during = log.position();
    for position in [Position::default(), during] {
        assert_eq!(verdict(&log, position, "/a/1"), Verdict::Invalid);
        let tagged = tagged("/b", "t");
        assert_eq!(log.verdict(position, tagged.borrow()), Verdict::Invalid);
        assert_eq!(verdict(&log, position, "/b"), Verdict::Valid);
    }
    let after = intent.commit();
    assert!(after > during);
    assert_eq!(verdict(&log, during, "/a/1"), Verdict::Invalid);
    assert_eq!(verdict(&log, after, "/a/1"), Verdict::Valid);
}

#[test]
fn without_the_mark_of_writes_under_way_the_fast_path_overlooks_them() {
    let log = Log::with_capacity(16);
    let head = log.append(&[Invalidation::uri("/x")]);
    assert_eq!(verdict(&log, head, "/a"), Verdict::Valid);
    let first = log.begin_write(&[Invalidation::uri("/a")]);
    let second = log.begin_write(&[Invalidation::uri("/b")]);
    assert_eq!(verdict(&log, head, "/a"), Verdict::Invalid);
    first.abandon();
    assert_eq!(verdict(&log, head, "/a"), Verdict::Valid);
    assert_eq!(verdict(&log, head, "/b"), Verdict::Invalid);
    second.abandon();
    assert_eq!(verdict(&log, head, "/b"), Verdict::Valid);
    assert_eq!(log.position(), head);
}

#[test]
fn without_keeping_soft_apart_a_soft_mark_ends_all_use_or_hides_a_hard_one() {
    let log = Log::with_capacity(16);
    let start = log.position();
    let soft = log.append(&[pattern("/a/*").soft()]);
    assert_eq!(verdict(&log, start, "/a/1"), Verdict::Soft);
    assert_eq!(verdict(&log, soft, "/a/1"), Verdict::Valid);
    let hard = log.append(&[pattern("/a/*")]);
    assert_eq!(verdict(&log, soft, "/a/1"), Verdict::Invalid);
    log.append(&[pattern("/a/*").soft()]);
    assert_eq!(verdict(&log, soft, "/a/1"), Verdict::Invalid);
    assert_eq!(verdict(&log, hard, "/a/1"), Verdict::Soft);
    log.append(&[Invalidation::everything().soft()]);
    assert_eq!(verdict(&log, hard, "/b"), Verdict::Soft);
}

#[test]
fn without_coarsening_a_glob_too_many_would_be_lost() {
    let log = Log::with_capacity(1024);
    let before = log.position();
    for n in 0..=MAX_GLOBS {
        log.append(&[pattern(&format!("/g{n}/*/x"))]);
    }
    assert_eq!(verdict(&log, before, "/g0/1/x"), Verdict::Invalid);
    assert_eq!(
        verdict(&log, before, "/g0/1/y"),
        Verdict::Invalid,
        "/g0 as a whole"
    );
    assert_eq!(verdict(&log, before, "/g1/1/x"), Verdict::Invalid);
    assert_eq!(
        verdict(&log, before, "/g1/1/y"),
        Verdict::Valid,
        "still precise"
    );
    assert_eq!(verdict(&log, log.position(), "/g0/1/x"), Verdict::Valid);
    // The next to become coarse is always the one recorded longest ago.
    log.append(&[pattern("/g1/*/x")]);
    log.append(&[pattern("/another/*/x")]);
    assert_eq!(verdict(&log, before, "/g1/1/y"), Verdict::Valid);
    assert_eq!(verdict(&log, before, "/g2/1/y"), Verdict::Invalid);
    assert_eq!(
        verdict(&log, before, &format!("/g{MAX_GLOBS}/1/y")),
        Verdict::Valid
    );
    // A glob that begins with its wildcard has no literal beginning but everything.
    log.append(&[pattern("/*/x")]);
    let later = log.position();
    for n in 0..MAX_GLOBS {
        log.append(&[pattern(&format!("/h{n}/*/x"))]);
    }
    assert_eq!(verdict(&log, before, "/unrelated"), Verdict::Invalid);
    assert_eq!(verdict(&log, later, "/unrelated"), Verdict::Valid);
}

#[test]
fn of_globs_that_only_matching_tells_apart_the_latest_are_matched_and_the_others_count() {
    let log = Log::with_capacity(1024);
    // In `products` nothing follows the `s`, and all runs of these globs stand in it.
    let glob = |n: usize| {
        let [a, b] = [1, 7].map(|place| &"product"[n / place % 7..]);
        pattern(&format!("/shop/*s*{a}*{b}*"))
    };
    let positions: Vec<_> = (0..MAX_MATCHED + 8)
        .map(|n| {
            let before = log.position();
            log.append(&[glob(n)]);
            before
        })
        .collect();
    let judged = |globs: usize| {
        let before = positions[positions.len() - globs];
        verdict(&log, before, "/shop/products")
    };
    assert_eq!(judged(MAX_MATCHED), Verdict::Valid, "each of them matched");
    assert_eq!(judged(MAX_MATCHED + 1), Verdict::Invalid, "one too many");
    let before = positions[0];
    assert_eq!(
        verdict(&log, before, "/shop/others"),
        Verdict::Valid,
        "ruled out"
    );
}

#[test]
fn a_glob_over_queries_that_becomes_coarse_goes_by_its_path_alone() {
    let log = Log::with_capacity(1024);
    let before = log.position();
    for n in 0..=MAX_GLOBS {
        log.append(&[pattern(&format!("/q{n}?a=*"))]);
    }
    assert_eq!(verdict(&log, before, "/q0"), Verdict::Invalid, "any query");
    assert_eq!(verdict(&log, before, "/q0/below"), Verdict::Valid);
    assert_eq!(verdict(&log, before, "/q1"), Verdict::Valid);
}

// What else the log promises.

#[test]
fn a_request_joins_a_running_fill_only_if_nothing_was_recorded_since_it_began() {
    let log = Log::with_capacity(16);
    let fill = log.position();
    assert_eq!(verdict(&log, fill, "/a"), Verdict::Valid, "joined");
    log.append(&[pattern("/**")]);
    assert_eq!(verdict(&log, fill, "/a"), Verdict::Invalid, "not joined");
}

#[test]
fn every_way_to_name_a_response_invalidates_it() {
    let product = Subject::new("/shop/products/7", Some("lang=de"), [Box::from("catalog")]);
    let hits = [
        Invalidation::everything(),
        Invalidation::uri("/shop/products/7"),
        Invalidation::uri("https://example.com/shop/products/7?lang=de"),
        Invalidation::tag("catalog"),
        pattern("/shop/products/*"),
        pattern("/shop/products/**"),
        pattern("/shop/products/7/**"),
        pattern("/shop/**"),
        pattern("/*/products/*"),
        pattern("/shop/**?*lang=*"),
        pattern("/shop/products/7?lang=*e"),
    ];
    let misses = [
        Invalidation::uri("/shop/products"),
        Invalidation::uri("/shop/products/7?lang=en"),
        Invalidation::uri("/shop/products/7?"),
        Invalidation::uri("/catalog"),
        Invalidation::tag("/shop/products/7"),
        Invalidation::tag("cat"),
        pattern("/shop/*"),
        pattern("/shop/products/7/*"),
        pattern("/shop/product/**"),
        pattern("/*/products"),
        pattern("/shop/**?lang=en"),
    ];
    let judge = |invalidation| {
        let log = Log::with_capacity(16);
        let before = log.position();
        log.append(&[invalidation]);
        log.verdict(before, product.borrow())
    };
    for hit in hits {
        assert_eq!(judge(hit.clone()), Verdict::Invalid, "{hit}");
    }
    for miss in misses {
        assert_eq!(judge(miss.clone()), Verdict::Valid, "{miss}");
    }
}

#[test]
fn several_invalidations_take_one_position_and_none_take_none() {
    let log = Log::with_capacity(16);
    let head = log.append(&[Invalidation::uri("/a"), Invalidation::tag("t")]);
    assert_eq!(head, Position::default().next());
    assert_eq!(log.append(&[]), head);
    assert_eq!(log.len(), 2);
}

#[test]
fn recording_again_moves_the_position_and_takes_no_room() {
    let log = Log::with_capacity(2);
    log.append(&[Invalidation::uri("/a")]);
    let between = log.append(&[Invalidation::uri("/b")]);
    for _ in 0..100 {
        log.append(&[Invalidation::uri("/a"), pattern("/g/*/x")]);
    }
    assert_eq!(log.len(), 3);
    assert_eq!(verdict(&log, between, "/a"), Verdict::Invalid);
    assert_eq!(verdict(&log, between, "/b"), Verdict::Valid);
}

#[test]
fn an_intent_that_is_dropped_counts_as_a_write_that_was_made() {
    let log = Log::with_capacity(16);
    let before = log.position();
    drop(log.begin_write(&[Invalidation::uri("/a")]));
    assert_eq!(verdict(&log, before, "/a"), Verdict::Invalid);
    assert_eq!(verdict(&log, log.position(), "/a"), Verdict::Valid);
}

#[test]
fn an_intent_that_is_abandoned_leaves_no_trace() {
    let log = Log::with_capacity(16);
    let before = log.position();
    let patterns = ["/a", "/b/*/c", "/**"].map(pattern);
    log.begin_write(&patterns).abandon();
    assert_eq!(verdict(&log, before, "/a"), Verdict::Valid);
    assert_eq!((log.position(), log.len()), (before, 0));
}

#[test]
fn two_writes_of_the_same_keep_it_closed_until_both_have_ended() {
    let log = Log::with_capacity(16);
    for text in ["/a/1", "/a/*/c", "/**"] {
        let first = log.begin_write(&[pattern(text)]);
        let second = log.begin_write(&[pattern(text)]);
        let path = text.replace("**", "x").replace('*', "x");
        first.abandon();
        assert_eq!(
            verdict(&log, log.position(), &path),
            Verdict::Invalid,
            "{text}"
        );
        let made = second.commit();
        assert_eq!(verdict(&log, made, &path), Verdict::Valid, "{text}");
    }
}

#[test]
fn more_globs_under_way_than_are_matched_one_by_one_close_their_beginnings() {
    let log = Log::with_capacity(16);
    let globs = (0..300).map(|n| pattern(&format!("/g{n}/*/x")));
    let intents: Vec<_> = globs.map(|glob| log.begin_write(&[glob])).collect();
    let head = log.position();
    assert_eq!(verdict(&log, head, "/g0/1/x"), Verdict::Invalid);
    assert_eq!(verdict(&log, head, "/g0/1/y"), Verdict::Valid);
    assert_eq!(verdict(&log, head, "/g299/1/x"), Verdict::Invalid);
    assert_eq!(verdict(&log, head, "/g299/1/y"), Verdict::Invalid);
    intents.into_iter().for_each(Intent::abandon);
    assert_eq!(verdict(&log, head, "/g299/1/x"), Verdict::Valid);
}

#[test]
fn a_verdict_holds_for_the_position_it_comes_with() {
    let log = Log::with_capacity(16);
    let start = log.position();
    let head = log.append(&[Invalidation::uri("/b")]);
    let a = subject("/a");
    assert_eq!(log.verdict_at(start, a.borrow()), (Verdict::Valid, head));
    assert_eq!(log.verdict_at(head, a.borrow()), (Verdict::Valid, head));
    log.append(&[Invalidation::uri("/a")]);
    assert_eq!(log.verdict(head, a.borrow()), Verdict::Invalid);
}

#[test]
fn everything_is_invalidated_before_it_and_nothing_after() {
    let log = Log::with_capacity(16);
    let before = log.append(&[Invalidation::uri("/b")]);
    let after = log.append(&[Invalidation::everything()]);
    assert!(after > before);
    assert_eq!(verdict(&log, before, "/a"), Verdict::Invalid);
    assert_eq!(verdict(&log, after, "/a"), Verdict::Valid);
}

#[test]
fn what_a_write_is_held_for_is_not_stored_from_calls_that_began_too_early() {
    let log = Log::with_capacity(2);
    let now = Instant::now();
    let until = now + Duration::from_millis(500);
    let a = subject("/a/1");
    assert!(log.may_store(log.position(), a.borrow(), now));
    let before = log.position();
    let held = [pattern("/a/**")];
    log.append(&held);
    log.hold(&held, now, until);
    assert!(!log.may_store(before, a.borrow(), until), "invalidated");
    let after = log.position();
    assert!(!log.may_store(after, a.borrow(), now));
    assert!(!log.may_store(after, a.borrow(), until - Duration::from_nanos(1)));
    assert!(log.may_store(after, a.borrow(), until));
    assert!(log.may_store(after, subject("/b").borrow(), now));
    // It may be used all the same, where it is not stored.
    assert_eq!(log.verdict(after, a.borrow()), Verdict::Valid);
    // An earlier end does not shorten it.
    log.hold(&held, now, now);
    assert!(!log.may_store(after, a.borrow(), now));
    // Forgotten, it holds for everything until its end.
    log.hold(&[pattern("/b"), pattern("/c")], now, now);
    assert!(!log.may_store(after, subject("/x").borrow(), now));
    assert!(log.may_store(after, subject("/x").borrow(), until));
}

#[test]
fn a_request_outlasts_a_hold_that_a_call_fell_under() {
    let log = Log::with_capacity(16);
    let zero = Instant::now();
    let at = |seconds| zero + Duration::from_secs(seconds);
    let a = subject("/a/1");
    let outlasts = |began, asked| log.outlasts_hold(a.borrow(), at(began), at(asked));
    assert!(!outlasts(0, 9), "nothing is held");
    let held = [pattern("/a/**")];
    log.hold(&held, at(1), at(4));
    // One that begins under the hold itself is given what comes.
    assert_eq!(
        [2, 3, 4, 5].map(|asked| outlasts(2, asked)),
        [false, false, true, true]
    );
    assert!(!outlasts(4, 5), "called after the hold");
    // Holds that overlap are one.
    log.hold(&held, at(3), at(6));
    assert_eq!(
        [3, 5, 6].map(|asked| outlasts(2, asked)),
        [false, false, true]
    );
    // A hold that begins when the last is over excuses nothing that was called before.
    log.hold(&held, at(8), at(11));
    assert!([7, 8, 9, 11].iter().all(|asked| outlasts(2, *asked)));
    assert_eq!([9, 11].map(|asked| outlasts(8, asked)), [false, true]);
    assert!(!log.outlasts_hold(subject("/b").borrow(), at(2), at(9)));
}

#[test]
fn what_was_marked_stale_may_be_stored() {
    let log = Log::with_capacity(16);
    let before = log.position();
    log.append(&[Invalidation::uri("/a").soft()]);
    assert!(log.may_store(before, subject("/a").borrow(), Instant::now()));
}

#[test]
fn a_log_stays_within_its_bounds() {
    let log = Log::with_capacity(1000);
    for n in 0..20_000 {
        let glob = pattern(&format!("/{n}/*/x"));
        log.append(&[Invalidation::tag(n.to_string()), glob]);
    }
    assert_eq!(log.len(), 1000 + MAX_GLOBS);
}

#[test]
fn a_log_without_room_takes_every_invalidation_for_everything() {
    let log = Log::with_capacity(0);
    let before = log.position();
    assert_eq!(verdict(&log, before, "/a"), Verdict::Valid);
    log.append(&[Invalidation::uri("/b")]);
    assert_eq!(verdict(&log, before, "/a"), Verdict::Invalid);
    assert_eq!(verdict(&log, log.position(), "/b"), Verdict::Valid);
}

#[test]
fn paths_of_thousands_of_segments_are_matched_within_bounds() {
    let log = Log::with_capacity(16);
    let before = log.position();
    let deep = "/a".repeat(10_000);
    log.append(&[pattern(&format!("{deep}/**"))]);
    assert_eq!(verdict(&log, before, &deep), Verdict::Invalid);
    assert_eq!(
        verdict(&log, before, &"/a".repeat(32)),
        Verdict::Invalid,
        "coarse"
    );
    assert_eq!(verdict(&log, before, &"/a".repeat(31)), Verdict::Valid);
    assert_eq!(verdict(&log, before, "/b"), Verdict::Valid);
    // A glob of that length goes by its beginning.
    let long = "x".repeat(5_000);
    log.append(&[pattern(&format!("/c/*/{long}"))]);
    assert_eq!(
        verdict(&log, before, &format!("/c/1/{long}")),
        Verdict::Invalid
    );
    assert_eq!(verdict(&log, before, "/c/1/y"), Verdict::Invalid);
    assert_eq!(verdict(&log, before, "/d/1/y"), Verdict::Valid);
}

#[test]
fn a_path_too_long_to_be_matched_counts_for_every_glob_and_for_nothing_else() {
    let log = Log::with_capacity(16);
    let before = log.position();
    let long = format!("/{}", "x".repeat(8 * 1024));
    log.append(&[pattern("/a/**"), Invalidation::uri("/b")]);
    assert_eq!(verdict(&log, before, &long), Verdict::Valid);
    let after = log.append(&[pattern("/a/*/c")]);
    assert_eq!(verdict(&log, before, &long), Verdict::Invalid);
    assert_eq!(verdict(&log, before, &long[..8 * 1024]), Verdict::Valid);
    assert_eq!(verdict(&log, after, &long), Verdict::Valid);
}

#[test]
fn a_log_can_be_shared_and_shown() {
    fn is_shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let log = Log::default();
    is_shared(&log);
    assert!(log.is_empty());
    let shown = format!("{log:?}");
    assert!(
        shown.contains("Position(0)") && shown.contains("32768"),
        "{shown}"
    );
}
