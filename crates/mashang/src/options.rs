//! Values of options that several commands take.

use std::time::Duration;

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClockArg {
    /// The machine's clock
    Wall,
    /// The running maximum of the events' times
    Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let ms = wire::rules::duration_ms(text)?;
    u64::try_from(ms).map(Duration::from_millis).map_err(|_| "is negative".to_owned())
}
