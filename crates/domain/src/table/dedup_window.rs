//! The keys that were first seen less than a horizon ago: it detects events that are delivered twice. For behaviours 1 to 4, whose
//! builds store whole keys; [`recent`](super::recent) is for later ones.
//!
//! The table behind this interface is `hashbrown`'s, with a queue in order of time.

use std::collections::VecDeque;

use hashbrown::hash_map::Entry;
use serde::{Deserialize, Serialize};

use super::recent::{Minute, RecentKeys};
use super::uniform::UniformMap;

/// Maximum number of expired keys that one query removes; further ones wait for later queries.
const SWEEP_MAX: usize = 4;

/// Keys with the minute in which each was first seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DedupWindow {
    first: UniformMap<Minute>,
    /// In order of minutes, which never decrease.
    queue: VecDeque<(Minute, u128)>,
    /// Keys first seen before this minute are expired, whatever the horizon.
    floor: Minute,
}

impl DedupWindow {
    /// Returns whether the key is new: never seen, or first seen `horizon` minutes ago or more. A new key starts its
    /// horizon now. `now` must not decrease.
    pub fn insert(&mut self, key: u128, now: Minute, horizon: Minute) -> bool {
        self.sweep(now, horizon);
        let fresh = |first: Minute| now - first < horizon && first >= self.floor;
        match self.first.entry(key) {
            Entry::Occupied(first) if fresh(*first.get()) => return false,
            Entry::Occupied(mut first) => *first.get_mut() = now,
            Entry::Vacant(place) => {
                place.insert(now);
            }
        }
        self.queue.push_back((now, key));
        true
    }

    /// Whether a key is stored, expired or not. No answer may depend on it; it brings the key's line into the cache.
    pub(crate) fn holds(&self, key: u128) -> bool {
        self.first.contains_key(&key)
    }

    /// Marks keys that are expired under the present horizon, so that a longer horizon does not bring them back.
    pub fn forget(&mut self, now: Minute, horizon: Minute) {
        self.floor = self.floor.max((now + 1).saturating_sub(horizon));
    }

    /// Moves all keys to a compact table.
    pub(crate) fn compact(&mut self) -> RecentKeys {
        let Self { first, queue, floor } = std::mem::take(self);
        let since = queue.front().map_or(floor, |&(minute, _)| minute);
        let mut recent = RecentKeys::with_room(first.len(), since);
        for (minute, key) in queue {
            if first.get(&key) == Some(&minute) {
                // The horizon of now decides at the next look-up.
                recent.insert(key, minute, Minute::from(u16::MAX));
            }
        }
        recent.forget(floor, 1);
        recent
    }

    /// Approximate size in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.first.allocation_size() + self.queue.capacity() * size_of::<(Minute, u128)>()
    }

    /// Number of keys, including expired ones that are not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether no key is stored.
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
    fn horizon_is_exact_and_restarts_after_expiry() {
        let mut t = DedupWindow::default();
        assert!(t.insert(1, 100, 10));
        assert!(!t.insert(1, 109, 10));
        assert!(t.insert(1, 110, 10));
        assert!(!t.insert(1, 119, 10));
        assert!(t.insert(1, 120, 10));
    }

    #[test]
    fn jump_of_time_expires_exactly_old_keys() {
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
    fn longer_horizon_keeps_expired_keys_expired() {
        let mut t = DedupWindow::default();
        assert!(t.insert(1, 100, 10) && t.insert(2, 105, 10));
        t.forget(112, 10);
        assert!(t.insert(1, 112, 60));
        assert!(!t.insert(2, 112, 60));
    }

    #[test]
    fn compact_keys_answer_as_before() {
        let key = |n: u32| crate::model::ids::digest128(&[&n.to_string()]);
        let mut plain = DedupWindow::default();
        let event = |n: u32| (key(n * n % 7_001), n / 10);
        for (key, minute) in (0..9_000).map(event) {
            plain.insert(key, minute, 500);
        }
        plain.forget(900, 400);
        let mut compact = plain.clone().compact();
        for (key, minute) in (9_000..30_000).map(event) {
            assert_eq!(compact.insert(key, minute, 600), plain.insert(key, minute, 600), "minute {minute}");
        }
    }

    proptest! {
        #[test]
        fn answers_equal_those_of_a_plain_list(steps in proptest::collection::vec((0..20_u128, 0..30_u32), 1..400), horizon in 0..60_u32) {
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
