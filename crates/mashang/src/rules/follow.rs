//! A thread that reads rules as they are published.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use tracing::warn;

use crate::process::thread::{Failed, thread};

/// Interval at which new rules are read from the log.
const INTERVAL: Duration = Duration::from_millis(500);

/// The running thread.
pub(crate) struct RulesFollower {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl RulesFollower {
    /// Starts the thread. The first of several failures in a row is a warning; `meanwhile` says what goes on in spite of it.
    pub(crate) fn start(
        failed: &Failed,
        meanwhile: &'static str,
        mut read: impl FnMut() -> Result<()> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = sync_channel(1);
        let follow = move || {
            let mut is_failing = false;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let result = read();
                if let Err(error) = &result
                    && !is_failing
                {
                    warn!(error = %format_args!("{error:#}"), "new rules cannot be read; {meanwhile}");
                }
                is_failing = result.is_err();
            }
            Ok(())
        };
        Self { stop, thread: thread("rules", failed, follow) }
    }

    /// Stops the thread, and waits until it has ended.
    pub(crate) fn end(self) {
        drop(self.stop);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}
