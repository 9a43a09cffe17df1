//! What reached the edge: received = accepted + rejected + shed, to the event.

use axum::http::StatusCode;
use eventlog::api::AppendError;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use wire::event::{Reason, Refused};

use crate::transport::browser::visitor::NotAScan;

/// How events came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By HTTP, keyless scans too.
    Http,
    /// In datagrams.
    Udp,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Http, Self::Udp];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Udp => "udp",
        }
    }
}

/// Why events without errors were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    /// Too many bytes were in flight; the request was not read and counts as one event.
    Busy,
    /// The quota of a key or a merchant is used up; a request that was not read counts as one event.
    Quota,
    /// A shopper exceeded its limit while memory was short.
    Shopper,
    /// A client address made too many keyless scans.
    Client,
    /// The log is full.
    Full,
    /// The log failed or is being closed.
    Closed,
}

impl Shed {
    const ALL: [Self; 6] = [Self::Busy, Self::Quota, Self::Shopper, Self::Client, Self::Full, Self::Closed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::Shopper => "shopper",
            Self::Client => "client",
            Self::Full => "full",
            Self::Closed => "closed",
        }
    }
}

impl From<AppendError> for Shed {
    fn from(refused: AppendError) -> Self {
        match refused {
            AppendError::Full => Self::Full,
            AppendError::Failed | AppendError::Closed | AppendError::TooLarge => Self::Closed,
        }
    }
}

/// The edge's metrics (contract section 11).
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Events that came; a request that was not read counts as one.
    pub(crate) received: IntCounter,
    accepted: IntCounterVec,
    rejected: IntCounterVec,
    shed: IntCounterVec,
    /// Fields of events that are ignored.
    pub(crate) unknown_fields: IntCounter,
    /// Time from the head of a request to its positive answer.
    pub(crate) ack_seconds: Histogram,
    /// Bytes of memory that requests in flight hold.
    pub(crate) inflight_bytes: IntGauge,
    requests: IntCounterVec,
    /// The counter of status 202, kept because it is by far the most frequent.
    requests_202: IntCounter,
    uncounted: IntCounterVec,
    /// The metrics of datagrams.
    pub(crate) udp: Udp,
}

impl Metrics {
    /// Metrics, registered.
    ///
    /// # Errors
    /// Metrics of these names are in the registry already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let buckets = prometheus::exponential_buckets(0.000_25, 2.0, 16)?;
        let requests = vec("mashang_http_requests_total", "Answers by status", "status")?;
        let metrics = Self {
            received: IntCounter::new("mashang_events_received_total", "Events received")?,
            accepted: vec("mashang_events_accepted_total", "Events that are durable", "transport")?,
            rejected: vec("mashang_events_rejected_total", "Events with something wrong about them", "reason")?,
            shed: vec("mashang_events_shed_total", "Events turned away for want of room", "reason")?,
            unknown_fields: IntCounter::new("mashang_unknown_fields_total", "Unknown fields of events, ignored")?,
            ack_seconds: Histogram::with_opts(
                HistogramOpts::new("mashang_ack_seconds", "From the head of a request to its 202, or to 2.04")
                    .buckets(buckets),
            )?,
            inflight_bytes: IntGauge::new("mashang_edge_inflight_bytes", "Bytes of requests in flight")?,
            requests_202: requests.with_label_values(&[StatusCode::ACCEPTED.as_str()]),
            requests,
            uncounted: vec(
                "mashang_links_uncounted_total",
                "Links of codes opened without a scan, by reason",
                "reason",
            )?,
            udp: Udp::new(registry)?,
        };
        for reason in NotAScan::ALL {
            metrics.uncounted.with_label_values(&[reason.as_str()]);
        }
        for transport in Transport::ALL {
            metrics.accepted.with_label_values(&[transport.as_str()]);
        }
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
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.uncounted.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        if status == StatusCode::ACCEPTED {
            self.requests_202.inc();
        } else {
            self.requests.with_label_values(&[status.as_str()]).inc();
        }
    }

    /// Counts durable events.
    pub(crate) fn accept(&self, transport: Transport, events: u64) {
        self.accepted.with_label_values(&[transport.as_str()]).inc_by(events);
    }

    /// Counts an event under the reason of its first error.
    pub(crate) fn reject(&self, wrong: &Refused) {
        self.rejected.with_label_values(&[wrong.reason().as_str()]).inc();
    }

    pub(crate) fn uncounted(&self, why: NotAScan) {
        self.uncounted.with_label_values(&[why.as_str()]).inc();
    }

    /// Counts events without errors that were refused.
    pub(crate) fn shed(&self, why: Shed, events: u64) {
        self.shed.with_label_values(&[why.as_str()]).inc_by(events);
    }
}

/// Why a datagram was refused; its content is not counted as events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramReject {
    /// Not signed well, and not from a trusted network.
    Unauthenticated,
    /// Signed well with a key that is not for this.
    Forbidden,
    /// Empty, or no message of CoAP.
    Malformed,
    /// A ping, or a message that is no request.
    Unexpected,
    /// A critical option that is not known, or one for proxies.
    Option,
    /// Another path than that of events.
    Path,
    /// Another method than POST.
    Method,
    /// A Content-Format or Accept that is not supported.
    Format,
    /// More events than a body may have.
    TooLarge,
}

impl DatagramReject {
    const ALL: [Self; 9] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Malformed,
        Self::Unexpected,
        Self::Option,
        Self::Path,
        Self::Method,
        Self::Format,
        Self::TooLarge,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::Option => "option",
            Self::Path => "path",
            Self::Method => "method",
            Self::Format => "format",
            Self::TooLarge => "too-large",
        }
    }
}

/// The metrics of datagrams.
#[derive(Clone, Debug)]
pub(crate) struct Udp {
    /// Datagrams that were received.
    pub(crate) datagrams: IntCounter,
    refused: IntCounterVec,
    /// Requests that were received before.
    pub(crate) retransmissions: IntCounter,
    /// Datagrams that did not fit a socket's buffer.
    pub(crate) kernel_drops: IntCounter,
    /// Answers, by code.
    pub(crate) answers: IntCounterVec,
}

impl Udp {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let one = |name: &str, help: &str| IntCounter::new(name, help);
        let vec = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let udp = Self {
            datagrams: one("mashang_udp_datagrams_total", "Datagrams received")?,
            refused: vec("mashang_udp_refused_total", "Datagrams that were not taken", "reason")?,
            retransmissions: one("mashang_udp_retransmissions_total", "Requests that were there already")?,
            kernel_drops: one("mashang_udp_kernel_drops_total", "Datagrams that found no room in a socket")?,
            answers: vec("mashang_udp_answers_total", "Answers by code, those to retransmissions too", "code")?,
        };
        for reject in DatagramReject::ALL {
            udp.refused.with_label_values(&[reject.as_str()]);
        }
        registry.register(Box::new(udp.datagrams.clone()))?;
        registry.register(Box::new(udp.refused.clone()))?;
        registry.register(Box::new(udp.retransmissions.clone()))?;
        registry.register(Box::new(udp.kernel_drops.clone()))?;
        registry.register(Box::new(udp.answers.clone()))?;
        Ok(udp)
    }

    /// Counts a datagram that was refused.
    pub(crate) fn refuse(&self, reject: DatagramReject) {
        self.refused.with_label_values(&[reject.as_str()]).inc();
    }
}
