//! How often a lane takes snapshots: while it takes one, all its events wait.

use std::time::{Duration, Instant};

use domain::model::address::TopicPartition;

/// A lane rests this many times as long as its last snapshot took: it stops for less than half a percent of the time.
const REST: u32 = 256;
/// Number of intervals after which a snapshot is taken all the same: a restart replays what came after it.
const INTERVALS_MAX: u32 = 10;

/// When a lane may take its next snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SnapshotPace {
    /// The task that handed over a snapshot last.
    pub(crate) last: Option<TopicPartition>,
    /// The task whose snapshot is being taken, part by part.
    saving: Option<TopicPartition>,
    rests_until: Option<Instant>,
}

impl SnapshotPace {
    /// Whether a task whose last snapshot is so old takes one now.
    pub(crate) fn is_due(self, age: Duration, interval: Duration, now: Instant) -> bool {
        let rests = self.rests_until.is_some_and(|until| now < until);
        age >= interval && (!rests || age >= interval.saturating_mul(INTERVALS_MAX))
    }

    /// Whether a task may begin a snapshot: one at a time.
    pub(crate) fn may_begin(self, partition: TopicPartition) -> bool {
        self.saving.is_none_or(|saving| saving == partition)
    }

    /// Notes whether the snapshot of a task needs more time.
    pub(crate) fn set_saving(&mut self, partition: TopicPartition, is_saving: bool) {
        if is_saving {
            self.saving = Some(partition);
        } else if self.saving == Some(partition) {
            self.saving = None;
        }
    }

    /// Whether a snapshot is being taken.
    pub(crate) fn is_saving(self) -> bool {
        self.saving.is_some()
    }

    /// Notes a snapshot that was taken.
    pub(crate) fn took(&mut self, took: Duration, now: Instant) {
        self.rests_until = now.checked_add(took.saturating_mul(REST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_rests_after_a_long_snapshot_but_not_for_ever() {
        let second = Duration::from_secs(1);
        let (interval, now) = (60 * second, Instant::now());
        let mut pace = SnapshotPace::default();
        assert!(!pace.is_due(59 * second, interval, now));
        assert!(pace.is_due(60 * second, interval, now));
        pace.took(second, now);
        assert!(!pace.is_due(255 * second, interval, now + 255 * second));
        assert!(pace.is_due(256 * second, interval, now + 256 * second));
        pace.took(10 * second, now);
        assert!(!pace.is_due(599 * second, interval, now + 599 * second));
        assert!(pace.is_due(600 * second, interval, now + 600 * second));
        pace.took(Duration::ZERO, now);
        assert!(pace.is_due(60 * second, interval, now + 60 * second), "a short one costs nothing");
    }
}
