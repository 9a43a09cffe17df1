//! Which keys were first seen less than a horizon ago: the memory of delivery duplicates.
//!
//! The table behind this interface is `hashbrown`'s with a queue in order of time; a denser one takes its place later.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::uniform::UniformMap;

/// Whole minutes since the epoch.
pub type Minute = u32;

/// Maximum number of expired keys freed per lookup, so that no lookup waits for a sweep; further ones wait for the next.
const SWEEP_MAX: usize = 4;

/// Keys with the minute in which each was first seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DedupWindow {
    first: UniformMap<Minute>,
    /// In order of minutes, which never go back.
    queue: VecDeque<(Minute, u128)>,
    /// Keys first seen before it are forgotten, whatever the horizon.
    floor: Minute,
}

impl DedupWindow {
    /// Says whether the key is new: never seen, or first seen `horizon` minutes ago or more. A new one starts its
    /// horizon. `now` must not go back.
    pub fn insert(&mut self, key: u128, now: Minute, horizon: Minute) -> bool {
        self.sweep(now, horizon);
        let fresh = |first: Minute| now - first < horizon && first >= self.floor;
        if self.first.get(&key).is_some_and(|&first| fresh(first)) {
            return false;
        }
        self.first.insert(key, now);
        self.queue.push_back((now, key));
        true
    }

    /// As [`DedupWindow::insert`], but a key is known for as long as no sweep came by: wrong, and only there for tests that show
    /// what the comparison is for.
    pub fn insert_by_sweep(&mut self, key: u128, now: Minute, horizon: Minute) -> bool {
        self.sweep(now, horizon);
        !self.first.contains_key(&key) && self.insert(key, now, horizon)
    }

    /// Permanently forgets what has expired by now under a horizon that is about to change.
    pub fn forget(&mut self, now: Minute, horizon: Minute) {
        self.floor = self.floor.max((now + 1).saturating_sub(horizon));
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.first.allocation_size() + self.queue.capacity() * size_of::<(Minute, u128)>()
    }

    /// Keys held, expired ones that are not swept yet among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn sweep(&mut self, now: Minute, horizon: Minute) {
        for _ in 0..SWEEP_MAX {
            match self.queue.front() {
                Some(&(minute, key)) if now - minute >= horizon => {
                    self.queue.pop_front();
                    if self.first.get(&key) == Some(&minute) {
                        self.first.remove(&key);
                    }
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_horizon_is_exact_and_restarts() {
        let mut t = DedupWindow::default();
        assert!(t.insert(1, 100, 10));
        assert!(!t.insert(1, 109, 10));
        assert!(t.insert(1, 110, 10));
        assert!(!t.insert(1, 119, 10));
        assert!(t.insert(1, 120, 10));
    }

    #[test]
    fn a_jump_beyond_sixteen_bits_of_minutes_forgets_and_nothing_else() {
        const HORIZON: Minute = 45 * 24 * 60;
        for jump in [HORIZON - 1, HORIZON, 46 * 24 * 60, 65_535, 65_536, 65_537, 65_536 * 2 + 3] {
            let mut t = DedupWindow::default();
            assert!((0..1000).all(|k| t.insert(k, 7, HORIZON)));
            assert_eq!(
                (0..1000).filter(|&k| t.insert(k, 7 + jump, HORIZON)).count(),
                if jump < HORIZON { 0 } else { 1000 }
            );
            assert!((0..1000).all(|k| !t.insert(k, 8 + jump, HORIZON) || jump == HORIZON - 1));
        }
    }

    #[test]
    fn a_longer_horizon_brings_nothing_back() {
        let mut t = DedupWindow::default();
        assert!(t.insert(1, 100, 10) && t.insert(2, 105, 10));
        t.forget(112, 10);
        assert!(t.insert(1, 112, 60));
        assert!(!t.insert(2, 112, 60));
    }

    proptest! {
        #[test]
        fn answers_as_a_plain_list_would(steps in proptest::collection::vec((0..20_u128, 0..30_u32), 1..400), horizon in 0..60_u32) {
            let (mut table, mut list, mut now) = (DedupWindow::default(), Vec::<(u128, Minute)>::new(), 1_000);
            for (key, pause) in steps {
                now += pause / 3;
                let known = list.iter().rev().find(|(k, _)| *k == key).is_some_and(|&(_, m)| now - m < horizon);
                if !known {
                    list.push((key, now));
                }
                prop_assert_eq!(table.insert(key, now, horizon), !known);
            }
            prop_assert!(table.len() <= 20);
        }
    }
}
