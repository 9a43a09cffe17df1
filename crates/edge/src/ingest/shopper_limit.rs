//! The shopper limit: shoppers who send far more than their share are always counted, and refused while memory is short, so that
//! they do not keep other shoppers out.

use std::sync::Arc;
use std::time::Instant;

use web::quota::rate_table::RateTable;

use crate::ingest::memory::MemoryBudget;

/// Counts the events of each shopper.
#[derive(Debug)]
pub(crate) struct ShopperLimiter {
    events: RateTable,
    memory: Arc<MemoryBudget>,
    /// Memory is short if fewer units than this are free.
    short_units: usize,
}

impl ShopperLimiter {
    /// A limit of events per second and shopper, or none with 0. The memory budget must be as free now as it ever will be.
    pub(crate) fn new(events_per_s: u32, memory: Arc<MemoryBudget>) -> Self {
        let short_units = memory.free_units() / 2;
        Self { events: RateTable::new(events_per_s), memory, short_units }
    }

    /// The tick of an instant.
    pub(crate) fn tick(&self, now: Instant) -> u64 {
        self.events.tick(now)
    }

    /// Counts an event and returns whether its shopper exceeds the limit.
    pub(crate) fn is_over(&self, shopper_key: u128, tick: u64) -> bool {
        self.events.is_over(shopper_key, tick)
    }

    /// Whether memory is so short that shoppers beyond the limit are refused.
    pub(crate) fn is_memory_short(&self) -> bool {
        self.memory.free_units() < self.short_units
    }
}
