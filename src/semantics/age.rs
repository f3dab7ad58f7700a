//! The age of a response
//! ([RFC 9111 §4.2.3](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.3)).

use std::time::Duration;

use http::header::{AGE, DATE, HeaderMap, HeaderValue};

use crate::clock::Now;
use crate::semantics::cache_control::{MAX_DELTA_SECONDS, delta_seconds};
use crate::semantics::date;

/// The greatest age there is
/// ([RFC 9111 §1.2.2](https://www.rfc-editor.org/rfc/rfc9111#section-1.2.2)).
const GREATEST: Duration = Duration::from_secs(MAX_DELTA_SECONDS);

/// Returns the corrected initial age: how old the response was when it was received.
///
/// That is the larger of what the wall clocks say (now − `Date`) and what the caches on the way
/// say (`Age` and the time the request took), at most 2³¹ seconds. A `Date` in the future, a
/// missing or an invalid one say nothing.
pub(crate) fn initial_age(headers: &HeaderMap, requested: Now, received: Now) -> Duration {
    let response_delay = received
        .instant
        .saturating_duration_since(requested.instant);
    let corrected_age_value = age_value(headers).saturating_add(response_delay);
    let apparent_age = headers
        .get(DATE)
        .and_then(|value| date::parse(value.as_bytes(), received.wall))
        .and_then(|date| received.wall.duration_since(date).ok())
        .unwrap_or_default();
    // A Date is cut to the second. So is the present it is compared with, or else a response just
    // made would be up to a second old.
    Duration::from_secs(apparent_age.as_secs())
        .max(corrected_age_value)
        .min(GREATEST)
}

/// Returns what `Age` states, zero where there is none
/// ([RFC 9111 §5.1](https://www.rfc-editor.org/rfc/rfc9111#section-5.1)).
///
/// Of several, in one line or in more, the first counts. One that is not a non-negative integer is
/// ignored, whatever stands behind it.
pub(crate) fn age_value(headers: &HeaderMap) -> Duration {
    let line = headers.get(AGE).map_or(&b""[..], HeaderValue::as_bytes);
    let first = line.split(|byte| *byte == b',').next().unwrap_or_default();
    delta_seconds(first.trim_ascii()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use proptest::prelude::*;

    use super::*;

    /// Requested at zero, received half a second later.
    fn exchange() -> (Now, Now) {
        let requested = Now {
            instant: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
        };
        let delay = Duration::from_millis(500);
        let received = Now {
            instant: requested.instant + delay,
            wall: requested.wall + delay,
        };
        (requested, received)
    }

    fn age_of(fields: &[(&'static str, &str)]) -> f64 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                *name,
                HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
            );
        }
        let (requested, received) = exchange();
        initial_age(&headers, requested, received).as_secs_f64()
    }

    #[test]
    fn a_stated_age_counts_and_the_delay_is_added() {
        let cases: &[(&[(&str, &str)], f64)] = &[
            // RFC 9111 §4.2.3
            (&[], 0.5),
            (&[("age", "7200")], 7200.5),
            (&[("age", "0")], 0.5),
            // RFC 9111 §5.1: the first member of a list, whatever follows; several lines are a list
            // (RFC 9110 §5.3).
            (&[("age", "7200,0")], 7200.5),
            (&[("age", "7200, 0")], 7200.5),
            (&[("age", "7200 ,x")], 7200.5),
            (&[("age", "0,7200")], 0.5),
            (&[("age", "0, 0")], 0.5),
            (&[("age", "3600 , 3600")], 3600.5),
            (&[("age", "0"), ("age", "0")], 0.5),
            (&[("age", "7200"), ("age", "0")], 7200.5),
            (&[("age", "0"), ("age", "7200")], 0.5),
            (&[("age", "7200"), ("age", "x")], 7200.5),
            // RFC 9111 §1.2.2
            (&[("age", "2147483648")], 2_147_483_648.0),
            (&[("age", "99999999999999999999999")], 2_147_483_648.0),
        ];
        for (fields, expected) in cases {
            assert_eq!(age_of(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn an_age_that_is_invalid_is_ignored() {
        // RFC 9111 §5.1: not a non-negative integer, "after discarding additional members".
        for age in [
            "",
            ",7200",
            "abc",
            "-7200",
            "+7200",
            "7200.0",
            "7200 0",
            "7200;foo=bar",
            "7200;foo=111",
            "\"7200\"",
            "0x1c20",
            "x, 7200",
        ] {
            assert_eq!(age_of(&[("age", age)]), 0.5, "{age:?}");
        }
        assert_eq!(age_of(&[("age", "x"), ("age", "7200")]), 0.5);
        // What the Date says counts all the same.
        let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        assert_eq!(age_of(&[("age", "x"), date]), 10.0);
    }

    #[test]
    fn an_old_date_makes_a_response_old() {
        let cases: &[(&[(&str, &str)], f64)] = &[
            // RFC 9111 §4.2.3: apparent_age = max(0, response_time − date_value)
            (&[("date", "Sun, 06 Nov 1994 08:49:27 GMT")], 10.0),
            (
                &[("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("age", "3")],
                10.0,
            ),
            (
                &[("date", "Sun, 06 Nov 1994 08:49:27 GMT"), ("age", "30")],
                30.5,
            ),
            (&[("date", "Sun, 06 Nov 1994 08:50:37 GMT")], 0.5),
            (&[("date", "Mon, 06 Nov 1995 08:49:37 GMT")], 0.5),
            (&[("date", "Thu, 01 Jan 1970 00:00:00 GMT")], 784_111_777.0),
            (
                &[("date", "Mon, 01 Jan 0001 00:00:00 GMT")],
                2_147_483_648.0,
            ),
            (&[("date", "yesterday")], 0.5),
            (&[("date", "0")], 0.5),
        ];
        for (fields, expected) in cases {
            assert_eq!(age_of(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_younger_than_new() {
        let (requested, received) = exchange();
        assert_eq!(
            initial_age(&HeaderMap::new(), received, requested),
            Duration::ZERO
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_age_and_no_date_make_it_panic_or_exceed_the_greatest_age(
            age in prop::collection::vec(any::<u8>(), 0..30),
            date in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(AGE, age), (DATE, date)] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.insert(name, value);
                }
            }
            let (requested, received) = exchange();
            let age = initial_age(&headers, requested, received);
            prop_assert!(age >= Duration::from_millis(500));
            prop_assert!(age <= Duration::from_secs(MAX_DELTA_SECONDS));
        }

        #[test]
        fn an_age_is_taken_at_its_word(age in 0_u32..=1 << 31) {
            prop_assert_eq!(age_of(&[("age", &age.to_string())]), (f64::from(age) + 0.5).min(2_147_483_648.0));
        }
    }
}
