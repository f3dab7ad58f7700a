//! Values, by patterns over their keys.

use proptest::prelude::*;

use super::*;
use crate::pattern::Namespace;

fn users() -> Namespace {
    Namespace::new("users")
}

/// Asks the pattern itself, and a log.
fn hits(what: &Invalidation, subject: &Subject) -> bool {
    let log = Log::with_capacity(4);
    let before = log.position();
    log.append(std::slice::from_ref(what));
    log.verdict(before, subject.borrow()) == Verdict::Invalid
}

fn matches(pattern: &str, key: &str) -> bool {
    hits(
        &Invalidation::values(&users(), pattern).unwrap(),
        &Subject::of_value(&users(), key, []),
    )
}

#[test]
fn a_star_is_any_run_of_characters() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("*", &["", "1", "a/b:c?d"], &[]),
        ("1", &["1"], &["", "11", "1:"]),
        (
            "42:*",
            &["42:", "42:1", "42:1:x/y"],
            &["42", "421:", "x:42:1"],
        ),
        ("a:b:*", &["a:b:c"], &["a:b", "a:bb:c", "a:"]),
        ("a/*", &["a/", "a/b"], &["a"]),
        ("4*", &["4", "42:1"], &["14"]),
        ("*:1", &[":1", "a:b:1"], &["1", "a:11"]),
        ("a*c*", &["ac", "abcd"], &["a", "bac"]),
        (r"a\*", &["a*"], &["ab", "a", r"a\*"]),
        (r"a\?\{\}\\", &[r"a?{}\"], &["ab{}"]),
        ("100%*", &["100%", "100%41", "100%2F"], &["100A"]),
        ("é ü*", &["é ü", "é ü!"], &["e u", "%C3%A9%20%C3%BC"]),
        ("[ab]", &["[ab]"], &["a"]),
        ("../*", &["../x"], &["x"]),
    ];
    for (pattern, matching, others) in cases {
        for key in *matching {
            assert!(matches(pattern, key), "{pattern} against {key:?}");
        }
        for key in *others {
            assert!(!matches(pattern, key), "{pattern} against {key:?}");
        }
    }
}

#[test]
fn values_and_responses_share_no_pattern() {
    let value = Subject::of_value(&Namespace::new("a"), "b", []);
    let patterns = [
        "/*",
        "/*/*",
        "/a",
        "/a/**",
        "/b/**",
        "/**/b",
        "/**/a?b",
        "/a?b",
        "/*?*b*",
        "/**?*",
        "/**?b",
        "/values:a",
        "/values:a?b",
    ];
    for pattern in patterns {
        let what = Pattern::parse(pattern).unwrap();
        let meant_for_all = what == Pattern::everything();
        assert_eq!(hits(&what.into(), &value), meant_for_all, "{pattern}");
    }
    let responses = [("/a", Some("b")), ("/values:a", Some("b")), ("/a/b", None)];
    for (path, query) in responses {
        let response = Subject::new(path, query, []);
        for pattern in ["*", "b", "b*", "*b", "b:*"] {
            let what = Invalidation::values(&Namespace::new("a"), pattern).unwrap();
            assert!(!hits(&what, &response), "{pattern} against {path}");
        }
    }
}

#[test]
fn tags_and_everything_hit_both() {
    let tags = || [Box::from("user:1")];
    let subjects = [
        Subject::new("/users/1", None, tags()),
        Subject::of_value(&users(), "1", tags()),
    ];
    for subject in &subjects {
        assert!(hits(&Invalidation::tag("user:1"), subject));
        assert!(hits(&Invalidation::everything(), subject));
        assert!(!hits(&Invalidation::tag("user:2"), subject));
    }
}

#[test]
fn namespaces_are_kept_apart() {
    let names = ["", "a", "a/b", "a%2Fb", "a:b", "a?b", "a*", "é", "/", ".."];
    for one in names {
        for other in names {
            let what = Invalidation::values(&Namespace::new(one), "*").unwrap();
            let subject = Subject::of_value(&Namespace::new(other), "a", []);
            assert_eq!(
                hits(&what, &subject),
                one == other,
                "{one:?} against {other:?}"
            );
        }
    }
}

