//! The writer: one transaction writes rows, counters and positions, or nothing.
//!
//! The transaction first compares the positions in the database with those that the batch began from. A paused process
//! that wakes up, or a second one on the same facts, changes nothing. Several writers share a ledger, each with its own
//! facts partitions, and partitions pass from one to the other: whoever takes one up goes on where the database is.
//!
//! A writer waits for its database: it is called on threads that may block, never on those of an asynchronous runtime.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use domain::model::address::Topic;
use domain::model::fact::Metric;
use domain::model::time::{DAY_MS, HOUR_MS};
use domain::protocol::positions::{Admission, FaultInjection, Missing};
use rusqlite::Connection;

use crate::batch::{Batch, write as tables};
use crate::chain::{Chain, Sealed, Stored};
use crate::error::LedgerError;
use crate::schema::{BUSY_TIMEOUT, Origin, check_unchanged, create, open_to_write};
use crate::store::sqlite::Sqlite;
use crate::store::{Dialect, Store, Task, first, transaction};
use crate::url::LedgerUrl;

/// How long answers are kept, by `received` (contract section 9).
pub const ANSWERS_KEEP_MS: i64 = DAY_MS;
/// So many old answers are let go after a commit: what a busy second brings, and little enough not to hold up the next.
const SWEPT_MAX: i64 = 50_000;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How SQLite meets a crash. Postgres is always asked for the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on the disk before it returns.
    Commit,
    /// Only the finished file counts: it is made anew after a crash.
    Rebuild,
}

impl Durability {
    fn set(self, store: &mut dyn Store) -> Result<(), LedgerError> {
        let pragmas = match self {
            Self::Commit => "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
            Self::Rebuild => "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF",
        };
        // Where another connection is just opening the same new file, SQLite does not wait by itself.
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            match store.batch(pragmas) {
                Err(error) if error.is_passing() && Instant::now() < until => std::thread::sleep(BUSY_PAUSE),
                done => return done,
            }
        }
    }
}

/// Reads facts partitions into the ledger.
#[derive(Debug)]
pub struct Writer {
    store: Box<dyn Store>,
    /// Where the ledger is, for messages.
    at: String,
    chains: BTreeMap<u16, Chain>,
    guards: FaultInjection,
    /// Answers are kept for whoever asks; `run` has nobody who would.
    keeps_answers: bool,
    /// Duplicates that were written since it was opened.
    duplicates: i64,
    /// The hour up to which answers were let go.
    swept: i64,
    /// Whether the positions in the database must be those that the batch began from; off only to show what for.
    pub compare: bool,
}

