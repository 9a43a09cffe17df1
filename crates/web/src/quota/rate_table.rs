//! Counts how often keys that anyone can choose come, in a table of fixed size, to find those that come far too often.
//!
//! There is one leaky bucket per slot. A part of a key selects the slot, and another part, the tag, says whose bucket it is. A
//! key that finds the bucket of another one is not counted until that bucket has run empty, which takes milliseconds if its owner
//! comes seldom. So a key may be overlooked for a moment, and is never taken for another one (36 bits of two keys are equal for
//! one pair in 7·10¹⁰). Threads write without waiting for each other: a count may be lost, which does no harm. Not a `DashMap`:
//! this table cannot grow, forgets by itself, and takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SLOT_BITS: u32 = 14;
const TAG_BITS: u32 = 22;
const LEVEL_BITS: u32 = 18;
const TICK_BITS: u32 = u64::BITS - TAG_BITS - LEVEL_BITS;
/// Duration of a tick, in milliseconds; ticks repeat after 74 hours.
const TICK_MS: u64 = 16;
/// Capacity of a bucket, in seconds of the allowed rate; what comes beyond it exceeds the limit.
pub const BURST_S: u64 = 10;
/// Maximum of an allowed rate, per second; the burst of a higher rate does not fit a bucket.
pub const RATE_MAX: u32 = 26_000;
const _: () = assert!(RATE_MAX as u64 * BURST_S < 1 << LEVEL_BITS, "a burst fits a bucket");
const _: () = assert!(TICK_BITS == 24, "a slot is one word");

/// Counts per key.
#[derive(Debug)]
pub struct RateTable {
    slots: Box<[AtomicU64]>,
    /// The allowed rate of a key, per second; 0: no limit.
    per_s: u64,
    began: Instant,
}

/// A bucket, unpacked from its slot.
#[derive(Clone, Copy)]
struct Bucket {
    tag: u64,
    level: u64,
    tick: u64,
}

impl Bucket {
    const fn unpack(word: u64) -> Self {
        Self {
            tag: word >> (LEVEL_BITS + TICK_BITS),
            level: word >> TICK_BITS & ((1 << LEVEL_BITS) - 1),
            tick: word & ((1 << TICK_BITS) - 1),
        }
    }

    const fn pack(self) -> u64 {
        self.tag << (LEVEL_BITS + TICK_BITS) | self.level << TICK_BITS | self.tick
    }
}

impl RateTable {
    /// A limit per second and key, or none with 0.
    ///
    /// # Panics
    /// If the limit is above [`RATE_MAX`].
    #[must_use]
    pub fn new(per_s: u32) -> Self {
        assert!(per_s <= RATE_MAX, "a burst fits a bucket");
        let slots = (0..1 << SLOT_BITS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, per_s: per_s.into(), began: Instant::now() }
    }

    /// The tick of an instant.
    #[must_use]
    pub fn tick(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(0) / TICK_MS
    }

    /// Counts a key, whose bits are uniform, and returns whether it exceeds the limit.
    pub fn is_over(&self, key: u128, tick: u64) -> bool {
        if self.per_s == 0 {
            return false;
        }
        let slot = &self.slots[usize::try_from(key & ((1 << SLOT_BITS) - 1)).unwrap_or(0)];
        let tag = u64::try_from(key >> SLOT_BITS & ((1 << TAG_BITS) - 1)).unwrap_or(0);
        let mut bucket = Bucket::unpack(slot.load(Ordering::Relaxed));
        let tick = tick & ((1 << TICK_BITS) - 1);
        let passed = tick.wrapping_sub(bucket.tick) & ((1 << TICK_BITS) - 1);
        let leaked = passed * TICK_MS * self.per_s / 1000;
        if leaked > 0 {
            (bucket.level, bucket.tick) = (bucket.level.saturating_sub(leaked), tick);
        }
        if bucket.tag != tag {
            if bucket.level > 0 {
                return false;
            }
            bucket = Bucket { tag, level: 0, tick };
        }
        let is_over = bucket.level >= self.per_s * BURST_S;
        bucket.level += u64::from(!is_over);
        slot.store(bucket.pack(), Ordering::Relaxed);
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the counts at one tick are within the limit.
    fn taken(table: &RateTable, key: u128, tick: u64, events: u32) -> u32 {
        (0..events).map(|_| u32::from(!table.is_over(key, tick))).sum()
    }

    #[test]
    fn key_beyond_its_rate_exceeds_the_limit() {
        let table = RateTable::new(100);
        let key = 0x1234_5678_9ABC_DEF0_1234_5678_9ABC_DEF0;
        assert_eq!(taken(&table, key, 5, 5000), 1000, "ten seconds' worth at once");
        // 16 ms are 1.6 events: the remainder is neither lost nor counted twice.
        let second: u32 = (1..=63).map(|tick| taken(&table, key, 5 + tick, 50)).sum();
        assert!((60..=101).contains(&second), "{second} in a second");
        assert_eq!(taken(&table, key, 10_000_000, 5000), 1000, "long after");
        // No other key does.
        assert_eq!(taken(&table, key + 1, 6, 10), 10);
    }

    #[test]
    fn key_in_a_shared_slot_is_not_confused() {
        let table = RateTable::new(100);
        let (loud, quiet) = (1_u128 << 20, 2_u128 << 20);
        assert_eq!(taken(&table, loud, 0, 2000), 1000);
        assert_eq!(taken(&table, quiet, 0, 2000), 2000, "not counted while the other's bucket is full");
        assert!(table.is_over(loud, 0), "and the other is not forgotten");
        assert_eq!(taken(&table, quiet, 1000, 2000), 1000, "it has run empty");
    }

    #[test]
    fn the_tick_may_wrap_around() {
        let table = RateTable::new(100);
        let last = (1 << TICK_BITS) - 1;
        assert_eq!(taken(&table, 7, last, 2000), 1000);
        assert!(taken(&table, 7, last + 63, 2000) <= 101, "a second later");
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(taken(&RateTable::new(0), 7, 0, 300_000), 300_000);
    }
}
