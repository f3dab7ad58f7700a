//! Keys of requests, by the rules of their routes.

use std::sync::Arc;

use http::header::{HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Uri};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample;
use sha2::{Digest, Sha256};

use super::*;
use crate::key::KeyBuilder;
use crate::semantics::no_vary_search::{NoVarySearch, Parameters};

fn written(rule: &KeyRule, request: &Parts) -> Vec<u8> {
    let target = Target::of(&request.uri, &request.extensions);
    let mut key = KeyBuilder::default();
    target
        .write_key(&[], rule, &Identity::Cautious, request, &mut key)
        .unwrap();
    key.key().as_bytes().to_vec()
}

fn shown(rule: &KeyRule, uri: &str) -> Vec<u8> {
    let request = Request::get(uri).header("cookie", "a=1; theme=dark");
    written(rule, &request.body(()).unwrap().into_parts().0)
}

fn with_query(change: impl FnOnce(&mut KeyRule)) -> KeyRule {
    let mut rule = KeyRule::default();
    change(&mut rule);
    rule
}

#[test]
fn a_key_is_made_of_all_that_is_asked_for_in_one_order() {
    let mut rule = with_query(|rule| rule.query.ignore(["utm".to_owned()].into_iter()));
    rule.headers.push(HeaderName::from_static("x-a"));
    rule.cookies.push("theme".into());
    rule.parts.push(KeyPart(Arc::new(|_| None)));
    let identity = Identity::Partition(Arc::new(|_| Some("tenant".into())));
    let request = Request::get("HTTP://Shop.test/a?q=1&utm=2")
        .header("x-a", "1")
        .header("cookie", "theme=dark");
    let (request, ()) = request.body(()).unwrap().into_parts();
    let (name, value) = (
        HeaderName::from_static("x-forwarded-host"),
        HeaderValue::from_static("outside.test"),
    );
    let mut key = KeyBuilder::default();
    Target::of(&request.uri, &request.extensions)
        .write_key(&[(&name, &value)], &rule, &identity, &request, &mut key)
        .unwrap();
    let (one, theme) = (1_u32.to_le_bytes(), Sha256::digest("dark"));
    let expected: [Option<&[u8]>; 13] = [
        Some(&one),
        Some(b"x-forwarded-host"),
        Some(b"outside.test"),
        Some(b"http"),
        Some(b"shop.test"),
        Some(b"/a"),
        Some(b"q=1"),
        Some(b"x-a"),
        Some(&one),
        Some(b"1"),
        Some(b"theme"),
        Some(&theme),
        None,
    ];
    let parts: Vec<_> = key.key().parts().collect();
    assert_eq!(parts[..13], expected);
    assert_eq!(parts[13..], [Some(&Sha256::digest("tenant")[..])]);

    let layout = KeyLayout::new(key.key(), "/a");
    assert_eq!(layout.headers, [[expected[1], expected[2]]]);
    assert_eq!(layout.scheme, Some(&b"http"[..]));
    assert_eq!(layout.authority, Some(&b"shop.test"[..]));
    assert_eq!(layout.other, parts[7..]);
}

#[test]
fn nobody_is_asked_for_a_name_in_vain() {
    let nobody = Identity::Partition(Arc::new(|_| None));
    let (request, ()) = Request::new(()).into_parts();
    let target = Target::of(&request.uri, &request.extensions);
    let mut key = KeyBuilder::default();
    let rule = KeyRule::default();
    assert!(
        target
            .write_key(&[], &rule, &nobody, &request, &mut key)
            .is_err()
    );
}

#[test]
fn the_authority_of_the_target_comes_before_the_host() {
    let host = HeaderValue::from_static("b.test");
    let (absolute, origin) = (Uri::from_static("http://a.test/p"), Uri::from_static("/p"));
    let (request, ()) = Request::get("/")
        .header(HOST, &host)
        .body(())
        .unwrap()
        .into_parts();
    let authority = |uri: &Uri| {
        let target = Target::of(uri, &request.extensions).with_host(Some(&host));
        let mut key = KeyBuilder::default();
        let rule = KeyRule::default();
        target
            .write_key(&[], &rule, &Identity::Everyone, &request, &mut key)
            .unwrap();
        let layout = KeyLayout::new(key.key(), "/p");
        layout.authority.map(<[u8]>::to_vec)
    };
    assert_eq!(authority(&absolute).as_deref(), Some(&b"a.test"[..]));
    assert_eq!(authority(&origin).as_deref(), Some(&b"b.test"[..]));
}

