//! A ledger to ask. What it is asked stands in `answers`, `export`, `history` and `totals`, and here how far it is.

use domain::model::address::Topic;
use rusqlite::Connection;

use crate::error::LedgerError;
use crate::schema::open_to_read;
use crate::store::sqlite::Sqlite;
use crate::store::{Store, all};
use crate::url::LedgerUrl;

/// A connection that reads. One that breaks is made anew by the next question; an export that is cut off is an error.
///
/// It waits for its database: it is asked on threads that may block (`spawn_blocking`), never on those of an asynchronous
/// runtime, where Postgres would panic. It may be dropped anywhere.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) store: Box<dyn Store>,
}

impl Ledger {
    /// Opens a ledger for reading.
    ///
    /// # Errors
    /// There is none, or it is none of ours, or of another schema, or cannot be reached.
    pub fn open(url: &LedgerUrl) -> Result<Self, LedgerError> {
        Ok(Self { store: open_to_read(url)? })
    }

    /// Reads over a connection to SQLite that is there already.
    #[must_use]
    pub fn over(db: Connection) -> Self {
        Self { store: Box::new(Sqlite::new(db)) }
    }

    /// How far the ledger is: per facts partition of which it has something, the offset up to which it has everything.
    ///
    /// # Errors
    /// The database refuses.
    pub fn progress(&mut self) -> Result<Vec<(u16, u64)>, LedgerError> {
        all(self.store.as_mut(), "SELECT facts, next FROM progress ORDER BY facts", &[], |row| {
            let facts = row.int_of(0)?;
            let facts = u16::try_from(facts).map_err(|_| LedgerError::Damaged(format!("progress.facts {facts}")))?;
            Ok((facts, row.int_of(1)?.cast_unsigned()))
        })
    }

    /// The logs that it has read.
    ///
    /// # Errors
    /// The database refuses.
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
