use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn matches(text: &str, target: &str) -> bool {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    pattern(text).matches(path, query)
}

#[test]
fn patterns_match_what_the_table_says() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "/a",
            &["/a", "/a?", "/a?b=1", "/%61", "/x/../a"],
            &["/", "/a/", "/a/b", "/ab", "/A", "//a"],
        ),
        ("/", &["/", "/?a"], &["/a", "//"]),
        // `*`: any run within one segment.
        (
            "/a/*",
            &["/a/b", "/a/", "/a/b?c"],
            &["/a", "/a/b/c", "/a//", "/b/a"],
        ),
        ("/*", &["/", "/a"], &["/a/", "/a/b"]),
        ("/a*", &["/a", "/ab"], &["/a/b", "/b"]),
        (
            "/a*c*e",
            &["/ace", "/abcde", "/acce"],
            &["/aec", "/ac/e", "/ae"],
        ),
        ("/*/b", &["/a/b", "//b"], &["/b", "/a/a/b", "/a/b/"]),
        ("/a*a", &["/aa", "/aba"], &["/a"]),
        // `**`: any number of whole segments.
        (
            "/a/**",
            &["/a", "/a/", "/a/b", "/a/b/c/"],
            &["/ab", "/b/a", "/"],
        ),
        (
            "/a/**/b",
            &["/a/b", "/a/x/b", "/a/x/y/b", "/a/b/b"],
            &["/a", "/a/x", "/ab", "/a/b/c"],
        ),
        ("/**/b", &["/b", "/a/b"], &["/ab", "/b/a"]),
        ("/a/*/**", &["/a/b", "/a/", "/a/b/c"], &["/a", "/b/b"]),
        ("/a/**/*", &["/a/b", "/a/", "/a/b/c"], &["/a"]),
        (
            "/**/a/**/b/**",
            &["/a/b", "/x/a/y/b/z", "/a/a/b"],
            &["/b/a", "/a"],
        ),
        ("/**", &["/", "/a", "/a/b?c"], &[]),
        ("**", &["/", "/a", "/a/b?c"], &[]),
        ("/**/**", &["/", "/a/b"], &[]),
        // A query: a glob of its own, in which a star takes anything.
        (
            "/a?b=1",
            &["/a?b=1", "/a?b=%31"],
            &["/a", "/a?", "/a?b=1&c", "/a?b=11"],
        ),
        ("/a?", &["/a", "/a?"], &["/a?b"]),
        ("/a?*", &["/a", "/a?", "/a?b=/&c"], &["/b"]),
        ("/a?**", &["/a", "/a?b"], &["/b"]),
        ("/a?*b=1*", &["/a?b=1", "/a?x=/&b=1&c"], &["/a", "/a?b=2"]),
        ("/a?b?c", &["/a?b?c"], &["/a?b"]),
        ("/a/**?b", &["/a?b", "/a/c?b"], &["/a", "/a/c"]),
        // Escaped: itself.
        ("/a/\\*", &["/a/*"], &["/a/b", "/a/%2A"]),
        ("/a\\?b", &["/a%3Fb", "/a%3fb"], &["/a?b", "/a"]),
        ("/a?\\*", &["/a?*"], &["/a?b"]),
        ("/a/%2A", &["/a/%2A", "/a/%2a"], &["/a/*", "/a/b"]),
        // No character classes, no alternatives.
        ("/a/[bc]", &["/a/[bc]", "/a/%5Bbc%5d"], &["/a/b"]),
        ("/a/\\{b,c\\}", &["/a/{b,c}", "/a/%7Bb,c%7D"], &["/a/b"]),
        ("/a/\\\\", &["/a/\\", "/a/%5c"], &["/a/"]),
        // Canonical form.
        ("/é/*", &["/é/x", "/%c3%a9/x"], &["/e/x"]),
        ("/a/%2e%2e/b/./**", &["/b", "/b/c"], &["/a/b"]),
        ("/*/../b", &["/b"], &["/a/b"]),
        ("/a/**/../b", &["/a/b", "/a/x/b"], &["/b"]),
        ("/a%2Fb", &["/a%2fb"], &["/a/b"]),
    ];
    for (text, hits, misses) in cases {
        for hit in *hits {
            assert!(matches(text, hit), "{text} misses {hit}");
        }
        for miss in *misses {
            assert!(!matches(text, miss), "{text} hits {miss}");
        }
    }
}

#[test]
fn patterns_with_a_wildcard_at_the_end_only_are_answered_by_a_hash() {
    type IsExpected = fn(&Shape) -> bool;
    let cases: &[(&str, IsExpected)] = &[
        ("/**", |shape| matches!(shape, Shape::Everything)),
        ("/**?*", |shape| matches!(shape, Shape::Everything)),
        ("/a/b", |shape| matches!(shape, Shape::Path(_))),
        ("/a/b?*", |shape| matches!(shape, Shape::Path(_))),
        ("/a/b?c", |shape| matches!(shape, Shape::PathQuery(..))),
        ("/a/*", |shape| matches!(shape, Shape::Children(_))),
        ("/a/**", |shape| matches!(shape, Shape::Subtree(_))),
        ("/a/**/**", |shape| matches!(shape, Shape::Subtree(_))),
        ("/a/*/b", |shape| matches!(shape, Shape::Glob(_))),
        ("/a/**?b", |shape| matches!(shape, Shape::Glob(_))),
        ("/a/b?c*", |shape| matches!(shape, Shape::Glob(_))),
    ];
    for (text, is_expected) in cases {
        assert!(is_expected(pattern(text).shape()), "{text}");
    }
}

