//! The state that an appender's thread and its callers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use crate::api::{Append, AppendError, Done, Health, OnFull};
use crate::queue_budget::QueueBudget;

/// The state of an appender that its callers see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) budget: Arc<QueueBudget>,
    pub(super) health: AtomicU8,
    pub(super) is_closed: AtomicBool,
}

impl Shared {
    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            0 => Health::Good,
            1 => Health::Full,
            _ => Health::Failed,
        }
    }

    pub(super) fn refusal(&self, on_full: OnFull) -> Option<AppendError> {
        match self.health() {
            Health::Failed => Some(AppendError::Failed),
            _ if self.is_closed.load(Ordering::Acquire) => Some(AppendError::Closed),
            Health::Full if on_full == OnFull::Refuse => Some(AppendError::Full),
            _ => None,
        }
    }
}

/// An event for the thread.
pub(super) enum Event {
    Append { records: Vec<Append>, on_full: OnFull, since: Instant, done: Done },
    Report { generation: u64, number: usize, result: Result<(), Fault> },
    Wake,
}

/// Why a record or a producer failed, for a message.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) why: String,
    /// Whether the record is the cause, so that a retry cannot help.
    pub(super) is_permanent: bool,
}
