use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Invalidation {
    Pattern::parse(text).expect(text).into()
}

fn shown(member: &[u8]) -> String {
    from_member(member).to_string()
}

fn matches(invalidation: &Invalidation, path: &str, query: Option<&str>) -> bool {
    match invalidation.selector() {
        Selector::Pattern(pattern) => pattern.matches(path, query),
        Selector::Tag(_) => false,
    }
}

#[test]
fn an_invalidation_is_written_as_it_reads() {
    let cases = [
        (Invalidation::uri("/a"), "hp/a"),
        (Invalidation::uri("/a").soft(), "sp/a"),
        (Invalidation::uri("/a?"), "hp/a?"),
        (Invalidation::uri("/%61?b=*&c=?"), "hp/a?b=\\*&c=?"),
        (Invalidation::uri("/*/**"), "hp/\\*/\\*\\*"),
        (Invalidation::everything(), "hp/**"),
        (pattern("/a/*"), "hp/a/*"),
        (pattern("//**"), "hp//**"),
        (pattern("/a/**/**?*"), "hp/a/**"),
        (pattern("/*/b?c*\\*"), "hp/*/b?c*\\*"),
        (Invalidation::tag(""), "ht"),
        (Invalidation::tag("user:1\0é").soft(), "stuser:1\0é"),
        (Invalidation::tag("/**"), "ht/**"),
    ];
    for (invalidation, expected) in cases {
        let member = to_member(&invalidation);
        assert_eq!(member, expected.as_bytes(), "{invalidation}");
        assert_eq!(from_member(&member), invalidation);
    }
}

#[test]
fn a_member_that_is_not_understood_invalidates_everything() {
    let long = format!("sp/{}", "a".repeat(LONGEST - 2));
    let members: [&[u8]; 15] = [
        b"",
        b"h",
        b"H",
        b"s",
        b"E0123",
        b"hx/a",
        b"Hp/a",
        b"sx/a",
        b"xp/a",
        b"sp",
        b"spa",
        b"sp/a**",
        b"sp/{a}",
        b"st\xff",
        long.as_bytes(),
    ];
    for member in members {
        assert_eq!(shown(member), "/**", "{member:?}");
    }
    assert_eq!(
        shown(&long.as_bytes()[..LONGEST]),
        format!("soft {}", &long[2..LONGEST])
    );
}

#[test]
fn what_is_too_long_is_coarsened() {
    let a = |count: usize| "a".repeat(count);
    // A text of 510 bytes fits, and so does a root of 507 with `/**` behind it.
    let cases = [
        (Invalidation::tag(a(510)), format!("ht{}", a(510))),
        (Invalidation::tag(a(511)), "hp/**".into()),
        (Invalidation::tag(a(511)).soft(), "sp/**".into()),
        (
            Invalidation::uri(format!("/{}", a(509))),
            format!("hp/{}", a(509)),
        ),
        (Invalidation::uri(format!("/{}", a(510))), "hp/**".into()),
        (
            Invalidation::uri(format!("/b/c/{}", a(510))).soft(),
            "sp/b/c/**".into(),
        ),
        (
            Invalidation::uri(format!("/b/{}/", a(507))),
            "hp/b/**".into(),
        ),
        (
            Invalidation::uri(format!("/{}/{}", a(506), a(510))),
            format!("hp/{}/**", a(506)),
        ),
        (
            Invalidation::uri(format!("/{}/{}", a(507), a(510))),
            "hp/**".into(),
        ),
        (Invalidation::uri(format!("//{}", a(510))), "hp//**".into()),
        (
            Invalidation::uri(format!("/{}/b", "*".repeat(253))),
            format!("hp/{}/b", "\\*".repeat(253)),
        ),
        (
            Invalidation::uri(format!("/{}/{}", "*".repeat(253), a(9))),
            format!("hp/{}/**", "\\*".repeat(253)),
        ),
        (
            Invalidation::uri(format!("/{}/{}", "*".repeat(254), a(9))),
            "hp/**".into(),
        ),
        (
            Invalidation::uri(format!("/b/c?{}", a(510))),
            "hp/b/c".into(),
        ),
        (
            Invalidation::uri(format!("/b/{}?c", a(506))),
            format!("hp/b/{}", a(506)),
        ),
        (
            Invalidation::uri(format!("/b/{}?c", a(508))),
            "hp/b/**".into(),
        ),
        (
            pattern(&format!("/b/{}/*", a(504))),
            format!("hp/b/{}/*", a(504)),
        ),
        (pattern(&format!("/b/{}/*", a(506))), "hp/b/**".into()),
        (
            pattern(&format!("/{}/*", a(506))),
            format!("hp/{}/*", a(506)),
        ),
        (pattern(&format!("/{}/**", a(507))), "hp/**".into()),
        (pattern(&format!("/b/*/{}", a(510))), "hp/b/**".into()),
        (pattern(&format!("/b/c*/{}", a(510))), "hp/b/**".into()),
        (pattern(&format!("/*/{}", a(510))), "hp/**".into()),
        (pattern(&format!("/b/c?{}*", a(510))), "hp/b/c".into()),
        (pattern(&format!("/b/{}?*c", a(509))), "hp/b/**".into()),
    ];
    for (invalidation, expected) in cases {
        let member = to_member(&invalidation);
        assert_eq!(String::from_utf8_lossy(&member), expected, "{invalidation}");
    }
}