#[test]
fn a_pattern_that_does_not_parse_says_where_and_what_to_write() {
    let cases = [
        ("", "character 1", "`/`"),
        ("products/*", "character 1", "`/products/*`"),
        ("*", "character 1", "`/*`"),
        ("/a**", "character 3", "whole segment"),
        ("/**a", "character 2", "whole segment"),
        ("/é/***", "character 4", "whole segment"),
        ("/a\\b", "character 3", "`\\\\`"),
        ("/a\\", "character 3", "`\\\\`"),
        ("/a/{id}", "character 4", "`Evict`"),
        ("/a/b}", "character 5", "`\\}`"),
    ];
    for (text, place, advice) in cases {
        let error = Pattern::parse(text).expect_err(text);
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Pattern, "{text}");
        assert!(
            message.contains(place) && message.contains(advice),
            "{message}"
        );
        assert!(message.contains(&format!("`{text}`")), "{message}");
    }
}

#[test]
fn a_pattern_is_shown_in_canonical_form() {
    let cases = [
        ("**", "/**"),
        ("/%7euser/%2a/\\*/*", "/~user/%2A/\\*/*"),
        ("/a?b=[1]&c=\\**", "/a?b=%5B1%5D&c=\\**"),
        ("/a/**/**/b", "/a/**/b"),
        ("/a?", "/a?"),
    ];
    for (text, expected) in cases {
        assert_eq!(pattern(text).to_string(), expected, "{text}");
    }
}

#[test]
fn a_hostile_path_costs_no_more_than_its_length() {
    let deep = "/a".repeat(30_000);
    let long = format!("/{}", "a".repeat(60_000));
    for text in [
        "/**/a/**/a/**/a/**/b",
        "/*a*a*a*a*a*b",
        "/**/*a*b*/**/*a*b*/c",
    ] {
        let started = std::time::Instant::now();
        assert!(!matches(text, &deep), "{text}");
        assert!(!matches(text, &long), "{text}");
        // Backtracking would take years.
        assert!(started.elapsed().as_secs() < 5, "{text}");
    }
}

/// Tries every way to spend the wildcards.
fn naive_segment(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|run| naive_segment(rest, &text[run..])),
        ([first, rest @ ..], [head, tail @ ..]) => first == head && naive_segment(rest, tail),
        _ => false,
    }
}

fn naive_path(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|run| naive_path(rest, &path[run..])),
        ([first, rest @ ..], [head, tail @ ..]) => {
            naive_segment(first.as_bytes(), head.as_bytes()) && naive_path(rest, tail)
        }
        _ => false,
    }
}

fn naive(pattern: &str, path: &str, query: Option<&str>) -> bool {
    let (pattern, wanted) = match pattern.split_once('?') {
        Some((pattern, wanted)) => (pattern, Some(wanted)),
        None => (pattern, None),
    };
    let split = |path| str::split(path, '/').skip(1).collect::<Vec<_>>();
    naive_path(&split(pattern), &split(path))
        && wanted
            .is_none_or(|wanted| naive_segment(wanted.as_bytes(), query.unwrap_or("").as_bytes()))
}

/// Few letters, so that a good part of the pairs match.
fn pattern_text() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        2 => "([*]?[ab]{1,2}){0,2}[*]?",
        1 => Just("**".to_owned()),
    ];
    let path = prop::collection::vec(segment, 1..5);
    let query = prop::option::weighted(0.3, "[ab&/*]{0,4}");
    (path, query).prop_map(|(path, query)| {
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        format!("/{}{query}", path.join("/"))
    })
}

fn cases() -> u32 {
    let cases = std::env::var("PATTERN_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// `PATTERN_CASES=1000000` for a long run.
    #[test]
    fn a_pattern_matches_just_what_a_naive_matcher_matches(
        text in pattern_text(),
        path in "(/[ab]{0,3}){1,5}",
        query in prop::option::of("[ab&/]{0,4}"),
    ) {
        let pattern = Pattern::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(
            pattern.matches(&path, query.as_deref()),
            naive(&text, &path, query.as_deref()),
            "{} against {} {:?}", text, path, query
        );
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_pattern_that_is_shown_and_parsed_is_the_same(text in "/[ab/*?{}.%2eé \\\\]{0,12}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let shown = pattern.to_string();
            prop_assert_eq!(shown.parse::<Pattern>().ok(), Some(pattern), "{} as {}", text, shown);
        }
    }

    #[test]
    fn escaped_text_matches_itself_and_nothing_else(text in "[ab*?{}\\\\\\[\\]%]{0,6}", other in "[ab*]{0,4}") {
        let pattern = Pattern::parse(&format!("/{}/z", Pattern::escape(&text)))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let path = |text: &str| format!("/{}/z", text.replace('?', "%3F"));
        prop_assert!(pattern.matches(&path(&text), None));
        prop_assert_eq!(
            pattern.matches(&path(&other), None),
            canonical(&path(&text)) == canonical(&path(&other))
        );
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = Pattern::parse(&text).map(|pattern| pattern.matches(&text, Some(&text)));
    }
}
