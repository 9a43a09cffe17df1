//! When rounds are closed.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// When rounds are closed.
#[derive(Clone, Debug)]
pub struct BatchPolicy {
    /// Maximum number of rounds in flight; the open round waits.
    pub rounds_max: usize,
    /// Time from the close of a round to that of the next: the shorter one if no round is in flight, the longer one if one is.
    pub linger: RangeInclusive<Duration>,
}

impl BatchPolicy {
    /// Time until the open round is closed, after the previous close, at this number of rounds in flight.
    pub(super) fn wait(&self, in_flight: usize, last_close: Option<Instant>) -> Duration {
        let linger = if in_flight == 0 { self.linger.start() } else { self.linger.end() };
        last_close.map_or(Duration::ZERO, |last| linger.saturating_sub(last.elapsed()))
    }
}