impl Writer {
    /// Creates the ledger of a `run` in a new file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(file: &Path, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        let db = Connection::open(file)?;
        create(&db, Origin::Run)?;
        Self::over(db, Durability::Rebuild, facts)
    }

    /// Goes on with the ledger of a service where its positions are; makes a new one of an empty database, and brings up
    /// an older one.
    ///
    /// # Errors
    /// The database holds something else, a ledger of `run` or of a newer schema, or cannot be reached.
    pub fn open(url: &LedgerUrl, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        let store = open_to_write(url)?;
        Self::new(store, url.to_string(), Durability::Commit)?.with(facts)
    }

    /// Goes on with a ledger in SQLite where its positions are.
    ///
    /// # Errors
    /// The database refuses.
    pub fn over(
        db: Connection,
        durability: Durability,
        facts: impl IntoIterator<Item = u16>,
    ) -> Result<Self, LedgerError> {
        let at = db.path().unwrap_or("in memory").to_owned();
        Self::new(Box::new(Sqlite::new(db)), at, durability)?.with(facts)
    }

    fn new(mut store: Box<dyn Store>, at: String, durability: Durability) -> Result<Self, LedgerError> {
        if store.dialect() == Dialect::Sqlite {
            durability.set(store.as_mut())?;
        }
        Ok(Self {
            store,
            at,
            chains: BTreeMap::new(),
            guards: FaultInjection::default(),
            keeps_answers: durability == Durability::Commit,
            duplicates: 0,
            swept: i64::MIN,
            compare: true,
        })
    }

    fn with(mut self, facts: impl IntoIterator<Item = u16>) -> Result<Self, LedgerError> {
        facts.into_iter().try_for_each(|facts| self.adopt(facts))?;
        Ok(self)
    }

    /// Takes up a facts partition where the database is. What was not committed of it, if it was here before, is thrown
    /// away.
    ///
    /// # Errors
    /// The database refuses.
    pub fn adopt(&mut self, facts: u16) -> Result<(), LedgerError> {
        if self.store.dialect() == Dialect::Postgres {
            Stored::make(self.store.as_mut(), facts)?;
        }
        // The offset and the positions of one moment: whoever had the partition may be committing.
        let read = |store: &mut dyn Store| Stored::read(store, &[facts], true);
        let stored = if self.store.dialect() == Dialect::Postgres {
            transaction(self.store.as_mut(), Task::Write, read)?
        } else {
            crate::store::reading(self.store.as_mut(), read)?
        };
        let stored = stored.into_values().next().unwrap_or_default();
        self.chains.insert(facts, Chain::over(stored, self.guards));
        Ok(())
    }

    /// Lets go of a facts partition. What was not committed of it is thrown away: whoever takes it up reads it again.
    pub fn release(&mut self, facts: u16) {
        self.chains.remove(&facts);
    }

    /// The facts partitions that it reads.
    pub fn partitions(&self) -> impl Iterator<Item = u16> {
        self.chains.keys().copied()
    }

    /// The offset of a facts partition that must come next.
    #[must_use]
    pub fn next_offset(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, |chain| chain.next)
    }

    /// The offset of a facts partition up to which everything is in the database.
    #[must_use]
    pub fn committed(&self, facts: u16) -> u64 {
        self.chains.get(&facts).map_or(0, |chain| chain.began.next)
    }

    /// The logs that it has read.
    pub fn logs(&self) -> impl Iterator<Item = (Topic, u128)> {
        let positions = self.chains.values().flat_map(|chain| chain.began.positions.iter());
        positions.map(|((topic, _), position)| (*topic, position.log))
    }

    /// Facts that wait for the next transaction.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.chains.values().map(Chain::pending).sum()
    }

    /// Duplicates that were written since it was opened.
    #[must_use]
    pub fn duplicates(&self) -> i64 {
        self.duplicates
    }

    /// Whether there is something to commit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.chains.values().any(Chain::is_dirty)
    }

    /// Frames that came before one that they follow; an alarm if nothing more is to be read.
    pub fn missing(&self) -> impl Iterator<Item = Missing> {
        self.chains.values().flat_map(|chain| chain.positions.missing())
    }

    /// Switches safeguards off, in tests that show what each is for.
    pub fn set_guards(&mut self, guards: FaultInjection) {
        self.guards = guards;
        for chain in self.chains.values_mut() {
            chain.positions.guards = guards;
        }
    }

    /// Takes the record at an offset of a facts partition.
    ///
    /// # Errors
    /// The record does not follow, or is no frame of facts. The writer must then be thrown away.
    ///
    /// # Panics
    /// If the partition is none of [`Writer::partitions`].
    pub fn apply(&mut self, facts: u16, offset: u64, record: &[u8]) -> Result<Admission, LedgerError> {
        let keeps_answers = self.keeps_answers;
        let chain = self.chains.get_mut(&facts).expect("one of the partitions that the writer has taken up");
        chain.apply(facts, offset, record, keeps_answers)
    }

    /// Writes what was taken since the last commit.
    ///
    /// # Errors
    /// [`LedgerError::Moved`] if another writer went on in a partition from where this one began; nothing is changed then, and
    /// that partition is to be let go or taken up anew before the next commit. If the database refuses or is out of
    /// reach, the same commit may be tried again, over a new connection where that is needed; records may be taken
    /// meanwhile. A batch whose COMMIT was not answered counts as written if its positions are found.
    pub fn commit(&mut self) -> Result<(), LedgerError> {
        while self.is_dirty() {
            // A batch that a failed commit left goes first, as it is; what came behind it, in a transaction of its own.
            self.chains.values_mut().for_each(Chain::seal);
            self.write_sealed()?;
        }
        self.sweep()
    }

    fn write_sealed(&mut self) -> Result<(), LedgerError> {
        let store = self.store.as_mut();
        store.begin(Task::Write)?;
        if let Err(error) = write(store, &self.chains, self.compare, &self.at) {
            store.rollback();
            return Err(error);
        }
        // From here on only the answer says whether the database has it.
        for sealed in self.chains.values_mut().filter_map(|chain| chain.sealed.as_mut()) {
            sealed.is_sent = true;
        }
        if let Err(error) = store.commit() {
            store.rollback();
            return Err(error);
        }
        self.duplicates += self.chains.values_mut().map(Chain::settle).sum::<i64>();
        Ok(())
    }

    /// Lets go of old answers, a few at a time, whoever wrote them. By the latest `received` of our own partitions: whoever
    /// has the latest of all keeps to the contract for all. A transaction of its own, which waits for nobody's rows, so
    /// that no two writers ever wait for each other.
    fn sweep(&mut self) -> Result<(), LedgerError> {
        let received = self.chains.values().map(|chain| chain.received).max().unwrap_or(0);
        let oldest = (received - ANSWERS_KEEP_MS).div_euclid(HOUR_MS);
        if !self.keeps_answers || oldest <= self.swept {
            return Ok(());
        }
        let store = self.store.as_mut();
        let others = if store.dialect() == Dialect::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
        let sql = format!(
            "DELETE FROM answers WHERE (hour, event) IN
             (SELECT hour, event FROM answers WHERE hour < $1 ORDER BY hour, event LIMIT $2 {others})"
        );
        let swept = transaction(store, Task::Write, |store| store.execute(&sql, &[oldest.into(), SWEPT_MAX.into()]));
        match swept {
            Ok(rows) if rows < SWEPT_MAX.cast_unsigned() => self.swept = oldest,
            // The rest goes after the next commit.
            Ok(_) => {}
            Err(error) if error.is_passing() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The sum of a metric over all merchants and days, as of the last commit.
    ///
    /// # Errors
    /// The database refuses.
    pub fn sum(&mut self, metric: Metric) -> Result<i64, LedgerError> {
        let sql =
            "SELECT CAST(COALESCE(SUM(value), 0) AS BIGINT) FROM counters WHERE scope = 'merchant' AND metric = $1";
        let sum = first(self.store.as_mut(), sql, &[metric.as_str().into()], |row| row.int_of(0))?;
        Ok(sum.unwrap_or_default())
    }

    /// Ends with a last commit; in SQLite, all of it is in the one file then, unless somebody reads an older state of it.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn close(mut self) -> Result<(), LedgerError> {
        self.commit()?;
        self.store.close()
    }
}

/// Compares positions and writes what is not in the database yet, within a transaction.
fn write(store: &mut dyn Store, chains: &BTreeMap<u16, Chain>, compare: bool, at: &str) -> Result<(), LedgerError> {
    let sealed: Vec<(u16, &Chain, &Sealed)> =
        chains.iter().filter_map(|(&facts, chain)| Some((facts, chain, chain.sealed.as_ref()?))).collect();
    let facts: Vec<u16> = sealed.iter().map(|(facts, ..)| *facts).collect();
    let stored = Stored::read(store, &facts, true)?;
    check_unchanged(store, at)?;
    let mut batches: Vec<(u16, &Batch)> = Vec::new();
    let mut positions: Vec<(u16, &Stored)> = Vec::new();
    for (facts, chain, sealed) in sealed {
        let found = &stored[&facts];
        if compare && *found != chain.began {
            // The answer to an earlier COMMIT was lost, and it went well: of one batch there is one end.
            if sealed.is_sent && *found == sealed.now {
                continue;
            }
            return Err(LedgerError::Moved { facts });
        }
        batches.push((facts, &sealed.batch));
        positions.push((facts, &sealed.now));
    }
    tables::write(&batches, store)?;
    Stored::write(store, &positions)
}
