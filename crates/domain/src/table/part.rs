//! A part of a [`Table`](super::table::Table): buckets in the order of their fingerprints.
//!
//! An entry lives in the bucket that its fingerprint names, its home, or, if that one was full, in one of the next. A full bucket
//! that was passed says so, so a look-up ends at the first bucket that was not. Entries that are too old make room for new ones
//! where they stand; nothing is kept in order of time.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bucket::{Bucket, Remainder};

/// Slots in use, of this many, at which a part is built anew.
const FULL: (usize, usize) = (11, 12);
/// Slots in use, of 1,024, after a part was built anew: between the first number and the sum of both. It differs between parts, so
/// that not all of them are built anew at one time.
const REBUILT: (usize, usize) = (680, 180);
/// The highest time that a part can have.
pub(super) const TIME_MAX: i64 = (1 << 48) - 1;
/// The most slots in use, of 1,024, in a part that is made for a number of keys.
const PRESIZED: usize = 870;

#[derive(Clone, Debug)]
pub(super) struct Part<B> {
    buckets: Vec<B>,
    /// The time of stamp 0: no entry is older.
    base: i64,
    /// Number of slots that are not free.
    used: usize,
    /// Number of new entries since it was built.
    written: usize,
}

impl<B> Default for Part<B> {
    fn default() -> Self {
        Self { buckets: Vec::new(), base: 0, used: 0, written: 0 }
    }
}

impl<B: Bucket> Part<B> {
    pub(super) fn with_room(keys: usize, base: i64) -> Self {
        let buckets = (keys * 1024).div_ceil(B::SLOTS * PRESIZED);
        Self { buckets: vec![B::default(); buckets], base, used: 0, written: 0 }
    }

    /// Reads the home of a key and the bucket after it, so that their lines are in the cache: every fourth look-up needs both.
    pub(super) fn look_ahead(&self, key: Remainder) -> u64 {
        let home = self.home(key);
        let word = |at: usize| self.buckets.get(at).map_or(0, Bucket::word);
        word(home) ^ word(home + 1)
    }

    /// The value of a key; `None` if it is absent or older than `cutoff`.
    pub(super) fn get(&self, key: Remainder, cutoff: i64) -> Option<B::Value> {
        let (at, slot) = self.find(key)?;
        let bucket = &self.buckets[at];
        (bucket.stamp(slot) >= self.stamp(cutoff)).then(|| bucket.value(slot))
    }

    /// Asks what a key shall be, given what it is: `None` if it is absent or older than `cutoff`. `None` leaves it as it is.
    /// Returns whether it was written.
    pub(super) fn upsert(
        &mut self,
        key: Remainder,
        now: i64,
        cutoff: i64,
        decide: impl FnOnce(Option<B::Value>) -> Option<B::Value>,
    ) -> bool {
        if self.buckets.is_empty() || self.stamp(now) > B::STAMP_MAX {
            self.rebuild(now, cutoff);
        }
        let found = self.find(key);
        let Some((at, slot)) = found else {
            let Some(value) = decide(None) else { return false };
            self.add(key, now, cutoff, value);
            return true;
        };
        let bucket = &self.buckets[at];
        let is_fresh = bucket.stamp(slot) >= self.stamp(cutoff);
        let new = decide(is_fresh.then(|| bucket.value(slot)));
        if let Some(value) = new {
            let stamp = self.stamp(now);
            self.buckets[at].set(slot, key, stamp, value);
        }
        new.is_some()
    }

    /// The bucket and slot of a key.
    fn find(&self, key: Remainder) -> Option<(usize, usize)> {
        let home = self.home(key);
        let (before, after) = self.buckets.split_at(home);
        for (at, bucket) in (home..).zip(after).chain((0..).zip(before)) {
            if let Some(slot) = bucket.find(key) {
                return Some((at, slot));
            }
            if !bucket.is_passed() {
                break;
            }
        }
        None
    }

