//! Whether several senders share this process.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a sender counts after its last request.
const ACTIVE: Duration = Duration::from_secs(1);

/// The sender of the last request, and when the sender before it was another one.
#[derive(Debug)]
pub(crate) struct Senders {
    began: Instant,
    hasher: RandomState,
    last: AtomicU64,
    /// ms since the beginning, from 1; 0: never.
    changed_ms: AtomicU64,
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            last: AtomicU64::default(),
            changed_ms: AtomicU64::default(),
        }
    }
}

impl Senders {
    /// Notes a request of a key; the empty key is that of all who need none. Returns whether another one sent lately.
    pub(crate) fn are_several(&self, key: &str, now: Instant) -> bool {
        // 0 is the one before the first.
        let sender = self.hasher.hash_one(key) | 1;
        let now_ms = 1 + u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX - 1);
        let last = self.last.load(Ordering::Relaxed);
        if last != sender {
            self.last.store(sender, Ordering::Relaxed);
            if last != 0 {
                self.changed_ms.store(now_ms, Ordering::Relaxed);
                return true;
            }
        }
        let changed_ms = self.changed_ms.load(Ordering::Relaxed);
        changed_ms != 0 && now_ms.saturating_sub(changed_ms) < u64::try_from(ACTIVE.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ACTIVE, Senders};

    #[test]
    fn senders_are_several_while_they_take_turns() {
        let senders = Senders::default();
        let at = |ms| senders.began + Duration::from_millis(ms);
        for ms in 0..5 {
            assert!(!senders.are_several("till", at(ms)));
        }
        assert!(senders.are_several("", at(10)));
        assert!(senders.are_several("till", at(11)));
        let over = 11 + u64::try_from(ACTIVE.as_millis()).expect("short");
        assert!(senders.are_several("till", at(over - 1)));
        assert!(!senders.are_several("till", at(over)));
        assert!(senders.are_several("other", at(over + 1)));
    }
}
