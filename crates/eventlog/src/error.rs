//! What goes wrong with a log: what, where, and the mend.

use std::io;
use std::path::{Path, PathBuf};

/// Why a log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: cannot be {done}: {cause}")]
    Io { path: PathBuf, done: &'static str, cause: io::Error },
    #[error(
        "{path} at byte {byte}: the log is damaged: {what}; put the data directory back from a copy, or begin a new one: nothing is skipped"
    )]
    Damaged { path: PathBuf, byte: u64, what: String },
    #[error("{dir}: the log was made with {found}, not with {wanted}: {mend}")]
    Other { dir: PathBuf, found: String, wanted: String, mend: &'static str },
    #[error(
        "{path} at byte {byte}: the spool is damaged: {what}; nothing is skipped: put the file back whole, or move the directory aside and begin an empty one: what it holds that was not drained is then lost"
    )]
    SpoolDamaged { path: PathBuf, byte: u64, what: String },
    #[error(
        "{dir}: this spool holds events of log {found:032x}, and this edge writes to log {wanted:032x}: give it back to an edge of its log, or give this one another directory"
    )]
    SpoolOther { dir: PathBuf, found: u128, wanted: u128 },
    #[error("{dir}: there is no log: name the directory that `serve --data` wrote")]
    Missing { dir: PathBuf },
    #[error("{partition}: offset {wanted} was asked for, the log begins at {start}: what was there is let go; {mend}")]
    Retired { partition: String, wanted: u64, start: u64, mend: &'static str },
    #[error(
        "{partition}: offset {wanted} was asked for, the log ends at {end}: the log is shorter than what was read of it; put it back whole"
    )]
    Short { partition: String, wanted: u64, end: u64 },
    #[error(
        "{partition}: the log ends at {end} and does not give what stands at {wanted}: see whether it can be reached"
    )]
    Silent { partition: String, wanted: u64, end: u64 },
    #[error(
        "{partition}: offset {found} came, {expected} was next: the log has a hole or was rewound; restore the topic or begin a new deployment"
    )]
    Hole { partition: String, expected: u64, found: u64 },
    #[error("{partition} offset {offset}: {what}")]
    Foreign { partition: String, offset: u64, what: String },
    #[error("topic {topic}: {what}; {mend}")]
    Topic { topic: String, what: String, mend: &'static str },
    #[error("the Kafka setting {name} is refused: {why}")]
    Setting { name: String, why: String },
    #[error("Kafka at {brokers}: {what}: {cause}; {mend}")]
    Kafka { brokers: String, what: String, cause: String, mend: &'static str },
}

impl LogError {
    /// Whether it is only that the disk is full: the same may go well later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if is_full(cause))
    }
}

/// Whether the system had no room.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Names the file and what was done to it.
pub fn at<'a>(path: &'a Path, done: &'static str) -> impl FnOnce(io::Error) -> LogError + 'a {
    move |cause| LogError::Io { path: path.to_owned(), done, cause }
}