    /// Adds a key that is not here.
    fn add(&mut self, key: Remainder, now: i64, cutoff: i64, value: B::Value) {
        let is_full = self.used * FULL.1 >= self.slots() * FULL.0;
        // What was passed long ago is passed for ever until it is built anew.
        let is_worn = self.written >= self.slots();
        if is_full || is_worn {
            self.rebuild(now, cutoff);
        }
        let (stamp, oldest) = (self.stamp(now), self.stamp(cutoff));
        self.place(key, stamp, value, oldest);
        self.written += 1;
    }

    /// Number of entries, old ones too.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<B>()
    }

    fn slots(&self) -> usize {
        self.buckets.len() * B::SLOTS
    }

    fn home(&self, key: Remainder) -> usize {
        ((u128::from(key.fingerprint) * self.buckets.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    /// The stamp of a time; 0 for all that are older than the base.
    fn stamp(&self, time: i64) -> u64 {
        (time - self.base).max(0).cast_unsigned()
    }

    /// Puts a key that is not here into the first bucket with room.
    fn place(&mut self, key: Remainder, stamp: u64, value: B::Value, oldest: u64) {
        let mut at = self.home(key);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            if let Some(slot) = bucket.free_slot(oldest) {
                self.used += usize::from(bucket.key(slot).is_none());
                bucket.set(slot, key, stamp, value);
                return;
            }
            bucket.pass();
            at = self.after(at);
        }
        unreachable!("a part is never full");
    }

    /// Builds the part anew from the entries that are not older than `cutoff`, with room for more.
    fn rebuild(&mut self, now: i64, cutoff: i64) {
        let oldest = self.stamp(cutoff);
        let old = std::mem::take(&mut self.buckets);
        let entries = old.iter().flat_map(|bucket| (0..B::SLOTS).map(move |slot| (bucket, slot)));
        let live = entries.filter(|(bucket, slot)| bucket.key(*slot).is_some() && bucket.stamp(*slot) >= oldest);
        let count = live.clone().count();
        let first = live.clone().next().and_then(|(bucket, slot)| bucket.key(slot));
        // Any number that differs between parts will do.
        let spread = first.map_or(0, |key| key.fingerprint as usize % REBUILT.1);
        let buckets = ((count + 1) * 1024).div_ceil(B::SLOTS * (REBUILT.0 + spread));
        let base = self.base.max(cutoff.min(now));
        let newer = self.stamp(base);
        let mut new = Self { buckets: vec![B::default(); buckets], base, used: 0, written: 0 };
        for (bucket, slot) in live {
            if let Some(key) = bucket.key(slot) {
                new.place(key, bucket.stamp(slot) - newer, bucket.value(slot), 0);
            }
        }
        *self = new;
    }
}

impl<B: Bucket> Serialize for Part<B> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.buckets.len() * 64);
        for word in self.buckets.iter().flat_map(Bucket::words) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        (self.base, self.written, serde_bytes::Bytes::new(&bytes)).serialize(to)
    }
}

impl<'de, B: Bucket> Deserialize<'de> for Part<B> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (base, written, bytes): (i64, usize, serde_bytes::ByteBuf) = Deserialize::deserialize(from)?;
        if !(0..=TIME_MAX).contains(&base) || written > usize::MAX / 2 {
            return Err(D::Error::custom("a part of a table has a number that no part has"));
        }
        let (words, []) = bytes.as_chunks::<8>() else { return Err(D::Error::custom("a part of a table is cut")) };
        let (buckets, []) = words.as_chunks::<8>() else { return Err(D::Error::custom("a bucket of a table is cut")) };
        let buckets: Vec<B> = buckets.iter().map(|words| B::from_words(words.map(u64::from_le_bytes))).collect();
        let keys = |bucket: &B| (0..B::SLOTS).filter(|&slot| bucket.key(slot).is_some()).count();
        let used = buckets.iter().map(keys).sum();
        Ok(Self { buckets, base, used, written })
    }
}
