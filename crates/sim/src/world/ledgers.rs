//! The ledger of a process, and sometimes a second writer.

use domain::model::address::Topic;
use eventlog::local::reader::Reader;
use ledger::error::LedgerError;
use ledger::writer::Writer;

use super::logs::Logs;
use crate::alarm::Alarm;
use crate::database::Database;
use crate::safeguards::Without;
use crate::safeguards::writer::WriterWithout;

const MEND: &str = "begin again";

#[derive(Debug)]
struct One {
    writer: WriterWithout,
    readers: Vec<Reader>,
}

#[derive(Debug)]
pub(crate) struct Ledgers {
    pub db: Database,
    facts: u16,
    without: Without,
    /// `None` only while it opens.
    now: Option<One>,
    zombie: Option<One>,
}

impl Ledgers {
    /// # Errors
    /// The database refuses.
    pub(crate) fn new(logs: &Logs, facts: u16, without: Without) -> Result<Self, Alarm> {
        let mut ledgers = Self { db: Database::new()?, facts, without, now: None, zombie: None };
        ledgers.reopen(logs)?;
        Ok(ledgers)
    }

    fn open(&self, logs: &Logs) -> Result<One, Alarm> {
        let writer = self.db.writer(0..self.facts, self.without)?;
        let readers = (0..self.facts).map(|f| {
            let partition = logs.partition(Topic::Facts, f);
            let first = if partition.start() <= writer.first_wanted(f) {
                writer.first_wanted(f)
            } else {
                writer.inner.next_offset(f)
            };
            Reader::open(partition, first, MEND)
        });
        Ok(One { readers: readers.collect::<Result<_, _>>()?, writer })
    }

    /// Opens the writer again: everything that was not committed is lost.
    ///
    /// # Errors
    /// The database refuses, or the log begins after its position.
    pub(crate) fn reopen(&mut self, logs: &Logs) -> Result<(), Alarm> {
        self.now = None;
        self.now = Some(self.open(logs)?);
        Ok(())
    }

    /// Ends the second writer.
    pub(crate) fn end_zombie(&mut self) {
        self.zombie = None;
    }

    /// Reads at most `most` records of every partition; returns how many it read.
    ///
    /// # Errors
    /// Why the ledger stops.
    pub(crate) fn read(&mut self, most: usize) -> Result<usize, Alarm> {
        self.now.as_mut().expect("open").read(most)
    }

    /// Commits what was read. If another writer has moved on meanwhile, this one opens again from there without an alarm.
    ///
    /// # Errors
    /// Why the ledger stops.
    pub(crate) fn commit(&mut self, logs: &mut Logs) -> Result<&'static str, Alarm> {
        let one = self.now.as_mut().expect("open");
        match one.writer.commit() {
            Ok(()) => {
                for facts in 0..self.facts {
                    logs.retire(Topic::Facts, facts, one.writer.inner.committed(facts))?;
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

    /// The first call opens a second writer at the positions in the database, which reads `records` records. The second call lets
    /// that writer commit.
    ///
    /// # Errors
    /// An error that must not happen to any writer, late or not.
    pub(crate) fn zombie(&mut self, logs: &Logs, records: usize) -> Result<&'static str, Alarm> {
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

    /// The writer as it stands, and one as it would be after a crash.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn now_and_stored(&self) -> Result<(&Writer, Writer), Alarm> {
        let stored = self.db.writer(0..self.facts, &[])?.inner;
        Ok((&self.now.as_ref().expect("open").writer.inner, stored))
    }

    /// # Errors
    /// A frame is missing.
    pub(crate) fn check_nothing_is_missing(&self) -> Result<(), Alarm> {
        self.now
            .as_ref()
            .and_then(|one| one.writer.inner.missing().next())
            .map_or(Ok(()), |missing| Err(missing.into()))
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
