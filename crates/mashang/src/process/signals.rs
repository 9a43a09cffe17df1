//! SIGTERM and SIGINT.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
