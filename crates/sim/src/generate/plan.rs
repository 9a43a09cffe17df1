//! What the event maker knows of random rules, and how rules are written.
use super::minted::batch::Minted;
use super::rng::Rng;

/// The scale of time of a case.
pub(crate) struct Scale {
    /// ms of one unit
    pub(crate) unit: i64,
    name: &'static str,
    pub(crate) start: i64,
}

const STARTS: [&str; 5] = [
    "2026-11-01T03:30:00Z", // New York leaves daylight saving time at 06:00Z
    "2026-03-28T22:00:00Z", // Berlin enters it at 01:00Z the next day
    "2026-04-04T13:00:00Z", // Lord Howe leaves it at 15:00Z
    "2026-11-10T12:00:00Z",
    "2026-12-31T20:00:00Z",
];

impl Scale {
    pub(crate) fn new(rng: &mut Rng) -> Scale {
        let (unit, name) = *rng.pick(&[
            (1_000, "s"),
            (60_000, "m"),
            (60_000, "m"),
            (3_600_000, "h"),
            (3_600_000, "h"),
            (86_400_000, "d"),
        ]);
        Scale { unit, name, start: rng.pick(&STARTS).parse::<jiff::Timestamp>().unwrap().as_millisecond() }
    }
    pub(super) fn duration(&self, rng: &mut Rng, from: i64, to: i64) -> (String, i64) {
        let n = rng.range(from, to);
        if self.unit == 1_000 && rng.percent(30) {
            let ms = n * 1_000 + rng.range(0, 1_000);
            return (format!("{ms}ms"), ms);
        }
        (format!("{n}{}", self.name), n * self.unit)
    }
}

#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) merchant: String,
    pub(crate) currency: String,
    pub(crate) files: Vec<(String, String)>,
    pub(crate) late: i64,
    pub(crate) horizon: i64,
    pub(crate) debounce: i64,
    pub(crate) window: i64,
    pub(crate) protect: i64,
    pub(crate) refund_within: i64,
    /// texts of known codes of item kinds, others, and unknown ones
    pub(crate) items: Vec<String>,
    pub(crate) codes: Vec<String>,
    pub(crate) unknown: Vec<String>,
    pub(crate) stores: Vec<String>,
    pub(crate) guides: Vec<String>,
    pub(crate) shoppers: Vec<String>,
    /// moments at which something in the rules begins or ends
    pub(crate) moments: Vec<i64>,
    pub(crate) unlock_within: Vec<i64>,
    pub(crate) funnel_within: Vec<i64>,
    pub(crate) minted: Minted,
}

pub(crate) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

pub(super) fn with_check_digit(digits: &str) -> String {
    let sum: u32 =
        digits.bytes().rev().enumerate().map(|(i, b)| (b - b'0') as u32 * if i % 2 == 0 { 3 } else { 1 }).sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

pub(super) const RATES: [&str; 8] = ["8%", "5%", "0.05", "1/20", "12.3456%", "100%", "1/8", "0.000001"];

pub(crate) const GTIN_BODY: &str = "690123456789";

pub(super) fn optional(rng: &mut Rng, percent: u64, out: &mut String, key: &str, value: String) {
    if rng.percent(percent) {
        out.push_str(&format!("{key} = {value}\n"));
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// Some moment within the stretch that a case covers.
pub(super) fn moment(rng: &mut Rng, s: &Scale) -> i64 {
    s.start + rng.range(-2, 250) * s.unit + if rng.percent(30) { rng.range(0, 1_000) } else { 0 }
}
