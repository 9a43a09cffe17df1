//! Values of options that several commands take.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderName;
use clap::ValueEnum;
use web::quota::rate_table::RATE_MAX;

use super::address::Address;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockArg {
    /// The machine's clock
    Wall,
    /// The running maximum of the events' times
    Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let ms = wire::rules::duration_ms(text)?;
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| "is negative".to_owned())
}

/// A number of bytes, such as `8GB`, `500MB` or `8GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|&bytes| bytes > 0);
    bytes.ok_or_else(|| format!("is {text}: give a size, such as 8GB or 500MB"))
}

pub(crate) fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("{text} is no name of a header: give letters, digits and hyphens"))
}

/// A duration as it is given, in whole seconds or ms.
pub(super) fn text(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// A limit per second; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(u32);

impl Rate {
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = text.parse::<u32>().ok().filter(|&rate| rate <= RATE_MAX);
        rate.map(Self).ok_or_else(|| format!("is {text}: give 0 to {RATE_MAX} a second"))
    }
}

/// Maximum length of the text of `--because`, bytes; a longer one is refused.
const BECAUSE_BYTES_MAX: usize = 1_000;

/// Why rules that break a promise are published all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Because(String);

impl Because {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Because {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty: say why the promise is broken".to_owned());
        }
        if text.len() > BECAUSE_BYTES_MAX {
            return Err(format!("has {} bytes: give at most {BECAUSE_BYTES_MAX}", text.len()));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(format!("has the control character U+{:04X}: give text on one line", u32::from(c))),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The address for datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Udp {
    /// No address is configured: CoAP's port of this machine, if it is free.
    #[default]
    Unsaid,
    At(SocketAddr),
    Nowhere,
}

impl Udp {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Unsaid => Some(SocketAddr::from(([127, 0, 0, 1], COAP_PORT))),
            Self::At(address) => Some(address),
            Self::Nowhere => None,
        }
    }
}

impl FromStr for Udp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Nowhere),
            text => text.parse().map(|address: Address| Self::At(address.get())).map_err(|e| format!("{e}, or none")),
        }
    }
}

/// The default port of CoAP (RFC 7252, section 6.1).
const COAP_PORT: u16 = 5683;

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in
            [("8GB", 8_000_000_000), ("500MB", 500_000_000), ("2GiB", 1 << 31), ("7", 7), ("1KiB", 1024)]
        {
            assert_eq!(bytes(text), Ok(expected));
        }
        for text in ["", "GB", "8 GB", "8TB", "0GB", "-1", "1.5GB", "99999999999GB", "8gb", "é"] {
            assert!(bytes(text).expect_err(text).contains("give a size"));
        }
    }
}
