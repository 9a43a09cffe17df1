//! Time: milliseconds since the epoch, UTC; days in a merchant's time zone.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Milliseconds since the epoch, UTC.
pub type Millis = i64;
/// Days since 1970-01-01 in the time zone that the merchant's rules name.
pub type Day = i32;

/// Maximum time of an event, ms: 9999-12-31T23:59:59.999Z; a later one is refused (contract section 1).
pub const TIME_MAX: Millis = 253_402_300_799_999;
/// Minimum time of an event that is written as an integer, ms: 1973-03-03T09:46:40Z. A smaller number is taken for
/// seconds and refused (contract section 1).
pub const INTEGER_TIME_MIN: Millis = 100_000_000_000;
/// Maximum lead of an event's time over `received`, ms; a time further ahead becomes `received` (contract section 1).
pub(crate) const AHEAD_MAX_MS: i64 = 5 * 60 * 1000;
/// Maximum lead of an event's time over the event clock, ms; an event further ahead is refused, for the clock never goes back.
pub const CLOCK_AHEAD_MAX_MS: i64 = 366 * DAY_MS;

/// A second, ms.
pub const SECOND_MS: i64 = 1_000;
/// A minute, ms.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// An hour, ms.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A day of 24 hours, ms.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A time zone from the database inside the binary, with its offsets precomputed for quick look-ups.
///
/// The database is part of the behaviour: a newer one may change the days of future times.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    tz: TimeZone,
    /// (from, offset), both ms, ascending; the first begins at `i64::MIN`.
    spans: Vec<(Millis, i64)>,
}

/// End of the precomputed offsets, ms: 2200-01-01; later ones are looked up in the database each time.
const SPANS_END: Millis = 7_258_118_400_000;

impl Zone {
    /// The zone of an IANA name such as `Asia/Shanghai`; `None` if the database does not have that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // The library finds names in any letter case; one zone with two names would make two versions of the same rules.
        let tz = TimeZone::get(name).ok().filter(|tz| tz.iana_name() == Some(name))?;
        let start = Timestamp::from_millisecond(0).ok()?;
        let mut spans = vec![(i64::MIN, offset_ms(&tz, start))];
        for transition in tz.following(start) {
            let from = transition.timestamp();
            if from.as_millisecond() >= SPANS_END {
                break;
            }
            let offset = offset_ms(&tz, from);
            if spans.last().is_some_and(|&(_, last)| last != offset) {
                spans.push((from.as_millisecond(), offset));
            }
        }
        Some(Self { name: name.to_owned(), tz, spans })
    }

    /// Its IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day of a moment `0 ≤ at ≤ TIME_MAX` in this zone.
    #[must_use]
    pub fn day(&self, at: Millis) -> Day {
        let local = at + self.offset_ms(at);
        Day::try_from(local.div_euclid(DAY_MS)).unwrap_or(Day::MAX)
    }

    fn offset_ms(&self, at: Millis) -> i64 {
        if at >= SPANS_END {
            // The library's last moment is a day before `TIME_MAX`; no zone changes its offset in the last days of that year.
            return offset_ms(&self.tz, Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX - 2.hours()));
        }
        let after = self.spans.partition_point(|&(from, _)| from <= at);
        self.spans[after - 1].1
    }
}

fn offset_ms(tz: &TimeZone, at: Timestamp) -> i64 {
    i64::from(tz.to_offset(at).seconds()) * SECOND_MS
}

/// Writes a day as `YYYY-MM-DD` (days outside 0000…9999 do not occur: times are bounded).
#[must_use]
pub fn day_text(day: Day) -> String {
    let (y, m, d) = civil(i64::from(day));
    format!("{y:04}-{m:02}-{d:02}")
}

/// Writes a moment as RFC 3339, UTC, with milliseconds.
#[must_use]
pub fn time_text(at: Millis) -> String {
    let (y, m, d) = civil(at.div_euclid(DAY_MS));
    let ms = at.rem_euclid(DAY_MS);
    let (h, min, s) = (ms / HOUR_MS, ms / MINUTE_MS % 60, ms / SECOND_MS % 60);
    format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}.{:03}Z", ms % 1000)
}