/// A pattern of long texts, and a path and a query that it matches: what its wildcards stand for is
/// written there.
fn long_pattern() -> impl Strategy<Value = (String, String, Option<String>)> {
    let text = (
        prop::sample::select(vec!["a", "b", "é", "%2F", "\\*", "."]),
        0..120_usize,
    )
        .prop_map(|(text, times)| text.repeat(times));
    let piece = prop_oneof![
        6 => text.prop_map(|text| (text.clone(), text.replace('\\', ""))),
        1 => "[a-c]{0,3}".prop_map(|run| ("*".to_owned(), run)),
    ];
    let piece = || piece.clone();
    let segment = prop_oneof![
        8 => prop::collection::vec(piece(), 1..3).prop_map(|pieces| {
            let (pattern, text): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
            // Two stars would be another wildcard.
            (format!("/{}", pattern.concat().replace("**", "*")), format!("/{}", text.concat()))
        }),
        1 => "(/[a-c]{1,2}){0,2}".prop_map(|run| ("/**".to_owned(), run)),
    ];
    let path = prop::collection::vec(segment, 1..9);
    let query = prop::option::of(prop::collection::vec(piece(), 0..4));
    (path, query).prop_map(|(path, query)| {
        let (mut pattern, path): (Vec<_>, Vec<_>) = path.into_iter().unzip();
        let query = query.map(|query| {
            let (query, text): (Vec<_>, Vec<_>) = query.into_iter().unzip();
            pattern.push(format!("?{}", query.concat()));
            text.concat()
        });
        (pattern.concat(), path.concat(), query)
    })
}

fn any_invalidation() -> impl Strategy<Value = Invalidation> {
    let text = || "[a-c/?*%2fé.\\\\{}\\[\\]]{0,14}";
    let invalidation = prop_oneof![
        text().prop_map(Invalidation::uri),
        text().prop_map(|path| Invalidation::uri(format!("/{path}?"))),
        "/[ab/*?.%2eé]{0,12}".prop_filter_map("a pattern", |text| {
            Pattern::parse(&text).ok().map(Invalidation::pattern)
        }),
        "(/([ab]{0,2}[*]?){1,2}|/[*]{2}){1,5}([?][ab*]{0,4})?"
            .prop_filter_map("a pattern", |text| {
                Pattern::parse(&text).ok().map(Invalidation::pattern)
            }),
        "\\PC{0,14}".prop_map(Invalidation::tag),
        any::<char>().prop_map(|char| Invalidation::tag(char.to_string().repeat(127))),
        Just(Invalidation::everything()),
    ];
    (invalidation, any::<bool>()).prop_map(|(invalidation, soft)| match soft {
        true => invalidation.soft(),
        false => invalidation,
    })
}

// `PROPTEST_CASES=1000000` for a long run.
proptest! {
    #[test]
    fn every_invalidation_comes_back_as_it_was(
        invalidation in any_invalidation(),
        other in any_invalidation(),
    ) {
        let member = to_member(&invalidation);
        prop_assert!(member.len() <= LONGEST);
        prop_assert_eq!(&from_member(&member), &invalidation);
        // One member for each: the log tells them apart by their members.
        prop_assert_eq!(member == to_member(&other), invalidation == other);
    }

    #[test]
    fn what_is_coarsened_matches_all_that_it_did(
        (text, path, query) in long_pattern(),
        exact in any::<bool>(),
        soft in any::<bool>(),
    ) {
        let query = query.as_deref();
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let invalidation = match Pattern::parse(&text) {
            _ if exact => Invalidation::uri(target),
            Ok(pattern) => pattern.into(),
            Err(_) => return Err(TestCaseError::reject("no pattern")),
        };
        // Dots may have swallowed a segment that a wildcard stands for.
        prop_assume!(matches(&invalidation, &path, query));
        let invalidation = if soft { invalidation.soft() } else { invalidation };
        let member = to_member(&invalidation);
        let read = from_member(&member);
        prop_assert!(matches(&read, &path, query), "{} by {}", invalidation, read);
        prop_assert_eq!(read.is_soft(), soft);
        prop_assert!(member.len() <= LONGEST);
        prop_assert_eq!(to_member(&read), member);
    }

    #[test]
    fn no_member_makes_the_reader_panic(member in prop::collection::vec(any::<u8>(), 0..40), text in "[hs][pt]/?\\PC{0,20}") {
        for member in [&member[..], text.as_bytes()] {
            let invalidation = from_member(member);
            prop_assert_eq!(from_member(&to_member(&invalidation)), invalidation);
        }
    }
}
