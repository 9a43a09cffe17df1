//! A connection for queries. Queries are in `answers`, `export`, `history` and `totals`; those about progress are here.

use domain::model::address::Topic;
use rusqlite::Connection;

use crate::error::LedgerError;
use crate::schema::open_to_read;
use crate::store::sqlite::Sqlite;
use crate::store::{Store, all};
use crate::url::LedgerUrl;

/// A connection that reads. After a failure the next query connects again; an export that is interrupted is an error.
///
/// Its calls block: use it on threads that may block (`spawn_blocking`), never on those of an asynchronous runtime, where
/// Postgres would panic. It may be dropped on any thread.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) store: Box<dyn Store>,
}

impl Ledger {
    /// Opens a ledger for reading.
    ///
    /// # Errors
    /// There is no ledger, it has another schema, the database holds something else, or it cannot be reached.
    pub fn open(url: &LedgerUrl) -> Result<Self, LedgerError> {
        Ok(Self { store: open_to_read(url)? })
    }

    /// Reads over an open connection to SQLite.
    #[must_use]
    pub fn over(db: Connection) -> Self {
        Self { store: Box::new(Sqlite::new(db)) }
    }

    /// The progress of the ledger: for each facts partition with records in it, the offset before which it holds all facts.
    ///
    /// # Errors
    /// The database fails.
    pub fn progress(&mut self) -> Result<Vec<(u16, u64)>, LedgerError> {
        all(self.store.as_mut(), "SELECT facts, next FROM progress ORDER BY facts", &[], |row| {
            let facts = row.int_of(0)?;
            let facts = u16::try_from(facts).map_err(|_| LedgerError::Damaged(format!("progress.facts {facts}")))?;
            Ok((facts, row.int_of(1)?.cast_unsigned()))
        })
    }

    /// The ids of the logs that the ledger was written from.
    ///
    /// # Errors
    /// The database fails.
    pub fn logs(&mut self) -> Result<Vec<(Topic, u128)>, LedgerError> {
        all(self.store.as_mut(), "SELECT DISTINCT topic, log FROM positions ORDER BY topic, log", &[], |row| {
            let (topic, log) = (row.text_of(0)?, row.text_of(1)?);
            match (Topic::parse(topic), u128::from_str_radix(log, 16)) {
                (Some(topic), Ok(log)) => Ok((topic, log)),
                _ => Err(LedgerError::Damaged(format!("positions of {topic} in log {log}"))),
            }
        })
    }
}
