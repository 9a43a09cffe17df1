//! Tables of uniform keys whose entries expire, near the least memory that exact answers allow.
//!
//! **Layout.** 1,024 parts, each a row of buckets of 64 bytes ([`bucket`](super::bucket)). The key names its part (10 bits), its home in the part
//! (by the fingerprint, whose order is the order of the buckets) and what the bucket keeps (69 bits). A look-up reads one line of
//! memory in most cases, and the next one if the first was full.
//!
//! **Equality.** Two keys are equal here if 79 of their bits are: the part's 10, the fingerprint's 64 and five more. How large a
//! table is, and how often it grew, does not matter: no bit is given up as it grows, for the home's bits are the fingerprint's. Of N keys
//! one equals another key with a probability of N × 2⁻⁷⁹: with 50 million keys, 8 × 10⁻¹⁷ a look-up.
//!
//! **Growth.** A part that is eleven twelfths full is built anew, 1/1,024 of the table at a time, with room for a tenth to a third
//! more. In between, entries that are expired make room where they stand.
//!
//! **Small tables** are a plain map of the same 79 bits, so that a merchant with a few shoppers does not pay for 1,024 parts.
//!
//! Which entries are expired is the caller's to say at each look-up; no answer depends on what has made room already.

use hashbrown::hash_map::Entry;
use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, EXTRA_BITS, KeyBucket, Remainder, TimeBucket};
use super::part::Part;
use super::uniform::{UniformMap, UniformSet};
use crate::frame::{DecodeError, encode, take_from_row};

/// Keys alone.
pub type KeyTable = Table<KeyBucket>;
/// Keys with a time.
pub type TimeTable = Table<TimeBucket>;

const PART_BITS: u32 = 10;
/// Number of parts.
pub(crate) const PARTS: usize = 1 << PART_BITS;
/// Number of keys above which a table has parts.
const SMALL_MAX: usize = 4_096;
/// The bits that make keys equal.
const KEY_MASK: u128 = (1 << (64 + PART_BITS + EXTRA_BITS)) - 1;

/// A table of entries with a stamp each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Table<B: Bucket> {
    small: UniformMap<(i64, B::Value)>,
    /// None while the table is small.
    parts: Vec<Part<B>>,
}

impl<B: Bucket> Default for Table<B> {
    fn default() -> Self {
        Self { small: UniformMap::default(), parts: Vec::new() }
    }
}

impl<B: Bucket> Table<B> {
    /// A table that has room for a number of keys, of which none is older than `base`.
    #[must_use]
    pub fn with_room(keys: usize, base: i64) -> Self {
        if keys <= SMALL_MAX {
            return Self::default();
        }
        // Keys fall unevenly into the parts: by four times the deviation at most.
        let mean = keys >> PART_BITS;
        let part = Part::with_room(mean + 4 * mean.isqrt(), base);
        Self { small: UniformMap::default(), parts: vec![part; PARTS] }
    }

    /// The value of a key; `None` if it is absent or has a stamp below `cutoff`.
    #[must_use]
    pub fn get(&self, key: u128, cutoff: i64) -> Option<B::Value> {
        if self.parts.is_empty() {
            return self.small.get(&kept(key)).filter(|(stamp, _)| *stamp >= cutoff).map(|(_, value)| *value);
        }
        let (part, key) = place(key);
        self.parts[part].get(key, cutoff)
    }

    /// Adds a key, or changes it: `decide` says what its value shall be, given its present one, which is `None` if the key is absent or
    /// has a stamp below `cutoff`; it gives `None` to leave all as it is. A changed key has the stamp `now`. Returns whether it was
    /// changed. `now` must not decrease, and `now − cutoff` is below [`Bucket::STAMP_MAX`].
    pub fn upsert(
        &mut self,
        key: u128,
        now: i64,
        cutoff: i64,
        decide: impl FnOnce(Option<B::Value>) -> Option<B::Value>,
    ) -> bool {
        let cutoff = cutoff.max(now - B::STAMP_MAX.cast_signed());
        self.make_room(cutoff);
        if self.parts.is_empty() {
            let entry = self.small.entry(kept(key));
            let fresh = match &entry {
                Entry::Occupied(entry) if entry.get().0 >= cutoff => Some(entry.get().1),
                _ => None,
            };
            let new = decide(fresh);
            if let Some(value) = new {
                entry.insert((now, value));
            }
            return new.is_some();
        }
        let (part, key) = place(key);
        self.parts[part].upsert(key, now, cutoff, decide)
    }

