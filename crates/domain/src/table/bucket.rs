//! Buckets of one cache line each: what a [`Table`](super::table::Table) keeps of its keys.
//!
//! A bucket keeps 69 bits of each key: a fingerprint of 64 bits, which is never 0 (0 means that the slot is free), and five more
//! bits. Beside them it keeps a stamp, which says how old the entry is, and perhaps a value.

/// Number of the bits of a key that a bucket keeps beside the fingerprint.
pub(super) const EXTRA_BITS: u32 = 5;
const EXTRA_MASK: u8 = (1 << EXTRA_BITS) - 1;

/// What a bucket keeps of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// Not 0.
    pub(super) fingerprint: u64,
    /// Below 2^[`EXTRA_BITS`].
    pub(super) extra: u8,
}

/// A bucket of entries.
pub trait Bucket: Copy + std::fmt::Debug + Default {
    /// What an entry keeps beside its key and stamp.
    type Value: Copy + std::fmt::Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned;
    /// Number of entries.
    const SLOTS: usize;
    /// The highest stamp.
    const STAMP_MAX: u64;

    /// The slot of a key.
    fn find(&self, key: Remainder) -> Option<usize>;
    /// The key in a slot; `None` if the slot is free.
    fn key(&self, slot: usize) -> Option<Remainder>;
    /// The stamp in a slot.
    fn stamp(&self, slot: usize) -> u64;
    /// The value in a slot.
    fn value(&self, slot: usize) -> Self::Value;
    /// Fills a slot.
    fn set(&mut self, slot: usize, key: Remainder, stamp: u64, value: Self::Value);
    /// Whether an entry went on to the next bucket because this one was full.
    fn is_passed(&self) -> bool;
    /// Notes that an entry went on to the next bucket.
    fn pass(&mut self);
    /// Any word of it.
    fn word(&self) -> u64;
    /// The bucket as eight words.
    fn words(&self) -> [u64; 8];
    /// The bucket of eight words.
    fn from_words(words: [u64; 8]) -> Self;

    /// The first slot that is free, or whose entry's stamp is below `cutoff`.
    fn free_slot(&self, cutoff: u64) -> Option<usize> {
        (0..Self::SLOTS).find(|&slot| self.key(slot).is_none() || self.stamp(slot) < cutoff)
    }
}

/// Six keys with a stamp of 16 bits each.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct KeyBucket {
    fingerprints: [u64; 6],
    /// From the lowest bit: four stamps, and the other two.
    stamps: [u64; 2],
}

const STAMP_BITS: u32 = 16;
/// Above the last two stamps: six times the other bits of a key, and whether an entry went on.
const KEY_EXTRAS_AT: u32 = 2 * STAMP_BITS;
const KEY_PASSED: u64 = 1 << (KEY_EXTRAS_AT + 6 * EXTRA_BITS);

impl KeyBucket {
    fn extra(&self, slot: usize) -> u8 {
        (self.stamps[1] >> (KEY_EXTRAS_AT + slot as u32 * EXTRA_BITS)) as u8 & EXTRA_MASK
    }

    /// The slots with a fingerprint, as bits.
    fn slots(&self, fingerprint: u64) -> u32 {
        (0..6).fold(0, |slots, slot| slots | u32::from(self.fingerprints[slot] == fingerprint) << slot)
    }
}

impl Bucket for KeyBucket {
    type Value = ();
    const SLOTS: usize = 6;
    const STAMP_MAX: u64 = u16::MAX as u64;

    fn find(&self, key: Remainder) -> Option<usize> {
        let mut slots = self.slots(key.fingerprint);
        while slots != 0 {
            let slot = slots.trailing_zeros() as usize;
            if self.extra(slot) == key.extra {
                return Some(slot);
            }
            slots &= slots - 1;
        }
        None
    }

    fn key(&self, slot: usize) -> Option<Remainder> {
        let fingerprint = self.fingerprints[slot];
        (fingerprint != 0).then(|| Remainder { fingerprint, extra: self.extra(slot) })
    }

    fn stamp(&self, slot: usize) -> u64 {
        u64::from((self.stamps[slot / 4] >> (slot as u32 % 4 * STAMP_BITS)) as u16)
    }

    fn value(&self, _slot: usize) {}

