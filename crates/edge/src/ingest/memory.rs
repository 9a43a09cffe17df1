//! Memory of requests in flight: taken as their bytes come, given back when their answers are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// Number of bytes of a unit, in which memory is counted.
pub(crate) const UNIT_BYTES: usize = 1024;
/// Number of units that a permit takes at once, as long as they are free.
const STEP_UNITS: usize = 64;
/// Memory that a body takes while it is processed, in multiples of its bytes.
const BODY_FACTOR: usize = 3;

/// What the requests of one key may hold, in multiples of what then is free: one key alone three quarters of the memory, the next one
/// three quarters of the rest. So some is always free for a key that holds none.
const SHARE_OF_FREE: usize = 3;

/// The number of units that a body takes.
pub(crate) fn units(body_bytes: usize) -> usize {
    (body_bytes * BODY_FACTOR).div_ceil(UNIT_BYTES)
}

/// The memory budget of all requests in flight.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    free_units: AtomicUsize,
    gauge: IntGauge,
}

impl MemoryBudget {
    pub(crate) fn new(bytes_max: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { free_units: AtomicUsize::new(bytes_max / UNIT_BYTES), gauge })
    }

    pub(crate) fn free_units(&self) -> usize {
        self.free_units.load(Ordering::Relaxed)
    }

    /// Takes the units, or none if fewer are free.
    fn take(&self, units: usize) -> bool {
        let taken = self.free_units.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(units));
        if taken.is_ok() {
            self.gauge.add(bytes(units));
        }
        taken.is_ok()
    }

    fn give_back(&self, units: usize) {
        self.free_units.fetch_add(units, Ordering::Relaxed);
        self.gauge.sub(bytes(units));
    }
}

/// The memory that all requests of one key hold, in units; `None` where no key is needed.
pub(crate) type Share = Option<Arc<AtomicUsize>>;

/// The memory permit of one request.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    budget: Arc<MemoryBudget>,
    share: Share,
    units: usize,
}

impl MemoryPermit {
    pub(crate) fn new(budget: &Arc<MemoryBudget>, share: Share) -> Self {
        Self { budget: Arc::clone(budget), share, units: 0 }
    }

    /// Takes the memory for a body; `false` if there is not enough.
    pub(crate) fn hold(&mut self, body_bytes: usize) -> bool {
        let wanted = units(body_bytes).max(1);
        if wanted <= self.units {
            return true;
        }
        let least = wanted - self.units;
        (self.units > 0 && self.take_of_share(least.max(STEP_UNITS))) || self.take_of_share(least)
    }

    /// Takes the memory for an answer beside the body's; `false` if there is not enough.
    pub(crate) fn hold_answer(&mut self, answer_bytes: usize) -> bool {
        let more = answer_bytes.div_ceil(UNIT_BYTES);
        more == 0 || self.take_of_share(more)
    }

    /// Whether another permit is of the same key.
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        match (&self.share, &other.share) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }

    /// Holds what another permit of the same key holds, too.
    pub(crate) fn join(&mut self, mut other: Self) {
        debug_assert!(self.is_of_the_same(&other));
        self.units += std::mem::take(&mut other.units);
    }

    /// An empty permit of the same memory.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.budget, self.share.clone())
    }

    /// Whether the key may hold this much more now.
    pub(crate) fn has_share(&self, units: usize) -> bool {
        let free = self.budget.free_units();
        let held = self.share.as_ref().map_or(0, |share| share.load(Ordering::Relaxed));
        units <= free && (self.share.is_none() || held + units <= SHARE_OF_FREE * (free - units))
    }

    fn take_of_share(&mut self, units: usize) -> bool {
        self.has_share(units) && self.take(units)
    }

    fn take(&mut self, units: usize) -> bool {
        let taken = self.budget.take(units);
        if taken {
            self.count(units, AtomicUsize::fetch_add);
            self.units += units;
        }
        taken
    }

    fn count(&self, units: usize, change: fn(&AtomicUsize, usize, Ordering) -> usize) {
        if let Some(share) = &self.share {
            change(share, units, Ordering::Relaxed);
        }
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.count(self.units, AtomicUsize::fetch_sub);
        self.budget.give_back(self.units);
    }
}

fn bytes(units: usize) -> i64 {
    i64::try_from(units * UNIT_BYTES).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While three keys hold all that they can get, one that holds nothing gets some.
    #[test]
    fn no_key_keeps_another_out() {
        const MIB: usize = 1024 * 1024;
        let budget = MemoryBudget::new(256 * MIB, IntGauge::new("held", "bytes").expect("a gauge"));
        let share = || Some(Arc::default());
        let mut permits = Vec::new();
        for _ in 0..3 {
            let greedy: Share = share();
            let mut had = 0;
            loop {
                let mut permit = MemoryPermit::new(&budget, greedy.clone());
                if !permit.hold(100_000) {
                    break;
                }
                had += 1;
                permits.push(permit);
            }
            assert!(had > 0, "after {} permits", permits.len());
            if permits.len() == had {
                let held = greedy.expect("a share").load(Ordering::Relaxed) * UNIT_BYTES;
                assert!((190 * MIB..=192 * MIB).contains(&held), "one alone holds three quarters, not {held}");
            }
        }
        let one = share();
        let mut permit = MemoryPermit::new(&budget, one.clone());
        assert!(permit.hold(1), "a small one fits");
        let mut other = permit.another();
        assert!(other.hold(1));
        permit.join(other);
        assert_eq!(one.as_ref().map(|held| held.load(Ordering::Relaxed)), Some(2));
        drop(permit);
        drop(permits);
        assert_eq!(one.map(|held| held.load(Ordering::Relaxed)), Some(0));
        assert_eq!(budget.free_units() * UNIT_BYTES, 256 * MIB);
        // Without keys, all of it is for all.
        assert!(MemoryPermit::new(&budget, None).hold(80 * MIB));
    }
}
