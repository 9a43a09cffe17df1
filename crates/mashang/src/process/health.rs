//! The admin port: liveness, readiness and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use web::networks::Trust;
use web::server::handler::Routes;
use web::server::metrics::HttpMetrics;
use web::server::port::{Port, PortConfig};

/// The health of a process. Its functions are called on threads that may block.
pub(crate) trait HealthCheck: Send + Sync {
    /// Whether the process makes progress; if not, why. Then it should be restarted.
    fn liveness(&self) -> Result<(), String>;

    /// Whether the process can do its work now; if not, why.
    fn readiness(&self) -> Result<(), String>;

    /// All metrics, in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// Maximum number of open connections; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_000;
/// Idle timeout of a connection, longer than the minute between most scrapes; after it the connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The admin port of a process.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Admin {
    pub(crate) fn start(listener: TcpListener, health: Arc<dyn HealthCheck>) -> Result<Self> {
        let service = Routes { router: routes(health), local_only: false, keys: None, client_limits: None };
        let config = PortConfig {
            connections_max: CONNECTIONS_MAX,
            proxies: Trust::none(),
            expects_proxy: false,
            idle_timeout: IDLE_TIMEOUT,
            client_limits: None,
            tls: None,
        };
        // The requests to the admin port are not in the metrics.
        let port = Port::new(service, config, HttpMetrics::new(&Registry::new())?);
        let (stop, stopped) = watch::channel(false);
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move { port.serve(listener, stopped).await });
        Ok(Self { address, stop, server })
    }

    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        let _ = self.server.await;
    }
}

/// The routes of the admin port.
fn routes(health: Arc<dyn HealthCheck>) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

type HealthState = State<Arc<dyn HealthCheck>>;

async fn alive(State(health): HealthState) -> Response {
    respond("alive", ask(move || health.liveness()).await)
}

async fn ready(State(health): HealthState) -> Response {
    respond("ready", ask(move || health.readiness()).await)
}

async fn metrics(State(health): HealthState) -> Response {
    let text = ask(move || Ok(health.metrics())).await;
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why).into_response(),
    }
}

async fn ask<T: Send + 'static>(question: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(question).await.unwrap_or_else(|e| Err(e.to_string()))
}

fn respond(word: &str, answer: Result<(), String>) -> Response {
    match answer {
        Ok(()) => format!("{word}\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not {word}: {why}\n")).into_response(),
    }
}
