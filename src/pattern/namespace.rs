//! What the handlers' own values are invalidated by: a namespace where a response has its path, and
//! a key where it has its query.
//!
//! A response's path begins with a slash and a namespace's with `values:`, so that no pattern over
//! paths matches a value and none over keys a response. Tags, and what is meant for everything, hit
//! both.

use super::canonical::{decode, escape_key, escape_namespace};
use super::glob::{Glob, Wild};
use super::template::{Template, Token};
use super::{Pattern, Shape};
use crate::error::Error;
use crate::invalidate::{Invalidation, Subject};
#[cfg(feature = "redis")]
use crate::key::KeyRef;

/// What the path of a namespace begins with.
pub(crate) const VALUES: &str = "values:";

/// What ends a part of a key. Patterns that end behind a part need no glob.
pub(crate) const SEPARATORS: [char; 2] = [':', '/'];

/// A namespace, as subjects and patterns have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace(Box<str>);

#[cfg_attr(
    not(all(feature = "redis", feature = "values")),
    allow(dead_code, reason = "values are made by features only")
)]
impl Namespace {
    /// What the key of a value begins with. No request has such a key: those begin with four bytes.
    pub(crate) const KIND: &str = "value";

    pub(crate) fn new(name: &str) -> Self {
        Self(format!("{VALUES}{}", escape_namespace(name)).into())
    }

    /// Returns what invalidations of a value are matched against.
    pub(crate) fn subject(&self, key: &str, tags: impl Into<Box<[Box<str>]>>) -> Subject {
        Subject::canonical(&self.0, Some(&escape_key(key)), tags)
    }

    /// Invalidates the value of one key.
    pub(crate) fn exactly(&self, key: &str) -> Invalidation {
        Pattern::of_shape(Shape::PathQuery(self.0.clone(), escape_key(key).into())).into()
    }

    /// Invalidates the values of all keys that match a pattern.
    pub(crate) fn matching(&self, pattern: &str) -> Result<Invalidation, Error> {
        let tokens = Template::parse_key(pattern)?;
        let shape = classify(self.0.clone(), wild(&tokens, escape_key));
        Ok(Pattern::of_shape(shape).into())
    }
}

impl Subject {
    /// Makes the subject of a value that is stored under a key; `None` if that is no value's key.
    #[cfg(feature = "redis")]
    pub(crate) fn of_value(key: KeyRef<'_>, tags: impl Into<Box<[Box<str>]>>) -> Option<Self> {
        let mut parts = key.parts();
        let mut part = || str::from_utf8(parts.next()??).ok();
        let (kind, name, key) = (part()?, part()?, part()?);
        let is_value = kind == Namespace::KIND && parts.next().is_none();
        is_value.then(|| Namespace::new(name).subject(key, tags))
    }
}

/// Makes the pattern of a template that names a namespace; `None` where it is one over paths.
pub(crate) fn compile(template: &Template) -> Option<Shape> {
    let [Token::Text(path)] = &template.path[..] else {
        return None;
    };
    let path = Namespace::new(&decoded(path.strip_prefix(VALUES)?)).0;
    Some(match &template.query {
        Some(tokens) => classify(path, wild(tokens, |text| escape_key(&decoded(text)))),
        None => Shape::Path(path),
    })
}

/// Undoes the escapes of a pattern that was written as text. What makes no text has none.
fn decoded(text: &str) -> String {
    decode(text).unwrap_or(text.into()).into_owned()
}

/// Makes the pieces between the stars.
fn wild(tokens: &[Token], escape: impl Fn(&str) -> String) -> Wild {
    let mut pieces = vec![String::new()];
    for token in tokens {
        match (token, pieces.last_mut()) {
            (Token::Text(text), Some(piece)) => piece.push_str(text),
            _ => pieces.push(String::new()),
        }
    }
    Wild::new(pieces.iter().map(|piece| escape(piece)).collect())
}

fn classify(path: Box<str>, key: Wild) -> Shape {
    if key.is_star() {
        return Shape::Path(path);
    }
    if let Some(exact) = key.literal() {
        return Shape::PathQuery(path, exact.into());
    }
    match key.prefix() {
        Some(prefix) if prefix.ends_with(SEPARATORS) => Shape::KeyPrefix(path, prefix.into()),
        _ => Shape::Glob(Glob::of_keys(path, key).into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::invalidate::{Log, Verdict};

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
            &users().matching(pattern).unwrap(),
            &users().subject(key, []),
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
    fn what_looks_like_another_wildcard_is_refused() {
        for pattern in ["user:?", "a{b}", "a}", r"a\", r"a\b"] {
            let refused = users().matching(pattern).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Pattern, "{pattern}");
            assert!(refused.to_string().contains(pattern), "{refused}");
        }
    }

    #[test]
    fn values_and_responses_share_no_pattern() {
        let value = Namespace::new("a").subject("b", []);
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
                let what = Namespace::new("a").matching(pattern).unwrap();
                assert!(!hits(&what, &response), "{pattern} against {path}");
            }
        }
    }

    #[test]
    fn tags_and_everything_hit_both() {
        let tags = || [Box::from("user:1")];
        let subjects = [
            Subject::new("/users/1", None, tags()),
            users().subject("1", tags()),
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
                let what = Namespace::new(one).matching("*").unwrap();
                let subject = Namespace::new(other).subject("a", []);
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
            assert_eq!(parsed, users().matching(pattern).unwrap(), "{text}");
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
            log.append(&[users().matching(&format!("history:{at}:*")).unwrap()]);
        }
        let verdict = |key: &str| log.verdict(before, users().subject(key, []).borrow());
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
            log.append(&[users().matching(&format!("*:{at}")).unwrap()]);
        }
        let verdict = |namespace: &str, key| {
            let subject = Namespace::new(namespace).subject(key, []);
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
            prop_assert_eq!(matches(&pattern, &key), expected);
        }

        #[test]
        fn a_pattern_that_is_shown_and_parsed_is_the_same(
            name in "\\PC{0,6}",
            pattern in "([ab:%/ é]|\\\\[*?{}\\\\]|[*]){0,8}",
        ) {
            let what = Namespace::new(&name).matching(&pattern).unwrap();
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
}
