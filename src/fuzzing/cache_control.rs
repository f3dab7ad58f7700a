use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

use super::{Lines, value};
use crate::semantics::cache_control::{CacheControl, MAX_DELTA_SECONDS, MaxStale, Scope};

/// Reads every line as one of `Cache-Control`.
///
/// - Neither the order of lines, nor saying them twice, nor their case matters.
/// - A further line never makes the directives less strict.
/// - Lines without quotes mean what they mean joined by commas.
/// - Directives that are written out and read again are the same.
pub fn cache_control(input: &[u8]) {
    let lines: Vec<HeaderValue> = Lines::of(input).map(value).collect();
    let all = CacheControl::from_lines(&lines);
    assert_eq!(all, CacheControl::from_lines(lines.iter().rev()), "order");
    let twice = lines.iter().chain(&lines);
    assert_eq!(all, CacheControl::from_lines(twice), "repetition");
    let upper: Vec<_> = lines
        .iter()
        .map(|line| value(&line.as_bytes().to_ascii_uppercase()))
        .collect();
    assert_eq!(all, CacheControl::from_lines(&upper), "case");
    for some in [&lines[1..], &lines[..lines.len() - 1]] {
        assert_no_less_strict(&all, &CacheControl::from_lines(some));
    }
    if !lines.iter().any(|line| line.as_bytes().contains(&b'"')) {
        let texts: Vec<_> = lines.iter().map(HeaderValue::as_bytes).collect();
        let joined = value(&texts.join(&b','));
        assert_eq!(all, CacheControl::from_lines([&joined]), "joined");
    }
    let written = value(written(&all).as_bytes());
    assert_eq!(all, CacheControl::from_lines([&written]), "written");
    let greatest = Duration::from_secs(MAX_DELTA_SECONDS);
    for seconds in [all.max_age, all.s_maxage, all.min_fresh] {
        assert!(seconds.is_none_or(|seconds| seconds <= greatest));
    }
}

fn assert_no_less_strict(all: &CacheControl, some: &CacheControl) {
    let kept = [
        (some.no_store, all.no_store),
        (some.must_revalidate, all.must_revalidate),
        (some.proxy_revalidate, all.proxy_revalidate),
        (some.no_transform, all.no_transform),
        (some.only_if_cached, all.only_if_cached),
        (some.present, all.present),
    ];
    assert!(kept.iter().all(|(some, all)| !some || *all));
    assert!(is_as_wide(&all.no_cache, &some.no_cache));
    assert!(is_as_wide(&all.private, &some.private));
    let lifetimes = [
        (some.max_age, all.max_age),
        (some.s_maxage, all.s_maxage),
        (some.stale_while_revalidate, all.stale_while_revalidate),
        (some.stale_if_error, all.stale_if_error),
    ];
    for (some, all) in lifetimes {
        assert!(some.is_none_or(|some| all.is_some_and(|all| all <= some)));
    }
    assert!(all.min_fresh >= some.min_fresh);
    if let Some(MaxStale::By(some)) = some.max_stale {
        assert!(matches!(all.max_stale, Some(MaxStale::By(all)) if all <= some));
    }
}

fn is_as_wide(all: &Scope, some: &Scope) -> bool {
    match (all, some) {
        (Scope::Whole, _) | (_, Scope::Absent) => true,
        (_, Scope::Whole) | (Scope::Absent, _) => false,
        (Scope::Fields(all), Scope::Fields(some)) => some.iter().all(|name| all.contains(name)),
    }
}

fn written(directives: &CacheControl) -> String {
    let mut line = String::new();
    let flags = [
        ("x", directives.present),
        ("no-store", directives.no_store),
        ("public", directives.public),
        ("must-revalidate", directives.must_revalidate),
        ("proxy-revalidate", directives.proxy_revalidate),
        ("must-understand", directives.must_understand),
        ("no-transform", directives.no_transform),
        ("only-if-cached", directives.only_if_cached),
        ("immutable", directives.immutable),
    ];
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        let _ = write!(line, "{name}, ");
    }
    let max_stale = match directives.max_stale {
        Some(MaxStale::By(seconds)) => Some(seconds),
        _ => None,
    };
    let seconds = [
        ("max-age", directives.max_age),
        ("s-maxage", directives.s_maxage),
        ("stale-while-revalidate", directives.stale_while_revalidate),
        ("stale-if-error", directives.stale_if_error),
        ("min-fresh", directives.min_fresh),
        ("max-stale", max_stale),
    ];
    for (name, seconds) in seconds {
        if let Some(seconds) = seconds {
            let _ = write!(line, "{name}={}, ", seconds.as_secs());
        }
    }
    if directives.max_stale == Some(MaxStale::Any) {
        line.push_str("max-stale, ");
    }
    for (name, scope) in [
        ("no-cache", &directives.no_cache),
        ("private", &directives.private),
    ] {
        let fields: Vec<_> = scope.fields().iter().map(|name| name.as_str()).collect();
        let _ = match scope {
            Scope::Absent => Ok(()),
            Scope::Whole => write!(line, "{name}, "),
            Scope::Fields(_) => write!(line, "{name}=\"{}\", ", fields.join(", ")),
        };
    }
    line
}
