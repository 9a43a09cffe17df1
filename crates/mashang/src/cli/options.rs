//! Values of options that several commands take.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use edge::ingest::shopper_limit::EVENTS_PER_S_MAX;

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

/// The shopper limit, events a second; beyond it a shopper's events are refused while memory is short. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShopperLimit(u32);

impl ShopperLimit {
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for ShopperLimit {
    type Error = String;

    fn try_from(events_per_s: u32) -> Result<Self, String> {
        let fits = events_per_s <= EVENTS_PER_S_MAX;
        fits.then_some(Self(events_per_s))
            .ok_or_else(|| format!("shopper-limit is {events_per_s}: give 0 to {EVENTS_PER_S_MAX} events a second"))
    }
}

impl FromStr for ShopperLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u32>().map_err(|e| e.to_string())?.try_into()
    }
}
