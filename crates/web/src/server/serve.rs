//! The loop of a listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use super::connection::Connection;
use super::handler::Handler;
use super::port::Port;

/// Maximum time for which open connections go on after the stop; those that remain are ended.
const DRAIN: Duration = Duration::from_secs(2);
/// Time after which a failed accept (no more file descriptors, say) is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl<H: Handler> Port<H> {
    /// Does what [`Port::serve`] does, on the calling thread only.
    ///
    /// # Errors
    /// The system cannot make a runtime.
    pub fn run(self: &Arc<Self>, listener: std::net::TcpListener, stop: watch::Receiver<bool>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            self.serve(TcpListener::from_std(listener)?, stop).await;
            Ok(())
        })
    }

    /// Serves connections until `stop` is true; then lets the open ones finish their requests.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        loop {
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
            // Before the permit: a client that has its share waits for none.
            let Some(connection) = Connection::new(self, peer.ip()) else { continue };
            // The permit is taken after the accept: a permit that waited here for a connection would be kept from other
            // listeners.
            let permit = tokio::select! {
                () = stopped(&mut stop) => break,
                permit = Arc::clone(&self.permits).acquire_owned() => permit,
            };
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _permit = permit;
                connection.run(stream, watcher).await;
            });
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            warn!("connections that did not end were cut off");
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
