//! The HTTP port and the admin port of a process, from their binding to their end.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use prometheus::Registry;
use tokio::net::TcpListener;
use web::auth::Keys;
use web::quota::client_limits::ClientLimits;
use web::server::handler::Handler;
use web::server::metrics::HttpMetrics;
use web::server::port::{Port, PortConfig};

use crate::config::groups::{HttpArgs, ProcessArgs};
use crate::process::health::{Admin, HealthCheck};
use crate::process::sockets::{self, Listeners, Servers};
use crate::process::thread::{Failed, thread};
use crate::usage;

/// The API keys, if a file of them is configured.
///
/// # Errors
/// They cannot be read: usage.
pub(crate) fn open_keys(settings: &HttpArgs) -> Result<Option<Arc<Keys>>> {
    Ok(settings.keys.as_deref().map(Keys::open).transpose().map_err(usage)?.map(Arc::new))
}

/// The sockets, bound before a process opens anything that takes long.
pub(crate) struct HttpSockets {
    http: Listeners,
    config: PortConfig,
    admin: TcpListener,
}

impl HttpSockets {
    /// # Errors
    /// A setting is wrong, or they cannot be bound: usage.
    pub(crate) async fn bind(http: &HttpArgs, process: &ProcessArgs) -> Result<Self> {
        let config = http.port()?;
        Ok(Self { http: Listeners::bind(http.http.get())?, config, admin: sockets::admin(process.admin.get()).await? })
    }

    /// What clients without a key may do.
    pub(crate) fn client_limits(&self) -> Option<Arc<ClientLimits>> {
        self.config.client_limits.clone()
    }

    /// Serves requests on threads of their own, and reads the keys and the certificate again when they change.
    ///
    /// # Errors
    /// A socket fails.
    pub(crate) fn serve<H: Handler>(
        self,
        handler: H,
        keys: Option<Arc<Keys>>,
        health: Arc<dyn HealthCheck>,
        (registry, failed): (&Registry, &Failed),
    ) -> Result<HttpServer> {
        let connections = HttpMetrics::new(registry).context("metrics are registered once")?;
        let port = Port::new(handler, self.config, connections);
        let address = self.http.address()?;
        let servers = self.http.serve(&port, |name, work| thread(name, failed, work));
        let reload = keys.map(|keys| tokio::spawn(async move { keys.reload().await }));
        Ok(HttpServer { address, servers, reload, admin: Admin::start(self.admin, health)? })
    }
}

/// Running HTTP and admin ports.
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    pub(crate) admin: Admin,
    servers: Servers,
    reload: Option<tokio::task::JoinHandle<()>>,
}

impl HttpServer {
    /// Stops taking requests, and waits until the requests in flight have ended. The admin port goes on.
    pub(crate) async fn end_requests(&mut self) {
        self.servers.end().await;
        if let Some(reload) = self.reload.take() {
            reload.abort();
        }
    }

    /// Ends the admin port too.
    pub(crate) async fn end(self) {
        self.admin.end().await;
    }
}
