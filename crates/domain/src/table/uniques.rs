//! Exact numbers of distinct shoppers per day and scope: a set of keys per day, freed as a whole when the day is over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::uniform::UniformSet;
use crate::model::time::Day;

/// Which keys were seen on which day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Uniques {
    days: BTreeMap<Day, UniformSet>,
    /// The sets of earlier days are freed: no shopper is counted on them any more.
    forgotten: Option<Day>,
}

impl Uniques {
    /// Adds a key to a day; returns whether it is new on that day.
    pub fn insert(&mut self, day: Day, key: u128) -> bool {
        self.forgotten.is_none_or(|first| day >= first) && self.days.entry(day).or_default().insert(key)
    }

    /// Whether a day has a key. No answer may depend on it; it brings the key's line into the cache.
    pub(crate) fn holds(&self, day: Day, key: u128) -> bool {
        self.days.get(&day).is_some_and(|keys| keys.contains(&key))
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
        self.days.values().map(UniformSet::allocation_size).sum()
    }

    /// Number of keys over all days that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.days.values().map(UniformSet::len).sum()
    }

    /// Whether no day is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }
}
