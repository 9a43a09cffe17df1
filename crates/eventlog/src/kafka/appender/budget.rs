//! The budget of bytes that an appender holds, and its metrics.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The metrics of all appenders of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) frames: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) ack_seconds: Histogram,
    pub(super) queue_bytes: IntGauge,
}

impl Metrics {
    /// # Panics
    /// If metrics of these names are in the registry already.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self::register(registry).expect("the log's metrics are registered once")
    }

    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.000_5, 2.0, 16)?;
        let metrics = Self {
            frames: IntCounter::new("mashang_log_frames_total", "Frames that were appended")?,
            bytes: IntCounter::new("mashang_log_bytes_total", "Bytes of the frames that were appended")?,
            failures: IntCounter::new(
                "mashang_log_failures_total",
                "Producers that failed and were replaced or ended",
            )?,
            ack_seconds: Histogram::with_opts(
                HistogramOpts::new("mashang_log_ack_seconds", "Time until an append was acknowledged").buckets(buckets),
            )?,
            queue_bytes: IntGauge::new("mashang_log_queue_bytes", "Bytes that are not acknowledged")?,
        };
        registry.register(Box::new(metrics.frames.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.ack_seconds.clone()))?;
        registry.register(Box::new(metrics.queue_bytes.clone()))?;
        Ok(metrics)
    }
}

/// The bytes that an appender holds: submitted, and neither acknowledged nor dropped.
#[derive(Debug)]
pub(super) struct QueueBudget {
    held: AtomicUsize,
    limit: usize,
    gauge: IntGauge,
}

impl QueueBudget {
    pub(super) fn new(limit: usize, gauge: IntGauge) -> Self {
        Self { held: AtomicUsize::new(0), limit, gauge }
    }

    /// Reserves bytes, if they fit in the budget.
    pub(super) fn try_reserve(&self, bytes: usize) -> bool {
        let fits = |held: usize| held.checked_add(bytes).filter(|&held| held <= self.limit);
        let is_taken = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if is_taken {
            self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        is_taken
    }

    /// Reserves bytes, even beyond the budget.
    pub(super) fn reserve(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
        self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn release(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "no more bytes are released than were reserved");
        self.gauge.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }
}
