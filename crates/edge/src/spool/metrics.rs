//! How full a spool is, how old its oldest event is, and what went through it.

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

/// The spool's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) bytes: IntGauge,
    pub(super) age: Gauge,
    pub(super) spooled: IntCounter,
    pub(super) drained: IntCounter,
    pub(super) syncs: IntCounter,
}

impl Metrics {
    /// Metrics, registered.
    ///
    /// # Errors
    /// Metrics of these names are in the registry already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            bytes: IntGauge::new("mashang_spool_bytes", "Bytes of the spool's files")?,
            age: Gauge::new(
                "mashang_spool_age_seconds",
                "Age of the oldest frame that is not drained; 0 if there is none",
            )?,
            spooled: IntCounter::new("mashang_spool_events_total", "Events that were answered from the spool")?,
            drained: IntCounter::new("mashang_spool_drained_events_total", "Events of the spool that the log has")?,
            syncs: IntCounter::new(
                "mashang_spool_rounds_total",
                "Syncs of the spool, each for all rounds that waited",
            )?,
        };
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.age.clone()))?;
        registry.register(Box::new(metrics.spooled.clone()))?;
        registry.register(Box::new(metrics.drained.clone()))?;
        registry.register(Box::new(metrics.syncs.clone()))?;
        Ok(metrics)
    }
}
