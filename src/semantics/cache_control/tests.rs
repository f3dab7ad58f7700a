use proptest::prelude::*;

use super::*;

fn parse(lines: &[&str]) -> CacheControl {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| HeaderValue::from_bytes(line.as_bytes()).expect("a field value"))
        .collect();
    CacheControl::from_lines(&lines)
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn names(list: &[&'static str]) -> Scope {
    Scope::Fields(list.iter().copied().map(HeaderName::from_static).collect())
}

#[test]
fn a_lifetime_is_the_number_of_seconds_it_says_or_none_at_all() {
    let cases: &[(&str, Option<Duration>)] = &[
        // RFC 9111 §5.2.2.1
        ("max-age=60", seconds(60)),
        ("MaX-aGe=60", seconds(60)),
        ("max-age=0", seconds(0)),
        ("max-age=0060", seconds(60)),
        // RFC 9111 §5.2: recipients ought to accept both forms of an argument.
        ("max-age=\"60\"", seconds(60)),
        ("max-age=\"60\" ", seconds(60)),
        // RFC 9111 §1.2.2: at most 2³¹.
        ("max-age=2147483647", seconds(2_147_483_647)),
        ("max-age=2147483648", seconds(2_147_483_648)),
        ("max-age=2147483649", seconds(2_147_483_648)),
        ("max-age=99999999999999999999999999", seconds(2_147_483_648)),
        // RFC 9111 §4.2.1: invalid freshness information is stale.
        ("max-age=-1", seconds(0)),
        ("max-age=+1", seconds(0)),
        ("max-age=60.0", seconds(0)),
        ("max-age=60.5", seconds(0)),
        ("max-age=a100", seconds(0)),
        ("max-age=100a", seconds(0)),
        ("max-age='60'", seconds(0)),
        ("max-age=", seconds(0)),
        ("max-age=\"\"", seconds(0)),
        ("max-age", seconds(0)),
        ("max-age=\"60", seconds(0)),
        ("max-age=\"60\"1", seconds(0)),
        ("max-age=\" 60\"", seconds(0)),
        ("max-age =60", seconds(0)),
        ("max-age= 60", seconds(0)),
        ("max-age=60 70", seconds(0)),
        ("max-age=60;x=1", seconds(0)),
        // RFC 9111 §4.2.1: conflicting values.
        ("max-age=1, max-age=1800", seconds(1)),
        ("max-age=1800, max-age=1", seconds(1)),
        ("max-age=1800, max-age=x", seconds(0)),
        // RFC 9111 §5.2.3: what is not known is ignored, and so is what is in its quotes.
        ("foobar, max-age=60", seconds(60)),
        ("extension=\"max-age=3600\", max-age=1", seconds(1)),
        ("max-age=1, extension=\"max-age=3600\"", seconds(1)),
        (
            "extension=\"max-age=0, max-age=0\", max-age=60",
            seconds(60),
        ),
        (r#"extension="\", max-age=0", max-age=60"#, seconds(60)),
        ("x-max-age=60", None),
        ("max-ag=60", None),
        ("", None),
        (",, ,", None),
    ];
    for (line, expected) in cases {
        assert_eq!(parse(&[line]).max_age, *expected, "{line}");
    }
}

#[test]
fn the_smallest_lifetime_of_several_lines_wins() {
    assert_eq!(
        parse(&["max-age=3600", "max-age=1800"]).max_age,
        seconds(1800)
    );
    assert_eq!(
        parse(&["max-age=1800", "max-age=3600"]).max_age,
        seconds(1800)
    );
    assert_eq!(parse(&["s-maxage=5", "s-maxage=x"]).s_maxage, seconds(0));
}

#[test]
fn every_directive_is_known_in_any_case() {
    // RFC 9111 §5.2.1, §5.2.2; RFC 5861 §3–4; RFC 8246 §2
    let line = "NO-STORE,No-Cache , private,\tPUBLIC, must-Revalidate,proxy-revalidate, \
                must-understand, no-transform, only-if-cached, Immutable, max-age=1, S-MaxAge=2, \
                stale-while-revalidate=3, STALE-IF-ERROR=4, max-stale=5, min-fresh=6";
    let expected = CacheControl {
        present: true,
        no_store: true,
        no_cache: Scope::Whole,
        private: Scope::Whole,
        public: true,
        must_revalidate: true,
        proxy_revalidate: true,
        must_understand: true,
        no_transform: true,
        only_if_cached: true,
        immutable: true,
        max_age: seconds(1),
        s_maxage: seconds(2),
        stale_while_revalidate: seconds(3),
        stale_if_error: seconds(4),
        max_stale: Some(MaxStale::By(Duration::from_secs(5))),
        min_fresh: seconds(6),
    };
    assert_eq!(parse(&[line]), expected);
}

#[test]
fn an_unknown_directive_is_present_and_says_nothing() {
    let expected = CacheControl {
        present: true,
        ..CacheControl::default()
    };
    assert_eq!(parse(&["nothing-to-see-here"]), expected);
    assert_eq!(parse(&[]), CacheControl::default());
    assert_eq!(parse(&[" ,"]), CacheControl::default());
}

#[test]
fn a_restriction_holds_however_it_is_written() {
    // RFC 9111 §4.2.1: the most restrictive directive is honoured.
    for line in [
        "no-store=x",
        "no-store=\"x\"",
        "no-store =x",
        "no-store=",
        "x=\"a, no-store",
        "\"a, no-store",
        "max-age=60 ,, no-store,",
        "a=\"b\\\", no-store",
    ] {
        assert!(parse(&[line]).no_store, "{line}");
    }
    assert!(!parse(&["x=\"a, no-store\""]).no_store);
}

#[test]
fn fields_can_be_named_alone() {
    let cases: &[(&[&str], Scope)] = &[
        // RFC 9111 §5.2.2.4
        (&["no-cache=\"a\""], names(&["a"])),
        (&["no-cache=\"Set-Cookie, a\""], names(&["a", "set-cookie"])),
        (&["no-cache=a"], names(&["a"])),
        (&["no-cache=\"a, ,a, A\""], names(&["a"])),
        (
            &["no-cache=\"b\"", "max-age=1, no-cache=\"a\""],
            names(&["a", "b"]),
        ),
        (&["no-cache=\"a\", no-cache"], Scope::Whole),
        (&["no-cache=\"\", no-cache=\"a\""], Scope::Whole),
        (&["no-cache=\"a\", no-cache=\"\""], Scope::Whole),
        (&["no-cache, no-cache=\"a\""], Scope::Whole),
        // What cannot be a list of names is read as the unqualified form.
        (&["no-cache="], Scope::Whole),
        (&["no-cache=\"\""], Scope::Whole),
        (&["no-cache=\"a b\""], Scope::Whole),
        (&["no-cache=\"a, \\\"b\""], Scope::Whole),
        (&["no-cache=\"a"], Scope::Whole),
        (&["no-cache = \"a\""], Scope::Whole),
        (&["max-age=1"], Scope::Absent),
    ];
    for (lines, expected) in cases {
        assert_eq!(parse(lines).no_cache, *expected, "{lines:?}");
    }
    // RFC 9111 §5.2.2.7
    assert_eq!(parse(&["private=\"X-User\""]).private, names(&["x-user"]));
}

#[test]
fn an_endless_list_of_fields_means_all_of_them() {
    let fields: Vec<_> = (0..=MAX_FIELDS).map(|n| format!("x-{n:03}")).collect();
    let within = format!("no-cache=\"{}\"", fields[1..].join(","));
    assert_eq!(parse(&[&within]).no_cache.fields().len(), MAX_FIELDS);
    let beyond = format!("no-cache=\"{}\"", fields.join(","));
    assert_eq!(parse(&[&beyond]).no_cache, Scope::Whole);
}

#[test]
fn a_client_that_contradicts_itself_is_given_the_fresher_response() {
    let by = |seconds| Some(MaxStale::By(Duration::from_secs(seconds)));
    // RFC 9111 §5.2.1.2
    assert_eq!(parse(&["max-stale"]).max_stale, Some(MaxStale::Any));
    assert_eq!(parse(&["max-stale=10"]).max_stale, by(10));
    assert_eq!(parse(&["max-stale, max-stale=10"]).max_stale, by(10));
    assert_eq!(parse(&["max-stale=10, max-stale"]).max_stale, by(10));
    assert_eq!(parse(&["max-stale=10, max-stale=5"]).max_stale, by(5));
    assert_eq!(parse(&["max-stale=x"]).max_stale, by(0));
    // RFC 9111 §5.2.1.3
    assert_eq!(parse(&["min-fresh=10, min-fresh=5"]).min_fresh, seconds(10));
    assert_eq!(
        parse(&["min-fresh=x"]).min_fresh,
        seconds(MAX_DELTA_SECONDS)
    );
}

/// Well-formed directives, in any case, as an origin or a client would write them.
fn directive() -> impl Strategy<Value = String> {
    let number = prop_oneof![0_u64..100, any::<u64>()];
    prop_oneof![
        "(no-store|public|private|no-cache|must-revalidate|immutable|max-stale|foo)",
        (
            "(max-age|s-maxage|stale-if-error|max-stale|min-fresh)",
            number,
            any::<bool>()
        )
            .prop_map(|(name, number, quoted)| match quoted {
                true => format!("{name}=\"{number}\""),
                false => format!("{name}={number}"),
            }),
        "(no-cache|private|foo)=\"[a-c](, ?[a-c]){0,3}\"",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
        let lines: Vec<_> = lines
            .iter()
            .filter_map(|line| HeaderValue::from_bytes(line).ok())
            .collect();
        CacheControl::from_lines(&lines);
    }

    #[test]
    fn nearly_valid_bytes_do_not_make_it_panic(line in r#"([a-z]{0,2}|no-cache|max-age|[=,"\\ 0-9]){0,20}"#) {
        parse(&[&line]);
    }

    #[test]
    fn case_does_not_matter(directives in prop::collection::vec(directive(), 0..6)) {
        let line = directives.join(", ");
        prop_assert_eq!(parse(&[&line.to_ascii_uppercase()]), parse(&[&line]));
    }

    #[test]
    fn neither_order_nor_lines_nor_repetition_matter(
        directives in prop::collection::vec(directive(), 0..6),
        shuffled in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
    ) {
        let line = directives.join(",");
        let mut other = directives.clone();
        if !other.is_empty() {
            let by = (shuffled % other.len() as u64) as usize;
            other.rotate_left(by);
        }
        other.reverse();
        other.extend(directives);
        let lines: Vec<_> = other.iter().map(String::as_str).collect();
        prop_assert_eq!(parse(&lines), parse(&[&line]));
    }

    #[test]
    fn a_restriction_is_never_lost_among_other_directives(
        before in prop::collection::vec(directive(), 0..4),
        after in prop::collection::vec(directive(), 0..4),
    ) {
        let line = [before, vec!["no-store".into(), "max-age=0".into()], after].concat().join(",");
        let directives = parse(&[&line]);
        prop_assert!(directives.no_store);
        prop_assert_eq!(directives.max_age, seconds(0));
    }
}
