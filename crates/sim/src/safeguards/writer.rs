//! A ledger writer without some safeguards.

use domain::protocol::positions::Admission;
use ledger::error::LedgerError;
use ledger::writer::Writer;
use rusqlite::Connection;

use super::records::{are_rewritten, rewritten};
use super::{Safeguard, Without};

/// A writer of the ledger without some safeguards.
#[derive(Debug)]
pub struct WriterWithout {
    /// The real writer.
    pub inner: Writer,
    without: Without,
    /// Without the comparison of positions: the database, and in temporary tables the positions that the writer began from.
    began: Option<Connection>,
}

impl WriterWithout {
    /// A writer that has just begun at the positions in the database `db`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn new(without: Without, inner: Writer, db: Connection) -> Result<Self, LedgerError> {
        let began = Some(db).filter(|_| without.contains(&Safeguard::ComparedPositions));
        if let Some(db) = &began {
            db.execute_batch(
                "CREATE TEMP TABLE began_positions AS SELECT * FROM positions;
                 CREATE TEMP TABLE began_progress AS SELECT * FROM progress",
            )?;
        }
        Ok(Self { inner, without, began })
    }

    /// Adds the record at an offset of a facts partition.
    ///
    /// # Errors
    /// As [`Writer::apply`].
    pub fn apply(&mut self, facts: u16, offset: u64, record: &[u8]) -> Result<Admission, LedgerError> {
        let record = rewritten(self.without, self.inner.positions(facts), record);
        self.inner.apply(facts, offset, &record)
    }

    /// As [`Writer::first_wanted`]. The record before the position is not handed in if it may have been rewritten: the writer would find
    /// another one.
    #[must_use]
    pub fn first_wanted(&self, facts: u16) -> u64 {
        let of = if are_rewritten(self.without) { Writer::next_offset } else { Writer::first_wanted };
        of(&self.inner, facts)
    }

    /// Begins a facts partition at its stored positions.
    ///
    /// # Errors
    /// As [`Writer::adopt`].
    pub fn adopt(&mut self, facts: u16) -> Result<(), LedgerError> {
        self.inner.adopt(facts)?;
        self.began.iter().try_for_each(|db| copy(db, facts, "", "began_"))
    }

    /// Writes the records that were added since the last commit. Without the comparison, the database is first set back to the
    /// positions that the writer began from, for another writer may have committed meanwhile.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        let Some(db) = &self.began else { return self.inner.commit() };
        let inner = &self.inner;
        let is_dirty = |facts: &u16| inner.next_offset(*facts) != inner.committed(*facts);
        let dirty: Vec<u16> = inner.partitions().filter(is_dirty).collect();
        dirty.iter().try_for_each(|&facts| copy(db, facts, "began_", ""))?;
        self.inner.commit()?;
        dirty.iter().try_for_each(|&facts| copy(db, facts, "", "began_"))
    }
}

/// Copies the positions of a facts partition between tables with these prefixes.
fn copy(db: &Connection, facts: u16, from: &str, to: &str) -> Result<(), LedgerError> {
    for table in ["positions", "progress"] {
        db.execute_batch(&format!(
            "DELETE FROM {to}{table} WHERE facts = {facts};
             INSERT INTO {to}{table} SELECT * FROM {from}{table} WHERE facts = {facts}"
        ))?;
    }
    Ok(())
}
