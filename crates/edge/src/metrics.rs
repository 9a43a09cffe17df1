//! What came through the door: received = accepted + rejected + shed, to the event.

use log::local::Refused;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use wire::event::{Reason, Refused as Wrong};

/// Why events were turned away though nothing is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// Too many bytes were under way; the request was not read and counts as one event.
    Busy,
    /// A key or a merchant has had its quota; a request that was not read counts as one event.
    Quota,
    /// The log has no room.
    Full,
    /// The log failed or is being closed.
    Closed,
}

impl Shed {
    const ALL: [Self; 4] = [Self::Busy, Self::Quota, Self::Full, Self::Closed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::Full => "full",
            Self::Closed => "closed",
        }
    }
}

impl From<Refused> for Shed {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Failed | Refused::Closed | Refused::TooLarge => Self::Closed,
        }
    }
}

/// The door's metrics (contract section 11).
#[derive(Clone, Debug)]
pub struct Metrics {
    pub received: IntCounter,
    accepted: IntCounterVec,
    rejected: IntCounterVec,
    shed: IntCounterVec,
    pub unknown_fields: IntCounter,
    pub ack_seconds: Histogram,
    pub inflight_bytes: IntGauge,
    pub connections: IntGauge,
    pub requests: IntCounterVec,
}

impl Metrics {
    /// # Errors
    /// Metrics of these names are in the registry already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let buckets = prometheus::exponential_buckets(0.000_25, 2.0, 16)?;
        let metrics = Self {
            received: IntCounter::new("mashang_events_received_total", "Events that came to the door")?,
            accepted: vec("mashang_events_accepted_total", "Events that are durable", "transport")?,
            rejected: vec("mashang_events_rejected_total", "Events with something wrong about them", "reason")?,
            shed: vec("mashang_events_shed_total", "Events turned away for want of room", "reason")?,
            unknown_fields: IntCounter::new("mashang_unknown_fields_total", "Fields of events that nobody knows")?,
            ack_seconds: Histogram::with_opts(
                HistogramOpts::new("mashang_ack_seconds", "From the head of a request to its 202").buckets(buckets),
            )?,
            inflight_bytes: IntGauge::new("mashang_edge_inflight_bytes", "Bytes of requests under way")?,
            connections: IntGauge::new("mashang_edge_connections", "Open connections")?,
            requests: vec("mashang_http_requests_total", "Answers by status", "status")?,
        };
        metrics.accepted.with_label_values(&["http"]);
        for reason in Reason::ALL {
            metrics.rejected.with_label_values(&[reason.as_str()]);
        }
        for reason in Shed::ALL {
            metrics.shed.with_label_values(&[reason.as_str()]);
        }
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.shed.clone()))?;
        registry.register(Box::new(metrics.unknown_fields.clone()))?;
        registry.register(Box::new(metrics.ack_seconds.clone()))?;
        registry.register(Box::new(metrics.inflight_bytes.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        Ok(metrics)
    }

    pub fn accept(&self, events: u64) {
        self.accepted.with_label_values(&["http"]).inc_by(events);
    }

    /// Counts an event under the reason of its first error.
    pub fn reject(&self, wrong: &Wrong) {
        self.rejected.with_label_values(&[wrong.reason().as_str()]).inc();
    }

    pub fn shed(&self, why: Shed, events: u64) {
        self.shed.with_label_values(&[why.as_str()]).inc_by(events);
    }
}
