use std::time::Instant;

use http::{HeaderName, HeaderValue};

use super::*;
use crate::semantics::targeted;

const EXPLICIT: fn(u64) -> Lifetime = |seconds| Lifetime::Explicit(Duration::from_secs(seconds));
const HEURISTIC: fn(u64) -> Lifetime = |seconds| Lifetime::Heuristic(Duration::from_secs(seconds));

/// `now` is the response's time of receipt, Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: u64 = 784_111_777;

fn at(offset: i64) -> String {
    let seconds = NOW.saturating_add_signed(offset);
    let written = date::format(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    String::from_utf8_lossy(&written).into_owned()
}

fn lifetime_of(status: u16, fields: &[(&'static str, &str)]) -> Lifetime {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            (HeaderName::from_static(name), value)
        })
        .collect();
    let directives =
        targeted::directives(&headers, &[HeaderName::from_static("cdn-cache-control")]);
    let received = Now {
        instant: Instant::now(),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
    };
    let status = StatusCode::from_u16(status).expect("a status");
    let lifetime = lifetime(status, &headers, &directives, received);
    assert_eq!(
        matches!(lifetime, Lifetime::Explicit(_)),
        is_explicit(&headers, &directives),
        "{fields:?}"
    );
    lifetime
}

#[test]
fn the_first_that_is_stated_counts() {
    let cases: &[(&[(&str, &str)], Lifetime)] = &[
        // RFC 9111 §4.2.1
        (
            &[("cache-control", "max-age=1, s-maxage=3600")],
            EXPLICIT(3600),
        ),
        (
            &[
                ("cache-control", "max-age=3600"),
                ("cache-control", "s-maxage=1"),
            ],
            EXPLICIT(1),
        ),
        (
            &[("cache-control", "max-age=3600"), ("expires", &at(-7200))],
            EXPLICIT(3600),
        ),
        (
            &[("cache-control", "max-age=3600"), ("expires", "0")],
            EXPLICIT(3600),
        ),
        (
            &[("cache-control", "max-age=0"), ("expires", &at(3600))],
            EXPLICIT(0),
        ),
        (
            &[("cache-control", "max-age=x"), ("expires", &at(3600))],
            EXPLICIT(0),
        ),
        (
            &[("cache-control", "public"), ("expires", &at(60))],
            EXPLICIT(60),
        ),
        (
            &[("expires", &at(60)), ("last-modified", &at(-1000))],
            EXPLICIT(60),
        ),
        (&[], Lifetime::Unstated),
        (&[("cache-control", "public")], Lifetime::Unstated),
        (
            &[("pragma", "no-cache"), ("last-modified", &at(-1000))],
            Lifetime::Unstated,
        ),
        (
            &[("pragma", "x, No-Cache"), ("last-modified", &at(-1000))],
            Lifetime::Unstated,
        ),
        (
            &[("pragma", "no-caches"), ("last-modified", &at(-1000))],
            HEURISTIC(100),
        ),
        // Beside a word that has a meaning it has none.
        (
            &[
                ("pragma", "no-cache"),
                ("cache-control", "public"),
                ("last-modified", &at(-1000)),
            ],
            HEURISTIC(100),
        ),
        (
            &[("pragma", "no-cache"), ("expires", &at(60))],
            EXPLICIT(60),
        ),
        // RFC 9213 §2.2: a targeted field sets Cache-Control and Expires aside.
        (
            &[
                ("cdn-cache-control", "max-age=60"),
                ("cache-control", "max-age=1"),
            ],
            EXPLICIT(60),
        ),
        (
            &[("cdn-cache-control", "max-age=60"), ("expires", "0")],
            EXPLICIT(60),
        ),
        (
            &[("cdn-cache-control", "max-age=0"), ("expires", &at(60))],
            EXPLICIT(0),
        ),
        (
            &[("cdn-cache-control", "none"), ("expires", &at(60))],
            Lifetime::Unstated,
        ),
        (
            &[("cdn-cache-control", "max-age"), ("expires", &at(60))],
            EXPLICIT(60),
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(lifetime_of(200, fields), *expected, "{fields:?}");
    }
}

#[test]
fn expires_is_measured_from_date() {
    let cases: &[(&[(&str, &str)], u64)] = &[
        // RFC 9111 §4.2.1, §5.3
        (&[("expires", &at(60)), ("date", &at(0))], 60),
        (&[("expires", &at(0)), ("date", &at(0))], 0),
        (&[("expires", &at(-60)), ("date", &at(0))], 0),
        (&[("expires", &at(300)), ("date", &at(400))], 0),
        (&[("expires", &at(20)), ("date", &at(10))], 10),
        (&[("expires", &at(10)), ("date", &at(-10))], 20),
        (&[("expires", &at(10)), ("date", "foo")], 10),
        (&[("expires", &at(10))], 10),
        (&[("expires", "0"), ("date", &at(0))], 0),
        (&[("expires", ""), ("date", &at(0))], 0),
        (
            &[
                ("expires", "Thu, 18 Aug 2050 02:01:18 UTC"),
                ("date", &at(0)),
            ],
            0,
        ),
        (
            &[
                ("expires", "Thu, 18 Aug 2050 2:01:18 GMT"),
                ("date", &at(0)),
            ],
            0,
        ),
        (&[("expires", &at(60)), ("expires", &at(60))], 0),
        (&[("expires", &format!("{}, {}", at(60), at(60)))], 0),
        // RFC 9111 §1.2.2
        (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], 1 << 31),
        // RFC 9110 §5.6.7: the obsolete formats, the two-digit year seen from 1994.
        (&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], 60),
        (&[("expires", "Sun Nov  6 08:50:37 1994")], 60),
    ];
    for (fields, expected) in cases {
        assert_eq!(lifetime_of(599, fields), EXPLICIT(*expected), "{fields:?}");
    }
}

