//! What the thread of an appender and those who give to it know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use crate::api::Append;
use crate::api::{AppendError, Done, Health, OnFull};
use crate::kafka::appender::budget::QueueBudget;

/// What is known of an appender from outside of its thread.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) room: Arc<QueueBudget>,
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

/// What the thread is told.
pub(super) enum Event {
    Append { records: Vec<Append>, on_full: OnFull, since: Instant, done: Done },
    Report { generation: u64, number: usize, result: Result<(), Fault> },
    Wake,
}

/// Why a record, or a producer, failed; in words.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) why: String,
    /// The record is the cause: it will never be taken.
    pub(super) is_for_good: bool,
}
