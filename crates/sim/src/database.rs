//! The real ledger over a database in memory that outlives its writers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::error::LedgerError;
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::schema::{Origin, create};
use ledger::writer::{Durability, Writer};

use crate::alarm::Alarm;
use crate::safeguards::Without;
use crate::safeguards::writer::WriterWithout;

/// A database in memory, which outlives its writers.
#[derive(Debug)]
pub(crate) struct Database {
    url: String,
    anchor: rusqlite::Connection,
}

impl Database {
    /// # Errors
    /// The database refuses.
    pub(crate) fn new() -> Result<Self, Alarm> {
        // Every database in memory needs a name of its own.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let url = format!("file:sim-{}?mode=memory&cache=shared", NEXT.fetch_add(1, Ordering::Relaxed));
        let anchor = rusqlite::Connection::open(&url).map_err(LedgerError::from)?;
        create(&anchor, Origin::Service)?;
        Ok(Self { url, anchor })
    }

    /// A writer of some facts partitions, which begins at the positions in the database.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn writer(
        &self,
        facts: impl IntoIterator<Item = u16>,
        without: Without,
    ) -> Result<WriterWithout, LedgerError> {
        let writer = Writer::over(rusqlite::Connection::open(&self.url)?, Durability::Commit, facts)?;
        WriterWithout::new(without, writer, rusqlite::Connection::open(&self.url)?)
    }

    /// A reader of the ledger.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn reader(&self) -> Result<Ledger, Alarm> {
        Ok(Ledger::over(rusqlite::Connection::open(&self.url).map_err(LedgerError::from)?))
    }

    /// A table as `export` prints it.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn export(&self, table: Table) -> Result<String, Alarm> {
        let mut text = Vec::new();
        self.reader()?.export(table, Format::Csv, &mut text)?;
        String::from_utf8(text).map_err(|e| Alarm::Broken(e.to_string()))
    }

    /// The next offset of each facts partition that the database has rows of.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn progress(&self) -> Result<BTreeMap<u16, u64>, Alarm> {
        self.map("SELECT facts, next FROM progress")
    }

    /// Whether the database has positions of any topic: its ledger belongs to a log.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn has_positions(&self) -> Result<bool, Alarm> {
        Ok(!self.map("SELECT facts, place FROM positions")?.is_empty())
    }

    /// The last offset of each partition of `scans` up to which the database has everything.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn scans(&self) -> Result<BTreeMap<u16, u64>, Alarm> {
        self.map("SELECT partition, place FROM positions WHERE topic = 'scans'")
    }

    fn map(&self, sql: &str) -> Result<BTreeMap<u16, u64>, Alarm> {
        let mut select = self.anchor.prepare(sql).map_err(LedgerError::from)?;
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
        let pairs = select.query_map([], pair).and_then(Iterator::collect);
        Ok(pairs.map_err(LedgerError::from)?)
    }
}
