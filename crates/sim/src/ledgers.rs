//! The real ledger writer over a database in memory that outlives it, and sometimes a second writer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::model::address::Topic;
use domain::protocol::positions::FaultInjection;
use eventlog::local::reader::Reader;
use ledger::error::LedgerError;
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::schema::{Origin, create};
use ledger::writer::{Durability, Writer};

use crate::alarm::Alarm;
use crate::logs::Logs;

const MEND: &str = "begin again";

/// A database in memory, which outlives its writers.
#[derive(Debug)]
pub struct Database {
    url: String,
    anchor: rusqlite::Connection,
}

impl Database {
    /// # Errors
    /// The database refuses.
    pub fn new() -> Result<Self, Alarm> {
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
    pub fn writer(
        &self,
        facts: impl IntoIterator<Item = u16>,
        faults: FaultInjection,
        compare: bool,
    ) -> Result<Writer, LedgerError> {
        let mut writer = Writer::over(rusqlite::Connection::open(&self.url)?, Durability::Commit, facts)?;
        writer.set_guards(faults);
        writer.compare = compare;
        Ok(writer)
    }

    /// A table as `export` prints it.
    ///
    /// # Errors
    /// The database refuses.
    pub fn export(&self, table: Table) -> Result<String, Alarm> {
        let mut text = Vec::new();
        let db = rusqlite::Connection::open(&self.url).map_err(LedgerError::from)?;
        Ledger::over(db).export(table, Format::Csv, &mut text)?;
        String::from_utf8(text).map_err(|e| Alarm::Broken(e.to_string()))
    }

    /// The next offset of each facts partition that the database has rows of.
    ///
    /// # Errors
    /// The database refuses.
    pub fn progress(&self) -> Result<BTreeMap<u16, u64>, Alarm> {
        self.map("SELECT facts, next FROM progress")
    }

    /// The last offset of each partition of `scans` up to which the database has everything.
    ///
    /// # Errors
    /// The database refuses.
    pub fn scans(&self) -> Result<BTreeMap<u16, u64>, Alarm> {
        self.map("SELECT partition, place FROM positions WHERE topic = 'scans'")
    }

    fn map(&self, sql: &str) -> Result<BTreeMap<u16, u64>, Alarm> {
        let mut select = self.anchor.prepare(sql).map_err(LedgerError::from)?;
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
        let pairs = select.query_map([], pair).and_then(Iterator::collect);
        Ok(pairs.map_err(LedgerError::from)?)
    }
}

#[derive(Debug)]
struct One {
    writer: Writer,
    readers: Vec<Reader>,
}

#[derive(Debug)]
pub struct Ledgers {
    db: Database,
    facts: u16,
    faults: FaultInjection,
    compare: bool,
    /// `None` only while it opens.
    now: Option<One>,
    zombie: Option<One>,
}

impl Ledgers {
    /// # Errors
    /// The database refuses.
    pub fn new(logs: &Logs, facts: u16, faults: FaultInjection, compare: bool) -> Result<Self, Alarm> {
        let mut ledgers = Self { db: Database::new()?, facts, faults, compare, now: None, zombie: None };
        ledgers.reopen(logs)?;
        Ok(ledgers)
    }

    fn open(&self, logs: &Logs) -> Result<One, Alarm> {
        let writer = self.db.writer(0..self.facts, self.faults, self.compare)?;
        let readers =
            (0..self.facts).map(|f| Reader::open(logs.partition(Topic::Facts, f), writer.next_offset(f), MEND));
        Ok(One { readers: readers.collect::<Result<_, _>>()?, writer })
    }

    /// Opens the writer again: everything that was not committed is lost.
    ///
    /// # Errors
    /// The database refuses, or the log begins after its position.
    pub fn reopen(&mut self, logs: &Logs) -> Result<(), Alarm> {
        self.now = None;
        self.now = Some(self.open(logs)?);
        Ok(())
    }

    /// Ends the second writer.
    pub fn end_zombie(&mut self) {
        self.zombie = None;
    }

    /// Reads at most `most` records of every partition; returns how many it read.
    ///
    /// # Errors
    /// Why the ledger stops.
    pub fn read(&mut self, most: usize) -> Result<usize, Alarm> {
        self.now.as_mut().expect("open").read(most)
    }

    /// Commits what was read. If another writer has moved on meanwhile, this one opens again from there without an alarm.
    ///
    /// # Errors
    /// Why the ledger stops.
    pub fn commit(&mut self, logs: &mut Logs) -> Result<&'static str, Alarm> {
        let one = self.now.as_mut().expect("open");
        match one.writer.commit() {
            Ok(()) => {
                for facts in 0..self.facts {
                    logs.retire(Topic::Facts, facts, one.writer.committed(facts))?;
                }
                Ok("ledger commit")
            }
            Err(LedgerError::Moved { .. }) => {
                self.reopen(logs)?;
                Ok("ledger moved")
            }
            Err(other) => Err(other.into()),
        }
    }

    /// A second writer begins at the positions in the database and reads `records` records; if there is one already, it commits.
    ///
    /// # Errors
    /// An error that must not happen to any writer, late or not.
    pub fn zombie(&mut self, logs: &Logs, records: usize) -> Result<&'static str, Alarm> {
        let Some(mut late) = self.zombie.take() else {
            let mut zombie = self.open(logs)?;
            zombie.read(records)?;
            self.zombie = Some(zombie);
            return Ok("begins");
        };
        match late.writer.commit() {
            Ok(()) => Ok("commits"),
            Err(LedgerError::Moved { .. }) => Ok("is held"),
            Err(other) => Err(other.into()),
        }
    }

    /// # Errors
    /// A frame is missing.
    pub fn check_nothing_is_missing(&self) -> Result<(), Alarm> {
        self.now.as_ref().and_then(|one| one.writer.missing().next()).map_or(Ok(()), |missing| Err(missing.into()))
    }

    /// A table as `export` prints it.
    ///
    /// # Errors
    /// The database refuses.
    pub fn export(&self, table: Table) -> Result<String, Alarm> {
        self.db.export(table)
    }
}

impl One {
    fn read(&mut self, most: usize) -> Result<usize, Alarm> {
        let mut taken = 0;
        for reader in &mut self.readers {
            let facts = reader.source().partition;
            for _ in 0..most {
                let Some(record) = reader.next_record()? else { break };
                self.writer.apply(facts, record.offset, record.bytes)?;
                taken += 1;
            }
        }
        Ok(taken)
    }
}
