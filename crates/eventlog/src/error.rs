//! What fails in a log: what, where, and the fix.

use std::io;
use std::path::{Path, PathBuf};

use domain::model::address::TopicPartition;

/// Why a log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum LogError {
    #[error("{path}: cannot be {done}: {cause}")]
    Io { path: PathBuf, done: &'static str, cause: io::Error },
    #[error(
        "{path} at byte {byte}: the log is damaged: {what}; no record is skipped: restore the data directory from a copy, or begin a new one"
    )]
    Damaged { path: PathBuf, byte: u64, what: String },
    #[error("{dir}: the log was made with {found}, not with {wanted}: {mend}")]
    Other { dir: PathBuf, found: String, wanted: String, mend: &'static str },
    #[error(
        "{path} at byte {byte}: the spool is damaged: {what}; no record is skipped: restore the file, or move the directory aside, which loses the events in it that were not drained"
    )]
    SpoolDamaged { path: PathBuf, byte: u64, what: String },
    #[error(
        "{dir}: this spool holds events of log {found:032x}, but this edge writes to log {wanted:032x}: use it with an edge of its own log, or give this edge another directory"
    )]
    SpoolOther { dir: PathBuf, found: u128, wanted: u128 },
    #[error("{dir}: there is no log: name the directory that `serve --data` wrote")]
    Missing { dir: PathBuf },
    #[error(
        "{partition}: offset {wanted} was asked for, the log begins at {start}: earlier records were deleted; {mend}"
    )]
    Retired { partition: String, wanted: u64, start: u64, mend: &'static str },
    #[error(
        "{partition}: offset {wanted} was asked for, the log ends at {end}: it is shorter than what was read of it before; restore the whole topic"
    )]
    Short { partition: String, wanted: u64, end: u64 },
    #[error(
        "{partition}: the log ends at {end}, but does not return the record at {wanted}: check that the log can be reached"
    )]
    Silent { partition: String, wanted: u64, end: u64 },
    #[error(
        "{partition}: offset {found} came, {expected} was next: the log has a hole or was rewound; restore the topic or begin a new deployment"
    )]
    Hole { partition: String, expected: u64, found: u64 },
    /// Only this partition is affected.
    #[error("{partition}: {cause}")]
    Partition { partition: TopicPartition, cause: Box<LogError> },
    #[error("{partition} offset {offset}: {what}")]
    Foreign { partition: String, offset: u64, what: String },
    #[error("topic {topic}: {what}; {mend}")]
    Topic { topic: String, what: String, mend: &'static str },
    #[error("{object}: cannot be {done}: {cause}")]
    Object { object: String, done: &'static str, cause: io::Error },
    #[error("{object}: {what}; {mend}")]
    Archive { object: String, what: String, mend: &'static str },
    #[error("{object}: there is no archive: name the URL that `--archive` of the workers, or of `serve`, has")]
    NoArchive { object: String },
    #[error(
        "{object}: this is the archive of log {found:032x}, not of log {wanted:032x}: give each log an archive of its own"
    )]
    OtherArchive { object: String, found: u128, wanted: u128 },
    #[error(
        "{place}: the archive has a hole: of {partition} the records at offsets {from} to {to} are missing: put their segments back from a copy, or read what comes after them with `log dump --from`"
    )]
    ArchiveHole { place: String, partition: String, from: u64, to: u64 },
    #[error(
        "{partition} offset {offset}: the log holds another record than its archive, {object}: it was restored from an older copy; restore a newer one, or give this log an archive of its own"
    )]
    Rewritten { partition: String, offset: u64, object: String },
    #[error("the Kafka setting {name} is refused: {why}")]
    Setting { name: String, why: String },
    #[error("Kafka at {brokers}: {what}: {cause}; {mend}")]
    Kafka { brokers: String, what: String, cause: String, mend: &'static str },
}

impl LogError {
    /// Whether the log does not hold the position that was asked for. A retry cannot help, and only this partition is affected.
    #[must_use]
    pub fn is_out_of_bounds(&self) -> bool {
        matches!(self, Self::Retired { .. } | Self::Short { .. })
    }

    /// Whether the disk is full and nothing else is wrong: a retry may succeed later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if is_full(cause))
    }
}

/// Whether the error says that the disk or a quota is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Adds the file and the operation that failed to an I/O error.
pub fn at<'a>(path: &'a Path, done: &'static str) -> impl FnOnce(io::Error) -> LogError + 'a {
    move |cause| LogError::Io { path: path.to_owned(), done, cause }
}