#[test]
fn a_uri_as_text_is_read_as_that_of_a_request() {
    let (request, ()) = Request::new(()).into_parts();
    for uri in [
        "/a?b=1",
        "/a",
        "/a?",
        "http://a.test/a?b",
        "https://a.test:8443/",
        "/x/http://y",
    ] {
        let parsed: Uri = uri.parse().unwrap();
        assert_eq!(
            Target::of_text(uri),
            Target::of(&parsed, &request.extensions),
            "{uri}"
        );
    }
}

#[test]
fn a_path_has_another_reading_where_it_is_not_canonical() {
    assert_eq!(other_reading("/a/b%2Fc"), None);
    assert_eq!(other_reading("/%61/../b").as_deref(), Some("/b"));
}

#[test]
fn by_default_the_query_is_taken_as_it_stands() {
    let rule = KeyRule::default();
    let apart = [
        "/a",
        "/a?",
        "/a?a",
        "/a?a=",
        "/a?a=%20",
        "/a?a=+",
        "/a?a=1&b=2",
        "/a?b=2&a=1",
        "//a",
        "/a/",
        "/%61",
        "/a%2Fb",
        "/a/b",
        "http://h/a",
        "https://h/a",
        "http://h:80/a",
    ];
    for (index, one) in apart.iter().enumerate() {
        for other in &apart[index + 1..] {
            assert_ne!(shown(&rule, one), shown(&rule, other), "{one} {other}");
        }
    }
    assert_eq!(
        shown(&rule, "http://EXAMPLE.com/a"),
        shown(&rule, "http://example.com/a")
    );
}

#[test]
fn sorting_joins_orders_of_different_names_only() {
    let rule = with_query(|rule| rule.query.any_order = true);
    assert_eq!(shown(&rule, "/?a=1&b=2"), shown(&rule, "/?b=2&a=1"));
    assert_ne!(shown(&rule, "/?a=1&a=2"), shown(&rule, "/?a=2&a=1"));
    // `%61` is another spelling of `a`, and `+` and `%20` are both a space.
    for (one, other) in [
        ("/?a=1&%61=2", "/?%61=2&a=1"),
        ("/?a=1&b=2&%61=3", "/?%61=3&b=2&a=1"),
        ("/?x+y=1&x%20y=2", "/?x%20y=2&x+y=1"),
        ("/?%c3%a9=1&%C3%A9=2", "/?%C3%A9=2&%c3%a9=1"),
    ] {
        assert_ne!(shown(&rule, one), shown(&rule, other), "{one} {other}");
    }
    assert_eq!(shown(&rule, "/?%61=1&b=2"), shown(&rule, "/?b=2&%61=1"));
}

#[test]
fn ignored_and_unlisted_parameters_leave_the_key() {
    let without = with_query(|rule| rule.query.ignore(["utm_source".to_owned()].into_iter()));
    assert_eq!(
        shown(&without, "/?a=1&utm_source=x"),
        shown(&without, "/?a=1")
    );
    assert_eq!(shown(&without, "/?utm_source=x"), shown(&without, "/"));
    assert_ne!(shown(&without, "/?"), shown(&without, "/"));
    let only = with_query(|rule| rule.query.only(["a".to_owned()].into_iter()));
    assert_eq!(shown(&only, "/?a=1&b=9"), shown(&only, "/?a=1"));
    assert_ne!(shown(&only, "/?a=1"), shown(&only, "/?a=2"));
    // What a handler may read as a listed name matters, and what it may not is left in.
    assert_ne!(shown(&only, "/?%61=1"), shown(&only, "/?%61=2"));
    assert_ne!(shown(&only, "/?%61=1"), shown(&only, "/"));
    assert_ne!(shown(&without, "/?utm%5Fsource=x"), shown(&without, "/"));
}

