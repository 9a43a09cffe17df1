//! Why a ledger cannot be used, written or read.

use rusqlite::ErrorCode;

/// What failed, where, and the fix. No message contains a password.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum LedgerError {
    #[error("{0}: there is no such ledger; name the file that `run` or `serve` wrote, DIR/ledger.sqlite")]
    Missing(String),
    #[error("{0}: there is no ledger in this database yet: start `ledger` on it once, which makes the tables")]
    Empty(String),
    #[error("{at}: {what}")]
    Url { at: String, what: String },
    #[error("{0}: this is no ledger of mashang: name another file or directory")]
    Foreign(String),
    #[error(
        "{0}: the database holds other tables, and no ledger of mashang: give the ledger a database or a schema of its own"
    )]
    Occupied(String),
    #[error(
        "{at}: this role may not read the ledger: {what}: grant it the rights on all tables of the ledger, or name another role"
    )]
    Rights { at: String, what: String },
    #[error("{at}: the ledger is of schema {found}, this build works with schema {wanted}: {mend}")]
    Schema { at: String, found: String, wanted: i64, mend: &'static str },
    #[error("{file}: the ledger is of merchant {found}, the rules are of {wanted}: choose another --out")]
    Merchant { file: String, found: String, wanted: String },
    #[error("{0}: the ledger was written by `serve`; `run` does not replace it: choose another --out")]
    Service(String),
    #[error(
        "{0}: the ledger is of another log: name the ledger of this log, or restore it; if it is lost and the log still holds all records, name a new one"
    )]
    OtherLog(String),
    #[error("{0}: the ledger was written by `run`; `serve` does not go on with it: choose another directory")]
    Run(String),
    #[error(
        "facts partition {facts}: the positions in the ledger are not those that this batch began from: another writer has committed, and nothing of this batch is written"
    )]
    Moved { facts: u16 },
    #[error(transparent)]
    Protocol(#[from] domain::protocol::positions::ProtocolError),
    #[error("the ledger cannot be written or read")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{at}: the ledger cannot be written or read: {what}")]
    Postgres { at: String, what: String, is_passing: bool },
    #[error("the ledger holds an impossible value: {0}")]
    Damaged(String),
    #[error("cannot write")]
    Io(#[from] std::io::Error),
}

impl LedgerError {
    /// Whether a retry may succeed later: the database is busy, restarting or out of reach, or its disk is full.
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

    /// The database's own message, where the error's text does not contain it.
    #[must_use]
    pub fn cause(&self) -> String {
        let Self::Sqlite(error) = self else { return String::new() };
        error.to_string()
    }
}
