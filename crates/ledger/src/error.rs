//! Why a ledger cannot be used, written or read.

use domain::model::fact::{Metric, Scope};
use rusqlite::ErrorCode;

/// What went wrong, where, and the mend. A password is in none of it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("{0}: there is no such ledger; name the file that `run` or `serve` wrote, DIR/ledger.sqlite")]
    Missing(String),
    #[error("{0}: there is no ledger in this database yet: start `ledger` on it once, which makes the tables")]
    Empty(String),
    #[error("{at}: {what}")]
    Url { at: String, what: String },
    #[error("{0}: this is no ledger of mashang: name another file or directory")]
    Foreign(String),
    #[error("{0}: holds tables, but no ledger of mashang: give the ledger a database or a schema of its own")]
    Occupied(String),
    #[error("{at}: the ledger is of schema {found}, this build works with schema {wanted}: {mend}")]
    Schema { at: String, found: String, wanted: i64, mend: &'static str },
    #[error("{file}: the ledger is of merchant {found}, the rules are of {wanted}: choose another --out")]
    Merchant { file: String, found: String, wanted: String },
    #[error("{0}: the ledger was written by `serve`; `run` does not replace it: choose another --out")]
    Service(String),
    #[error(
        "{0}: the ledger is of another log: put back the one that belongs to this log; or remove it with its -wal and -shm, and it is made anew if the log still has everything"
    )]
    OtherLog(String),
    #[error("{0}: the ledger was written by `run`; `serve` does not go on with it: choose another directory")]
    Run(String),
    #[error(
        "{merchant}: the counter {metric} of {scope} {key} on day {day} is beyond {}: its amounts are wrong, or want a larger unit",
        i64::MAX
    )]
    Sum { merchant: String, scope: Scope, key: String, day: String, metric: Metric },
    #[error(
        "facts partition {facts}: the positions in the ledger are not those that this batch began from: another writer went on, and nothing of this batch is written"
    )]
    Moved { facts: u16 },
    #[error(transparent)]
    ProtocolError(#[from] domain::protocol::positions::ProtocolError),
    #[error("the ledger cannot be written or read")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{at}: the ledger cannot be written or read: {what}")]
    Postgres { at: String, what: String, is_passing: bool },
    #[error("the ledger holds what cannot be: {0}")]
    Damaged(String),
    #[error("cannot write")]
    Io(#[from] std::io::Error),
}

impl LedgerError {
    /// Whether the same may go well later: the database is busy, restarting or out of reach, or there is no room.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code().is_some_and(|code| {
                matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
            }),
            Self::Postgres { is_passing, .. } => *is_passing,
            _ => false,
        }
    }

    /// What the database says, where it says something that the message itself does not.
    #[must_use]
    pub fn cause(&self) -> String {
        let Self::Sqlite(error) = self else { return String::new() };
        error.to_string()
    }
}
