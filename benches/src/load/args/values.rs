//! Values of options that are more than a number or a word.

use std::fmt;
use std::str::FromStr;

use super::SECONDS_MAX;

/// A share, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::load) struct Share {
    pub(in crate::load) ppm: u32,
}

impl Share {
    pub(in crate::load) const WHOLE_PPM: u32 = 1_000_000;
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
pub(in crate::load) struct Mix {
    pub(in crate::load) scan: u32,
    pub(in crate::load) visit: u32,
    pub(in crate::load) order: u32,
}

impl Mix {
    pub(in crate::load) fn sum(self) -> u32 {
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

pub(super) fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse::<f64>().ok().filter(|skew| (0.0..=5.0).contains(skew));
    skew.ok_or_else(|| format!("{text:?} is no exponent from 0 to 5; 0 is flat, 1 is Zipf's own"))
}

/// A burst: a multiple of the rate for some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::load) struct Burst {
    pub(in crate::load) times: u64,
    /// The start, seconds after the warm-up.
    pub(in crate::load) from_s: u64,
    pub(in crate::load) seconds: u64,
}

impl FromStr for Burst {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const TIMES_MAX: u64 = 1_000;
        let parsed = || {
            let (times, span) = text.split_once("x@")?;
            let (from, seconds) = span.split_once('+')?;
            let seconds_of = |text: &str| text.strip_suffix('s')?.parse().ok();
            let (times, from_s, seconds) = (times.parse().ok()?, seconds_of(from)?, seconds_of(seconds)?);
            let fits =
                (1..=TIMES_MAX).contains(&times) && from_s <= SECONDS_MAX && (1..=SECONDS_MAX).contains(&seconds);
            fits.then_some(Self { times, from_s, seconds })
        };
        parsed().ok_or_else(|| {
            format!(
                "{text:?} is no burst; write 5x@10s+3s: 5 times the rate (at most {TIMES_MAX}), from second 10, for 3 s"
            )
        })
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x@{}s+{}s", self.times, self.from_s, self.seconds)
    }
}

/// A process to measure, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::load) struct Process {
    pub(in crate::load) name: String,
    pub(in crate::load) pid: u32,
}

impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').unwrap_or(("server", text));
        let pid = pid.parse().map_err(|_| format!("{text:?} is no process; write PID or NAME=PID"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
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

    #[test]
    fn bursts_and_processes() {
        assert_eq!("5x@10s+3s".parse(), Ok(Burst { times: 5, from_s: 10, seconds: 3 }));
        assert_eq!(Burst { times: 5, from_s: 10, seconds: 3 }.to_string(), "5x@10s+3s");
        for wrong in ["5@10s+3s", "0x@1s+1s", "5x@1s+0s", "5x@1s", "5x@1+1", "1001x@1s+1s"] {
            assert!(wrong.parse::<Burst>().is_err_and(|error| error.contains("5x@10s+3s")), "{wrong}");
        }
        let process = |name: &str, pid| Ok(Process { name: name.to_owned(), pid });
        assert_eq!("7".parse(), process("server", 7));
        assert_eq!("broker=8".parse(), process("broker", 8));
        assert!("broker=".parse::<Process>().is_err());
    }
}
