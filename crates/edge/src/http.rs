//! Connections: how many, how slow they may be, and how they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use prometheus::IntGauge;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;
use tracing::{debug, warn};

use crate::client::Client;

/// The head of a request must come within so long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever does not read its answer for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a request may have so many bytes.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// So many connections may be open; more wait to be accepted.
const CONNECTIONS_MAX: usize = 20_000;
/// How long connections may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// A failed accept (no more file descriptors, say) is tried again so soon.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens on an address.
///
/// # Errors
/// The address is in use, or none of this machine.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves connections until `stop` holds true; then lets those that are open finish their requests.
pub async fn serve(listener: TcpListener, routes: Router, connections: IntGauge, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = tokio::select! {
            () = stopped(&mut stop) => break,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let (stream, peer) = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let stream = Box::pin(stream);
        let routes = routes.clone();
        let client = Client::peer(peer.ip());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let mut routes = routes.clone();
            request.extensions_mut().insert(client);
            async move { routes.call(request.map(Body::new)).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        let connections = connections.clone();
        connections.inc();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = watched.await {
                debug!(%error, "a connection ended");
            }
            connections.dec();
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!("connections that did not end were cut off");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
