//! What all listeners of an address share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::handler::Handler;
use super::tls::Tls;
use crate::networks::Trust;
use crate::quota::client_limits::ClientLimits;
use crate::server::metrics::HttpMetrics;

/// The configuration of a port.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Maximum number of open connections; further ones wait.
    pub connections_max: usize,
    /// The proxies whose statement about the client is trusted.
    pub proxies: Trust,
    /// Whether only proxies may connect, and each connection begins with a header of the PROXY protocol.
    pub expects_proxy: bool,
    /// Maximum time for which a connection without a request is kept open.
    pub idle_timeout: Duration,
    /// What clients without a key may do; `None` where all clients are of this machine.
    pub client_limits: Option<Arc<ClientLimits>>,
    /// The certificate and key for TLS, if it is used.
    pub tls: Option<Arc<Tls>>,
}

/// An address where requests come in.
#[derive(Debug)]
pub struct Port<H> {
    pub(super) handler: H,
    pub(super) config: PortConfig,
    pub(super) metrics: HttpMetrics,
    pub(super) permits: Arc<Semaphore>,
}

impl<H: Handler> Port<H> {
    /// A port whose requests this handler answers.
    #[must_use]
    pub fn new(handler: H, config: PortConfig, metrics: HttpMetrics) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { handler, config, metrics, permits })
    }

    /// Runs permanently and reads the certificate again when it changes.
    pub async fn reload(&self) {
        if let Some(tls) = &self.config.tls {
            tls.reload().await;
        }
    }
}
