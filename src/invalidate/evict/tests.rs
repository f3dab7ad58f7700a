use super::*;
use crate::ErrorKind;
use crate::invalidate::{Log, Subject, Verdict};

fn compile(evict: Evict, bound: &[&str]) -> CompiledEvict {
    evict
        .compile(bound)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn shown(evict: Evict, captures: Captures<'_>) -> Vec<String> {
    let bound: Vec<_> = captures.iter().map(|(name, _)| *name).collect();
    let invalidations = compile(evict, &bound).bind(captures);
    invalidations.iter().map(ToString::to_string).collect()
}

/// What a write to `/conversations/{id}/messages` evicts when `id` is what was captured.
fn evicts(captured: &str, path: &str) -> bool {
    let evict = compile(Evict::pattern("/conversations/{id}/messages"), &["id"]);
    let log = Log::with_capacity(16);
    let position = log.position();
    log.append(&evict.bind(&[("id", captured)]));
    log.verdict(position, Subject::new(path, None, []).borrow()) == Verdict::Invalid
}

fn evicts_only_the_literal(captured: &str) {
    assert!(evicts(
        captured,
        &format!("/conversations/{captured}/messages")
    ));
    for other in ["1", "a", "x7", "%2B", "**", "[a-z]", "*", "%2A", "%3F"] {
        if other != captured {
            let path = format!("/conversations/{other}/messages");
            assert!(!evicts(captured, &path), "{captured} evicts {path}");
        }
    }
    assert!(!evicts(captured, "/conversations"));
    assert!(!evicts(captured, "/conversations/1/2/messages"));
}

#[test]
fn a_captured_star_evicts_only_the_literal_key() {
    evicts_only_the_literal("*");
}

#[test]
fn two_captured_stars_evict_only_the_literal_key() {
    evicts_only_the_literal("**");
}

#[test]
fn a_captured_escaped_star_evicts_only_the_literal_key() {
    evicts_only_the_literal("%2A");
    assert!(evicts("%2a", "/conversations/%2A/messages"));
}

#[test]
fn a_captured_character_class_evicts_only_the_literal_key() {
    evicts_only_the_literal("[a-z]");
    assert!(evicts("[a-z]", "/conversations/%5Ba-z%5D/messages"));
}

#[test]
fn a_captured_question_mark_evicts_only_the_literal_key() {
    // In a path it can only come escaped; raw it would begin the query.
    evicts_only_the_literal("%3F");
    assert!(!evicts("?", "/conversations/"));
    assert!(!evicts("?", "/conversations/a/messages"));
    assert!(evicts("?", "/conversations/%3f/messages"));
}

#[test]
fn captured_braces_and_backslashes_evict_only_the_literal_key() {
    for captured in ["{id}", "\\*", "\\", "{*rest}", "$1", "%", "%5C*"] {
        assert!(evicts(
            captured,
            &format!("/conversations/{captured}/messages")
        ));
        assert!(!evicts(captured, "/conversations/1/messages"), "{captured}");
    }
}

#[test]
fn captured_dots_are_resolved_as_in_the_path_they_came_from() {
    assert!(evicts("..", "/messages"));
    assert!(evicts("%2e%2E", "/conversations/../messages"));
    assert!(!evicts("..", "/conversations/1/messages"));
}

#[test]
fn an_escape_that_a_template_and_a_capture_make_together_is_one() {
    let evict = Evict::pattern("/a%{id}");
    assert_eq!(shown(evict, &[("id", "41")]), ["/aA"]);
}

#[test]
fn templates_are_filled_in_with_what_was_captured() {
    let captures: Captures<'_> = &[("id", "7"), ("rest", "a/b*c")];
    let cases = [
        (Evict::pattern("/x/{id}/**"), vec!["/x/7/**"]),
        (Evict::pattern("/x/*/{id}"), vec!["/x/*/7"]),
        (Evict::pattern("/x/{*rest}"), vec!["/x/a/b\\*c"]),
        (Evict::pattern("/x-{id}-*?of={id}&*"), vec!["/x-7-*?of=7&*"]),
        (Evict::tag("user:{id}"), vec!["tag \"user:7\""]),
        (Evict::tag("\\{{id}\\}\\x"), vec!["tag \"{7}\\\\x\""]),
        (Evict::tag("catalog*"), vec!["tag \"catalog*\""]),
        (Evict::everything(), vec!["/**"]),
        (Evict::nothing(), vec![]),
        (
            Evict::pattern("/y").and_tag("t").and_pattern("/z/*").soft(),
            vec!["soft /y", "soft tag \"t\"", "soft /z/*"],
        ),
    ];
    for (evict, expected) in cases {
        assert_eq!(shown(evict.clone(), captures), expected, "{evict:?}");
    }
}

#[test]
fn a_tag_holds_what_was_captured_as_the_handler_sees_it() {
    let tag = |captured| shown(Evict::tag("user:{id}"), &[("id", captured)]).concat();
    assert_eq!(tag("jos%C3%A9"), "tag \"user:josé\"");
    assert_eq!(tag("%2A"), "tag \"user:*\"");
    assert_eq!(tag("%252A"), "tag \"user:%2A\"");
    assert_eq!(tag("%ff"), "tag \"user:%ff\"");
}

#[test]
fn a_capture_that_the_route_does_not_make_is_named_beside_those_it_makes() {
    for evict in [Evict::pattern("/a/{uid}"), Evict::tag("user:{uid}")] {
        let error = evict.clone().compile(&["id", "rest"]).expect_err("unbound");
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(message.contains("`{uid}`"), "{message}");
        assert!(message.contains("`{id}`, `{rest}`"), "{message}");
        let message = evict.compile(&[]).expect_err("unbound").to_string();
        assert!(message.contains("captures nothing"), "{message}");
    }
}

#[test]
fn a_template_that_does_not_parse_says_where() {
    let cases = [
        (Evict::pattern("a/{id}"), "character 1"),
        (Evict::pattern("/a/{id"), "character 4"),
        (Evict::pattern("/a/{}"), "character 4"),
        (Evict::pattern("/a/{{id}}"), "character 4"),
        (Evict::pattern("/a/{id}**"), "character 8"),
        (Evict::pattern("/a/**{id}"), "character 4"),
        (Evict::tag("é{id"), "character 2"),
    ];
    for (evict, place) in cases {
        let error = evict.clone().compile(&["id"]).expect_err("no pattern");
        assert_eq!(error.kind(), ErrorKind::Pattern);
        assert!(error.to_string().contains(place), "{evict:?}: {error}");
    }
}
