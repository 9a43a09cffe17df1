//! When rounds are closed.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// While no round is in flight, the open round is closed once nothing has come for this many times the usual time between two batches:
/// senders that all wait for it send nothing more.
const QUIET_GAPS: u32 = 8;
/// The least of these times: threads that read requests may be kept from the processor for a while.
const QUIET_MIN: Duration = Duration::from_millis(2);

/// When rounds are closed.
#[derive(Clone, Debug)]
pub struct BatchPolicy {
    /// Maximum number of rounds in flight; the open round waits.
    pub rounds_max: usize,
    /// Time from the close of a round to that of the next: the shorter one if no round is in flight, the longer one if one is.
    pub linger: RangeInclusive<Duration>,
    /// While many events come, the shorter time grows, up to `linger` at `rate` events a second and more: a round costs every process
    /// behind the edge about the same, whatever is in it.
    pub busy: Busy,
}

/// What many events are, and how long a round then takes. The default is for logs that need no such time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    /// Events a second.
    pub rate: u64,
    /// Time from the close of a round to that of the next.
    pub linger: Duration,
}

/// The close of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastClose {
    at: Instant,
    /// Events a second, from the close before to this one.
    rate: u64,
    /// The mean time between two batches in that time.
    gap: Duration,
}

impl LastClose {
    /// A round of this number of events, which came in some batches, is closed now.
    pub(super) fn now(events: u64, batches: u32, before: Option<Self>) -> Self {
        let at = Instant::now();
        let since = before.map_or(Duration::MAX, |before| at.duration_since(before.at));
        let rate = u64::try_from(u128::from(events) * 1_000_000 / since.as_micros().max(1)).unwrap_or(u64::MAX);
        Self { at, rate, gap: since / batches.max(1) }
    }
}

impl BatchPolicy {
    /// Time until the open round is closed, after the previous close, at this number of rounds in flight.
    pub(super) fn wait(&self, in_flight: usize, last_close: Option<LastClose>) -> Duration {
        let Some(last) = last_close else { return Duration::ZERO };
        let linger = if in_flight == 0 { self.least(last.rate) } else { *self.linger.end() };
        linger.saturating_sub(last.at.elapsed())
    }

    /// Time without a batch after which nothing more is expected, while no round is in flight.
    pub(super) fn quiet(last_close: Option<LastClose>) -> Duration {
        last_close.map_or(Duration::MAX, |last| last.gap.saturating_mul(QUIET_GAPS).max(QUIET_MIN))
    }

    /// The shorter time at a number of events a second.
    fn least(&self, rate: u64) -> Duration {
        let Busy { rate: busy, linger } = self.busy;
        let share = u32::try_from(rate.min(busy) * 1000 / busy.max(1)).unwrap_or(1000);
        let least = *self.linger.start();
        least + linger.saturating_sub(least) * share / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn round_takes_longer_only_while_many_events_come() {
        let policy = BatchPolicy { rounds_max: 8, linger: ms(2)..=ms(20), busy: Busy { rate: 20_000, linger: ms(10) } };
        assert_eq!(policy.wait(0, None), Duration::ZERO, "the first event waits for nothing");
        let least = [0, 50, 5_000, 20_000, u64::MAX].map(|rate| policy.least(rate));
        assert_eq!(least, [ms(2), Duration::from_micros(2_016), ms(4), ms(10), ms(10)]);
        let disk = BatchPolicy { linger: Duration::ZERO..=Duration::ZERO, busy: Busy::default(), ..policy };
        assert_eq!([0, u64::MAX].map(|rate| disk.least(rate)), [Duration::ZERO; 2]);
        // A round that comes after a pause is one of few events, however many it has.
        let at = Instant::now().checked_sub(ms(500)).expect("the machine is older");
        let last = LastClose { at, rate: 0, gap: Duration::MAX };
        let next = LastClose::now(10_000, 100, Some(last));
        assert!((10_000..=20_000).contains(&next.rate));
        assert!(next.gap >= ms(5) && BatchPolicy::quiet(Some(next)) >= ms(40));
        assert_eq!(BatchPolicy::quiet(Some(LastClose { gap: Duration::ZERO, ..next })), ms(2));
        assert_eq!(LastClose::now(10_000, 1, None).rate, 0);
        assert_eq!(BatchPolicy::quiet(Some(LastClose::now(10_000, 1, None))), Duration::MAX);
    }
}
