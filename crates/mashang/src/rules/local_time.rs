//! Moments and durations as people read them in rules: in the merchant's time zone, in whole units.

use domain::model::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis, SECOND_MS, time_text};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// RFC 3339 with the offset of a time zone; UTC where the zone is unknown, or the moment is beyond what the library writes.
pub(crate) fn rfc3339(at: Millis, zone: &str) -> String {
    formatted(at, zone, "%Y-%m-%dT%H:%M:%S%.f%:z").unwrap_or_else(|| time_text(at))
}

/// Date and time of day in a time zone, then its offset: `2026-11-01 00:00:00 UTC+08:00`.
pub(crate) fn for_people(at: Millis, zone: &str) -> String {
    formatted(at, zone, "%Y-%m-%d %H:%M:%S%.f UTC%:z").unwrap_or_else(|| time_text(at))
}

fn formatted(at: Millis, zone: &str, format: &str) -> Option<String> {
    let zone = TimeZone::get(zone).ok()?;
    Some(Timestamp::from_millisecond(at).ok()?.to_zoned(zone).strftime(format).to_string())
}

/// A duration as rules write it: an integer of the largest unit that it is whole in.
pub(crate) fn duration(ms: i64) -> String {
    let (number, unit) = units(ms);
    format!("{number}{unit}")
}

/// The integer and the unit of a duration: `d`, `h`, `m`, `s` or `ms`.
pub(crate) fn units(ms: i64) -> (i64, &'static str) {
    let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s")];
    let (unit_ms, unit) = units.into_iter().find(|(unit_ms, _)| ms % unit_ms == 0).unwrap_or((1, "ms"));
    (ms / unit_ms, unit)
}

#[cfg(test)]
mod tests {
    use domain::model::time::TIME_MAX;

    use super::*;

    #[test]
    fn moments_have_the_offset_of_the_zone() {
        assert_eq!(rfc3339(1_794_326_400_000, "Asia/Shanghai"), "2026-11-11T00:00:00+08:00");
        assert_eq!(rfc3339(1_794_326_400_120, "UTC"), "2026-11-10T16:00:00.12+00:00");
        assert_eq!(for_people(1_794_326_400_000, "Asia/Shanghai"), "2026-11-11 00:00:00 UTC+08:00");
        assert_eq!(rfc3339(TIME_MAX, "Asia/Shanghai"), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn durations_are_in_their_largest_whole_unit() {
        let texts = [7 * DAY_MS, 36 * HOUR_MS, 90 * SECOND_MS, 1_500].map(duration);
        assert_eq!(texts, ["7d", "36h", "90s", "1500ms"]);
    }
}
