//! Threads whose failure ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use anyhow::{Error, Result, anyhow};
use tokio::sync::mpsc;

/// Maximum number of failures that wait to be read. The first one ends the process; those beyond the maximum are dropped.
const FAILURES_MAX: usize = 64;

/// Where threads report what ends the process.
#[derive(Clone, Debug)]
pub(crate) struct Failed(mpsc::Sender<Error>);

/// Where the role reads it.
pub(crate) type Failures = mpsc::Receiver<Error>;

/// A channel for failures.
pub(crate) fn failures() -> (Failed, Failures) {
    let (failed, failures) = mpsc::channel(FAILURES_MAX);
    (Failed(failed), failures)
}

impl Failed {
    /// Reports a failure. It never waits.
    pub(crate) fn send(&self, error: Error) {
        let _ = self.0.try_send(error);
    }
}

/// Starts a thread. An error or a panic of its work is a failure.
pub(crate) fn thread(
    name: &str,
    failed: &Failed,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> JoinHandle<()> {
    let failed = failed.clone();
    let label = name.to_owned();
    let watched = move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        let result = result.unwrap_or_else(|_| {
            Err(anyhow!("{label}: stopped because of an internal error: report it with the lines above"))
        });
        if let Err(error) = result {
            failed.send(error);
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(watched).expect("the system has room for a thread")
}
