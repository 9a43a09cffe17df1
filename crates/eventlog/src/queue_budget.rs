//! The budget of bytes that wait to become durable.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// The bytes of the records that a log holds in memory: submitted, and neither durable nor refused.
#[derive(Debug)]
pub(crate) struct QueueBudget {
    held: AtomicUsize,
    limit: usize,
    gauge: IntGauge,
}

impl QueueBudget {
    pub(crate) fn new(limit: usize, gauge: IntGauge) -> Self {
        Self { held: AtomicUsize::new(0), limit, gauge }
    }

    /// Reserves bytes, if they fit in the budget.
    pub(crate) fn try_reserve(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|&held| held <= self.limit);
        let is_taken = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if is_taken {
            self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        is_taken
    }

    /// Reserves bytes, even beyond the budget.
    pub(crate) fn reserve(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn release(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "no more bytes are released than were reserved");
        self.gauge.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_budget_refuses_but_reserves_what_must_wait() {
        let gauge = IntGauge::new("bytes", "bytes").expect("a gauge");
        let budget = QueueBudget::new(10, gauge.clone());
        assert!(budget.try_reserve(10) && !budget.try_reserve(1));
        budget.reserve(5);
        assert_eq!((budget.held(), gauge.get()), (15, 15));
        budget.release(5);
        assert!(!budget.try_reserve(1), "it is still full");
        budget.release(10);
        assert!(budget.try_reserve(1));
    }
}
