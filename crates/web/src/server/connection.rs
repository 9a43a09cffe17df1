//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tracing::debug;

use super::handler::Handler;
use super::head_timer::HeadTimer;
use super::port::Port;
use super::proxy;
use crate::client_address::Client;
use crate::quota::client_limits::ClientConnection;
use crate::server::metrics::DisconnectReason;

/// Maximum time for what comes before the first request (the proxy's header, and TLS); beyond it the connection ends.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time for which a client does not read its answer; beyond it the connection ends.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of bytes of a request's head, beside hyper's own limit of 100 headers; a larger head gets 431.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// A connection that was accepted.
pub(super) struct Connection<H: Handler> {
    port: Arc<Port<H>>,
    peer: IpAddr,
    /// Counts it among those of its client. Behind a proxy whose header names the client, that is done later.
    counted: Option<ClientConnection>,
}

/// Why this side ends a connection early, and the error on the other side.
type Ended = (DisconnectReason, io::Error);

impl<H: Handler> Connection<H> {
    /// `None` if its client has too many.
    pub(super) fn new(port: &Arc<Port<H>>, peer: IpAddr) -> Option<Self> {
        let peer = peer.to_canonical();
        let Some(counted) = count(port, peer) else {
            port.metrics.cut(DisconnectReason::TooMany);
            return None;
        };
        port.metrics.connections.inc();
        Some(Self { port: Arc::clone(port), peer, counted })
    }

    /// Answers requests until either side ends the connection.
    pub(super) async fn run(&self, stream: TcpStream, watcher: Watcher) {
        if let Err((why, error)) = self.begin(stream, watcher).await {
            debug!(%error, why = why.as_str(), peer = %self.peer, "a connection was ended");
            self.port.metrics.cut(why);
        }
    }

    async fn begin(&self, mut stream: TcpStream, watcher: Watcher) -> Result<(), Ended> {
        let _ = stream.set_nodelay(true);
        let late = tokio::time::Instant::now() + HANDSHAKE_TIMEOUT;
        let mut client = Client::peer(self.peer);
        if self.port.config.expects_proxy {
            if !self.port.config.proxies.contains(self.peer) {
                let what = "it comes from no proxy that is trusted, and --proxy-protocol lets only those in";
                return Err((DisconnectReason::Stranger, io::Error::other(what)));
            }
            let said = tokio::time::timeout_at(late, proxy::read(&mut stream)).await;
            let said =
                said.map_err(io::Error::from).flatten().map_err(|error| (DisconnectReason::ProxyHeader, error))?;
            client = said.unwrap_or(client);
        }
        let behind_proxy = if self.counted.is_none() { count(&self.port, client.address) } else { Some(None) };
        let Some(_counted) = behind_proxy else {
            return Err((DisconnectReason::TooMany, io::Error::other("its client has too many connections")));
        };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let stream = Box::pin(stream);
        let Some(tls) = &self.port.config.tls else { return self.answer(stream, client, watcher).await };
        let stream = tokio::time::timeout_at(late, tls.acceptor().accept(stream)).await;
        let stream = stream.map_err(io::Error::from).flatten().map_err(|error| (DisconnectReason::Tls, error))?;
        self.answer(stream, Client { is_secure: true, ..client }, watcher).await
    }

    async fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        client: Client,
        watcher: Watcher,
    ) -> Result<(), Ended> {
        let answer = async |request| {
            Ok::<_, Infallible>(self.port.handler.answer(request, client, &self.port.config.proxies).await)
        };
        let service = service_fn(answer);
        // Not `pipeline_flush`: it delays an answer while anything is in the read buffer, such as the rest of a refused head or
        // the first half of the next request.
        let timer = HeadTimer::default();
        let connection = http1::Builder::new()
            .timer(timer.clone())
            .header_read_timeout(self.port.config.idle_timeout)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(timer.watch(stream)), service);
        match watcher.watch(connection).await {
            Err(error) if let Some(why) = cut(&error) => Err((why, io::Error::other(error))),
            // The other side may end the connection at any time.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl<H: Handler> Drop for Connection<H> {
    fn drop(&mut self) {
        self.port.metrics.connections.dec();
    }
}

/// Counts a connection of a client; `None` if it has too many. The connections of proxies are not counted.
fn count<H>(port: &Port<H>, address: IpAddr) -> Option<Option<ClientConnection>> {
    match &port.config.client_limits {
        Some(limits) if !port.config.proxies.contains(address) => {
            limits.connect(address, port.permits.available_permits()).map(Some)
        }
        _ => Some(None),
    }
}

/// Why this side ended a connection; `None` if the other side did.
fn cut(error: &hyper::Error) -> Option<DisconnectReason> {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match () {
        () if error.is_parse_too_large() => Some(DisconnectReason::HeadTooLarge),
        () if error.is_parse() => Some(DisconnectReason::HeadMalformed),
        () if error.is_timeout() => Some(DisconnectReason::HeadTimeout),
        () if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) => {
            Some(DisconnectReason::AnswerNotRead)
        }
        () => None,
    }
}
