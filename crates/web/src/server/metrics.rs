//! The metrics of a port's connections.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Why this side ended a connection of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisconnectReason {
    /// The head of a request had too many bytes or headers: 431.
    HeadTooLarge,
    /// The bytes were no head: 400.
    HeadMalformed,
    /// No head, or only part of one, came in time.
    HeadTimeout,
    /// The answer was not read in time.
    AnswerNotRead,
    /// The connection is from no trusted proxy, and only those are accepted.
    Stranger,
    /// The proxy's header was malformed, or did not come.
    ProxyHeader,
    /// The TLS handshake failed, or was not over in time.
    Tls,
    /// Its client had too many open connections.
    TooMany,
}

impl DisconnectReason {
    const ALL: [Self; 8] = [
        Self::HeadTooLarge,
        Self::HeadMalformed,
        Self::HeadTimeout,
        Self::AnswerNotRead,
        Self::Stranger,
        Self::ProxyHeader,
        Self::Tls,
        Self::TooMany,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "head-too-large",
            Self::HeadMalformed => "head-malformed",
            Self::HeadTimeout => "head-timeout",
            Self::AnswerNotRead => "answer-not-read",
            Self::Stranger => "stranger",
            Self::ProxyHeader => "proxy-header",
            Self::Tls => "tls",
            Self::TooMany => "too-many",
        }
    }
}

/// The metrics of a port's connections.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// Number of open connections.
    pub(crate) connections: IntGauge,
    cut: IntCounterVec,
}

impl HttpMetrics {
    /// Metrics, registered.
    ///
    /// # Errors
    /// Metrics of these names are in the registry already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("mashang_http_cut_total", "Connections that were ended from here, by reason");
        let http = Self {
            connections: IntGauge::new("mashang_http_connections", "Connections that are open")?,
            cut: IntCounterVec::new(opts, &["reason"])?,
        };
        for why in DisconnectReason::ALL {
            http.cut.with_label_values(&[why.as_str()]);
        }
        registry.register(Box::new(http.connections.clone()))?;
        registry.register(Box::new(http.cut.clone()))?;
        Ok(http)
    }

    pub(crate) fn cut(&self, why: DisconnectReason) {
        self.cut.with_label_values(&[why.as_str()]).inc();
    }
}
