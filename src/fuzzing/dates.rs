use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, DATE, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED,
};

use super::{Lines, at};
use crate::clock::Now;
use crate::semantics::cache_control::MAX_DELTA_SECONDS;
use crate::semantics::freshness::{self, Lifetime};
use crate::semantics::reuse::{self, AgeVerdict};
use crate::semantics::storable::{self, Grants, RequestFacts};
use crate::semantics::{age, date, targeted};

/// Reads the time, how long the request took, a status, and headers: `A` for `Age`, `D`
/// for `Date`, `E` for `Expires`, `L` for `Last-Modified`, `C` for `Cache-Control`, `N` for
/// `Connection`.
///
/// - A date that is read, written and read again is the same; case does not matter.
/// - A date that `httpdate` reads is the same here, and a two-digit year is at most 50 years away.
/// - Ages and lifetimes keep to their bounds.
/// - What is stored has no field that belongs to the connection or must not be used unvalidated.
/// - A response is fresh only while its lifetime is greater than its age.
pub fn dates(input: &[u8]) {
    let mut lines = Lines::of(input);
    let wall = at(lines.number());
    let took = Duration::from_millis(lines.number() % 100_000);
    let status = StatusCode::from_u16((lines.number() % 1000) as u16).unwrap_or(StatusCode::OK);
    let headers = lines.headers(&[
        (b'A', AGE),
        (b'D', DATE),
        (b'E', EXPIRES),
        (b'L', LAST_MODIFIED),
        (b'C', CACHE_CONTROL),
        (b'N', CONNECTION),
    ]);
    for name in [DATE, EXPIRES, LAST_MODIFIED] {
        for line in headers.get_all(name) {
            assert_date(line.as_bytes(), wall);
        }
    }
    let requested = Now {
        instant: Instant::now(),
        wall,
    };
    let received = Now {
        instant: requested.instant + took,
        wall,
    };
    let age = age::initial_age(&headers, requested, received);
    assert!(age >= took && age <= Duration::from_secs(MAX_DELTA_SECONDS));
    assert!(age >= age::age_value(&headers));
    assert_lifetime(status, &headers, age, received);
}

fn assert_date(line: &[u8], now: SystemTime) {
    const YEAR: u64 = 366 * 24 * 60 * 60;
    let read = date::parse(line, now);
    let text = str::from_utf8(line).unwrap_or_default();
    let has_short_year = text.contains('-');
    if let Ok(theirs) = httpdate::parse_http_date(text)
        && !has_short_year
    {
        assert_eq!(read, Some(theirs), "{text:?}");
    }
    let Some(read) = read else { return };
    assert_eq!(date::parse(&line.to_ascii_lowercase(), now), Some(read));
    if read >= SystemTime::UNIX_EPOCH {
        let written = date::format(read);
        assert_eq!(date::parse(&written, now), Some(read));
        let written = str::from_utf8(&written).expect("it is ASCII");
        assert_eq!(httpdate::parse_http_date(written).ok(), Some(read));
    }
    if has_short_year {
        let ahead = read.duration_since(now).unwrap_or_default();
        let behind = now.duration_since(read).unwrap_or_default();
        assert!(ahead <= Duration::from_secs(50 * YEAR));
        assert!(behind <= Duration::from_secs(51 * YEAR));
    }
}

fn assert_lifetime(status: StatusCode, headers: &HeaderMap, age: Duration, received: Now) {
    let directives = targeted::directives(headers, &[]);
    let lifetime = freshness::lifetime(status, headers, &directives, received);
    let (seconds, explicit) = match lifetime {
        Lifetime::Explicit(seconds) => (seconds, true),
        Lifetime::Heuristic(seconds) => {
            assert!(seconds <= Duration::from_secs(24 * 60 * 60));
            (seconds, false)
        }
        Lifetime::Unstated => (Duration::ZERO, false),
    };
    assert!(seconds <= Duration::from_secs(MAX_DELTA_SECONDS));
    assert_eq!(explicit, freshness::is_explicit(headers, &directives));

    let cache_control = &directives.cache_control;
    let permit = reuse::permitted(cache_control, age, seconds, false);
    assert!(permit != AgeVerdict::Fresh || seconds > age);
    assert!(permit != AgeVerdict::StaleAllowed || cache_control.max_stale.is_some());
    let never_stale = reuse::permitted(cache_control, age, seconds, true);
    assert_ne!(never_stale, AgeVerdict::StaleAllowed);

    let (request, grants) = (RequestFacts::default(), Grants::default());
    let judged = storable::judge(status, headers, &directives, &request, &grants);
    if cache_control.private.is_present()
        || (cache_control.no_store && !cache_control.must_understand)
    {
        assert!(judged.is_err());
    }
    let no_cache = &cache_control.no_cache;
    let stored = storable::stored_headers(headers, no_cache);
    assert!(!stored.contains_key(AGE) && !stored.contains_key(CONNECTION));
    assert!(
        no_cache
            .fields()
            .iter()
            .all(|name| !stored.contains_key(name))
    );
    let connection = headers.get_all(CONNECTION).iter();
    let mut options = connection.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    assert!(options.all(|option| {
        let name = HeaderName::from_bytes(option.trim_ascii());
        name.map_or(true, |name| !stored.contains_key(name))
    }));

    let authorized = RequestFacts {
        authorization: true,
        cookie: true,
        ..request
    };
    let shared = storable::judge(status, headers, &directives, &authorized, &grants);
    assert!(judged.is_ok() || shared.is_err());
}
