//! The metrics of appenders.

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
