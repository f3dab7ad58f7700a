//! Dates in header fields
//! ([RFC 9110 §5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)).
//!
//! Dates are written with the `httpdate` crate. They are read here, because a cache has rules of
//! its own ([RFC 9111 §4.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2)): case does not
//! matter, two-digit years depend on the present, and the day of the week, which adds nothing to a
//! date, need not be the right one. `httpdate` differs in all three.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

#[cfg(test)]
mod tests;

const DAY: i64 = 24 * 60 * 60;

/// The last second that can be written with a four-digit year.
const LAST_SECOND: u64 = 253_402_300_799;

const DAYS: [&[u8]; 7] = [
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
    b"Sunday",
];

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Reads a date in any of the three formats.
///
/// Strict in all but case and the day of the week: another zone than GMT, a missing comma, a
/// doubled space or a one-digit hour make the date invalid, and an invalid `Expires` is a stale
/// response. `now` settles which century a two-digit year belongs to.
pub(crate) fn parse(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let value = value.trim_ascii();
    let date = imf_fixdate(value)
        .or_else(|| asctime(value))
        .or_else(|| rfc850(value, now))?;
    from_seconds(date.seconds()?)
}

/// Writes a date as an IMF-fixdate, at the nearest second that has one (years 1970 to 9999).
///
/// Each thread keeps the last one: most are asked for many times in their second.
pub(crate) fn format(time: SystemTime) -> Written {
    thread_local! {
        static LAST: Cell<Option<(u64, Written)>> = const { Cell::new(None) };
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let second = since.map_or(0, |since| since.as_secs()).min(LAST_SECOND);
    match LAST.get() {
        Some((last, written)) if last == second => written,
        _ => {
            let written = write(second);
            LAST.set(Some((second, written)));
            written
        }
    }
}

/// A date as it is written: always of one length.
pub(crate) type Written = [u8; 29];

fn write(second: u64) -> Written {
    let first = SystemTime::UNIX_EPOCH;
    let time = first.checked_add(Duration::from_secs(second));
    let text = httpdate::fmt_http_date(time.unwrap_or(first));
    let mut written = [b' '; 29];
    written.copy_from_slice(text.as_bytes());
    written
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Date {
    year: i64,
    /// From 1.
    month: i64,
    day: i64,
    /// Since midnight.
    second: i64,
}

impl Date {
    /// Returns the seconds since 1970, or `None` if the month has no such day.
    fn seconds(self) -> Option<i64> {
        let in_range = (1..=days_in_month(self.year, self.month)).contains(&self.day);
        in_range.then(|| days_from_civil(self.year, self.month, self.day) * DAY + self.second)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &[u8]) -> Option<Date> {
    let (day, rest) = value.split_first_chunk::<3>()?;
    is_day(day, 3).then_some(())?;
    let rest = rest.strip_prefix(b", ")?;
    let (day, rest) = digits::<2>(rest)?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let (year, rest) = digits::<4>(rest.strip_prefix(b" ")?)?;
    let (second, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    let date = Date {
        year,
        month,
        day,
        second,
    };
    rest.eq_ignore_ascii_case(b" GMT").then_some(date)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(value: &[u8]) -> Option<Date> {
    let (day, rest) = value.split_first_chunk::<3>()?;
    is_day(day, 3).then_some(())?;
    let (month, rest) = month(rest.strip_prefix(b" ")?)?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = match rest.strip_prefix(b" ") {
        Some(rest) => digits::<1>(rest)?,
        None => digits::<2>(rest)?,
    };
    let (second, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    let (year, rest) = digits::<4>(rest.strip_prefix(b" ")?)?;
    let date = Date {
        year,
        month,
        day,
        second,
    };
    rest.is_empty().then_some(date)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(value: &[u8], now: SystemTime) -> Option<Date> {
    let comma = value.iter().position(|byte| *byte == b',')?;
    is_day(&value[..comma], usize::MAX).then_some(())?;
    let (day, rest) = digits::<2>(value[comma..].strip_prefix(b", ")?)?;
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let (year, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let (second, rest) = time_of_day(rest.strip_prefix(b" ")?)?;
    rest.eq_ignore_ascii_case(b" GMT").then_some(())?;
    Some(in_nearest_century(
        Date {
            year,
            month,
            day,
            second,
        },
        now,
    ))
}

/// Gives a date with a two-digit year its century: the latest that does not put it more than 50
/// years into the future.
fn in_nearest_century(date: Date, now: SystemTime) -> Date {
    let now = civil_from_seconds(to_seconds(now));
    let limit = Date {
        year: now.year + 50,
        ..now
    };
    let year = limit.year.div_euclid(100) * 100 + date.year;
    let latest = Date { year, ..date };
    if latest > limit {
        Date {
            year: year - 100,
            ..date
        }
    } else {
        latest
    }
}

/// Tells whether `name` is the name of a day, cut to `length` letters.
fn is_day(name: &[u8], length: usize) -> bool {
    DAYS.iter()
        .any(|day| day[..length.min(day.len())].eq_ignore_ascii_case(name))
}

fn month(value: &[u8]) -> Option<(i64, &[u8])> {
    let (name, rest) = value.split_first_chunk::<3>()?;
    let month = MONTHS
        .iter()
        .position(|month| month.eq_ignore_ascii_case(name))?;
    Some((month as i64 + 1, rest))
}

/// `08:49:37`
fn time_of_day(value: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = digits::<2>(value)?;
    let (minute, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    let (second, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Our clock has no leap seconds: the nearest time equal to or earlier (RFC 9111 §4.2).
    Some((hour * 3600 + minute * 60 + second.min(59), rest))
}

fn digits<const N: usize>(value: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = value.split_first_chunk::<N>()?;
    let number = digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })?;
    Some((number, rest))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
///
/// The year is taken to begin in March, so that the leap day is its last; 719 468 days lie between
/// 0000-03-01 and 1970-01-01, and 146 097 in each cycle of 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    cycle * 146_097 + day_of_cycle - 719_468
}

/// The inverse of [`days_from_civil`], with the time of day.
fn civil_from_seconds(seconds: i64) -> Date {
    let days = seconds.div_euclid(DAY) + 719_468;
    let cycle = days.div_euclid(146_097);
    let day_of_cycle = days.rem_euclid(146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    Date {
        year: cycle * 400 + year_of_cycle + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        second: seconds.rem_euclid(DAY),
    }
}

/// Returns the whole seconds since 1970, rounded down.
fn to_seconds(time: SystemTime) -> i64 {
    // A clock set to beyond the year 9999 is as good as one set to that year.
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_secs().min(LAST_SECOND) as i64,
        Err(before) => -(before.duration().as_secs().min(LAST_SECOND) as i64),
    }
}

/// `None` where the platform's clock cannot go back that far.
fn from_seconds(seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}
