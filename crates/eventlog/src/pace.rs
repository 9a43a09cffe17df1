//! The pause between two looks at a log: the more comes, the longer it is, up to a limit, so that a look brings much at once. A
//! reader to whom little comes pauses for next to nothing.

use std::time::{Duration, Instant};

/// Bytes a second at which the pause is the longest.
const BUSY_BYTES: u128 = 2 * 1024 * 1024;

/// The pauses of one reader.
#[derive(Debug)]
pub struct Pace {
    longest: Duration,
    /// When it was noted last, and the least time from then on.
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// Pauses of at most this length; zero for a reader that never pauses.
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self { longest, last: None }
    }

    /// Notes that these bytes have come, or go on, since the last time.
    pub fn note(&mut self, bytes: usize) {
        self.note_at(bytes, Instant::now());
    }

    fn note_at(&mut self, bytes: usize, now: Instant) {
        let share = self.last.map_or(0, |(at, _)| {
            let a_second = bytes as u128 * 1_000_000 / now.duration_since(at).as_micros().max(1);
            u32::try_from(a_second.min(BUSY_BYTES) * 1000 / BUSY_BYTES).unwrap_or(1000)
        });
        self.last = Some((now, self.longest * share / 1000));
    }

    /// What is left of the pause.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |(at, least)| least.saturating_sub(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_grows_with_what_comes() {
        let longest = Duration::from_millis(10);
        let after = |bytes, elapsed| {
            let mut pace = Pace::new(longest);
            let now = Instant::now();
            pace.note_at(bytes, now);
            assert_eq!(pace.last.map(|(_, least)| least), Some(Duration::ZERO), "the first waits for nothing");
            pace.note_at(bytes, now + Duration::from_millis(elapsed));
            pace.last.map(|(_, least)| least)
        };
        let half = usize::try_from(BUSY_BYTES / 200).expect("small");
        assert_eq!(after(200, 100), Some(Duration::from_micros(0)), "2 KB a second are next to nothing");
        assert_eq!(after(half, 10), Some(longest / 2));
        assert_eq!(after(half, 1), Some(longest));
        assert_eq!(after(half, 0), Some(longest));
        let mut never = Pace::new(Duration::ZERO);
        never.note(1);
        never.note(usize::MAX);
        assert_eq!(never.pause(), Duration::ZERO);
    }
}
