//! SIGTERM and SIGINT, and the time limit of the stop that follows.

use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// Maximum time of a stop after `drain-wait` (contract section 12: five seconds, less what the exit itself takes).
const STOP_WITHIN: Duration = Duration::from_millis(4_700);

/// The signals that stop a process. A role installs the handlers before it reports that it is ready: a signal that comes right
/// after that report drains the process and does not kill it.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Returns once the process receives one of them.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// From now on the process has `drain_wait` and a few seconds; then it ends, whatever goes on. What was answered is durable by then,
/// as at any crash.
pub(crate) fn limit_stop(drain_wait: Duration) {
    let end = move || {
        std::thread::sleep(drain_wait + STOP_WITHIN);
        warn!(
            "the stop takes too long and is cut off; what was answered is kept, and the next start goes on from the last snapshots"
        );
        std::process::exit(0);
    };
    if let Err(error) = std::thread::Builder::new().name("stop".to_owned()).spawn(end) {
        warn!(%error, "the stop has no time limit: no thread can be started");
    }
}
