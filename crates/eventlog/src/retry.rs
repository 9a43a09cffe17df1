//! The delays between retries: exponential, with jitter, so that processes that failed together do not come back together.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Maximum time between two looks at whether a wait must end early.
const SLICE: Duration = Duration::from_millis(50);

/// The delays between the attempts at one thing, until it succeeds.
#[derive(Debug)]
pub struct Retry {
    delays: ExponentialBuilder,
    next: ExponentialBackoff,
}

impl Retry {
    /// Delays that begin at `min` and double up to `max`, each with up to as much again by chance.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let delays =
            ExponentialBuilder::new().with_min_delay(min).with_max_delay(max).with_jitter().without_max_times();
        Self { delays, next: delays.build() }
    }

    /// Begins again at the shortest delay, after a success.
    pub fn reset(&mut self) {
        self.next = self.delays.build();
    }

    /// The next delay.
    pub fn delay(&mut self) -> Duration {
        self.next.next().unwrap_or_default()
    }

    /// Sleeps for the next delay, or until `must_end` is true.
    pub fn sleep_unless(&mut self, must_end: impl Fn() -> bool) {
        let end = Instant::now() + self.delay();
        while !must_end() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_begin_again() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(4));
        let mut retry = Retry::new(min, max);
        for times in [1, 2, 4, 4] {
            let delay = retry.delay();
            assert!(delay >= min * times && delay <= 2 * min * times, "{delay:?} for {times}");
        }
        retry.reset();
        assert!(retry.delay() <= 2 * min);
    }

    #[test]
    fn sleep_ends_early_when_it_must() {
        let began = Instant::now();
        Retry::new(Duration::from_secs(60), Duration::from_secs(60)).sleep_unless(|| true);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