/// Reads RFC 3339 with an offset, a date and time as in section 5.6: digits finer than milliseconds are dropped,
/// second 60 and moments outside 0…`TIME_MAX` are refused.
///
/// # Errors
/// What is wrong, as a phrase that follows the field's name.
pub fn parse_rfc3339(text: &str) -> Result<Millis, &'static str> {
    const SHAPE: &str = "not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00";
    let b = text.as_bytes();
    let number = |from: usize, len: usize| -> Result<i64, &'static str> {
        let digits = b.get(from..from + len).ok_or(SHAPE)?;
        digits.iter().try_fold(0, |n, d| if d.is_ascii_digit() { Ok(n * 10 + i64::from(d - b'0')) } else { Err(SHAPE) })
    };
    let is = |at: usize, any: &[u8]| b.get(at).is_some_and(|c| any.contains(c)).then_some(()).ok_or(SHAPE);
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    is(4, b"-").and(is(7, b"-")).and(is(10, b"Tt")).and(is(13, b":")).and(is(16, b":"))?;
    let mut at = 19;
    let mut ms = 0;
    if b.get(at) == Some(&b'.') {
        let digits = b[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return Err(SHAPE);
        }
        ms = (0..3).fold(0, |n, i| n * 10 + if i < digits { i64::from(b[at + 1 + i] - b'0') } else { 0 });
        at += 1 + digits;
    }
    let offset_minutes = match b.get(at) {
        Some(b'Z' | b'z') => {
            at += 1;
            0
        }
        Some(sign @ (b'+' | b'-')) => {
            let (h, m) = (number(at + 1, 2)?, number(at + 4, 2)?);
            is(at + 3, b":")?;
            if h > 23 || m > 59 {
                return Err("has an offset that does not exist");
            }
            at += 6;
            if *sign == b'+' { h * 60 + m } else { -(h * 60 + m) }
        }
        _ => return Err("has no offset: end it with Z or, for example, +08:00"),
    };
    if at != b.len() {
        return Err(SHAPE);
    }
    if second == 60 {
        return Err("has second 60: leap seconds are not taken, send 59");
    }
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in_month(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return Err("is a date or time that does not exist");
    }
    let days = days_from_civil(year, month, day);
    let at = days * DAY_MS + hour * HOUR_MS + (minute - offset_minutes) * MINUTE_MS + second * SECOND_MS + ms;
    in_range(at)
}

/// Checks that a moment lies within 0…`TIME_MAX`.
///
/// # Errors
/// A phrase that follows the field's name.
pub fn in_range(at: Millis) -> Result<Millis, &'static str> {
    if (0..=TIME_MAX).contains(&at) {
        Ok(at)
    } else {
        Err("is outside 1970-01-01T00:00:00Z … 9999-12-31T23:59:59.999Z")
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_times_parse_to_the_same_moment() {
        for at in [0, 1, 951_782_399_999, 951_782_400_000, 1_793_836_800_000, TIME_MAX] {
            assert_eq!(parse_rfc3339(&time_text(at)), Ok(at));
        }
        assert_eq!(parse_rfc3339("2026-11-11T00:00:03.1209+08:00"), Ok(1_794_326_403_120));
        assert_eq!(time_text(1_794_326_403_120), "2026-11-10T16:00:03.120Z");
    }

    #[test]
    fn malformed_or_impossible_times_are_refused() {
        for text in [
            "",
            "2026-11-11",
            "2026-11-11T00:00:00",
            "2026-11-11T00:00:60Z",
            "2026-02-29T00:00:00Z",
            "2026-11-11T24:00:00Z",
            "2026-11-11T00:00:00+24:00",
            "2026-11-11T00:00:00.Z",
            "2026-11-11 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "2026-11-11T00:00:00Z ",
            "2026-11-11T00:00:00+0800",
            "+026-11-11T00:00:00Z",
        ] {
            assert!(parse_rfc3339(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_follow_the_offsets_of_the_zone() {
        let shanghai = Zone::named("Asia/Shanghai").expect("in the database");
        assert_eq!(day_text(shanghai.day(1_794_326_400_000)), "2026-11-11");
        assert_eq!(day_text(shanghai.day(1_794_326_399_999)), "2026-11-10");
        assert!(
            Zone::named("asia/shanghai").is_none()
                && Zone::named("UTC").is_some()
                && Zone::named("Asia/Calcutta").is_some()
        );
        let berlin = Zone::named("Europe/Berlin").expect("in the database");
        // Summer time ends on 2026-10-25 at 01:00 UTC: that day has 25 hours.
        let start = parse_rfc3339("2026-10-25T00:00:00+02:00").expect("a time");
        assert_eq!(day_text(berlin.day(start)), "2026-10-25");
        assert_eq!(day_text(berlin.day(start + 25 * HOUR_MS - 1)), "2026-10-25");
        assert_eq!(day_text(berlin.day(start + 25 * HOUR_MS)), "2026-10-26");
        assert_eq!(day_text(berlin.day(TIME_MAX)), "10000-01-01");
    }
}
