//! The options of `load`, read into values that cannot be wrong.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum, value_parser};

use super::server::http::{Key, Place};

/// A day: longer runs are several runs.
const SECONDS_MAX: u64 = 86_400;
/// What the edge takes at most in one request.
const BATCH_MAX: u64 = 10_000;
const CONNECTIONS_MAX: u64 = 10_000;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The edge
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(super) url: Place,
    /// The admin port, for `mashang_lag_frames`; asked only with --ledger
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub(super) admin: Place,
    /// Whose events; nobody else may send for it while the ledger is checked
    #[arg(long)]
    pub(super) merchant: String,
    /// API key; better given in the environment, where `ps` does not show it
    #[arg(long, value_name = "ID.SECRET", env = "MASHANG_KEY", hide_env_values = true)]
    pub(super) key: Option<Key>,

    /// Events a second
    #[arg(long, default_value_t = 5_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    pub(super) rate: u64,
    /// How long to measure
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) seconds: u64,
    /// Seconds before, which are sent and checked but not measured
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u64).range(0..=SECONDS_MAX))]
    pub(super) warmup: u64,
    /// Connections that send; each has one request under way at most
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: u64,
    /// Events a request: 1 is sent as an object, more as NDJSON
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=BATCH_MAX))]
    pub(super) batch: u64,
    /// How requests are spread over time
    #[arg(long, value_enum, default_value_t = Arrivals::Constant)]
    pub(super) arrivals: Arrivals,
    /// Each connection sends as soon as it is answered: the greatest throughput, no honest latency
    #[arg(long, conflicts_with_all = ["arrivals"])]
    pub(super) closed: bool,

    /// Share of events that are sent a second time: 5%, 1/20
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub(super) duplicates: Share,
    /// Weights of the actions
    #[arg(long, value_name = "ACTION=N,…", default_value = "scan=90,visit=8,order=2")]
    pub(super) action_mix: Mix,
    /// Shoppers u0, u1, …
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) shoppers: u64,
    /// Zipf exponent of the shoppers; 0: all alike
    #[arg(long, default_value = "0.8", value_parser = skew)]
    pub(super) shopper_skew: f64,
    /// Codes c0, c1, …
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    pub(super) codes: u64,
    /// Codes from a file instead, one a line, the most popular first
    #[arg(long, value_name = "FILE", conflicts_with = "codes")]
    pub(super) code_file: Option<PathBuf>,
    /// Zipf exponent of the codes
    #[arg(long, default_value = "0.8", value_parser = skew)]
    pub(super) code_skew: f64,
    /// The same seed gives the same events, ids too: on one server each seed is new once (default: from the clock)
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// As the server's --clock: with `event`, events carry a time
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    pub(super) clock: Clock,
    /// The time of the first event with --clock event, ms since the epoch (default: now)
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(0..=253_402_300_799_999))]
    pub(super) first_time: Option<u64>,

    /// Share of accepted scans whose result is asked for
    #[arg(long, value_name = "SHARE", default_value = "0")]
    pub(super) results: Share,
    /// Results that are waited for at once; further ones are skipped and counted
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) result_connections: u64,

    /// Seconds after which a request without an answer is sent again
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) timeout: u64,
    /// Seconds for which one request is tried, however often it is shed or broken off
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) retry_for: u64,
    /// Seconds that the backlog, and then the desks, have after the last arrival
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) drain: u64,
    /// Threads of this client
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=64))]
    pub(super) threads: u64,

    /// The server's ledger.sqlite: check in the end that everything accepted is counted exactly once
    #[arg(long, value_name = "FILE")]
    pub(super) ledger: Option<PathBuf>,
    /// The server's process: measure its processor time and memory
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
    /// Write the report as JSON too
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arrivals {
    /// One every batch/rate seconds
    Constant,
    /// Independent of each other, as from many phones
    Poisson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Clock {
    Wall,
    Event,
}

/// A part of a whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) ppm: u32,
}

impl Share {
    pub(super) const WHOLE_PPM: u32 = 1_000_000;
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no share from 0 to 1 in whole millionths; write 5%, 0.5% or 1/20");
        let ppm = match (text.strip_suffix('%'), text.split_once('/')) {
            (Some(percent), _) => decimal_ten_thousandths(percent),
            (None, Some((part, whole))) => {
                part.parse::<u64>().ok().zip(whole.parse::<u64>().ok()).and_then(|(part, whole)| {
                    part.checked_mul(u64::from(Self::WHOLE_PPM)).and_then(|ppm| ppm.checked_div(whole))
                })
            }
            (None, None) if text == "0" => Some(0),
            (None, None) => None,
        };
        let ppm = ppm.and_then(|ppm| u32::try_from(ppm).ok()).filter(|ppm| *ppm <= Self::WHOLE_PPM);
        ppm.map(|ppm| Self { ppm }).ok_or_else(wrong)
    }
}

/// `2.5` → 25,000: a percentage with up to four decimals, in millionths.
fn decimal_ten_thousandths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
        return None;
    }
    format!("{whole}{decimals:0<4}").parse().ok()
}

/// Weights of the actions; their sum is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) scan: u32,
    pub(super) visit: u32,
    pub(super) order: u32,
}

impl Mix {
    pub(super) fn sum(self) -> u32 {
        self.scan + self.visit + self.order
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WEIGHT_MAX: u32 = 1_000_000;
        let mut mix = Self { scan: 0, visit: 0, order: 0 };
        for part in text.split(',') {
            let (action, weight) = part.split_once('=').ok_or_else(|| format!("{part:?} is not ACTION=N"))?;
            let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let weight = weight.ok_or_else(|| format!("{part:?}: the weight is no number from 0 to {WEIGHT_MAX}"))?;
            match action {
                "scan" => mix.scan = weight,
                "visit" => mix.visit = weight,
                "order" => mix.order = weight,
                other => return Err(format!("{other:?} is not sent by this client; use scan, visit, order")),
            }
        }
        if mix.sum() == 0 {
            return Err("all weights are 0; give one action a weight".to_owned());
        }
        Ok(mix)
    }
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse::<f64>().ok().filter(|skew| (0.0..=5.0).contains(skew));
    skew.ok_or_else(|| format!("{text:?} is no exponent from 0 to 5; 0 is flat, 1 is Zipf's own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        let ppm = |text: &str| text.parse::<Share>().ok().map(|share| share.ppm);
        for (text, expected) in [
            ("0", Some(0)),
            ("5%", Some(50_000)),
            ("0.0001%", Some(1)),
            ("1/20", Some(50_000)),
            ("1/1", Some(1_000_000)),
            ("100%", Some(1_000_000)),
            ("100.0001%", None),
            ("3/2", None),
            ("1/0", None),
            ("0.05", None),
            ("-1%", None),
            ("1.00001%", None),
            ("%", None),
        ] {
            assert_eq!(ppm(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mix_names_what_is_wrong() {
        assert_eq!("order=1,scan=3".parse(), Ok(Mix { scan: 3, visit: 0, order: 1 }));
        for (text, part) in [("scan", "ACTION=N"), ("scan=x", "no number"), ("refund=1", "refund"), ("scan=0", "all")] {
            let error = text.parse::<Mix>().expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
