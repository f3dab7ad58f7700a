use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn request(line: &'static str) -> CacheControl {
    CacheControl::from_lines([&HeaderValue::from_static(line)])
}

fn judge(line: &'static str, age: f64, lifetime: u64) -> AgeVerdict {
    let age = Duration::from_secs_f64(age);
    permitted(&request(line), age, Duration::from_secs(lifetime), false)
}

#[test]
fn without_directives_freshness_decides() {
    // RFC 9111 §4.2: response_is_fresh = (freshness_lifetime > current_age)
    assert_eq!(judge("", 9.999, 10), AgeVerdict::Fresh);
    assert_eq!(judge("", 10.0, 10), AgeVerdict::Stale);
    assert_eq!(judge("", 10.001, 10), AgeVerdict::Stale);
    assert_eq!(judge("", 0.0, 0), AgeVerdict::Stale);
    assert_eq!(
        judge("no-store, only-if-cached, foo", 9.0, 10),
        AgeVerdict::Fresh
    );
}

#[test]
fn a_client_can_ask_for_fresher_responses() {
    let cases = [
        // RFC 9111 §5.2.1.4
        ("no-cache", 0.0, 10, AgeVerdict::Validate),
        ("no-cache=\"a\"", 0.0, 10, AgeVerdict::Validate),
        // RFC 9111 §5.2.1.1
        ("max-age=0", 0.1, 10, AgeVerdict::Validate),
        ("max-age=5", 5.0, 10, AgeVerdict::Fresh),
        ("max-age=5", 5.1, 10, AgeVerdict::Validate),
        ("max-age=50", 20.0, 10, AgeVerdict::Stale),
        ("max-age=600", 1800.0, 3600, AgeVerdict::Validate),
        // RFC 9111 §5.2.1.3
        ("min-fresh=5", 5.0, 10, AgeVerdict::Fresh),
        ("min-fresh=5", 5.1, 10, AgeVerdict::Validate),
        ("min-fresh=2000", 0.0, 1500, AgeVerdict::Validate),
        ("min-fresh=0", 10.0, 10, AgeVerdict::Stale),
        ("min-fresh=99999999999", 0.0, 10, AgeVerdict::Validate),
    ];
    for (line, age, lifetime, expected) in cases {
        assert_eq!(judge(line, age, lifetime), expected, "{line}");
    }
}

#[test]
fn a_client_can_accept_stale_responses() {
    let cases = [
        // RFC 9111 §5.2.1.2
        ("max-stale", 1e6, 10, AgeVerdict::StaleAllowed),
        ("max-stale=5", 9.0, 10, AgeVerdict::Fresh),
        ("max-stale=5", 15.0, 10, AgeVerdict::StaleAllowed),
        ("max-stale=5", 15.1, 10, AgeVerdict::Validate),
        ("max-stale=x", 10.0, 10, AgeVerdict::StaleAllowed),
        ("max-stale=x", 10.1, 10, AgeVerdict::Validate),
        ("max-stale=1000", 2000.0, 1500, AgeVerdict::StaleAllowed),
        // What asks for less reuse wins.
        ("max-stale, max-age=12", 12.0, 10, AgeVerdict::StaleAllowed),
        ("max-stale, max-age=12", 12.1, 10, AgeVerdict::Validate),
        ("max-stale, min-fresh=1", 12.0, 10, AgeVerdict::Validate),
        ("max-stale, no-cache", 12.0, 10, AgeVerdict::Validate),
    ];
    for (line, age, lifetime, expected) in cases {
        assert_eq!(judge(line, age, lifetime), expected, "{line}");
    }
}

#[test]
fn what_is_never_stale_is_not_stale_for_any_client() {
    let ten = Duration::from_secs(10);
    // RFC 9111 §4.2.4, §5.2.2.2
    assert_eq!(
        permitted(&request("max-stale"), ten, ten, true),
        AgeVerdict::Validate
    );
    let almost = ten - Duration::from_millis(1);
    assert_eq!(
        permitted(&request("max-stale"), almost, ten, true),
        AgeVerdict::Fresh
    );
}

#[test]
fn some_server_errors_give_way_to_stale_responses() {
    for status in 100..=999 {
        let expected = [500, 502, 503, 504].contains(&status);
        let status = StatusCode::from_u16(status).expect("a status");
        // RFC 5861 §4
        assert_eq!(stale_if_error(status), expected, "{status}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_age_or_lifetime_makes_it_panic_or_calls_the_stale_fresh(
        age in any::<Duration>(),
        lifetime in any::<Duration>(),
        never_stale: bool,
        line in prop::sample::select(vec!["", "max-stale", "max-stale=9", "min-fresh=9, max-age=9"]),
    ) {
        let permit = permitted(&request(line), age, lifetime, never_stale);
        prop_assert!(permit != AgeVerdict::Fresh || lifetime > age);
        prop_assert!(permit != AgeVerdict::StaleAllowed || (lifetime <= age && !never_stale));
    }
}