    /// Adds a key unless it is there with a stamp of `cutoff` or more. Returns whether it was added.
    pub fn insert(&mut self, key: u128, now: i64, cutoff: i64) -> bool
    where
        B: Bucket<Value = ()>,
    {
        self.upsert(key, now, cutoff, |present| present.is_none().then_some(()))
    }

    /// Reads the line of memory that a look-up of a key begins with, so that it is in the cache. The number says nothing.
    #[must_use]
    pub fn look_ahead(&self, key: u128) -> u64 {
        if self.parts.is_empty() {
            return u64::from(self.small.contains_key(&kept(key)));
        }
        let (part, key) = place(key);
        self.parts[part].look_ahead(key)
    }

    /// Number of entries, with those that are expired and have not made room yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.small.len() + self.parts.iter().map(Part::len).sum::<usize>()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in memory, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let parts = self.parts.capacity() * size_of::<Part<B>>();
        self.small.allocation_size() + parts + self.parts.iter().map(Part::bytes).sum::<usize>()
    }

    /// Restores an entry that a snapshot has. Those of a key come in the order in which they were made.
    pub(crate) fn restore(&mut self, key: u128, stamp: i64, value: B::Value, cutoff: i64) {
        if stamp >= cutoff {
            self.upsert(key, stamp, cutoff, |_| Some(value));
        }
    }

    /// The entries, with their stamps, of a table without parts.
    pub(crate) fn small_entries(&self) -> impl Iterator<Item = (u128, i64, B::Value)> {
        self.small.iter().map(|(key, (stamp, value))| (*key, *stamp, *value))
    }

    /// Encodes a part.
    pub(crate) fn save_part(&self, index: usize) -> Option<Vec<u8>> {
        self.parts.get(index).map(encode)
    }

    /// Restores a part that [`Table::save_part`] encoded.
    ///
    /// # Errors
    /// The bytes are not a part, or there is no such part.
    pub(crate) fn restore_part(&mut self, index: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        let part = take_from_row(bytes)?.0;
        if self.parts.is_empty() {
            self.parts = vec![Part::default(); PARTS];
            self.small = UniformMap::default();
        }
        let place = self.parts.get_mut(index);
        *place.ok_or_else(|| DecodeError::Malformed(format!("a table has no part {index}")))? = part;
        Ok(())
    }

    /// Frees expired entries of a small table that is full; one that has many left gets parts.
    fn make_room(&mut self, cutoff: i64) {
        if self.small.len() < SMALL_MAX {
            return;
        }
        self.small.retain(|_, (stamp, _)| *stamp >= cutoff);
        if self.small.len() < SMALL_MAX / 2 {
            return;
        }
        self.parts = vec![Part::default(); PARTS];
        let mut entries: Vec<_> = std::mem::take(&mut self.small).into_iter().collect();
        entries.sort_unstable_by_key(|(key, (stamp, _))| (*stamp, *key));
        for (key, (stamp, value)) in entries {
            let (part, key) = place(key);
            self.parts[part].upsert(key, stamp, cutoff.min(stamp), |_| Some(value));
        }
    }
}

impl KeyTable {
    /// A table of these keys, of which none expires.
    #[must_use]
    pub fn of(keys: &UniformSet) -> Self {
        let mut table = Self::with_room(keys.len(), 0);
        for key in keys {
            table.insert(*key, 0, 0);
        }
        table
    }
}

/// The bits of a key that count. The fingerprint is not 0.
fn kept(key: u128) -> u128 {
    let key = key & KEY_MASK;
    key | u128::from(key as u64 == 0)
}

/// The part of a key, and what a bucket keeps of it.
fn place(key: u128) -> (usize, Remainder) {
    let key = kept(key);
    let part = (key >> 64) as usize & (PARTS - 1);
    (part, Remainder { fingerprint: key as u64, extra: (key >> (64 + PART_BITS)) as u8 })
}