#[test]
fn a_tenth_of_the_time_since_the_last_modification_is_guessed() {
    let cases: &[(&[(&str, &str)], Lifetime)] = &[
        // RFC 9111 §4.2.2
        (
            &[("last-modified", &at(-30)), ("date", &at(0))],
            HEURISTIC(3),
        ),
        (
            &[("last-modified", &at(-86_400)), ("date", &at(0))],
            HEURISTIC(8640),
        ),
        (
            &[("last-modified", &at(-864_000)), ("date", &at(0))],
            HEURISTIC(86_400),
        ),
        (
            &[("last-modified", &at(-864_010)), ("date", &at(0))],
            HEURISTIC(86_400),
        ),
        (&[("last-modified", &at(-1000))], HEURISTIC(100)),
        (
            &[("last-modified", &at(-1000)), ("date", "foo")],
            HEURISTIC(100),
        ),
        (&[("last-modified", &at(0)), ("date", &at(0))], HEURISTIC(0)),
        (
            &[("last-modified", &at(10)), ("date", &at(0))],
            Lifetime::Unstated,
        ),
        (
            &[("last-modified", "0"), ("date", &at(0))],
            Lifetime::Unstated,
        ),
        (&[("date", &at(0))], Lifetime::Unstated),
    ];
    for (fields, expected) in cases {
        assert_eq!(lifetime_of(200, fields), *expected, "{fields:?}");
    }
}

#[test]
fn only_some_statuses_are_guessed_for_unless_public() {
    let modified = ("last-modified", &*at(-1000));
    for status in 100..=999 {
        // RFC 9110 §15.1
        let listed = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];
        let expected = match listed.contains(&status) {
            true => HEURISTIC(100),
            false => Lifetime::Unstated,
        };
        assert_eq!(lifetime_of(status, &[modified]), expected, "{status}");
        // RFC 9111 §4.2.2: or marked as explicitly cacheable.
        let public = lifetime_of(status, &[modified, ("cache-control", "public")]);
        assert_eq!(public, HEURISTIC(100), "{status}");
        let explicit = lifetime_of(status, &[("cache-control", "max-age=60")]);
        assert_eq!(explicit, EXPLICIT(60), "{status}");
    }
}
