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

/// The memory permit of one request.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    budget: Arc<MemoryBudget>,
    units: usize,
}

impl MemoryPermit {
    pub(crate) fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self { budget: Arc::clone(budget), units: 0 }
    }

    /// Takes the memory for a body; `false` if there is not enough.
    pub(crate) fn hold(&mut self, body_bytes: usize) -> bool {
        let wanted = units(body_bytes).max(1);
        if wanted <= self.units {
            return true;
        }
        let least = wanted - self.units;
        (self.units > 0 && self.take(least.max(STEP_UNITS))) || self.take(least)
    }

    /// Takes the memory for an answer, as far as there is any: the answer is not refused any more.
    pub(crate) fn hold_at_least(&mut self, answer_bytes: usize) {
        let more = answer_bytes.div_ceil(UNIT_BYTES).saturating_sub(self.units);
        if more > 0 && !self.take(more) {
            self.take(self.budget.free_units().min(more));
        }
    }

    /// Holds what another permit holds, too.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.units += std::mem::take(&mut other.units);
    }

    /// An empty permit of the same memory.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.budget)
    }

    fn take(&mut self, units: usize) -> bool {
        let taken = self.budget.take(units);
        if taken {
            self.units += units;
        }
        taken
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.budget.give_back(self.units);
    }
}

fn bytes(units: usize) -> i64 {
    i64::try_from(units * UNIT_BYTES).unwrap_or(i64::MAX)
}
