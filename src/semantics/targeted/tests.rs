use std::time::Duration;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::semantics::cache_control::Scope;

const EXAMPLE: HeaderName = HeaderName::from_static("example-cache-control");
const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");

fn read(fields: &[(&'static str, &str)]) -> Directives {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            )
        })
        .collect();
    directives(&headers, &[EXAMPLE, CDN])
}

/// What `line` says as the only targeted field, beside `Cache-Control: max-age=1`; `None` if it is
/// ignored.
fn targeted(line: &str) -> Option<CacheControl> {
    let directives = read(&[("cache-control", "max-age=1"), ("cdn-cache-control", line)]);
    if !directives.targeted {
        assert_eq!(
            directives,
            read(&[("cache-control", "max-age=1")]),
            "{line}"
        );
    }
    directives.targeted.then_some(directives.cache_control)
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn the_first_valid_target_decides_alone() {
    type Case = (
        &'static [(&'static str, &'static str)],
        Option<Duration>,
        bool,
    );
    let cases: &[Case] = &[
        // RFC 9213 §2.2
        (&[("cache-control", "max-age=1")], seconds(1), false),
        (
            &[
                ("cache-control", "max-age=1"),
                ("cdn-cache-control", "max-age=2"),
            ],
            seconds(2),
            true,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=2"),
                ("example-cache-control", "max-age=3"),
            ],
            seconds(3),
            true,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=2"),
                ("example-cache-control", ""),
            ],
            seconds(2),
            true,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=2"),
                ("example-cache-control", "?"),
            ],
            seconds(2),
            true,
        ),
        (
            &[("cdn-cache-control", ""), ("cache-control", "max-age=1")],
            seconds(1),
            false,
        ),
        // RFC 9213 §3.1: `none` is there so that the field is not empty.
        (
            &[
                ("cdn-cache-control", "none"),
                ("cache-control", "max-age=1"),
            ],
            None,
            true,
        ),
        // RFC 9213 §2.2: fields that are not on the list change nothing.
        (
            &[
                ("other-cache-control", "max-age=9"),
                ("cache-control", "max-age=1"),
            ],
            seconds(1),
            false,
        ),
    ];
    for (fields, max_age, targeted) in cases {
        let directives = read(fields);
        assert_eq!(directives.cache_control.max_age, *max_age, "{fields:?}");
        assert_eq!(directives.targeted, *targeted, "{fields:?}");
    }
    let over_no_store = read(&[
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=600"),
    ]);
    assert!(!over_no_store.cache_control.no_store);
}

#[test]
fn a_lifetime_is_an_integer() {
    let cases = [
        // RFC 9213 §2.1
        ("max-age=60", Some(seconds(60))),
        ("max-age=0060", Some(seconds(60))),
        ("max-age=60;foo=bar", Some(seconds(60))),
        ("foobar, max-age=60", Some(seconds(60))),
        ("foo=(1 2);a, max-age=60", Some(seconds(60))),
        ("max-age=99999999999", Some(seconds(1 << 31))),
        // RFC 9111 §4.2.1: invalid freshness information is stale.
        ("max-age=-1", Some(seconds(0))),
        // RFC 9651 §3.2: the last of several members of one name counts.
        ("max-age=60, max-age=30", Some(seconds(30))),
        ("max-age=30, max-age=60", Some(seconds(60))),
        // RFC 9651 §4.2: what does not parse is ignored as a whole.
        ("MaX-aGe=60", None),
        ("max-age =60", None),
        ("max-age= 60", None),
        ("max-age=60,", None),
        ("max-age=60, &&&", None),
        ("max-age=60 public", None),
        ("max-age=1000000000000000", None),
        ("max-age=\u{fc}", None),
        // RFC 9213 §2.1: values of another type are not consumed.
        ("max-age=\"60\"", None),
        ("max-age=60.0", None),
        ("max-age=a60", None),
        ("max-age=:AAAA:", None),
        ("max-age=@60", None),
        ("max-age=(60)", None),
        ("max-age=?1", None),
        ("max-age", None),
    ];
    for (line, expected) in cases {
        assert_eq!(
            targeted(line).map(|directives| directives.max_age),
            expected,
            "{line}"
        );
    }
}

#[test]
fn a_flag_is_true_or_absent() {
    let no_store = |line| targeted(line).map(|directives| directives.no_store);
    // RFC 9213 §2.1
    assert_eq!(no_store("no-store"), Some(true));
    assert_eq!(no_store("no-store=?1"), Some(true));
    assert_eq!(no_store("no-store;a=1, max-age=60"), Some(true));
    assert_eq!(no_store("no-store=?0"), Some(false));
    assert_eq!(no_store("no-store=\"x\""), None);
    assert_eq!(no_store("no-store=1"), None);
}

#[test]
fn field_names_are_a_string() {
    let private = |line| targeted(line).map(|directives| directives.private);
    let fields = Scope::Fields(vec![
        HeaderName::from_static("x-a"),
        HeaderName::from_static("x-b"),
    ]);
    // RFC 9213 §2.1
    assert_eq!(private("private"), Some(Scope::Whole));
    assert_eq!(private("private=\"X-B, x-a\""), Some(fields));
    assert_eq!(private("private=?0"), Some(Scope::Absent));
    assert_eq!(private("private=x-a"), None);
    assert_eq!(private("private=1"), None);
}

#[test]
fn all_the_directives_of_a_response_are_known() {
    let line = "max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, no-store, \
                no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, \
                no-transform, immutable";
    let plain = CacheControl::from_lines([&HeaderValue::from_static(line)]);
    assert_eq!(targeted(line), Some(plain));
}

#[test]
fn lines_are_one_field() {
    let directives = read(&[
        ("cdn-cache-control", "max-age=60"),
        ("cdn-cache-control", "must-revalidate"),
    ]);
    assert_eq!(directives.cache_control.max_age, seconds(60));
    assert!(directives.cache_control.must_revalidate);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            directives(&HeaderMap::from_iter([(CDN, line)]), &[CDN]);
        }
    }

    #[test]
    fn nearly_valid_bytes_do_not_make_it_panic(
        line in r#"((no-store|max-age|private|x)(=(-?[0-9]{1,17}|\?[01]|"[a, ]{0,4}"|\(1 2\)|a))?,? ?){0,5}"#,
    ) {
        targeted(&line);
    }

    #[test]
    fn order_does_not_matter(max_age in 0_u32..100, public in any::<bool>(), rotated in 0_usize..4) {
        let mut members = [
            format!("max-age={max_age}"),
            format!("public=?{}", u8::from(public)),
            "no-cache=\"a, b\"".to_owned(),
            "foo=1.5".to_owned(),
        ];
        let line = members.join(", ");
        members.rotate_left(rotated);
        prop_assert_eq!(targeted(&members.join(",")), targeted(&line));
    }
}
