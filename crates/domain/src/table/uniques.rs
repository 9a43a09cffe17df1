//! Numbers of distinct shoppers per day and scope: a set of keys per day, freed as a whole when the day is over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::KeyTable;
use super::uniform::UniformSet;
use crate::model::time::Day;

/// A set of keys.
pub trait KeySet: Default {
    /// Adds a key; returns whether it is new.
    fn add(&mut self, key: u128) -> bool;
    /// Reads the line of memory that a look-up of a key begins with, so that it is in the cache. The number says nothing.
    fn look_ahead(&self, key: u128) -> u64;
    /// Number of keys.
    fn count(&self) -> usize;
    /// Approximate size in memory, bytes.
    fn bytes(&self) -> usize;
}

impl KeySet for UniformSet {
    fn add(&mut self, key: u128) -> bool {
        self.insert(key)
    }

    fn look_ahead(&self, key: u128) -> u64 {
        u64::from(self.contains(&key))
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn bytes(&self) -> usize {
        self.allocation_size()
    }
}

impl KeySet for KeyTable {
    fn add(&mut self, key: u128) -> bool {
        // A key stays for the whole day: all have the same stamp.
        self.insert(key, 0, 0)
    }

    fn look_ahead(&self, key: u128) -> u64 {
        self.look_ahead(key)
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }
}

/// Which keys were seen on which day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Uniques<S = UniformSet> {
    days: BTreeMap<Day, S>,
    /// The sets of earlier days are freed: no shopper is counted on them any more.
    forgotten: Option<Day>,
}

impl<S: KeySet> Uniques<S> {
    /// Adds a key to a day; returns whether it is new on that day.
    pub fn insert(&mut self, day: Day, key: u128) -> bool {
        self.forgotten.is_none_or(|first| day >= first) && self.days.entry(day).or_default().add(key)
    }

    /// Reads the line of memory that a look-up of a key begins with, so that it is in the cache. The number says nothing.
    pub(crate) fn look_ahead(&self, day: Day, key: u128) -> u64 {
        self.days.get(&day).map_or(0, |keys| keys.look_ahead(key))
    }

    /// Frees the sets of the days before `day`.
    pub(crate) fn forget_before(&mut self, day: Day) {
        self.forgotten = self.forgotten.max(Some(day));
        while let Some(first) = self.days.first_entry()
            && *first.key() < day
        {
            first.remove();
        }
    }

    /// Approximate size in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.days.values().map(S::bytes).sum()
    }

    /// Number of keys over all days that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.days.values().map(S::count).sum()
    }

    /// Whether no day is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }
}

impl Uniques<KeyTable> {
    /// The first day from `day` on, with its keys.
    pub(crate) fn day_from(&self, day: Day) -> Option<(Day, &KeyTable)> {
        self.days.range(day..).next().map(|(day, keys)| (*day, keys))
    }

    /// The keys of a day, to restore them; `None` if the day is over.
    pub(crate) fn day_mut(&mut self, day: Day) -> Option<&mut KeyTable> {
        self.forgotten.is_none_or(|first| day >= first).then(|| self.days.entry(day).or_default())
    }

    /// The same without its keys.
    pub(crate) fn head(&self) -> Self {
        Self { days: BTreeMap::new(), forgotten: self.forgotten }
    }
}

impl Uniques {
    /// Moves all keys to a compact table.
    pub(crate) fn compact(&mut self) -> Uniques<KeyTable> {
        let days = std::mem::take(&mut self.days);
        Uniques {
            days: days.into_iter().map(|(day, keys)| (day, KeyTable::of(&keys))).collect(),
            forgotten: self.forgotten,
        }
    }
}