    fn set(&mut self, slot: usize, key: Remainder, stamp: u64, (): ()) {
        let (stamp_at, extra_at) = (slot as u32 % 4 * STAMP_BITS, KEY_EXTRAS_AT + slot as u32 * EXTRA_BITS);
        self.fingerprints[slot] = key.fingerprint;
        let stamps = &mut self.stamps[slot / 4];
        *stamps = *stamps & !(u64::from(u16::MAX) << stamp_at) | (stamp & Self::STAMP_MAX) << stamp_at;
        let rest = &mut self.stamps[1];
        *rest = *rest & !(u64::from(EXTRA_MASK) << extra_at) | u64::from(key.extra) << extra_at;
    }

    fn is_passed(&self) -> bool {
        self.stamps[1] & KEY_PASSED != 0
    }

    fn pass(&mut self) {
        self.stamps[1] |= KEY_PASSED;
    }

    fn word(&self) -> u64 {
        self.fingerprints[0]
    }

    fn words(&self) -> [u64; 8] {
        let ([a, b, c, d, e, f], [low, high]) = (self.fingerprints, self.stamps);
        [a, b, c, d, e, f, low, high]
    }

    fn from_words([a, b, c, d, e, f, low, high]: [u64; 8]) -> Self {
        Self { fingerprints: [a, b, c, d, e, f], stamps: [low, high] }
    }

    fn free_slot(&self, cutoff: u64) -> Option<usize> {
        match self.slots(0) {
            0 => (0..Self::SLOTS).find(|&slot| self.stamp(slot) < cutoff),
            free => Some(free.trailing_zeros() as usize),
        }
    }
}

/// Three keys with a stamp and a time of 48 bits each: milliseconds up to the year 9999 and beyond.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct TimeBucket {
    fingerprints: [u64; 3],
    /// From the lowest bit: the time, and the low bits of the stamp.
    times: [u64; 3],
    /// The high bits of the stamps.
    stamps: [u32; 3],
    /// From the lowest bit: three times the other bits of a key, and whether an entry went on.
    rest: u32,
}

const TIME_BITS: u32 = 48;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const TIME_PASSED: u32 = 1 << (3 * EXTRA_BITS);

impl TimeBucket {
    fn extra(&self, slot: usize) -> u8 {
        (self.rest >> (slot as u32 * EXTRA_BITS)) as u8 & EXTRA_MASK
    }
}

impl Bucket for TimeBucket {
    type Value = i64;
    const SLOTS: usize = 3;
    const STAMP_MAX: u64 = TIME_MASK;

    fn find(&self, key: Remainder) -> Option<usize> {
        (0..Self::SLOTS).find(|&slot| self.fingerprints[slot] == key.fingerprint && self.extra(slot) == key.extra)
    }

    fn key(&self, slot: usize) -> Option<Remainder> {
        let fingerprint = self.fingerprints[slot];
        (fingerprint != 0).then(|| Remainder { fingerprint, extra: self.extra(slot) })
    }

    fn stamp(&self, slot: usize) -> u64 {
        self.times[slot] >> TIME_BITS | u64::from(self.stamps[slot]) << (u64::BITS - TIME_BITS)
    }

    fn value(&self, slot: usize) -> i64 {
        (self.times[slot] & TIME_MASK).cast_signed()
    }

    fn set(&mut self, slot: usize, key: Remainder, stamp: u64, value: i64) {
        let extra_at = slot as u32 * EXTRA_BITS;
        self.fingerprints[slot] = key.fingerprint;
        self.times[slot] = value.cast_unsigned() & TIME_MASK | stamp << TIME_BITS;
        self.stamps[slot] = (stamp >> (u64::BITS - TIME_BITS)) as u32;
        self.rest = self.rest & !(u32::from(EXTRA_MASK) << extra_at) | u32::from(key.extra) << extra_at;
    }

    fn is_passed(&self) -> bool {
        self.rest & TIME_PASSED != 0
    }

    fn pass(&mut self) {
        self.rest |= TIME_PASSED;
    }

    fn word(&self) -> u64 {
        self.fingerprints[0]
    }

    fn words(&self) -> [u64; 8] {
        let ([a, b, c], [d, e, f], [s, t, u]) = (self.fingerprints, self.times, self.stamps);
        let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        [a, b, c, d, e, f, pair(s, t), pair(u, self.rest)]
    }

    fn from_words([a, b, c, d, e, f, first, second]: [u64; 8]) -> Self {
        Self {
            fingerprints: [a, b, c],
            times: [d, e, f],
            stamps: [first as u32, (first >> 32) as u32, second as u32],
            rest: (second >> 32) as u32,
        }
    }
}
