//! What all listeners of an address share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::handler::Handler;
use super::tls::Tls;
use crate::networks::Trust;
use crate::server::metrics::Http;

/// What a port is told.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// So many connections may be open; more wait to be accepted.
    pub connections_max: usize,
    /// Whose word is taken about whom they speak for.
    pub proxies: Trust,
    /// Connections are taken from them alone, and begin with a header of the PROXY protocol.
    pub expects_proxy: bool,
    /// How long a connection without a request is kept.
    pub idle_timeout: Duration,
    /// What it is encrypted with, if it is.
    pub tls: Option<Arc<Tls>>,
}

/// An address where requests come in.
#[derive(Debug)]
pub struct Port<H> {
    pub(super) handler: H,
    pub(super) manner: PortConfig,
    pub(super) metrics: Http,
    pub(super) room: Arc<Semaphore>,
}

impl<H: Handler> Port<H> {
    #[must_use]
    pub fn new(handler: H, manner: PortConfig, metrics: Http) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(manner.connections_max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { handler, manner, metrics, room })
    }

    /// Reads its certificate again whenever it changes, for ever.
    pub async fn reload(&self) {
        if let Some(tls) = &self.manner.tls {
            tls.reload().await;
        }
    }
}