#[test]
fn whatever_may_be_meant_by_a_cookie_tells_keys_apart() {
    let rule = KeyRule {
        cookies: vec!["a".into()],
        ..KeyRule::default()
    };
    let shown = |cookies: &[&str]| {
        let mut request = Request::get("/").body(()).unwrap().into_parts().0;
        for line in cookies {
            request.headers.append("cookie", line.parse().unwrap());
        }
        written(&rule, &request)
    };
    let apart: [&[&str]; 17] = [
        &[],
        &["a=1"],
        &["a=2"],
        &["a="],
        &["a"],
        // Of several, handlers take the first or the last.
        &["a=1; a=2"],
        &["a=2; a=1"],
        &["a=1; a=1"],
        // Some trim names, some decode them.
        &["a =1"],
        &["a= 1"],
        &["%61=1"],
        &["%61=2"],
        &["a=1; %61=2"],
        &["%61=2; a=1"],
        &["a=\"1\""],
        &["a=1=2"],
        &["a=1,a=2"],
    ];
    for (index, one) in apart.iter().enumerate() {
        for other in &apart[index + 1..] {
            assert_ne!(shown(one), shown(other), "{one:?} {other:?}");
        }
    }
    for same in [
        &["b=2; a=1"][..],
        &["b=2", "a=1"],
        &[" a=1 ;b"],
        &["a=1; A=2"],
    ] {
        assert_eq!(shown(same), shown(&["a=1"]), "{same:?}");
    }
    assert_eq!(shown(&["a=1; a=2"]), shown(&["a=1", "a=2"]));
}

proptest! {
    #[test]
    fn what_a_rule_counts_as_the_same_has_the_same_subject(
        kind in 0_u8..4,
        any_order in any::<bool>(),
        names in vec(parameter_name(), 1..3),
        one in query(),
        other in query(),
    ) {
        let mut rule = KeyRule::default();
        rule.query.any_order = any_order;
        match kind {
            0 => {}
            1 => rule.query.ignore(names.into_iter()),
            2 => rule.query.only(names.into_iter()),
            _ => rule.query.no_vary_search(NoVarySearch {
                any_order,
                parameters: Parameters::Only(names),
            }),
        }
        let target = |query: &str| Target::of_text(&format!("/p?{query}")).subject(&rule, vec![]);
        if rule.query.apply(&one) == rule.query.apply(&other) {
            prop_assert_eq!(target(&one), target(&other));
        }
        // What is read by the rule twice is as if it had been read once.
        let once = rule.query.canonical(&one).unwrap_or_default();
        let twice = rule.query.canonical(&once).unwrap_or_default();
        prop_assert_eq!(&once, &twice);
    }
}

fn parameter_name() -> impl Strategy<Value = String> {
    sample::select(vec![
        "a", "b", "%61", "%62", "a+b", "a%20b", "%C3%BC", "%c3%bc", "ü", "%", "",
    ])
    .prop_map(Into::into)
}

fn query() -> impl Strategy<Value = String> {
    let parameter = (
        parameter_name(),
        sample::select(vec!["", "=", "=1", "=%31"]),
    );
    vec(parameter.prop_map(|(name, value)| name + value), 0..4)
        .prop_map(|parameters| parameters.join("&"))
}

#[test]
fn a_cookie_is_found_by_its_whole_name() {
    let rule = |name: &str| KeyRule {
        cookies: vec![name.into()],
        ..KeyRule::default()
    };
    let contains = |bytes: Vec<u8>, text: &[u8]| bytes.windows(text.len()).any(|at| at == text);
    let digest = Sha256::digest("dark");
    assert!(contains(shown(&rule("theme"), "/"), &digest));
    assert!(!contains(shown(&rule("them"), "/"), &digest));
    assert!(!contains(shown(&rule("theme"), "/"), b"dark"));
}
