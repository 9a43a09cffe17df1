//! Memory of requests under way: taken as their bytes come, given back when their answers are written.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in units of so many bytes.
pub(crate) const UNIT_BYTES: usize = 1024;
/// It is taken in steps of so many units, where there is room.
const STEP_UNITS: usize = 64;
/// While a body is worked on, it takes so many times its bytes.
const BODY_FACTOR: usize = 3;

/// The units that a body of so many bytes takes.
pub(crate) fn units(body_bytes: usize) -> usize {
    (body_bytes * BODY_FACTOR).div_ceil(UNIT_BYTES)
}

/// What one request holds.
#[derive(Debug)]
pub(crate) struct Room {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    units: usize,
    gauge: IntGauge,
}

impl Room {
    pub(crate) fn new(all: Arc<Semaphore>, gauge: IntGauge) -> Self {
        Self { all, held: None, units: 0, gauge }
    }

    /// Holds what a body of so many bytes takes; `false` if there is no such room.
    pub(crate) fn hold(&mut self, body_bytes: usize) -> bool {
        let wanted = units(body_bytes).max(1);
        if wanted <= self.units {
            return true;
        }
        let least = wanted - self.units;
        (self.units > 0 && self.take(least.max(STEP_UNITS))) || self.take(least)
    }

    /// Holds what an answer of so many bytes takes, as far as there is room: it is not refused any more.
    pub(crate) fn hold_at_least(&mut self, answer_bytes: usize) {
        let more = answer_bytes.div_ceil(UNIT_BYTES).saturating_sub(self.units);
        if more > 0 && !self.take(more) {
            self.take(self.all.available_permits().min(more));
        }
    }

    fn take(&mut self, units: usize) -> bool {
        let Ok(count) = u32::try_from(units) else { return false };
        let Ok(permit) = Arc::clone(&self.all).try_acquire_many_owned(count) else { return false };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        self.units += units;
        self.gauge.add(bytes(units));
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gauge.sub(bytes(self.units));
    }
}

fn bytes(units: usize) -> i64 {
    i64::try_from(units * UNIT_BYTES).unwrap_or(i64::MAX)
}