#[test]
fn a_pattern_over_keys_can_be_written_as_text() {
    let cases = [
        ("values:users", "*"),
        ("values:users?*", "*"),
        ("values:users?42:*", "42:*"),
        ("values:users?1", "1"),
        ("values:users?*a%2Ab%25*", r"*a\*b%*"),
    ];
    for (text, pattern) in cases {
        let parsed: Invalidation = Pattern::parse(text).unwrap().into();
        assert_eq!(
            parsed,
            Invalidation::values(&users(), pattern).unwrap(),
            "{text}"
        );
    }
    for text in [
        "values:a/b?1",
        "values:*",
        "values:{a}?1",
        "value:a",
        "values",
    ] {
        assert!(Pattern::parse(text).is_err(), "{text}");
    }
}

#[test]
fn any_number_of_prefixes_are_told_apart() {
    let log = Log::default();
    let before = log.position();
    for at in 0..2_000 {
        log.append(&[Invalidation::values(&users(), &format!("history:{at}:*")).unwrap()]);
    }
    let verdict = |key: &str| log.verdict(before, Subject::of_value(&users(), key, []).borrow());
    assert_eq!(verdict("history:0:1"), Verdict::Invalid);
    assert_eq!(verdict("history:1999:"), Verdict::Invalid);
    assert_eq!(verdict("history:2000:1"), Verdict::Valid);
    assert_eq!(verdict("history:7"), Verdict::Valid);
}

#[test]
fn globs_without_number_fall_back_to_their_namespace() {
    let log = Log::default();
    let before = log.position();
    for at in 0..1_000 {
        log.append(&[Invalidation::values(&users(), &format!("*:{at}")).unwrap()]);
    }
    let verdict = |namespace: &str, key| {
        let subject = Subject::of_value(&Namespace::new(namespace), key, []);
        log.verdict(before, subject.borrow())
    };
    assert_eq!(verdict("users", "a:999"), Verdict::Invalid);
    assert_eq!(verdict("users", "a:0"), Verdict::Invalid);
    assert_eq!(verdict("others", "a:0"), Verdict::Valid);
}

#[test]
fn a_key_of_very_many_parts_is_hit_by_its_first_ones() {
    let key = "a:".repeat(1_000);
    assert!(matches(&format!("{key}*"), &key));
    assert!(matches(&format!("{key}*"), &format!("{key}b")));
    assert!(!matches(&format!("{key}*"), "a:a:"));
}

fn naive(pattern: &[char], key: &[char]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=key.len()).any(|run| naive(rest, &key[run..])),
        ([first, rest @ ..], [head, tail @ ..]) => first == head && naive(rest, tail),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_pattern_matches_as_a_naive_matcher_does(
        pattern in "[ab:/%2F* ]{0,8}",
        key in "[ab:/%2F ]{0,8}",
    ) {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = naive(&chars(&pattern), &chars(&key));
        // A `%`, a slash and a space are escaped in a key, and a star is taken for a part of an
        // escape as well: it then matches too much, never too little.
        if expected || !key.contains(['%', '/', ' ']) {
            prop_assert_eq!(matches(&pattern, &key), expected);
        }
    }

    #[test]
    fn a_pattern_that_is_shown_and_parsed_is_the_same(
        name in "\\PC{0,6}",
        pattern in "([ab:%/ é]|\\\\[*?{}\\\\]|[*]){0,8}",
    ) {
        let what = Invalidation::values(&Namespace::new(&name), &pattern).unwrap();
        let shown = what.to_string();
        prop_assert_eq!(Invalidation::from(Pattern::parse(&shown).unwrap()), what, "{}", shown);
    }

    #[test]
    fn an_escaped_key_matches_itself_alone(key in "\\PC{0,8}", other in "\\PC{0,8}") {
        let pattern = Pattern::escape(&key);
        prop_assert!(matches(&pattern, &key));
        prop_assert_eq!(matches(&pattern, &other), key == other);
    }
}
