//! Shoppers who send far more than their share: seen always, turned away while there is little room, so that they do not keep
//! the others out.
//!
//! A leaky bucket a slot, in a table of fixed size; a shopper's slot is a part of its key, and another part tells whose the
//! bucket is. Whoever finds another's bucket is not counted until that has run empty, which the bucket of somebody quiet does
//! within milliseconds; so a shopper may be overlooked for a moment, and nobody is taken for another (36 bits of the key
//! agree for one in 7·10¹⁰). Threads write without waiting for each other: a count may be lost, nothing hangs on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::ingest::memory::MemoryBudget;

const SLOT_BITS: u32 = 14;
const TAG_BITS: u32 = 22;
const LEVEL_BITS: u32 = 18;
const TICK_BITS: u32 = u64::BITS - TAG_BITS - LEVEL_BITS;
/// A tick; 74 hours of them are told apart.
const TICK_MS: u64 = 16;
/// A bucket holds what may be sent in so many seconds.
const BURST_S: u64 = 10;
/// More a second would not fit a bucket.
pub const EVENTS_PER_S_MAX: u32 = 26_000;
const _: () = assert!(EVENTS_PER_S_MAX as u64 * BURST_S < 1 << LEVEL_BITS, "a burst fits a bucket");
const _: () = assert!(TICK_BITS == 24, "a slot is one word");

/// What is known of who sends how much.
#[derive(Debug)]
pub(crate) struct ShopperLimiter {
    slots: Box<[AtomicU64]>,
    /// 0: nobody is hot.
    events_per_s: u64,
    began: Instant,
    hall: Arc<MemoryBudget>,
    /// Fewer free units than this are little room.
    little: usize,
}

/// A bucket as it lies in its slot.
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

impl ShopperLimiter {
    /// Whoever sends more than so many events a second is hot; 0 for nobody. The hall is as free now as it ever will be.
    pub(crate) fn new(events_per_s: u32, hall: Arc<MemoryBudget>) -> Self {
        assert!(events_per_s <= EVENTS_PER_S_MAX, "a burst fits a bucket");
        let slots = (0..1 << SLOT_BITS).map(|_| AtomicU64::new(0)).collect();
        let little = hall.free_units() / 2;
        Self { slots, events_per_s: events_per_s.into(), began: Instant::now(), hall, little }
    }

    /// The tick of a moment.
    pub(crate) fn tick(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(0) / TICK_MS
    }

    /// Counts an event; whether its shopper is hot.
    pub(crate) fn is_hot(&self, shopper_key: u128, tick: u64) -> bool {
        if self.events_per_s == 0 {
            return false;
        }
        let slot = &self.slots[usize::try_from(shopper_key & ((1 << SLOT_BITS) - 1)).unwrap_or(0)];
        let tag = u64::try_from(shopper_key >> SLOT_BITS & ((1 << TAG_BITS) - 1)).unwrap_or(0);
        let mut bucket = Bucket::unpack(slot.load(Ordering::Relaxed));
        let tick = tick & ((1 << TICK_BITS) - 1);
        let passed = tick.wrapping_sub(bucket.tick) & ((1 << TICK_BITS) - 1);
        let leaked = passed * TICK_MS * self.events_per_s / 1000;
        if leaked > 0 {
            (bucket.level, bucket.tick) = (bucket.level.saturating_sub(leaked), tick);
        }
        if bucket.tag != tag {
            if bucket.level > 0 {
                return false;
            }
            bucket = Bucket { tag, level: 0, tick };
        }
        let is_hot = bucket.level >= self.events_per_s * BURST_S;
        bucket.level += u64::from(!is_hot);
        slot.store(bucket.pack(), Ordering::Relaxed);
        is_hot
    }

    /// Whether there is so little room that whoever is hot is turned away.
    pub(crate) fn is_little_room(&self) -> bool {
        self.hall.free_units() < self.little
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;

    fn hot(events_per_s: u32) -> ShopperLimiter {
        ShopperLimiter::new(events_per_s, MemoryBudget::new(1 << 20, IntGauge::new("room", "room").expect("a name")))
    }

    /// How many of so many events at one tick are not hot.
    fn taken(hot: &ShopperLimiter, key: u128, tick: u64, events: u32) -> u32 {
        (0..events).map(|_| u32::from(!hot.is_hot(key, tick))).sum()
    }

    #[test]
    fn a_shopper_is_hot_beyond_its_rate() {
        let hot = hot(100);
        let key = 0x1234_5678_9ABC_DEF0_1234_5678_9ABC_DEF0;
        assert_eq!(taken(&hot, key, 5, 5000), 1000, "ten seconds' worth at once");
        // 16 ms are 1.6 events: the rest of it is not lost for good, nor counted twice.
        let second: u32 = (1..=63).map(|tick| taken(&hot, key, 5 + tick, 50)).sum();
        assert!((60..=101).contains(&second), "{second} in a second");
        assert_eq!(taken(&hot, key, 10_000_000, 5000), 1000, "long after");
        // Nobody else is.
        assert_eq!(taken(&hot, key + 1, 6, 10), 10);
    }

    #[test]
    fn who_shares_a_slot_is_not_taken_for_another() {
        let hot = hot(100);
        let (loud, quiet) = (1_u128 << 20, 2_u128 << 20);
        assert_eq!(taken(&hot, loud, 0, 2000), 1000);
        assert_eq!(taken(&hot, quiet, 0, 2000), 2000, "not counted while the other's bucket is full");
        assert!(hot.is_hot(loud, 0), "and the other is not forgotten");
        assert_eq!(taken(&hot, quiet, 1000, 2000), 1000, "it has run empty");
    }

    #[test]
    fn the_clock_may_go_round() {
        let hot = hot(100);
        let last = (1 << TICK_BITS) - 1;
        assert_eq!(taken(&hot, 7, last, 2000), 1000);
        assert!(taken(&hot, 7, last + 63, 2000) <= 101, "a second later");
    }

    #[test]
    fn zero_is_nobody() {
        assert_eq!(taken(&hot(0), 7, 0, 300_000), 300_000);
    }
}
