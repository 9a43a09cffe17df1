//! Repeats: scans of the same code by the same shopper, close to the last counted one (contract section 2). For behaviours 1 to 4,
//! whose builds store whole keys; [`recent`](crate::table::recent) is for later ones.

use std::collections::VecDeque;

use hashbrown::hash_map::Entry;
use serde::{Deserialize, Serialize};

use crate::model::time::Millis;
use crate::table::recent::RecentScans;
use crate::table::uniform::UniformMap;

/// Maximum number of expired scans that one query removes; further ones wait for later queries.
const SWEEP_MAX: usize = 4;

/// The last counted scan of each shopper and code.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ScanDebouncer {
    last: UniformMap<(Millis, Millis)>,
    queue: VecDeque<(Millis, u128)>,
    /// Scans received before this time are expired, however long the rules keep them.
    floor: Millis,
}

impl ScanDebouncer {
    /// Returns whether a scan repeats the last counted one, which is kept for `keep_ms` of `received`. A scan that is not a
    /// repeat becomes the last counted one.
    pub(crate) fn is_repeat(
        &mut self,
        key: u128,
        time: Millis,
        received: Millis,
        debounce_ms: i64,
        keep_ms: i64,
    ) -> bool {
        self.sweep(received, keep_ms);
        let near = |&(t0, r0): &(Millis, Millis)| {
            r0 >= self.floor && received - r0 < keep_ms && (time - t0).abs() < debounce_ms
        };
        match self.last.entry(key) {
            Entry::Occupied(last) if near(last.get()) => return true,
            Entry::Occupied(mut last) => *last.get_mut() = (time, received),
            Entry::Vacant(place) => {
                place.insert((time, received));
            }
        }
        self.queue.push_back((received, key));
        false
    }

    /// Moves all scans to a compact table.
    pub(crate) fn compact(&mut self) -> RecentScans {
        let Self { last, queue, floor } = std::mem::take(self);
        let since = queue.front().map_or(floor, |&(received, _)| received);
        let mut recent = RecentScans::with_room(last.len(), since);
        for (received, key) in queue {
            if let Some(&(time, r)) = last.get(&key)
                && r == received
            {
                // The rules of now decide at the next look-up how long it is kept.
                recent.is_repeat(key, time, received, 0, i64::MAX);
            }
        }
        recent.forget(floor, 1);
        recent
    }

    /// Approximate size in memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.last.allocation_size() + self.queue.capacity() * size_of::<(Millis, u128)>()
    }

    /// Marks scans that are expired under the present rules, so that new rules do not bring them back.
    pub(crate) fn forget(&mut self, received: Millis, keep_ms: i64) {
        self.floor = self.floor.max(received - keep_ms + 1);
    }

    fn sweep(&mut self, received: Millis, keep_ms: i64) {
        for _ in 0..SWEEP_MAX {
            match self.queue.front() {
                Some(&(r0, key)) if received - r0 >= keep_ms => {
                    self.queue.pop_front();
                    if self.last.get(&key).is_some_and(|&(_, r)| r == r0) {
                        self.last.remove(&key);
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
    use crate::model::ids::digest128;

    #[test]
    fn compact_scans_repeat_as_before() {
        let key = |n: i64| digest128(&[&n.to_string()]);
        let mut plain = ScanDebouncer::default();
        // Each scan comes a second after the one before, and the first keys twice.
        let scan = |n: i64| (key(n % 6_000), n * 1_000 - n % 7, n * 1_000);
        for (key, time, received) in (0..9_000).map(scan) {
            plain.is_repeat(key, time, received, 3_000_000, 5_000_000);
        }
        plain.forget(9_000_000, 4_000_000);
        let mut compact = plain.clone().compact();
        for (key, time, received) in (9_000..30_000).map(scan) {
            let is_repeat = plain.is_repeat(key, time, received, 3_000_000, 5_000_000);
            assert_eq!(compact.is_repeat(key, time, received, 3_000_000, 5_000_000), is_repeat, "{received}");
        }
    }
}
