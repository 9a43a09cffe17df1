//! The keys that were first seen less than a horizon ago, and the scans that were counted last, in compact tables.

use serde::{Deserialize, Serialize};

use super::table::{KeyTable, TimeTable};
use crate::model::time::Millis;

/// Whole minutes since the epoch.
pub type Minute = u32;

/// Keys with the minute in which each was first seen: it detects events that are delivered twice.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecentKeys {
    table: KeyTable,
    /// Keys first seen before this minute are expired, whatever the horizon.
    floor: Minute,
}

impl RecentKeys {
    /// A table with room for a number of keys that were first seen at `since` or later.
    #[must_use]
    pub fn with_room(keys: usize, since: Minute) -> Self {
        Self { table: KeyTable::with_room(keys, i64::from(since)), floor: 0 }
    }

    /// Returns whether the key is new: never seen, or first seen `horizon` minutes ago or more. A new key starts its
    /// horizon now. `now` must not decrease; a horizon has at most 65,535 minutes.
    pub fn insert(&mut self, key: u128, now: Minute, horizon: Minute) -> bool {
        let cutoff = i64::from(now) + 1 - i64::from(horizon);
        self.table.insert(key, i64::from(now), cutoff.max(i64::from(self.floor)))
    }

    /// Reads the line of memory that a look-up of a key begins with, so that it is in the cache. The number says nothing.
    #[must_use]
    pub fn look_ahead(&self, key: u128) -> u64 {
        self.table.look_ahead(key)
    }

    /// Where its keys are, for a snapshot.
    pub(crate) fn table(&self) -> &KeyTable {
        &self.table
    }

    /// The same, to restore it.
    pub(crate) fn table_mut(&mut self) -> &mut KeyTable {
        &mut self.table
    }

    /// Restores a key that a snapshot has.
    pub(crate) fn restore(&mut self, key: u128, minute: Minute, now: Minute, horizon: Minute) {
        let cutoff = i64::from(now) + 1 - i64::from(horizon);
        self.table.restore(key, i64::from(minute), (), cutoff.max(i64::from(self.floor)));
    }

    /// The same without its keys.
    pub(crate) fn head(&self) -> Self {
        Self { table: KeyTable::default(), floor: self.floor }
    }

    /// Marks keys that are expired under the present horizon, so that a longer horizon does not bring them back.
    pub fn forget(&mut self, now: Minute, horizon: Minute) {
        self.floor = self.floor.max((now + 1).saturating_sub(horizon));
    }

    /// Size in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Number of keys, including expired ones that have not made room yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no key is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

/// The last counted scan of each shopper and code: it finds repeats.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecentScans {
    /// Stamped by `received`.
    times: TimeTable,
    /// Scans received before this time are expired, however long the rules keep them.
    floor: Millis,
}

impl RecentScans {
    /// A table with room for a number of scans that were received at `since` or later.
    #[must_use]
    pub fn with_room(scans: usize, since: Millis) -> Self {
        Self { times: TimeTable::with_room(scans, since), floor: 0 }
    }

    /// Returns whether a scan repeats the last counted one, which is kept for `keep_ms` of `received`. A scan that is not a repeat
    /// becomes the last counted one. `received` must not decrease; times are from 0 to 2⁴⁸ − 1.
    pub fn is_repeat(&mut self, key: u128, time: Millis, received: Millis, debounce_ms: i64, keep_ms: i64) -> bool {
        let cutoff = (received - keep_ms + 1).max(self.floor);
        let near = |counted: Millis| (time - counted).abs() < debounce_ms;
        !self.times.upsert(key, received, cutoff, |counted| (!counted.is_some_and(near)).then_some(time))
    }

    /// Where its scans are, for a snapshot.
    pub(crate) fn table(&self) -> &TimeTable {
        &self.times
    }

    /// The same, to restore it.
    pub(crate) fn table_mut(&mut self) -> &mut TimeTable {
        &mut self.times
    }

    /// Restores a scan that a snapshot has.
    pub(crate) fn restore(&mut self, key: u128, time: Millis, received: Millis, cutoff: Millis) {
        self.times.restore(key, received, time, cutoff.max(self.floor));
    }

    /// The same without its scans.
    pub(crate) fn head(&self) -> Self {
        Self { times: TimeTable::default(), floor: self.floor }
    }

    /// Marks scans that are expired under the present rules, so that new rules do not bring them back.
    pub fn forget(&mut self, received: Millis, keep_ms: i64) {
        self.floor = self.floor.max(received - keep_ms + 1);
    }

    /// Size in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.times.bytes()
    }
}
