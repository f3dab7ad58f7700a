use super::*;
use crate::invalidate::Verdict;
use crate::pattern::Pattern;
use crate::target::Subject;

const A: Epoch = [1; 16];
const B: Epoch = [2; 16];

fn at(epoch: Epoch, number: u64) -> SharedPosition {
    SharedPosition { epoch, number }
}

fn delta(epoch: Epoch, number: u64, floor: u64, recorded: &[(u64, &str)]) -> Delta {
    Delta {
        head: at(epoch, number),
        floor,
        recorded: recorded
            .iter()
            .map(|(number, uri)| (*number, Invalidation::uri(uri)))
            .collect(),
    }
}

fn replica() -> Replica {
    Replica::new(Log::default())
}

fn verdict(replica: &Replica, shared: SharedPosition, path: &str) -> Option<Verdict> {
    match replica.local(shared) {
        LocalPosition::At(position) => {
            let subject = Subject::new(path, None, []);
            Some(replica.log().verdict(position, subject.borrow()))
        }
        LocalPosition::Ahead | LocalPosition::Lost => None,
    }
}

#[test]
fn what_is_recorded_elsewhere_is_held_against_what_was_made_before() {
    let replica = replica();
    assert!(replica.catch_up(None, &delta(A, 7, 2, &[(5, "/a"), (7, "/b")])));
    let cases = [
        (4, "/a", Some(Verdict::Invalid)),
        (5, "/a", Some(Verdict::Valid)),
        (6, "/b", Some(Verdict::Invalid)),
        (7, "/b", Some(Verdict::Valid)),
        (2, "/c", Some(Verdict::Valid)),
        (1, "/c", None),
        (8, "/c", None),
    ];
    for (number, path, expected) in cases {
        assert_eq!(
            verdict(&replica, at(A, number), path),
            expected,
            "{number} {path}"
        );
    }
    assert_eq!(verdict(&replica, at(B, 7), "/c"), None);
}

#[test]
fn a_local_position_is_sent_out_as_the_number_that_was_known_then() {
    let replica = replica();
    replica.log().append(&[Invalidation::everything()]);
    assert_eq!(replica.shared(replica.log().position()), None);
    replica.catch_up(None, &delta(A, 3, 0, &[]));
    let three = replica.log().position();
    replica.catch_up(replica.head(), &delta(A, 9, 0, &[]));
    assert_eq!(replica.shared(three), Some(at(A, 3)));
    assert_eq!(replica.shared(replica.log().position()), Some(at(A, 9)));
    assert_eq!(replica.local(at(A, 3)), LocalPosition::At(three));
}

#[test]
fn a_new_epoch_ends_all_that_was_made_before_it() {
    let replica = replica();
    replica.catch_up(None, &delta(A, 9, 0, &[]));
    let old = replica.log().position();
    let asked = replica.head();
    assert!(replica.catch_up(asked, &delta(B, 1, 0, &[])));
    let subject = Subject::new("/a", None, []);
    let now = |position| replica.log().verdict(position, subject.borrow());
    assert_eq!(now(old), Verdict::Invalid);
    assert_eq!(replica.shared(old), None);
    assert_eq!(now(replica.log().position()), Verdict::Valid);
    assert_eq!(replica.local(at(A, 9)), LocalPosition::Lost);
}

#[test]
fn an_answer_about_an_epoch_that_was_left_meanwhile_is_not_taken() {
    let replica = replica();
    replica.catch_up(None, &delta(A, 9, 0, &[]));
    let asked = replica.head();
    assert!(replica.catch_up(asked, &delta(B, 1, 0, &[])));
    assert!(!replica.catch_up(asked, &delta(A, 10, 0, &[])));
    assert!(!replica.catch_up(None, &delta(A, 10, 0, &[])));
    assert_eq!(replica.head(), Some(at(B, 1)));
}

#[test]
fn answers_may_come_in_any_order() {
    let replica = replica();
    replica.catch_up(None, &delta(A, 1, 0, &[]));
    let asked = replica.head();
    assert!(replica.catch_up(asked, &delta(A, 3, 0, &[(2, "/a"), (3, "/b")])));
    assert!(replica.catch_up(asked, &delta(A, 2, 0, &[(2, "/a")])));
    assert_eq!(replica.head(), Some(at(A, 3)));
    assert_eq!(verdict(&replica, at(A, 2), "/b"), Some(Verdict::Invalid));
    assert_eq!(verdict(&replica, at(A, 2), "/a"), Some(Verdict::Valid));
}

#[test]
fn a_floor_that_rises_ends_what_was_made_before() {
    let replica = replica();
    replica.catch_up(None, &delta(A, 5, 0, &[]));
    let old = replica.log().position();
    replica.catch_up(replica.head(), &delta(A, 8, 6, &[]));
    let subject = Subject::new("/a", None, []);
    assert_eq!(
        replica.log().verdict(old, subject.borrow()),
        Verdict::Invalid
    );
    assert_eq!(verdict(&replica, at(A, 5), "/a"), None);
    assert_eq!(verdict(&replica, at(A, 6), "/a"), Some(Verdict::Valid));
}

#[test]
fn what_is_recorded_on_this_node_alone_ends_what_was_made_before() {
    let replica = replica();
    replica.catch_up(None, &delta(A, 5, 0, &[]));
    replica.log().append(&[Invalidation::uri("/a")]);
    let alone = replica.log().position();
    assert_eq!(
        replica.shared(alone),
        Some(at(A, 5)),
        "no later than was known"
    );
    replica.catch_up(replica.head(), &delta(A, 6, 0, &[(6, "/b")]));
    // The number 5 was given out before and after; nobody can tell.
    assert_eq!(verdict(&replica, at(A, 5), "/a"), None);
    assert_eq!(verdict(&replica, at(A, 5), "/c"), None);
    assert_eq!(verdict(&replica, at(A, 6), "/b"), Some(Verdict::Valid));
    let subject = Subject::new("/c", None, []);
    assert_eq!(
        replica.log().verdict(alone, subject.borrow()),
        Verdict::Invalid
    );
}

#[test]
fn an_answer_that_was_overtaken_hides_nothing_of_the_later_one() {
    let glob = |number, pattern: &str| {
        let pattern = Pattern::parse(pattern).unwrap();
        (number, Invalidation::pattern(pattern))
    };
    let answer = |number, recorded: &[(u64, Invalidation)]| Delta {
        head: at(A, number),
        floor: 0,
        recorded: recorded.to_vec(),
    };
    let globs = [glob(1, "/a/*/x"), glob(2, "/b/*/x")];
    let replica = replica();
    replica.catch_up(None, &answer(0, &[]));
    let asked = replica.head();
    // The first and the second were asked for at the same time, and the answers changed places.
    assert!(replica.catch_up(asked, &answer(2, &globs[1..])));
    assert!(replica.catch_up(asked, &answer(1, &globs[..1])));
    for (number, path, expected) in [
        (0, "/a/1/x", Verdict::Invalid),
        (1, "/a/1/x", Verdict::Valid),
        (1, "/b/1/x", Verdict::Invalid),
        (2, "/b/1/x", Verdict::Valid),
    ] {
        assert_eq!(
            verdict(&replica, at(A, number), path),
            Some(expected),
            "{number} {path}"
        );
    }
}
