//! Why a run stops before its end.

use domain::protocol::positions::Missing;
use eventlog::error::LogError;
use ledger::error::LedgerError;
use worker::snapshot::SnapshotError;
use worker::task::TaskError;

/// A part of the system detected an inconsistency and stopped.
#[derive(Debug, thiserror::Error)]
pub enum Alarm {
    #[error("a task stops: {0}")]
    Task(#[from] TaskError),
    #[error("the ledger stops: {0}")]
    Ledger(#[from] LedgerError),
    #[error("the ledger stops: {0}")]
    Missing(#[from] Missing),
    #[error("the log stops: {0}")]
    Log(#[from] LogError),
    #[error("a snapshot cannot be written: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The simulation's own checks.
    #[error("{0}")]
    Broken(String),
}

/// Checks a condition.
///
/// # Errors
/// The condition does not hold; `what` describes it.
pub(crate) fn hold(holds: bool, what: impl FnOnce() -> String) -> Result<(), Alarm> {
    if holds { Ok(()) } else { Err(Alarm::Broken(what())) }
}
