use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> SystemTime {
    from_seconds(seconds).expect("a time")
}

/// 2026-07-01 12:00:00 GMT
fn now() -> SystemTime {
    at(1_782_907_200)
}

fn seconds(value: &str) -> Option<i64> {
    parse(value.as_bytes(), now()).map(to_seconds)
}

#[test]
fn the_three_formats_are_read() {
    let cases = [
        // RFC 9110 §5.6.7: one moment, written thrice.
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
        ("Sun Nov  6 08:49:37 1994", 784_111_777),
        ("Sun Nov 06 08:49:37 1994", 784_111_777),
        ("Wednesday, 16-Nov-94 08:49:37 GMT", 784_975_777),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
        ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ("Mon, 01 Jan 0001 00:00:00 GMT", -62_135_596_800),
        // A leap second is the second before it (RFC 9111 §4.2).
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799),
        // RFC 9111 §4.2: case does not matter to a cache.
        ("THU, 18 Aug 2050 02:01:18 GMT", 2_544_400_878),
        ("Thu, 18 AUG 2050 02:01:18 GMT", 2_544_400_878),
        ("Thu, 18 Aug 2050 02:01:18 gMT", 2_544_400_878),
        ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
        // That was a Monday; the day of the week adds nothing to a date.
        ("Thu Aug  8 02:01:18 2050", 2_543_536_878),
        ("  Sun, 06 Nov 1994 08:49:37 GMT ", 784_111_777),
    ];
    for (value, expected) in cases {
        assert_eq!(seconds(value), Some(expected), "{value}");
    }
}

#[test]
fn what_is_nearly_a_date_is_none() {
    let cases = [
        "",
        "0",
        "-1",
        "foo",
        "Thu, 18 Aug 2050 02:01:18 UTC",
        "Thu, 18 Aug 2050 02:01:18 AEST",
        "Thu, 18 Aug 2050 02:01:18 +0000",
        "Thu, 18 Aug 2050 02:01:18",
        "Thu, 18 Aug 2050 02:01:18 GMT+1",
        "Thu, 18 Aug 50 02:01:18 GMT",
        "Thu 18 Aug 2050 02:01:18 GMT",
        "Thu, 18  Aug  2050 02:01:18 GMT",
        "Thu, 18-Aug-2050 02:01:18 GMT",
        "Thu, 18-Aug-50 02:01:18 GMT",
        "Thu, 18 Aug 2050 02.01.18 GMT",
        "Thu, 18 Aug 2050 2:01:18 GMT",
        "Thu, 8 Aug 2050 02:01:18 GMT",
        "Thu, 18 Aug 2050 24:00:00 GMT",
        "Thu, 18 Aug 2050 02:60:18 GMT",
        "Thu, 18 Aug 2050 02:01:61 GMT",
        "Thu, 00 Aug 2050 02:01:18 GMT",
        "Thu, 32 Aug 2050 02:01:18 GMT",
        "Thu, 31 Jun 2050 02:01:18 GMT",
        "Thu, 29 Feb 2050 02:01:18 GMT",
        "Mon, 29 Feb 2100 02:01:18 GMT",
        "Thu, 18 Foo 2050 02:01:18 GMT",
        "Foo, 18 Aug 2050 02:01:18 GMT",
        "Thursday, 18 Aug 2050 02:01:18 GMT",
        "Thu, +8 Aug 2050 02:01:18 GMT",
        "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "2050-08-18T02:01:18Z",
    ];
    for value in cases {
        assert_eq!(seconds(value), None, "{value}");
    }
}

#[test]
fn a_two_digit_year_is_at_most_fifty_years_ahead() {
    // RFC 9110 §5.6.7, seen from 2026-07-01 12:00:00.
    let pairs = [
        (
            "Monday, 01-Jul-26 00:00:00 GMT",
            "Wed, 01 Jul 2026 00:00:00 GMT",
        ),
        (
            "Monday, 01-Jul-76 12:00:00 GMT",
            "Wed, 01 Jul 2076 12:00:00 GMT",
        ),
        (
            "Monday, 01-Jul-76 12:00:01 GMT",
            "Thu, 01 Jul 1976 12:00:01 GMT",
        ),
        (
            "Monday, 01-Jan-77 00:00:00 GMT",
            "Sat, 01 Jan 1977 00:00:00 GMT",
        ),
        (
            "Monday, 01-Jan-00 00:00:00 GMT",
            "Sat, 01 Jan 2000 00:00:00 GMT",
        ),
        (
            "Monday, 01-Jan-99 00:00:00 GMT",
            "Fri, 01 Jan 1999 00:00:00 GMT",
        ),
        (
            "Monday, 29-Feb-00 00:00:00 GMT",
            "Tue, 29 Feb 2000 00:00:00 GMT",
        ),
    ];
    for (short, long) in pairs {
        assert_eq!(seconds(short), seconds(long), "{short}");
        assert!(seconds(short).is_some(), "{short}");
    }
    // Seen from 2080, 10 is 2110.
    let later = parse(b"Tue, 01 Oct 2080 00:00:00 GMT", now()).expect("a date");
    assert_eq!(
        parse(b"Wednesday, 01-Jan-10 00:00:00 GMT", later),
        parse(b"Wed, 01 Jan 2110 00:00:00 GMT", now()),
    );
}

#[test]
fn a_date_is_written_as_an_imf_fixdate() {
    assert_eq!(format(at(784_111_777)), *b"Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(format(at(-5)), *b"Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(
        format(at(300_000_000_000)),
        *b"Fri, 31 Dec 9999 23:59:59 GMT"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..40), now in any::<i32>()) {
        parse(&value, at(i64::from(now)));
    }

    #[test]
    fn nearly_valid_bytes_do_not_make_it_panic(
        value in "[A-Z][a-z]{2,8},?[ -]{1,2}[0-9]{2}[ -][A-Z][a-z]{2}[ -][0-9]{2,4} [0-9:]{8} (GMT)?",
        now in any::<i64>(),
    ) {
        let now = from_seconds(now).unwrap_or(SystemTime::UNIX_EPOCH);
        parse(value.as_bytes(), now);
        format(now);
    }

    #[test]
    fn what_is_written_is_read_again(seconds in 0..=LAST_SECOND as i64) {
        let written = format(at(seconds));
        prop_assert_eq!(parse(&written, now()), Some(at(seconds)));
        prop_assert_eq!(parse(&written.to_ascii_lowercase(), now()), Some(at(seconds)));
    }

    #[test]
    fn the_calendar_agrees_with_itself(seconds in -62_167_219_200..=LAST_SECOND as i64) {
        prop_assert_eq!(civil_from_seconds(seconds).seconds(), Some(seconds));
    }
}
