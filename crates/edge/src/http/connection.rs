//! One connection, from its first byte to its last.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tracing::debug;

use super::port::Port;
use crate::client::Client;
use crate::metrics::Cut;

/// The head of a request must come within so long, counted from the connection's begin or the last answer's end.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever does not read its answer for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a request may have so many bytes, and (hyper's own limit) 100 headers.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) port: Arc<Port>,
    pub(super) client: Client,
}

impl Connection {
    /// Answers what comes in until either side ends it.
    pub(super) async fn run(&self, stream: TcpStream, watcher: Watcher) {
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let service = service_fn(|request| self.port.service.answer(request, self.client, &self.port.manner.proxies));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .pipeline_flush(true)
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        if let Err(error) = watcher.watch(connection).await {
            debug!(%error, "a connection ended");
            if let Some(why) = cut(&error) {
                self.port.metrics.cut(why);
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.port.metrics.connections.dec();
    }
}

/// Why a connection was ended from here; `None` if the other side did.
fn cut(error: &hyper::Error) -> Option<Cut> {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match () {
        () if error.is_parse_too_large() => Some(Cut::HeadTooLarge),
        () if error.is_parse() => Some(Cut::HeadMalformed),
        () if error.is_timeout() => Some(Cut::HeadTimeout),
        () if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) => Some(Cut::AnswerNotRead),
        () => None,
    }
}
